"""Turns of an event loop, of which each request and each answer gets its own."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


async def own_turn() -> None:
    """Wait for a turn of the running event loop that no other caller of this function has.

    Clients build requests and parse answers in the event loop, a millisecond each and more. Many
    that are ready at the same time would keep everything else from its turn.
    """
    async with _locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        await asyncio.sleep(0)
