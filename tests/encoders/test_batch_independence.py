"""Vectors do not depend on the batch with int8, and only in their last bits otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import trivec.demo
from trivec import Encoder, Reranker, Vector
from trivec.demo.model import demo_model
from trivec.encoders.checkpoint import open_checkpoint
from trivec.encoders.linear import BlockwiseLinear, Int8Linear
from trivec.encoders.placement import place
from trivec.encoders.tokenizer import TextTokenizer
from trivec.errors import CheckpointError
from trivec.reranking.pairs import PairTokenizer
from trivec.rows import Float

Text = Callable[..., str]

PASSAGES = Path(trivec.demo.__file__).parent / "collection" / "passages.jsonl"


@pytest.fixture(scope="module")
def demo() -> Path:
    try:
        return demo_model()
    except CheckpointError as error:
        pytest.skip(f"the demo model cannot be built here: {error}")


@pytest.fixture(scope="module")
def passages() -> list[str]:
    """Passages in several languages, and joined ones: from 2 to some 300 tokens."""
    texts = [str(json.loads(line)["text"]) for line in PASSAGES.read_text("utf-8").splitlines()]
    long = [" ".join(texts[first:last]) for first, last in ((0, 3), (9, 17))]
    return ["", "whale", *texts[::60], *long, texts[0]]


@pytest.fixture(scope="module")
def int8(demo: Path) -> Encoder:
    return Encoder.load(demo, device="cpu", precision="int8")


@pytest.fixture(params=[1, 2])
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def apart(one: Vector, other: Vector) -> float:
    """Return the largest difference between two texts' numbers; infinite if words differ."""
    differences = [0.0]
    for mine, theirs in ((one.dense, other.dense), (one.colbert, other.colbert)):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            assert mine.shape == theirs.shape
            differences.append(float(np.abs(mine - theirs).max(initial=0.0)))
    if one.sparse is not None:
        assert other.sparse is not None
        for token in one.sparse.keys() | other.sparse.keys():
            differences.append(abs(one.sparse.get(token, 0.0) - other.sparse.get(token, 0.0)))
    return max(differences)


def farthest(encoder: Encoder, texts: list[str]) -> float:
    """Return the largest difference between batches of many sizes and orders."""
    alone = [encoder.encode_documents([text])[0] for text in texts]
    rng = np.random.default_rng(7)
    most = 0.0
    for budget in (40, 300, 1024):
        encoder._batch_tokens = budget
        order = rng.permutation(len(texts)).tolist()
        together = encoder.encode_documents([texts[i] for i in order])
        most = max(most, *(apart(alone[i], together[place]) for place, i in enumerate(order)))
    return most


def test_int8_vectors_of_the_demo_model_do_not_depend_on_the_batch(
    int8: Encoder, passages: list[str]
) -> None:
    assert int8.schema.parts == ("dense", "sparse", "colbert")
    assert farthest(int8, passages) == 0


@pytest.mark.usefixtures("_threads")
def test_int8_vectors_of_tiny_models_do_not_depend_on_the_batch(
    m3: Path, bert: Path, random_text: Text
) -> None:
    # Few heads of 8 numbers, and short lengths: where kernels have their special cases.
    texts = [random_text(n, seed=n) for n in (0, 1, 2, 5, 9, 15, 21, 29, 31, 32, 63)]
    assert farthest(Encoder.load(m3, device="cpu", precision="int8"), texts) == 0
    mcls = Encoder.load(m3, device="cpu", precision="int8", mcls=True)
    assert farthest(mcls, [*texts[::4], random_text(300)]) == 0
    assert farthest(Encoder.load(bert, device="cpu", precision="int8"), texts[:12]) == 0


def test_int8_scores_of_a_reranker_do_not_depend_on_the_batch(
    demo: Path, passages: list[str]
) -> None:
    # The demo model has no classifier: a random one reads its states.
    checkpoint, placement = open_checkpoint(demo, model=demo), place("cpu", "int8")
    hidden = checkpoint.architecture.hidden
    generator = torch.Generator().manual_seed(5)
    dense = placement.exact_linear(
        torch.randn(hidden, hidden, generator=generator) / hidden**0.5, torch.zeros(hidden)
    )
    output = placement.exact_linear(torch.randn(1, hidden, generator=generator), torch.zeros(1))
    tokenizer = TextTokenizer.load(demo, checkpoint.architecture.vocabulary)
    reranker = Reranker(
        placement.backbone(checkpoint),
        lambda states: output(dense(states).tanh()),
        PairTokenizer(tokenizer),
        model="demo",
        precision=placement.precision,
    )
    pairs = list(pairwise(passages))
    alone = np.concatenate([reranker.score_pairs([pair]) for pair in pairs])
    assert np.ptp(alone) > 1
    for budget in (300, 1024):
        reranker._batch_tokens = budget
        np.testing.assert_array_equal(reranker.score_pairs(pairs), alone)
        np.testing.assert_array_equal(reranker.score_pairs(pairs[::-1]), alone[::-1])


