"""Many asynchronous calls at the same time: they wait for the server together, without threads."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import scripted_qdrant as good
from hooks import know
from loads import scaled
from qdrant_client import QdrantClient, models

from trivec import Document, Store, open_store
from trivec.collection import Collection
from trivec_qdrant import QdrantStore
from trivec_qdrant.engines.client import ClientEngine
from trivec_qdrant.engines.twins import Twins

CALLS = 64
LIMIT = 0.5  # seconds for all of them on an idle machine, where the server takes 0.2 for each
GAP = 0.05  # seconds that the event loop may be kept from its turn
TRIES = 8  # of which the best counts; REST needs some 5 ms of CPU for a search


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[int, int]]:
    script = Path(__file__).parent / "slow_server.py"
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        rest, rpc = map(int, server.stdout.readline().split())
        yield rest, rpc
        server.stdin.close()
        server.wait(20)


@pytest.fixture(params=["rest", "grpc"])
def store(request: pytest.FixtureRequest, ports: tuple[int, int]) -> Iterator[Store]:
    rest, rpc = ports
    grpc = request.param == "grpc"
    with open_store(f"qdrant://127.0.0.1:{rest}/c", prefer_grpc=grpc, grpc_port=rpc) as store:
        know(store, Collection(good.SCHEMA, good.FIELDS))
        yield store


async def _search(store: Store, i: int) -> None:
    [hit] = await store.asearch(good.VECTORS[0])
    assert hit.document == good.DOCUMENT


async def _upsert(store: Store, i: int) -> None:
    report = await store.aupsert([Document(str(i), "text", {"lang": "en"})], good.VECTORS)
    assert report.documents == 1


@pytest.mark.parametrize("call", [_search, _upsert])
async def test_calls_wait_together_and_leave_the_loop_free(
    store: Store,
    call: Callable[[Store, int], Awaitable[None]],
    loop_gap: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def not_in_a_thread(engine: ClientEngine, request: Any) -> None:
        raise AssertionError(f"{request} occupies a thread while it waits")

    monkeypatch.setattr(ClientEngine, "send", not_in_a_thread)
    await call(store, 0)  # opens the client, and imports what it needs
    seconds: list[float] = []

    async def work() -> None:
        started = time.perf_counter()
        await asyncio.gather(*(call(store, i) for i in range(CALLS)))
        seconds.append(time.perf_counter() - started)

    assert await loop_gap(work) < scaled(GAP)
    while min(seconds) >= scaled(LIMIT) and len(seconds) < TRIES:
        await work()
    assert min(seconds) < scaled(LIMIT)
    await store.aclose()


async def test_a_large_write_leaves_the_loop_free(store: Store, loop_gap: Any) -> None:
    documents = [Document(str(i), "x" * 10_000) for i in range(3_500)]
    vectors = good.VECTORS.take([0] * len(documents))
    assert await loop_gap(lambda: store.aupsert(documents, vectors)) < scaled(GAP)


def test_each_event_loop_has_its_own_client(store: Store) -> None:
    async def work() -> None:
        await asyncio.gather(*(_search(store, i) for i in range(8)))

    for _ in range(3):
        asyncio.run(work())
    backend: Any = store._handle.backend
    assert len(backend._engine._twins._twins) == 1  # those of closed loops are forgotten


async def test_a_store_that_is_closed_without_waiting_closes_its_client(store: Store) -> None:
    await _search(store, 0)
    backend: Any = store._handle.backend
    twin = await backend._engine._twins.get()
    store.close()
    for _ in range(100):
        if twin._client.closed:
            break
        await asyncio.sleep(0.01)
    assert twin._client.closed


@pytest.mark.parametrize("prefer_grpc", [True, False])
async def test_a_ready_client_has_an_asynchronous_twin(
    ports: tuple[int, int], prefer_grpc: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest, rpc = ports
    client = QdrantClient(
        host="127.0.0.1",
        port=rest,
        grpc_port=rpc,
        https=False,
        prefer_grpc=prefer_grpc,
        headers={"x-team": "search"},
        timeout=10,
        check_compatibility=False,
    )
    with contextlib.closing(client):
        async with QdrantStore(client, "c") as store:
            know(store, Collection(good.SCHEMA))
            with monkeypatch.context() as patch:
                patch.delattr(ClientEngine, "send")
                await _search(store, 0)
        assert client.count("c").count == 1  # it stays open


def test_a_client_with_more_than_options_has_no_twin() -> None:
    def make(**options: Any) -> QdrantClient:
        return QdrantClient(host="localhost", check_compatibility=False, **options)

    for client in (make(event_hooks={"request": []}), make(https=True, auth_token_provider=str)):
        with contextlib.closing(client):
            assert not Twins(client).possible
    with contextlib.closing(make()) as client:
        client.http.client._client.headers["x-later"] = "1"
        twins = Twins(client)
        assert asyncio.run(twins.get()) is None
        assert not twins.possible


async def test_the_pure_python_mode_runs_in_threads() -> None:
    with contextlib.closing(QdrantClient(":memory:")) as client:
        vectors = {"dense": models.VectorParams(size=4, distance=models.Distance.DOT)}
        client.create_collection("c", vectors_config=vectors)
        async with QdrantStore(client, "c") as store:
            before = threading.active_count()
            assert await store.acount() == 0
            assert threading.active_count() > before
