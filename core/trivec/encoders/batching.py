"""Batches: texts that fit into one forward pass, and concurrent calls that share one."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from threading import Lock
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from trivec.encoders.processes import after_fork

# The states of a batch should stay in the processor's caches: 512 to 2,048 tokens are equally fast
# on a CPU. A GPU needs more tokens to be busy.
CPU_BATCH_TOKENS = 1024
GPU_BATCH_TOKENS = 32768

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")


def token_batches(
    lengths: NDArray[np.int64], budget: int, *, padded: int | None = None
) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of texts, longest first, in batches of at most `budget` tokens.

    A text longer than the budget is a batch by itself. Sorting puts equal lengths side by side,
    where one attention call handles them all, and reaches the peak memory use first.

    Args:
        lengths: The number of tokens of each text.
        budget: The most tokens of a batch.
        padded: The most tokens of a batch, counted as if all texts were as long as the longest.

    >>> [batch.tolist() for batch in token_batches(np.array([3, 9, 4, 3]), 8)]
    [[1], [2, 0], [3]]
    """
    order = np.argsort(-lengths, kind="stable")
    start = tokens = 0
    sizes: list[int] = lengths[order].tolist()
    for stop, length in enumerate(sizes):
        block = (stop + 1 - start) * sizes[start]
        full = tokens + length > budget or (padded is not None and block > padded)
        if stop > start and full:
            yield order[start:stop]
            start, tokens = stop, 0
        tokens += length
    if start < len(order):
        yield order[start:]


@dataclass(slots=True)
class _Call(Generic[Key, Item, Result]):
    key: Key
    items: Sequence[Item]
    alone: bool
    future: Future[Result] = field(default_factory=Future)

    def fits(self, other: _Call[Key, Item, Result]) -> bool:
        """Return whether both calls may share one computation."""
        return self.key == other.key and not self.alone and not other.alone


class Batcher(Generic[Key, Item, Result]):
    """Computes the items of concurrent calls with equal keys together, in one thread.

    While one computation runs, further calls queue. The next computation takes the oldest call and
    all others with its key, up to `max_items`. A call starts at once if nothing else runs. If a
    shared computation fails, its calls run one by one, so that no call fails because of another.

    Args:
        compute: Computes all items of a key; runs in the one thread.
        part: Returns the part of a result that belongs to the items `start` to `stop`.
        max_items: The most items of a shared computation; a larger call runs alone.

    Example:
        >>> upper = Batcher(
        ...     lambda key, items: [item.upper() for item in items],
        ...     lambda result, start, stop: result[start:stop],
        ...     max_items=8,
        ... )
        >>> async def both():
        ...     first, second = upper.submit("key", ["a"]), upper.submit("key", ["b", "c"])
        ...     return await asyncio.gather(first, second)
        >>> asyncio.run(both())
        [['A'], ['B', 'C']]
    """

    def __init__(
        self,
        compute: Callable[[Key, Sequence[Item]], Result],
        part: Callable[[Result, int, int], Result],
        *,
        max_items: int,
    ) -> None:
        self._compute = compute
        self._part = part
        self._max_items = max_items
        self._start()
        _batchers.add(self)

    def _start(self) -> None:
        self._lock = Lock()
        self._waiting: deque[_Call[Key, Item, Result]] = deque()
        self._running = False
        # The thread starts with the first call, and ends with the batcher or the program.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="trivec-encoder")

    async def submit(self, key: Key, items: Sequence[Item], *, alone: bool = False) -> Result:
        """Return the result for these items. Cancelling drops a call that still waits.

        Args:
            key: What the result depends on besides the items.
            items: What to compute.
            alone: Whether to compute them apart from all other calls.
        """
        call: _Call[Key, Item, Result] = _Call(key, items, alone)
        with self._lock:
            self._waiting.append(call)
            start = not self._running
            self._running = True
        if start:
            self._thread.submit(self._run)
        return await asyncio.wrap_future(call.future)

    def _run(self) -> None:
        while batch := self._next_batch():
            self._answer(batch)

    def _answer(self, batch: Sequence[_Call[Key, Item, Result]]) -> None:
        """Set the results of calls that are computed as one; if that fails, one by one."""
        try:
            result = self._compute(batch[0].key, [item for call in batch for item in call.items])
            stops = list(accumulate(len(call.items) for call in batch))
            bounds = pairwise([0, *stops])
            parts = [result] if len(batch) == 1 else [self._part(result, *b) for b in bounds]
        except BaseException as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
            else:
                for call in batch:
                    self._answer([call])
        else:
            for call, part in zip(batch, parts, strict=True):
                call.future.set_result(part)

    def _next_batch(self) -> list[_Call[Key, Item, Result]]:
        """Take the oldest call and those that fit it; return no calls if none wait."""
        with self._lock:
            batch: list[_Call[Key, Item, Result]] = []
            others: deque[_Call[Key, Item, Result]] = deque()
            room = self._max_items
            for call in self._waiting:
                if batch and not (batch[0].fits(call) and len(call.items) <= room):
                    others.append(call)
                elif call.future.set_running_or_notify_cancel():
                    batch.append(call)
                    room -= len(call.items)
            self._waiting = others
            self._running = bool(batch)
            return batch


# Weak references: a batcher and its thread end when the last user drops it.
_batchers: weakref.WeakSet[Batcher[Any, Any, Any]] = weakref.WeakSet()


@after_fork
def _start_all() -> None:
    """Give every batcher a thread of this process."""
    for batcher in _batchers:
        batcher._start()
