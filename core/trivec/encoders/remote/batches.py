"""Texts in batches, and the requests for them side by side, in order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def text_batches(texts: Sequence[str], *, max_bytes: int, max_texts: int) -> list[list[str]]:
    """Cut texts into batches, in order; a text that is longer is a batch by itself.

    Args:
        texts: Any number of texts.
        max_bytes: The most bytes of a batch, in UTF-8.
        max_texts: The most texts of a batch.

    Example:
        >>> text_batches(["aa", "bb", "c", "ddddd"], max_bytes=4, max_texts=2)
        [['aa', 'bb'], ['c'], ['ddddd']]
    """
    batches: list[list[str]] = []
    size = 0
    for text in texts:
        length = len(text) if text.isascii() else len(text.encode())
        if not batches or len(batches[-1]) >= max_texts or size + length > max_bytes:
            batches.append([])
            size = 0
        batches[-1].append(text)
        size += length
    return batches


def in_order(
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    at_once: int,
    done: Callable[[T], None] = lambda item: None,
) -> list[R]:
    """Return what a function returns for each item, in their order, and call it side by side.

    The first error is raised at once, and no item is begun after it. The threads do not keep the
    process alive.

    Args:
        function: Called in threads that have the caller's context.
        items: Any number.
        at_once: The most calls at the same time.
        done: Called in the caller's thread after each item.
    """
    results: list[Future[R]] = [Future() for _ in items]
    lock, stopped = threading.Lock(), threading.Event()
    positions = iter(range(len(items)))

    def work() -> None:
        while not stopped.is_set():
            with lock:
                position = next(positions, None)
            if position is None:
                return
            try:
                results[position].set_result(function(items[position]))
            except BaseException as error:  # raised again in the caller's thread
                results[position].set_exception(error)
                return

    if len(items) == 1 or at_once == 1:
        return list(_one_by_one(function, items, done))
    for _ in range(min(at_once, len(items))):
        threading.Thread(
            target=copy_context().run, args=(work,), name="trivec-encode", daemon=True
        ).start()
    numbers = {result: position for position, result in enumerate(results)}
    try:
        for result in as_completed(results):
            result.result()
            done(items[numbers[result]])
    finally:
        stopped.set()
    return [result.result() for result in results]


async def ain_order(
    function: Callable[[T], Awaitable[R]],
    items: Sequence[T],
    *,
    at_once: int,
    done: Callable[[T], None] = lambda item: None,
) -> list[R]:
    """Do what `in_order` does, in the running event loop; see there for the arguments."""
    turns = asyncio.Semaphore(at_once)

    async def call(item: T) -> R:
        async with turns:
            result = await function(item)
        done(item)
        return result

    tasks = [asyncio.ensure_future(call(item)) for item in items]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _one_by_one(
    function: Callable[[T], R], items: Sequence[T], done: Callable[[T], None]
) -> Iterator[R]:
    for item in items:
        result = function(item)
        done(item)
        yield result
