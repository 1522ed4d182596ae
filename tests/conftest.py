"""Fixtures that several test folders use."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from installed import LANCE, install, on_path
from milvus_server import milvus_server
from store_cases import DATABASES, FIELDS

from trivec import Store, open_store
from trivec.document import PRIVATE_KEY
from trivec.testing import HashEncoder

LoopGap = Callable[[Callable[[], Awaitable[object]]], Awaitable[float]]

LONG = ("notebooks", "soak", "ray")  # folders whose tests take a minute and more each


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests, so that at the end no worker waits for another."""
    items.sort(key=lambda item: item.path.parent.name not in LONG)


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder()


async def _longest_gap(work: Callable[[], Awaitable[object]]) -> float:
    beats: list[tuple[float, float]] = []
    stalls: list[tuple[float, float]] = []
    stop = threading.Event()

    def witness() -> None:
        last = time.perf_counter()
        while not stop.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            if now - last > 0.008:  # longer than waiting for another thread of Python takes
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


@pytest.fixture
def loop_gap() -> LoopGap:
    """Return the longest time, in seconds, that work kept the event loop from its turn.

    A thread beats beside the loop. While it gets no turn either, the machine is busy with
    something else, which does not count; processor time of the loop's own thread always does.
    The best of five runs counts: what blocks the loop blocks it every time.
    """

    async def measure(work: Callable[[], Awaitable[object]]) -> float:
        # A full collection over the 100,000 objects of a client's models takes 0.1 s, whatever
        # runs; frozen, they are left alone.
        gc.collect()
        gc.freeze()
        try:
            best = await _longest_gap(work)
            for _ in range(4):
                if best < 0.05:
                    break
                best = min(best, await _longest_gap(work))
            return best
        finally:
            gc.unfreeze()

    return measure


@pytest.fixture
def store() -> Iterator[Store]:
    """Yield a store whose collection does not exist yet, for what is not about a database."""
    with open_store(f"memory:/{uuid4().hex}") as opened:
        yield opened
        opened.drop()


@pytest.fixture(params=DATABASES)
def every_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Yield a store whose collection does not exist yet, of each database in turn.

    Modules about databases make it their `store`.
    """
    case = DATABASES[request.param]
    if case.fixture:
        request.getfixturevalue(case.fixture)
    with case.open(tmp_path, f"frameworks_{uuid4().hex[:12]}") as opened:
        yield opened
        opened.drop()


@pytest.fixture
def fields(store: Store) -> dict[str, Any]:
    """Return what the tests filter on, for stores that filter on declared fields only.

    It is the same for both frameworks, so that their collections are one application of Vespa.
    """
    if not store.limits.declared_fields_only:
        return {}
    return {f"{PRIVATE_KEY}.ref_doc_id": str, "kind": str, "n": int, "tag": str, **FIELDS}


@pytest.fixture(scope="session")
def milvus_double(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a Milvus server that keeps native token vectors."""
    with milvus_server(tmp_path_factory.mktemp("milvus-double")) as url:
        os.environ["TRIVEC_TEST_MILVUS_DOUBLE"] = url
        yield url
        del os.environ["TRIVEC_TEST_MILVUS_DOUBLE"]


@pytest.fixture
def lance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a collection in a database that comes from an installed package."""
    folder = tmp_path_factory.mktemp("trivec-lance")
    requires = ("trivec", "lance-client<3,>=2", "lance-gpu; extra == 'gpu'")
    entries = ("lance = trivec_lance:LanceBackend", "lances = trivec_lance:LanceBackend")
    install(folder, "trivec-lance", requires=requires, entry_points=entries, code=LANCE)
    install(folder, "lance-client", version="2.7")
    with on_path(folder):
        yield "lance://localhost/articles"
