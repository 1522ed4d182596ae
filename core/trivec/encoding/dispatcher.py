"""One thread that answers concurrent requests together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

__all__ = ["Dispatcher"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class _Request(Generic[K, T, R]):
    key: K
    items: Sequence[T]
    alone: bool
    future: Future[R] = field(default_factory=Future)


class Dispatcher(Generic[K, T, R]):
    """Gathers the items of requests with equal keys and answers them with one call.

    While one call runs, requests queue; the next call takes all of them that have the key of the
    oldest, up to `most_items`. Nobody waits for company: a lone request starts at once.

    Args:
        answer: Answers all items of a key; runs in the one thread.
        part: Returns the answer to items `start` to `stop` out of an answer.
        most_items: The most items of one call; a larger request is a call of its own.

    Example:
        >>> upper = Dispatcher(
        ...     lambda key, items: [item.upper() for item in items],
        ...     lambda answer, start, stop: answer[start:stop],
        ...     most_items=8,
        ... )
        >>> async def both():
        ...     return await asyncio.gather(upper.ask("key", ["a"]), upper.ask("key", ["b", "c"]))
        >>> asyncio.run(both())
        [['A'], ['B', 'C']]
    """

    def __init__(
        self,
        answer: Callable[[K, Sequence[T]], R],
        part: Callable[[R, int, int], R],
        *,
        most_items: int,
    ) -> None:
        self._answer = answer
        self._part = part
        self._most_items = most_items
        self._lock = Lock()
        self._waiting: deque[_Request[K, T, R]] = deque()
        self._draining = False
        # Its thread starts with the first request, and ends with the dispatcher or the program.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="trivec-encoder")

    async def ask(self, key: K, items: Sequence[T], *, alone: bool = False) -> R:
        """Return the answer to these items; cancelling drops a request that still waits.

        Args:
            key: What the answer depends on beside the items.
            items: What to answer.
            alone: Never answer them together with another request.
        """
        request: _Request[K, T, R] = _Request(key, items, alone)
        with self._lock:
            self._waiting.append(request)
            start = not self._draining
            self._draining = True
        if start:
            self._thread.submit(self._drain)
        return await asyncio.wrap_future(request.future)

    def _drain(self) -> None:
        while group := self._next_group():
            key = group[0].key
            items = [item for request in group for item in request.items]
            try:
                answer = self._answer(key, items)
                start = 0
                for request in group:
                    stop = start + len(request.items)
                    request.future.set_result(
                        answer if len(group) == 1 else self._part(answer, start, stop)
                    )
                    start = stop
            except BaseException as error:
                for request in group:
                    if not request.future.done():
                        request.future.set_exception(error)

    def _next_group(self) -> list[_Request[K, T, R]]:
        """Take the oldest request and those that fit to it; empty when nobody waits."""
        with self._lock:
            group: list[_Request[K, T, R]] = []
            others: deque[_Request[K, T, R]] = deque()
            room = self._most_items
            for request in self._waiting:
                if group and not (_fit(group[0], request) and len(request.items) <= room):
                    others.append(request)
                elif request.future.set_running_or_notify_cancel():
                    group.append(request)
                    room -= len(request.items)
            self._waiting = others
            self._draining = bool(group)
            return group


def _fit(first: _Request[K, T, R], other: _Request[K, T, R]) -> bool:
    return first.key == other.key and not first.alone and not other.alone
