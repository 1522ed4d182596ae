"""Calls of a backend's methods without the repetitions and checks of its store."""

from __future__ import annotations

import asyncio
from typing import Any

from trivec import Store
from trivec.collection import Collection
from trivec.stores.steps import arun, run


def know(store: Store, collection: Collection) -> None:
    """Let a store know its collection without asking."""
    backend: Any = store._handle.backend
    backend.describe = lambda declared: collection
    store._handle.created(collection)


def once(store: Store, method: str, *args: object) -> Any:
    """Call a method of the backend, with the collection that the store knows, a single time."""
    backend: Any = store._handle.backend
    return run(getattr(backend, method)(store._handle.collection, *args), backend)


async def aonce(store: Store, method: str, *args: object) -> Any:
    """Call a method of the backend in the running event loop, a single time."""
    backend: Any = store._handle.backend
    return await arun(
        getattr(backend, method)(store._handle.collection, *args),
        backend,
        connections=1,
        computing=asyncio.to_thread,
        sending=asyncio.to_thread,
    )


def write(store: Store, documents: Any, vectors: Any) -> None:
    """Write documents a single time."""
    once(store, "write", documents, vectors)
