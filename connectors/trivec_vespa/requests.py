"""Many requests at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Lock
from typing import TypeVar

from trivec.errors import StoreUnavailableError
from trivec.stores.deadline import pause, seconds_left

__all__ = ["Requests"]

T = TypeVar("T")
R = TypeVar("R")

_WAIT_SECONDS = 0.5


class Requests:
    """Threads for the requests of one store, started on first use.

    Args:
        connections: How many requests are sent at the same time.
        name: The collection.
    """

    def __init__(self, connections: int, name: str) -> None:
        self._connections = connections
        self._name = f"vespa-{name}"
        self._pool: ThreadPoolExecutor | None = None
        self._lock = Lock()

    def close(self) -> None:
        """End the threads, after the requests under way."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def each(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Apply a function to items at the same time; results come in the order of the items."""
        if len(items) == 1:
            yield function(items[0])
            return
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._connections, self._name)
            # A copy for each: a context cannot be entered twice at the same time.
            futures = [self._pool.submit(copy_context().run, function, item) for item in items]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()

    def deliver(self, send: Callable[[T], None], items: Sequence[T]) -> None:
        """Send many things at the same time; those that Vespa cannot take now again after a wait.

        As long as some are taken, only the others are sent again. If none is, the whole call is
        left to be repeated.

        Raises:
            StoreUnavailableError: If none of those that were sent was taken, or the call has no
                time to send the others again.
        """

        def attempt(item: T) -> tuple[T, StoreUnavailableError] | None:
            try:
                send(item)
            except StoreUnavailableError as error:
                return item, error
            return None

        while items:
            failures = [failure for failure in self.each(attempt, items) if failure is not None]
            if not failures:
                return
            asked = max(failure[1].retry_after or 0.0 for failure in failures)
            first = next(e for _, e in failures if (e.retry_after or 0.0) == asked)
            if len(failures) == len(items):
                raise first
            wait = asked or _WAIT_SECONDS
            left = seconds_left()
            if left is not None and left <= wait:
                raise StoreUnavailableError(
                    f"{len(failures)} of {len(items)} documents were not taken, and the call's "
                    f"deadline leaves no time to send them again: {first}",
                    retry_after=first.retry_after,
                )
            pause(wait)
            items = [item for item, _ in failures]
