"""Requests and their answers: one text for blocking and asynchronous clients.

A hook of a backend that needs requests is a generator. It yields the requests of one step, which
do not depend on each other, and receives their answers in the same order; its return value is the
result. The store sends the requests, in threads or in an event loop. If a request fails, its error
is raised at the `yield`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from types import GeneratorType
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from trivec.deadline import pause
from trivec.turns import own_turn
from trivec.twins import InThread, adrive, drive

T = TypeVar("T")

Steps: TypeAlias = Generator[Sequence[Any], Sequence[Any], T]
"""Yields the requests of each step, receives their answers and returns a result."""

_ASYNC_REQUESTS = 8  # of one step in flight at once, where the backend does not say more


class Sender(Protocol):
    """Sends requests; the part of a backend that drivers use."""

    def send(self, request: Any) -> Any:  # noqa: ANN401 - a backend's own requests and answers
        """Send one request and wait for its answer."""
        ...

    def asend(self, request: Any) -> Awaitable[Any] | None:  # noqa: ANN401
        """Return an awaitable of the answer, or None for `send` in a thread."""
        ...


@dataclass(frozen=True, slots=True)
class Pause:
    """A request to wait, which no backend sees.

    Args:
        seconds: How long.
    """

    seconds: float


def ask(request: Any) -> Steps[Any]:  # noqa: ANN401
    """Send one request and return its answer, in a step of its own."""
    [answer] = yield [request]
    return answer


def delegate(result: T | Steps[T]) -> Steps[T]:
    """Yield the requests of a hook inside another generator, and return the hook's result."""
    if not isinstance(result, GeneratorType):
        return cast(T, result)
    steps: Steps[T] = result
    return (yield from steps)


def run(result: T | Steps[T], sender: Sender, *, pool: ThreadPoolExecutor | None = None) -> T:
    """Return the result of a hook, sending its requests and waiting for the answers.

    Args:
        result: The result itself, or the generator that asks for it.
        sender: Sends the requests.
        pool: Threads that send the requests of one step; None to send them one after the other.
    """
    if not isinstance(result, GeneratorType):
        return cast(T, result)

    def send(request: Any) -> Any:  # noqa: ANN401
        return pause(request.seconds) if isinstance(request, Pause) else sender.send(request)

    def send_all(requests: Sequence[Any]) -> list[Any]:
        if pool is None or len(requests) == 1:
            return [send(request) for request in requests]
        # A copy of the context for each: a context cannot be entered twice at the same time.
        futures = [pool.submit(copy_context().run, send, request) for request in requests]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    steps: Steps[T] = result
    return drive(steps, send_all)


async def arun(
    result: T | Steps[T],
    sender: Sender,
    *,
    connections: int,
    computing: InThread,
    sending: InThread,
) -> T:
    """Return the result of a hook; requests go out together, and steps run in threads.

    Args:
        result: The result itself, or the generator that asks for it.
        sender: Sends the requests.
        connections: How many requests of one step are sent at the same time, but at least eight.
        computing: Runs a step in a thread.
        sending: Runs `send` in a thread.
    """
    if not isinstance(result, GeneratorType):
        return cast(T, result)
    turns = asyncio.Semaphore(max(connections, _ASYNC_REQUESTS))

    async def send(request: Any) -> Any:  # noqa: ANN401
        if isinstance(request, Pause):
            return await asyncio.sleep(request.seconds)
        async with turns:
            await own_turn()
            answer = sender.asend(request)
            return await (sending(sender.send, request) if answer is None else answer)

    async def send_all(requests: Sequence[Any]) -> list[Any]:
        if len(requests) == 1:
            return [await send(requests[0])]
        tasks = [asyncio.ensure_future(send(request)) for request in requests]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    steps: Steps[T] = result
    return await adrive(steps, send_all, computing)
