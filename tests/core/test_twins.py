"""A method written once does the same in both its forms."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from trivec.twins import Twin, arun, either, run


def fetch(name: str) -> str:
    if name == "missing":
        raise KeyError(name)
    return f"blocking {name}"


async def afetch(name: str) -> str:
    await asyncio.sleep(0)
    return fetch(name).replace("blocking", "asynchronous")


def fetched(*names: str, note: Callable[[], object] = object) -> Twin[list[str]]:
    results: list[str] = []
    for name in names:
        note()
        try:
            results.append((yield from either(fetch, afetch, name)))
        except KeyError as error:
            results.append(f"no {error.args[0]}")
    return results


async def test_each_driver_calls_its_form_and_errors_are_raised_at_the_call() -> None:
    assert run(fetched("a", "missing", "b")) == ["blocking a", "no missing", "blocking b"]
    assert await arun(fetched("a", "missing")) == ["asynchronous a", "no missing"]


async def test_an_error_that_is_not_caught_reaches_the_caller() -> None:
    with pytest.raises(KeyError, match="missing"):
        run(either(fetch, afetch, "missing"))
    with pytest.raises(KeyError, match="missing"):
        await arun(either(fetch, afetch, "missing"))


async def test_the_code_between_the_calls_leaves_the_event_loop_alone() -> None:
    threads: set[int] = set()
    await arun(fetched("a", "b", note=lambda: threads.add(threading.get_ident())))
    assert threading.get_ident() not in threads


async def test_a_cancelled_twin_is_closed() -> None:
    closed = threading.Event()

    def waiting() -> Twin[None]:
        try:
            yield from either(lambda: None, lambda: asyncio.sleep(60))
        finally:
            closed.set()

    task = asyncio.create_task(arun(waiting()))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.is_set()
