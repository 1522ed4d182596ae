"""Fixtures that several test folders use."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable

import pytest

from trivec.testing import HashEncoder

LoopGap = Callable[[Callable[[], Awaitable[object]]], Awaitable[float]]


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder()


@pytest.fixture
def loop_gap() -> LoopGap:
    """Return the longest time, in seconds, that the event loop did not get a turn during work.

    The best of five runs: another process may take the processor away, but what blocks the loop
    blocks it every time.
    """

    async def once(work: Callable[[], Awaitable[object]]) -> float:
        worst, last = 0.0, time.perf_counter()

        async def heartbeat() -> None:
            nonlocal worst, last
            while True:
                await asyncio.sleep(0.001)
                now = time.perf_counter()
                worst, last = max(worst, now - last), now

        beat = asyncio.create_task(heartbeat())
        await asyncio.sleep(0.01)
        try:
            await work()
            await asyncio.sleep(0.002)  # a last beat, so that blocking at the end counts too
        finally:
            beat.cancel()
        return worst

    async def measure(work: Callable[[], Awaitable[object]]) -> float:
        # A full collection over the 100,000 objects of a client's models takes 0.1 s, whatever
        # runs; frozen, they are left alone.
        gc.collect()
        gc.freeze()
        try:
            best = await once(work)
            for _ in range(4):
                if best < 0.05:
                    break
                best = min(best, await once(work))
            return best
        finally:
            gc.unfreeze()

    return measure