@pytest.mark.parametrize(
    ("precision", "most"), [("float32", 1e-5), ("bfloat16", 0.05), ("float16", 5e-3)]
)
def test_other_precisions_depend_on_the_batch_in_their_last_bits_only(
    m3: Path, random_text: Text, precision: str, most: float
) -> None:
    texts = [random_text(n, seed=n) for n in (0, 1, 5, 8, 20, 33, 100)]
    assert farthest(Encoder.load(m3, device="cpu", precision=precision), texts) <= most


def test_int8_vectors_have_the_direction_of_float32_vectors(
    demo: Path, int8: Encoder, passages: list[str]
) -> None:
    exact = Encoder.load(demo, device="cpu", precision="float32").encode_documents(passages)
    found = int8.encode_documents(passages)
    assert found.dense is not None
    assert exact.dense is not None
    assert found.colbert is not None
    assert exact.colbert is not None
    # One scale for all rows gave 0.987 and 0.943 on processors without 8-bit dot products.
    assert np.sum(found.dense * exact.dense, axis=1).mean() > 0.997
    assert np.sum(found.colbert.values * exact.colbert.values, axis=1).mean() > 0.995


def product(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> Float:
    with torch.inference_mode():
        result: Float = Int8Linear(weight, bias)(states).numpy()
    return result


@pytest.mark.parametrize("inputs", [16, 64, 1024, 4096])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_largest_numbers_do_not_overflow(inputs: int, sign: float) -> None:
    # All at the end of their range, which 8 bits hold without any loss.
    weight = torch.full((33, inputs), 0.5)
    weight[::2] = -0.5
    states = torch.full((5, inputs), sign * 3.0)
    expected = states @ weight.T + 1
    np.testing.assert_allclose(product(states, weight, torch.ones(33)), expected, rtol=1e-6)


def test_a_large_row_does_not_make_the_others_less_accurate() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 256, generator=generator)
    small = torch.randn(6, 256, generator=generator)
    bias = torch.randn(64, generator=generator)
    alone = product(small, weight, bias)
    company = torch.cat([small, torch.full((1, 256), 1e6)])
    np.testing.assert_array_equal(product(company, weight, bias)[:6], alone)
    exact = (small @ weight.T + bias).numpy()
    assert np.abs(alone - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_row_with_nan_or_infinity_becomes_nan_and_changes_no_other(value: float) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, states = (torch.randn(n, 128, generator=generator) for n in (32, 4))
    expected = product(states, weight, torch.zeros(32))
    states[2, 5] = value
    found = product(states, weight, torch.zeros(32))
    assert not np.isfinite(found[2]).any()
    others = [0, 1, 3]
    np.testing.assert_array_equal(found[others], expected[others])


@pytest.mark.parametrize("size", [0.0, 1e-45, 1e-38, 1e30])
def test_rows_of_zeros_and_of_extreme_sizes(size: float) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(32, 128, generator=generator)
    weight[3] = 0
    states = torch.randn(4, 128, generator=generator)
    states[1] *= size
    bias = torch.randn(32, generator=generator)
    found = product(states, weight, bias)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[:, 3], bias[3].expand(4))
    exact = (states.double() @ weight.double().T + bias).numpy()
    assert np.abs(found[1] - exact[1]).max() <= 0.05 * np.abs(exact[1]).max()


@pytest.mark.parametrize("rows", [0, 1, 31, 32, 33, 100])
def test_blocks_of_rows_are_joined_in_order(rows: int) -> None:
    seen: list[int] = []

    def double(states: torch.Tensor, *, gelu: bool = False) -> torch.Tensor:
        seen.append(len(states))
        return 2 * states

    states = torch.randn(rows, 3)
    torch.testing.assert_close(BlockwiseLinear(double)(states), 2 * states)
    assert set(seen) <= {0, BlockwiseLinear.ROWS}
