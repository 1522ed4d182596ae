"""Concurrent callers share forward passes and the event loop keeps its turns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trivec import Encoder
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


async def test_the_event_loop_keeps_its_turns(
    encoder: Encoder, random_text: Callable[..., str], loop_gap: LoopGap
) -> None:
    texts = [random_text(200, seed=i) for i in range(40)]
    assert await loop_gap(lambda: encoder.aencode_documents(texts)) < 0.05


async def test_wrong_texts_harm_their_caller_only(encoder: Encoder) -> None:
    results = await asyncio.gather(
        encoder.aencode_query("kalo"),
        encoder.aencode_queries(["kalo", 7]),  # type: ignore[list-item]
        encoder.aencode_query("mine"),
        return_exceptions=True,
    )
    assert isinstance(results[1], InvalidInputError)
    assert not isinstance(results[0], BaseException)
    assert not isinstance(results[2], BaseException)


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


async def test_a_cancelled_caller_leaves_the_others(
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
