"""Fixtures that several test folders use."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

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


@pytest.fixture(scope="session")
def milvus_double(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a Milvus server that keeps native token vectors (tests/milvus/double.py).

    It runs in a process of its own, as a server does, so that it does not share our interpreter.
    """
    try:
        version = importlib.metadata.version("milvus-lite")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("milvus-lite is not installed")
    if not version.startswith("3.2."):
        pytest.skip(f"the double is built on the internals of milvus-lite 3.2, not {version}")
    script = Path(__file__).parent / "milvus" / "double.py"
    folder = tmp_path_factory.mktemp("milvus-double")
    with (
        (folder / "stderr.txt").open("w") as log,
        subprocess.Popen(
            [sys.executable, str(script), str(folder / "data")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            pytest.skip(f"the double does not start: {(folder / 'stderr.txt').read_text()[-500:]}")
        url = f"milvus://127.0.0.1:{port}"
        os.environ["TRIVEC_TEST_MILVUS_DOUBLE"] = url
        yield url
        del os.environ["TRIVEC_TEST_MILVUS_DOUBLE"]
        process.stdin.close()
        process.wait(timeout=20)
