"""Several HTTP clients of few connections each, in place of one with many."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

Client = TypeVar("Client")

KEPT = 8  # idle connections of one client, and requests before another client is made
_MOST_CLIENTS = 32


@dataclass(slots=True)
class _Pool(Generic[Client]):
    client: Client
    running: int = 0


class Pools(Generic[Client]):
    """Gives each request a client that is not busy with many others.

    For each request httpx looks at every pair of connections of its client, so 64 callers of one
    client spend more time on that than on their requests, and callers beyond the connections that
    a client keeps connect again each time.

    Args:
        make: Makes a client that keeps `KEPT` connections.
    """

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._pools: list[_Pool[Client]] = []

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Lend a client for one request."""
        with self._lock:
            pool = next((pool for pool in self._pools if pool.running < KEPT), None)
            if pool is None and len(self._pools) < _MOST_CLIENTS:
                pool = _Pool(self._make())
                self._pools.append(pool)
            if pool is None:
                pool = min(self._pools, key=lambda pool: pool.running)
            pool.running += 1
        try:
            yield pool.client
        finally:
            with self._lock:
                pool.running -= 1

    def clients(self) -> list[Client]:
        """Return the clients that were made, to close them."""
        return [pool.client for pool in self._pools]
