"""How long work keeps an event loop from its turn."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise

_STALLED_SECONDS = 0.008  # longer than waiting for another thread of Python takes
_GOOD_SECONDS = 0.05
_RUNS = 5

Work = Callable[[], Awaitable[object]]


async def longest_gap(work: Work) -> float:
    """Return the longest time, in seconds, that work kept the event loop from its turn.

    A thread beats beside the loop. While it gets no turn either, the machine is busy with
    something else, which does not count; processor time of the loop's own thread always does.
    The best of five runs counts: what blocks the loop blocks it every time.
    """
    # A full collection over the 100,000 objects of a client's models takes 0.1 s, whatever
    # runs; frozen, they are left alone.
    gc.collect()
    gc.freeze()
    try:
        best = await _one_run(work)
        for _ in range(_RUNS - 1):
            if best < _GOOD_SECONDS:
                break
            best = min(best, await _one_run(work))
        return best
    finally:
        gc.unfreeze()


async def _one_run(work: Work) -> float:
    beats: list[tuple[float, float]] = []
    stalls: list[tuple[float, float]] = []
    stop = threading.Event()

    def witness() -> None:
        last = time.perf_counter()
        while not stop.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            if now - last > _STALLED_SECONDS:
                stalls.append((last, now))
            last = now

    async def heartbeat() -> None:
        while True:
            beats.append((time.perf_counter(), time.thread_time()))
            await asyncio.sleep(0.001)

    thread = threading.Thread(target=witness)
    thread.start()
    beat = asyncio.create_task(heartbeat())
    await asyncio.sleep(0.01)
    try:
        await work()
        await asyncio.sleep(0.002)  # a last beat, so that blocking at the end counts too
    finally:
        beat.cancel()
        stop.set()
        thread.join()
    worst = 0.0
    for (start, cpu), (end, cpu_after) in pairwise(beats):
        stalled = sum(min(end, b) - max(start, a) for a, b in stalls if a < end and b > start)
        worst = max(worst, end - start - stalled, cpu_after - cpu)
    return worst
