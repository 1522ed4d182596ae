"""The time of pooling beside the time in which the CPU encoder makes the same token vectors.

Both on one thread, in turns, in processor time, so that others on the machine disturb it little.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

import trivec.demo
from trivec import Encoder
from trivec.demo.model import demo_model
from trivec.pooling import pool_tokens
from trivec.rows import Tokens

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

PASSAGES = Path(trivec.demo.__file__).parent / "collection" / "passages.jsonl"
WORDS_PER_TEXT = 250  # The demo model takes 512 tokens.
FACTOR = 2
ROUNDS = 7


@pytest.fixture(scope="module", params=["float32", "int8", "bfloat16"])
def encoder(request: pytest.FixtureRequest) -> Iterator[Encoder]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Encoder.load(demo_model(), device="cpu", precision=request.param)
    torch.set_num_threads(threads)


def seconds(*calls: Callable[[], object]) -> list[float]:
    """Return the least processor time of each call; they run in turns."""
    best = [float("inf")] * len(calls)
    for _ in range(ROUNDS):
        for i, call in enumerate(calls):
            start = time.process_time()
            call()
            best[i] = min(best[i], time.process_time() - start)
    return best


def text_of(encoder: Encoder, tokens: int) -> list[str]:
    """Return demo passages with about as many tokens, in texts that the model takes whole."""
    words = [
        word
        for line in PASSAGES.read_text("utf-8").splitlines()
        for word in str(json.loads(line)["text"]).split()
    ]
    colbert = encoder.encode_documents([" ".join(words[:WORDS_PER_TEXT])]).colbert
    assert colbert is not None
    words = words[: round(tokens * WORDS_PER_TEXT / len(colbert.values))]
    return [
        " ".join(words[start : start + WORDS_PER_TEXT])
        for start in range(0, len(words), WORDS_PER_TEXT)
    ]


@pytest.mark.parametrize("tokens", [200, 2000])
def test_pooling_hides_behind_encoding(
    encoder: Encoder, tokens: int, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = text_of(encoder, tokens)
    colbert = encoder.encode_documents(texts).colbert
    assert colbert is not None
    document = colbert.values
    assert tokens / 1.1 < len(document) < tokens * 1.1
    most = len(document) // FACTOR
    pool_tokens(document, most)  # imports
    encoding, pooling = seconds(
        lambda: encoder.encode_documents(texts), lambda: pool_tokens(document, most)
    )
    with capsys.disabled():
        print(
            f"\n{encoder.precision}, {len(document)} tokens of {document.shape[1]} dimensions, "
            f"best of {ROUNDS}, load {psutil.getloadavg()[0]:.1f}: "
            f"encoding {1000 * encoding:.1f} ms, "
            f"pooling by {FACTOR} {1000 * pooling:.1f} ms, which is {pooling / encoding:.1%}"
        )
    assert pooling <= 0.1 * encoding


@pytest.mark.parametrize("dim", [384, 1024])
def test_time_grows_with_the_length(dim: int, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    topics = rng.standard_normal((1500, dim))
    of_token = rng.integers(0, len(topics), 8192)
    tokens: Tokens = (topics[of_token] + 0.9 * rng.standard_normal((8192, dim))).astype(np.float16)
    lengths = (200, 2000, 2048, 8192)
    pool_tokens(tokens[:9], 3)  # imports
    pooling = dict(
        zip(
            lengths,
            seconds(*(partial(pool_tokens, tokens[:n], n // FACTOR) for n in lengths)),
            strict=True,
        )
    )
    with capsys.disabled():
        times = ", ".join(f"{n} tokens {1000 * each:.1f} ms" for n, each in pooling.items())
        print(f"\n{dim} dimensions, pooled by {FACTOR}: {times}")
    assert pooling[8192] < 1.5 * 4 * pooling[2048]
