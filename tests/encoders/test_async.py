"""Concurrent callers share forward passes, and the event loop is not blocked."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trivec import Encoder
from trivec.encoders.batching import Batcher
from trivec.errors import CheckpointError, InvalidInputError

LoopGap = Callable[[Callable[[], Awaitable[object]]], Awaitable[float]]


@pytest.fixture
def encoder(m3: Path) -> Encoder:
    return Encoder.load(m3, device="cpu", precision="float32")


async def test_concurrent_callers_share_forward_passes(
    encoder: Encoder, random_text: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = encoder._backbone
    passes: list[str] = []

    def counting(texts: Any) -> Any:
        passes.append(threading.current_thread().name)
        return backbone(texts)

    texts = [random_text(3 + i % 5, seed=i) for i in range(50)]
    expected = encoder.encode_queries(texts)
    monkeypatch.setattr(encoder, "_backbone", counting)
    found = await asyncio.gather(*(encoder.aencode_query(text) for text in texts))
    assert len(passes) < 25
    assert len(set(passes)) == 1
    assert passes[0].startswith("trivec-encoder")
    assert expected.dense is not None
    for vector, dense in zip(found, expected.dense, strict=True):
        assert vector.dense is not None
        np.testing.assert_allclose(vector.dense, dense, atol=1e-5)


async def test_calls_with_different_options_stay_apart(encoder: Encoder) -> None:
    seen: list[tuple[int, int]] = []
    documents, sparse, watched = await asyncio.gather(
        encoder.aencode_documents(["kalo", "mine lolo"]),
        encoder.aencode_queries(["kalo"], dense=False, colbert=False),
        encoder.aencode_documents(["kalo"], progress=lambda *done: seen.append(done)),
    )
    assert len(documents) == 2
    assert documents.colbert is not None
    assert sparse.dense is None
    assert len(watched) == 1
    assert seen == [(1, 1)]


async def test_the_event_loop_is_not_blocked(
    encoder: Encoder, random_text: Callable[..., str], loop_gap: LoopGap
) -> None:
    texts = [random_text(200, seed=i) for i in range(40)]
    assert await loop_gap(lambda: encoder.aencode_documents(texts)) < 0.05


async def test_invalid_texts_fail_only_their_caller(encoder: Encoder) -> None:
    results = await asyncio.gather(
        encoder.aencode_query("kalo"),
        encoder.aencode_queries(["kalo", 7]),  # type: ignore[list-item]
        encoder.aencode_query("\ud800"),
        encoder.aencode_query("mine"),
        return_exceptions=True,
    )
    assert isinstance(results[1], InvalidInputError)
    assert isinstance(results[2], InvalidInputError)
    assert not isinstance(results[0], BaseException)
    assert not isinstance(results[3], BaseException)


def double(key: str, items: Sequence[int]) -> list[int]:
    if 0 in items:
        raise ZeroDivisionError(key)
    return [2 * item for item in items]


@pytest.fixture
def doubling() -> Batcher[str, int, list[int]]:
    return Batcher(double, lambda result, start, stop: result[start:stop], max_items=8)


async def test_a_failing_call_does_not_fail_the_others_of_its_batch(
    doubling: Batcher[str, int, list[int]],
) -> None:
    requests: list[list[int]] = [[1], [2, 3], [4, 0], [], [5]]
    results = await asyncio.gather(
        *(doubling.submit("key", items) for items in requests), return_exceptions=True
    )
    assert isinstance(results.pop(2), ZeroDivisionError)
    assert results == [[2], [4, 6], [], [10]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_has_a_thread_of_its_own(
    doubling: Batcher[str, int, list[int]],
) -> None:
    def ask() -> None:
        async def answer() -> list[int]:
            return await asyncio.wait_for(doubling.submit("key", [1]), 10)

        assert asyncio.run(answer()) == [2]

    ask()
    # As a server that loads its application and then forks its workers.
    worker = multiprocessing.get_context("fork").Process(target=ask)
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    ask()


async def test_an_error_reaches_every_caller_and_the_thread_lives_on(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = encoder._backbone

    def failing(texts: object) -> object:
        raise CheckpointError("broken")

    monkeypatch.setattr(encoder, "_backbone", failing)
    results = await asyncio.gather(
        *(encoder.aencode_query("kalo") for _ in range(5)), return_exceptions=True
    )
    assert [str(result) for result in results] == ["broken"] * 5
    monkeypatch.setattr(encoder, "_backbone", backbone)
    assert (await encoder.aencode_query("kalo")).dense is not None


async def test_a_cancelled_caller_does_not_cancel_the_others(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, go = encoder._backbone, threading.Event()

    def waiting(texts: Any) -> Any:
        go.wait(10)
        return backbone(texts)

    monkeypatch.setattr(encoder, "_backbone", waiting)
    running, queued, other = (
        asyncio.create_task(encoder.aencode_documents(texts))
        for texts in (["kalo"], ["mine"], ["kalo mine"])
    )
    await asyncio.sleep(0.05)
    queued.cancel()
    running.cancel()
    await asyncio.sleep(0)
    go.set()
    assert len(await other) == 1
    assert queued.cancelled()
    assert running.cancelled()
