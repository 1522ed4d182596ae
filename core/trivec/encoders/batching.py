"""One thread that answers concurrent requests together."""

from __future__ import annotations

import asyncio
import os
import sys
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from threading import Lock
from typing import Any, Generic, TypeVar

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
    oldest, up to `most_items`. Nobody waits for company: a lone request starts at once. Requests
    whose common call fails are answered one by one, so that none fails for another's items.

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
        self._start()
        _living.add(self)

    def _start(self) -> None:
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
            if len(group) == 1 or not self._answer_together(group):
                for request in group:
                    self._answer_alone(request)

    def _answer_together(self, group: Sequence[_Request[K, T, R]]) -> bool:
        """Answer a group with one call; if that fails, answer nobody and return False."""
        try:
            answer = self._answer(group[0].key, [item for one in group for item in one.items])
            stops = list(accumulate(len(request.items) for request in group))
            parts = [self._part(answer, *bounds) for bounds in pairwise([0, *stops])]
        except BaseException:
            return False
        for request, part in zip(group, parts, strict=True):
            request.future.set_result(part)
        return True

    def _answer_alone(self, request: _Request[K, T, R]) -> None:
        try:
            answer = self._answer(request.key, request.items)
        except BaseException as error:
            request.future.set_exception(error)
        else:
            request.future.set_result(answer)

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


# Held weakly: a dispatcher ends, and its thread with it, when its last user forgets it.
_living: weakref.WeakSet[Dispatcher[Any, Any, Any]] = weakref.WeakSet()


def _start_again() -> None:
    """Give every dispatcher a thread of this process: a fork copies the memory, not the threads."""
    for dispatcher in _living:
        dispatcher._start()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_start_again)


def _fit(first: _Request[K, T, R], other: _Request[K, T, R]) -> bool:
    return first.key == other.key and not first.alone and not other.alone
