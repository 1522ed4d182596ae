"""The encoder's speed on BGE-M3's dimensions with random weights, beside a padded forward pass.

Every figure comes from the same run, on one thread and in seconds of that thread's processor
time, so that neighbours on the machine disturb it little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import psutil
import pytest
import torch
from numpy.typing import NDArray
from transformers import XLMRobertaConfig, XLMRobertaModel

from trivec.encoders.architecture import Architecture
from trivec.encoders.backbone import Backbone
from trivec.encoders.batching import token_batches
from trivec.encoders.cpu import this_processor
from trivec.encoders.linear import linear_for
from trivec.encoders.precision import Precision
from trivec.encoders.token_ids import TokenIds

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

# Word rows do not multiply: 1,000 of the 250,002 keep the weights at 1.2 GB.
CONFIG = XLMRobertaConfig(
    vocab_size=1000,
    hidden_size=1024,
    num_hidden_layers=24,
    num_attention_heads=16,
    intermediate_size=4096,
    max_position_embeddings=8194,
    type_vocab_size=1,
    pad_token_id=1,
    layer_norm_eps=1e-5,
)
FLOP_PER_TOKEN = 24 * 2 * (4 * 1024**2 + 2 * 1024 * 4096)  # 0.604 G, without attention
LENGTHS = [21, 60, 128, 200, 320, 512]
BATCH_TOKENS = 1024
PADDED_BATCH = 12


@dataclass(frozen=True, slots=True)
class Run:
    """One way to encode the texts."""

    seconds: float
    states: NDArray[np.float32]
    """The first token's state of each text."""


@pytest.fixture(scope="module")
def texts() -> TokenIds:
    rng = np.random.default_rng(1)
    rows = [np.concatenate([[0], rng.integers(4, 1000, n - 2), [2]]) for n in LENGTHS]
    return TokenIds(rows, ())


@pytest.fixture(scope="module")
def model() -> XLMRobertaModel:
    torch.manual_seed(0)
    model = XLMRobertaModel(CONFIG, add_pooling_layer=False)
    model.train(False)
    return model


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def reference(model: XLMRobertaModel, texts: TokenIds) -> Run:
    return timed(lambda: padded(model, texts))


def timed(encode: Callable[[], NDArray[np.float32]]) -> Run:
    start = time.process_time()
    states = encode()
    return Run(time.process_time() - start, states)


def product_rate(precision: Precision) -> float:
    """Return the FLOP/s of the matrix product alone, at the size of the widest layer."""
    dtype = torch.bfloat16 if precision is Precision.BFLOAT16 else torch.float32
    layer = linear_for(precision, torch.device("cpu"))(
        torch.randn(4096, 1024, dtype=dtype), torch.zeros(4096, dtype=dtype)
    )
    states = torch.randn(1024, 1024, dtype=dtype)
    best = 0.0
    with torch.inference_mode():
        layer(states)
        for _ in range(12):
            start = time.process_time()
            layer(states)
            best = max(best, 2 * 1024 * 1024 * 4096 / (time.process_time() - start))
    return best


def padded(model: XLMRobertaModel, texts: TokenIds) -> NDArray[np.float32]:
    """Return the states as FlagEmbedding computes them: sorted batches of 12, padded."""
    lengths = texts.lengths()
    order = np.argsort(-lengths, kind="stable")
    result = np.zeros((len(lengths), 1024), np.float32)
    for start in range(0, len(order), PADDED_BATCH):
        rows = order[start : start + PADDED_BATCH]
        ids = torch.full((len(rows), int(lengths[rows].max())), 1)
        for target, row in zip(ids, rows, strict=True):
            target[: lengths[row]] = torch.from_numpy(texts.rows[row])
        with torch.inference_mode():
            output = model(input_ids=ids, attention_mask=(ids != 1).long())
        result[rows] = output.last_hidden_state[:, 0].numpy()
    return result


def packed(backbone: Backbone, texts: TokenIds) -> NDArray[np.float32]:
    """Return the states as the encoder computes them."""
    result = np.zeros((len(texts.rows), 1024), np.float32)
    for rows in token_batches(texts.lengths(), BATCH_TOKENS):
        batch = texts.packed(rows)
        result[rows] = backbone(batch)[torch.from_numpy(batch.indptr[:-1])].numpy()
    return result


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16, Precision.INT8])
def test_packed_against_padded(
    model: XLMRobertaModel,
    texts: TokenIds,
    reference: Run,
    precision: Precision,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state, tokens = model.state_dict(), int(texts.lengths().sum())
    backbone = Backbone(
        Architecture.from_config(CONFIG),
        state.__getitem__,
        linear=linear_for(precision, torch.device("cpu")),
        dtype=torch.bfloat16 if precision is Precision.BFLOAT16 else torch.float32,
        device=torch.device("cpu"),
    )
    process = psutil.Process()
    before = process.memory_info().rss
    limit = product_rate(precision)
    backbone(texts.packed(np.array([0])))
    ours = timed(lambda: packed(backbone, texts))
    limit = max(limit, product_rate(precision))
    cosine = torch.cosine_similarity(
        torch.from_numpy(ours.states), torch.from_numpy(reference.states)
    )
    with capsys.disabled():
        print(
            f"\n{precision.value:9} {tokens / ours.seconds:6.0f} tokens/s, "
            f"padded float32 {tokens / reference.seconds:5.0f}, "
            f"ratio {reference.seconds / ours.seconds:.2f}, "
            f"{tokens * FLOP_PER_TOKEN / ours.seconds / limit:.0%} of "
            f"{limit / 1e9:.0f} GFLOP/s, least cosine {float(cosine.min()):.6f}, "
            f"+{(process.memory_info().rss - before) / 2**20:.0f} MiB beside the weights; "
            f"{tokens} tokens in {len(texts.rows)} texts, one thread, "
            f"{', '.join(this_processor().features)}"
        )
    assert float(cosine.min()) > (0.99999 if precision is Precision.FLOAT32 else 0.99)
