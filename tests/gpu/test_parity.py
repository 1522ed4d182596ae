"""A GPU makes the vectors that a CPU makes in float32, up to the precision of its numbers."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import XLMRobertaConfig, XLMRobertaModel

from trivec import Encoder, Vectors
from trivec.encoders.architecture import Architecture
from trivec.encoders.backbone import Backbone
from trivec.encoders.batching import token_batches
from trivec.encoders.linear import linear_for
from trivec.encoders.packing import PackedTexts
from trivec.encoders.precision import Precision
from trivec.encoders.token_ids import TokenIds

GOLDEN = Path(__file__).parents[1] / "encoders" / "golden"
# Against float32 on a CPU: the least cosine of a vector, the largest error of a lexical weight.
LIMITS = {"float32": (0.99999, 2e-3), "float16": (0.999, 2e-2), "bfloat16": (0.99, 0.1)}
# Heads of 64 numbers, as in BGE-M3: attention kernels for GPUs depend on that.
CONFIG = XLMRobertaConfig(
    vocab_size=500,
    hidden_size=256,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=1024,
    max_position_embeddings=2050,
    type_vocab_size=1,
    pad_token_id=1,
    layer_norm_eps=1e-5,
)
LENGTHS = [3, 17, 64, 65, 200, 200, 511, 1500]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    golden: Any = json.loads((GOLDEN / "golden.json").read_text(encoding="utf-8"))
    return [*golden["texts"]["documents"], *golden["texts"]["queries"]]


@pytest.fixture(scope="module")
def expected(texts: list[str]) -> Vectors:
    return load("cpu", "float32").encode_documents(texts)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return XLMRobertaModel(CONFIG, add_pooling_layer=False).state_dict()


@pytest.fixture(scope="module")
def ids() -> TokenIds:
    rng = np.random.default_rng(1)
    rows = [np.concatenate([[0], rng.integers(4, 500, n - 2), [2]]) for n in LENGTHS]
    return TokenIds(rows, ())


def load(device: str, precision: str) -> Encoder:
    return Encoder.load(GOLDEN / "checkpoint", device=device, precision=precision)


def backbone(state: dict[str, torch.Tensor], device: str, precision: str) -> Backbone:
    target = torch.device(device)
    return Backbone(
        Architecture.from_config(CONFIG),
        state.__getitem__,
        linear=linear_for(Precision(precision), target),
        dtype=getattr(torch, precision),
        device=target,
    )


def cosines(found: NDArray[Any], expected: NDArray[Any]) -> NDArray[Any]:
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    norms = np.linalg.norm(found, axis=-1) * np.linalg.norm(expected, axis=-1)
    result: NDArray[Any] = (found * expected).sum(-1) / norms
    return result


def packed(ids: TokenIds, rows: list[int]) -> PackedTexts:
    return ids.packed(np.array(rows))


@pytest.mark.parametrize("precision", LIMITS)
def test_the_three_parts(device: str, precision: str, texts: list[str], expected: Vectors) -> None:
    cosine, error = LIMITS[precision]
    found = load(device, precision).encode_documents(texts)
    assert found.dense is not None
    assert found.sparse is not None
    assert found.colbert is not None
    assert expected.dense is not None
    assert expected.sparse is not None
    assert expected.colbert is not None
    assert cosines(found.dense, expected.dense).min() > cosine
    assert cosines(found.colbert.values, expected.colbert.values).min() > cosine
    for row in range(len(texts)):
        ours, theirs = found.sparse.row(row), expected.sparse.row(row)
        for token in ours.keys() | theirs.keys():
            assert abs(ours.get(token, 0) - theirs.get(token, 0)) < error


@pytest.mark.parametrize("precision", LIMITS)
def test_states_of_texts_of_many_lengths(
    device: str, precision: str, state: dict[str, torch.Tensor], ids: TokenIds
) -> None:
    model, exact = backbone(state, device, precision), backbone(state, "cpu", "float32")
    for rows in token_batches(ids.lengths(), 1024):
        batch = ids.packed(rows)
        states = model(batch).cpu().numpy()
        assert cosines(states, exact(batch).numpy()).min() > LIMITS[precision][0]


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_the_kernel_for_many_lengths(
    device: str, precision: str, state: dict[str, torch.Tensor], ids: TokenIds
) -> None:
    model = backbone(state, device, precision)
    if model._packed_attention is None:
        pytest.skip("there is no attention kernel for texts of different lengths here")
    batch = packed(ids, list(range(len(LENGTHS))))
    states = model(batch).cpu().numpy()
    model._packed_attention = None
    assert cosines(states, model(batch).cpu().numpy()).min() > LIMITS[precision][0]


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_text_alone_and_in_a_batch(
    device: str, precision: str, state: dict[str, torch.Tensor], ids: TokenIds
) -> None:
    model = backbone(state, device, precision)
    batch = packed(ids, list(range(len(LENGTHS))))
    together = model(batch).cpu().numpy()
    for row, start in enumerate(batch.indptr[:-1].tolist()):
        alone = model(packed(ids, [row])).cpu().numpy()
        part = together[start : start + LENGTHS[row]]
        assert cosines(alone, part).min() > LIMITS[precision][0]


def test_threads_share_an_encoder(device: str, texts: list[str], expected: Vectors) -> None:
    encoder = load(device, "float32")

    def encode(text: str) -> NDArray[Any]:
        dense = encoder.encode_documents([text]).dense
        assert dense is not None
        return dense

    with ThreadPoolExecutor(8) as pool:
        found = np.concatenate([*pool.map(encode, texts * 4)])
    assert expected.dense is not None
    assert cosines(found, np.tile(expected.dense, (4, 1))).min() > LIMITS["float32"][0]
