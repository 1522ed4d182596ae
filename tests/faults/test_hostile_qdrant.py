"""Qdrant servers, and what stands before them, that answer wrongly, late or not at all."""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import hostile_grpc
import hostile_http
import httpcore
import pytest
import scripted_qdrant as good
from hooks import aonce, know, once, write
from hostile_grpc import Call, HostileGrpc, RawServer, reply
from hostile_http import HostileServer, Request, answer, closed_port, self_signed
from qdrant_client import QdrantClient
from qdrant_client import grpc as messages

from trivec import Document, F, Store, open_store
from trivec.bounded import bound
from trivec.collection import Collection
from trivec.errors import (
    AuthenticationError,
    InvalidOptionError,
    StoreError,
    StoreUnavailableError,
    TrivecError,
)
from trivec_qdrant import QdrantStore

TIMEOUT = 0.3
IN_TIME = 8.0  # for one call, on a busy machine; what drips would go on for hours
KEY = "s3cr3t-key"
OTHER = "8f4a1cd0-5395-56a9-8185-65374fd10815"  # a point that nobody asked for


def _write(store: Store) -> object:
    return store.upsert([good.DOCUMENT], good.VECTORS)


def _search(store: Store) -> object:
    return store.search(good.VECTORS[0], k=3)


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "describe": lambda store: store.describe(),
    "upsert": _write,
    "get": lambda store: store.get(["a"]),
    "get vectors": lambda store: store.get(["a"], with_vectors=True),
    "search": _search,
    "search dense": lambda store: store.search(good.VECTORS[0], mode="dense"),
    "search rrf": lambda store: store.search(good.VECTORS[0], mode="rrf"),
    "count": lambda store: store.count(),
    "delete": lambda store: store.delete(["a"]),
    "delete_where": lambda store: store.delete_where(F("lang") == "en"),
    "scan": lambda store: list(store.scan(with_vectors=True)),
    "drop": lambda store: store.drop(),
    "version": lambda store: store.count(F("lang").text("e")),
}
"""What is asked of the collection `c`, which is there."""

REST_PATHS: dict[str, tuple[str, str]] = {
    "describe": ("GET", "/collections/c"),
    "upsert": ("PUT", "/collections/c/points"),
    "get": ("POST", "/collections/c/points"),
    "get vectors": ("POST", "/collections/c/points"),
    "search": ("POST", "/collections/c/points/query/batch"),
    "search dense": ("POST", "/collections/c/points/query/batch"),
    "search rrf": ("POST", "/collections/c/points/query/batch"),
    "count": ("POST", "/collections/c/points/count"),
    "delete": ("POST", "/collections/c/points/delete"),
    "delete_where": ("POST", "/collections/c/points/delete"),
    "scan": ("POST", "/collections/c/points/scroll"),
    "drop": ("DELETE", "/collections/c"),
    "version": ("GET", "/"),
}
GRPC_METHODS = {
    "describe": "Collections/Get",
    "upsert": "Points/Upsert",
    "get": "Points/Get",
    "get vectors": "Points/Get",
    "search": "Points/QueryBatch",
    "search dense": "Points/QueryBatch",
    "search rrf": "Points/QueryBatch",
    "count": "Points/Count",
    "delete": "Points/Delete",
    "delete_where": "Points/Delete",
    "scan": "Points/Scroll",
    "drop": "Collections/Delete",
    "version": "Qdrant/HealthCheck",
}


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    """Keep grpcio's server from printing what it was told to do."""
    logger = logging.getLogger("grpc")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[HostileServer, HostileGrpc]]:
    with HostileServer(good.rest) as http, HostileGrpc(good.over_grpc) as rpc:
        yield http, rpc


@pytest.fixture
def http(both: tuple[HostileServer, HostileGrpc]) -> HostileServer:
    """A server that does nothing bad yet."""
    http, _ = both
    http.always, http.when = None, lambda request: True
    http.script.clear()
    http.requests.clear()
    return http


@pytest.fixture
def rpc(both: tuple[HostileServer, HostileGrpc]) -> HostileGrpc:
    _, rpc = both
    rpc.always, rpc.when = None, lambda call: True
    rpc.script.clear()
    rpc.calls.clear()
    return rpc


@pytest.fixture(scope="module")
def rest(both: tuple[HostileServer, HostileGrpc]) -> Iterator[Store]:
    """A store that gives up before it would try again."""
    with _over_rest(both[0].port) as store:
        yield store


@pytest.fixture(scope="module")
def packed(both: tuple[HostileServer, HostileGrpc]) -> Iterator[Store]:
    with _over_grpc(both[1].port) as store:
        yield store


def _over_rest(port: int, name: str = "c", **options: Any) -> Store:
    """Open a store that gives up before it would try again."""
    options = {"timeout": TIMEOUT, "deadline": 0.45, **options}
    return open_store(f"qdrant://127.0.0.1:{port}/{name}", prefer_grpc=False, **options)


def _over_grpc(port: int, name: str = "c", **options: Any) -> Store:
    options = {"timeout": TIMEOUT, "deadline": 0.45, **options}
    return open_store(f"qdrant://127.0.0.1:{port}/{name}", grpc_port=port, **options)


def _rest_only(operation: str) -> Callable[[Request], bool]:
    method, path = REST_PATHS[operation]
    return lambda r: (r.method, r.path.partition("?")[0]) == (method, path)


def _grpc_only(operation: str) -> Callable[[Call], bool]:
    method = GRPC_METHODS[operation]
    return lambda call: f"{call.service}/{call.method}".endswith(f".{method}")


def _fails(operation: str, store: Store, expected: type[TrivecError] = StoreError) -> TrivecError:
    """Check that an operation fails in time as one of ours, and return its error."""
    started = time.monotonic()
    with pytest.raises(TrivecError) as caught:
        OPERATIONS[operation](store)
    took = time.monotonic() - started
    assert isinstance(caught.value, expected), f"{operation}: {caught.value!r}"
    assert took < IN_TIME, f"{operation} took {took:.1f} s"
    return caught.value


@pytest.mark.parametrize("operation", OPERATIONS)
def test_good_answers_pass(operation: str, http: HostileServer, rpc: HostileGrpc) -> None:
    for store in (_over_rest(http.port, deadline=20), _over_grpc(rpc.port, deadline=20)):
        with store:
            if operation == "drop":  # the collection stays where it was
                with pytest.raises(StoreError, match="alias"):
                    store.drop()
                continue
            found = OPERATIONS[operation](store)
            if operation.startswith("get"):
                assert found.documents == [good.DOCUMENT]  # type: ignore[attr-defined]
            if operation == "count":
                assert found == 1
    assert any(map(_rest_only(operation), http.requests))
    assert any(map(_grpc_only(operation), rpc.calls))


def test_good_collections_are_created(http: HostileServer, rpc: HostileGrpc) -> None:
    for store in (
        _over_rest(http.port, "new", deadline=20, timeout=5),
        _over_grpc(rpc.port, "new", deadline=20, timeout=5),
    ):
        with store:
            store.create(good.SCHEMA, fields=good.FIELDS)


@pytest.mark.parametrize("name", [*hostile_http.BROKEN, *hostile_http.EMPTY])
def test_rest_answers_that_are_none(name: str, http: HostileServer, rest: Store) -> None:
    http.always = {**hostile_http.BROKEN, **hostile_http.EMPTY}[name]
    for operation in OPERATIONS:
        http.when = _rest_only(operation)
        _fails(operation, rest)


@pytest.mark.parametrize("name", [*hostile_grpc.BROKEN, *hostile_grpc.STATUSES])
def test_grpc_answers_that_are_none(name: str, rpc: HostileGrpc, packed: Store) -> None:
    rpc.always = {**hostile_grpc.BROKEN, **hostile_grpc.STATUSES}[name]
    for operation in OPERATIONS:
        rpc.when = _grpc_only(operation)
        _fails(operation, packed)


@pytest.mark.parametrize("name", hostile_grpc.BROKEN_BELOW)
def test_connections_that_break(name: str) -> None:
    with RawServer(hostile_grpc.BROKEN_BELOW[name]) as server, _over_grpc(server.port) as store:
        error = _fails("count", store, StoreUnavailableError)
    assert ("prefer_grpc=False" in str(error)) == (name == "http1")


def _at_once(check: Callable[[str], None]) -> None:
    """Check every operation, all at once, since each waits."""
    with ThreadPoolExecutor(len(OPERATIONS)) as pool:
        list(pool.map(check, OPERATIONS))


@pytest.mark.parametrize("name", hostile_http.HANGING)
def test_rest_requests_end_in_time(name: str) -> None:
    def check(operation: str) -> None:
        with HostileServer(good.rest) as server, _over_rest(server.port) as store:
            server.always = hostile_http.HANGING[name]
            server.when = _rest_only(operation)
            _fails(operation, store, StoreUnavailableError)

    _at_once(check)


def test_grpc_requests_end_in_time() -> None:
    def check(operation: str) -> None:
        with HostileGrpc(good.over_grpc) as server, _over_grpc(server.port) as store:
            server.always = hostile_grpc.deaf
            server.when = _grpc_only(operation)
            _fails(operation, store, StoreUnavailableError)

    _at_once(check)


@pytest.mark.parametrize("name", hostile_grpc.HANGING_BELOW)
def test_grpc_connections_end_in_time(name: str) -> None:
    with RawServer(hostile_grpc.HANGING_BELOW[name]) as server:

        def check(operation: str) -> None:
            with _over_grpc(server.port) as store:
                _fails(operation, store, StoreUnavailableError)

        _at_once(check)


@pytest.mark.parametrize("operation", ["create", "index"])
def test_a_creation_ends_in_time(operation: str) -> None:
    path = {"create": "/collections/new", "index": "/collections/new/index"}[operation]
    method = {"create": ".Collections/Create", "index": ".Points/CreateFieldIndex"}[operation]

    def put(request: Request) -> bool:
        return request.method == "PUT" and request.path.partition("?")[0] == path

    with HostileServer(good.rest, hostile_http.drip_body, when=put) as http:
        with _over_rest(http.port, "new") as store:
            _does_not_create(store, StoreUnavailableError)
        for result in (None, False, {}, {"operation_id": 1, "status": "acknowledged"}, [True]):
            http.always = answer(200, good.told(result))
            with _over_rest(http.port, "new") as store:
                _does_not_create(store, StoreUnavailableError)
    with HostileGrpc(good.over_grpc, hostile_grpc.deaf) as rpc:
        rpc.when = lambda call: f"{call.service}/{call.method}".endswith(method)
        with _over_grpc(rpc.port, "new") as store:
            _does_not_create(store, StoreUnavailableError)
        acknowledged = good.updated(messages.UpdateStatus.Acknowledged)
        refused = messages.CollectionOperationResponse(result=False, time=0.1)
        for message in (b"", refused, acknowledged if operation == "index" else refused):
            rpc.always = reply(message)
            with _over_grpc(rpc.port, "new") as store:
                _does_not_create(store, StoreUnavailableError)


def _does_not_create(store: Store, expected: type[TrivecError]) -> None:
    started = time.monotonic()
    with pytest.raises(expected):
        store.create(good.SCHEMA, fields=good.FIELDS)
    assert time.monotonic() - started < IN_TIME


async def test_asynchronous_calls_end_in_time() -> None:
    with (
        HostileServer(good.rest, hostile_http.drip_headers) as http,
        RawServer(hostile_grpc.HANGING_BELOW["drip-message"]) as rpc,
    ):
        for store in (_over_rest(http.port), _over_grpc(rpc.port)):
            async with store:
                for call in (
                    store.aupsert([good.DOCUMENT], good.VECTORS),
                    store.asearch(good.VECTORS[0]),
                    store.acount(),
                ):
                    started = time.monotonic()
                    with pytest.raises(StoreUnavailableError):
                        await call
                    assert time.monotonic() - started < IN_TIME


async def _fails_alike(store: Store) -> None:
    """Check that requests fail in the event loop as they do in a thread."""
    know(store, Collection(good.SCHEMA))
    for method, *args in (("count", None), ("get", ["a"], False)):
        with pytest.raises(TrivecError) as caught:
            await asyncio.to_thread(once, store, method, *args)
        with pytest.raises(TrivecError) as in_loop:
            await aonce(store, method, *args)
        assert type(in_loop.value) is type(caught.value)
        assert str(in_loop.value).removeprefix("'c': ")
        seconds = [getattr(error.value, "retry_after", None) for error in (caught, in_loop)]
        assert seconds[0] == pytest.approx(seconds[1], abs=5)


@pytest.mark.parametrize(
    "name", [*hostile_http.BROKEN, *hostile_http.EMPTY, *hostile_http.RETRY_AFTER]
)
async def test_rest_answers_fail_alike_in_an_event_loop(name: str, http: HostileServer) -> None:
    known = {**hostile_http.BROKEN, **hostile_http.EMPTY, **hostile_http.RETRY_AFTER}
    http.always, http.when = known[name], lambda r: "/points" in r.path
    async with _over_rest(http.port, timeout=5) as store:
        await _fails_alike(store)


@pytest.mark.parametrize(
    "name", [*hostile_grpc.BROKEN, *hostile_grpc.STATUSES, *hostile_grpc.RETRY_AFTER]
)
async def test_grpc_answers_fail_alike_in_an_event_loop(name: str, rpc: HostileGrpc) -> None:
    known = {**hostile_grpc.BROKEN, **hostile_grpc.STATUSES, **hostile_grpc.RETRY_AFTER}
    rpc.always, rpc.when = known[name], lambda call: "Points" in call.service
    async with _over_grpc(rpc.port, timeout=5) as store:
        await _fails_alike(store)


def test_a_client_that_was_handed_in_ends_in_time_and_stays_as_it_was(http: HostileServer) -> None:
    client = QdrantClient(
        url=f"http://127.0.0.1:{http.port}", timeout=30, check_compatibility=False
    )
    with closing(client), QdrantStore(client, "c", deadline=0.45) as store:
        QdrantStore(client, "c").close()  # another one of the same client
        http.always = hostile_http.drip_body
        _fails("count", store, StoreUnavailableError)
        http.always = None
        assert client.count("c").count == 1
        transport: Any = client.http.client._client._transport
        backend = transport._pool._network_backend
        http_client: Any = client.http.client
        bound(http_client._client)
        assert transport._pool._network_backend is backend
        assert isinstance(backend._inner, httpcore.SyncBackend)


def test_large_requests_arrive_whole(http: HostileServer) -> None:
    documents = [Document(str(i), "x" * 100_000) for i in range(20)]
    vectors = good.VECTORS.take([0] * 20)
    with _over_rest(http.port, timeout=20, deadline=20) as store:
        store.upsert(documents, vectors)
    body = next(r.body for r in http.requests if _rest_only("upsert")(r))
    assert all(d.text.encode() in body for d in documents)
    assert len(body) > 2_000_000


# --- answers that contradict what was asked ------------------------------------------------------

NOT_WRITTEN: list[object] = [
    None,
    {},
    [],
    True,
    "completed",
    {"operation_id": 1},
    {"operation_id": 1, "status": "acknowledged"},
    {"operation_id": 1, "status": "wait_timeout"},
    {"operation_id": 1, "status": "done"},
    {"operation_id": 1, "status": None},
]


@pytest.mark.parametrize("operation", ["upsert", "delete", "delete_where"])
def test_no_write_is_acknowledged_that_was_not(
    operation: str, http: HostileServer, rpc: HostileGrpc, rest: Store, packed: Store
) -> None:
    http.when, rpc.when = _rest_only(operation), _grpc_only(operation)
    for result in NOT_WRITTEN:
        http.always = answer(200, good.told(result))
        _fails(operation, rest, StoreUnavailableError)
    for status in (0, 1, 3, 4, 77, -1):
        rpc.always = reply(good.updated(status))
        _fails(operation, packed, StoreUnavailableError)
    rpc.always = reply(messages.PointsOperationResponse(time=0.1))
    _fails(operation, packed, StoreUnavailableError)


def _changed(**members: object) -> dict[str, Any]:
    return {**copy.deepcopy(good.HIT), **members}


def _with_vectors(**vectors: object) -> list[dict[str, Any]]:
    return [_changed(vector={**good.HIT["vector"], **vectors})]


NAN = float("nan")
WRONG_HITS: dict[str, list[dict[str, Any]]] = {
    "no payload": [_changed(payload=None)],
    "payload is a list": [_changed(payload=[1])],
    "no vectors": [_changed(vector=None)],
    "short dense": _with_vectors(dense=[1.0]),
    "long dense": _with_vectors(dense=[1.0] * 5),
    "rows for dense": _with_vectors(dense=[[1.0] * 4]),
    "words for dense": _with_vectors(dense=["x"] * 4),
    "dense that is no number": _with_vectors(dense=[NAN] * 4),
    "list for sparse": _with_vectors(sparse=[1.0]),
    "uneven sparse": _with_vectors(sparse={"indices": [1, 2], "values": [0.5]}),
    "index below 0": _with_vectors(sparse={"indices": [-1], "values": [0.5]}),
    "no id": [_changed(id=None)],
    "odd id": [_changed(id="nonsense")],
    "negative id": [_changed(id=-1)],
    "twice": [good.HIT, good.HIT],
    "too many": [_changed(id=i) for i in range(500)],
}
WRONG_SCORES: dict[str, list[dict[str, Any]]] = {
    str(score): [_changed(score=score)] for score in (None, NAN, math.inf, "best", [0.5])
}
WRONG_TOKENS = {
    "short tokens": _with_vectors(colbert=[[1.0]]),
    "uneven tokens": _with_vectors(colbert=[[1.0] * 4, [1.0] * 3]),
    "flat tokens": _with_vectors(colbert=[1.0] * 4),
    "a stranger": [_changed(id=OTHER)],
}


@pytest.mark.parametrize("name", [*WRONG_HITS, *WRONG_SCORES])
def test_no_wrong_hit_is_taken(name: str, http: HostileServer, rest: Store) -> None:
    http.when = _rest_only("search")
    points = {**WRONG_HITS, **WRONG_SCORES}[name]
    http.always = answer(200, good.told([{"points": points}] * 3))
    _fails("search", rest)


@pytest.mark.parametrize(
    "result", [None, {}, [], [None] * 3, [{"points": []}], [{"points": []}] * 4]
)
def test_each_query_has_an_answer(result: object, http: HostileServer, rest: Store) -> None:
    http.when, http.always = _rest_only("search"), answer(200, good.told(result))
    _fails("search", rest)


@pytest.mark.parametrize("name", [*WRONG_HITS, *WRONG_TOKENS])
def test_no_wrong_point_is_taken(name: str, http: HostileServer, rest: Store) -> None:
    points = {**WRONG_HITS, **WRONG_TOKENS}[name]
    http.when, http.always = _rest_only("get"), answer(200, good.told(points))
    _fails("get vectors", rest)
    if name != "a stranger":
        page = {"points": points, "next_page_offset": None}
        http.when, http.always = _rest_only("scan"), answer(200, good.told(page))
        _fails("scan", rest)


def _hits(change: Callable[[Any], object]) -> messages.ScoredPoint:
    hit = good.scored()
    change(hit)
    return hit


def _vector(name: str, **of: Any) -> Callable[[Any], object]:
    return lambda hit: hit.vectors.vectors.vectors[name].CopyFrom(messages.VectorOutput(**of))


def _rows(*lengths: int) -> messages.MultiDenseVector:
    return messages.MultiDenseVector(
        vectors=[messages.DenseVector(data=[1.0] * length) for length in lengths]
    )


WRONG_MESSAGES: dict[str, Callable[[Any], object]] = {
    "no id": lambda hit: hit.ClearField("id"),
    "empty id": lambda hit: hit.id.ClearField("uuid"),
    "odd id": lambda hit: setattr(hit.id, "uuid", "nonsense"),
    "no vectors": lambda hit: hit.ClearField("vectors"),
    "short dense": _vector("dense", dense=messages.DenseVector(data=[1.0])),
    "dense without numbers": _vector("dense", dense=messages.DenseVector()),
    "dense that is no number": _vector("dense", dense=messages.DenseVector(data=[NAN] * 4)),
    "tokens for dense": _vector("dense", multi_dense=_rows(4)),
    "dense for sparse": _vector("sparse", dense=messages.DenseVector(data=[1.0] * 4)),
    "uneven sparse": _vector("sparse", sparse=messages.SparseVector(values=[1.0], indices=[1, 2])),
    "an empty vector": _vector("dense"),
    "an empty value": lambda hit: hit.payload["text"].Clear(),
}
WRONG_MESSAGES_OF_TOKENS = {
    "no rows": _vector("colbert", multi_dense=_rows()),
    "empty rows": _vector("colbert", multi_dense=_rows(0, 0)),
    "short rows": _vector("colbert", multi_dense=_rows(3, 3)),
    "uneven rows": _vector("colbert", multi_dense=_rows(4, 3)),
    "rows uneven at even length": _vector("colbert", multi_dense=_rows(4, 3, 5)),
}


@pytest.mark.parametrize("name", WRONG_MESSAGES)
def test_no_wrong_hit_is_taken_over_grpc(name: str, rpc: HostileGrpc, packed: Store) -> None:
    rpc.when = _grpc_only("search")
    one = messages.BatchResult(result=[_hits(WRONG_MESSAGES[name])])
    rpc.always = reply(messages.QueryBatchResponse(result=[one] * 3, time=0.1))
    _fails("search", packed)


def test_answers_of_a_search_fit_the_queries_over_grpc(rpc: HostileGrpc, packed: Store) -> None:
    hit = good.scored()
    wrong: list[list[list[messages.ScoredPoint]]] = [
        [],
        [[]],
        [[]] * 4,
        [[hit, hit]] * 3,
        [[_hits(lambda hit: setattr(hit, "score", NAN))]] * 3,
    ]
    rpc.when = _grpc_only("search")
    for lists in wrong:
        result = [messages.BatchResult(result=one) for one in lists]
        rpc.always = reply(messages.QueryBatchResponse(result=result, time=0.1))
        _fails("search", packed, StoreUnavailableError)


@pytest.mark.parametrize("name", [*WRONG_MESSAGES, *WRONG_MESSAGES_OF_TOKENS])
def test_no_wrong_point_is_taken_over_grpc(name: str, rpc: HostileGrpc, packed: Store) -> None:
    point = good.retrieved()
    {**WRONG_MESSAGES, **WRONG_MESSAGES_OF_TOKENS}[name](point)
    rpc.when = _grpc_only("get")
    rpc.always = reply(messages.GetResponse(result=[point], time=0.1))
    _fails("get vectors", packed)
    rpc.when = _grpc_only("scan")
    rpc.always = reply(messages.ScrollResponse(result=[point], time=0.1))
    _fails("scan", packed)


def test_only_points_come_that_were_asked_for(rpc: HostileGrpc, packed: Store) -> None:
    other = good.retrieved()
    other.id.uuid = OTHER
    rpc.when = _grpc_only("get")
    for points in ([other], [good.retrieved(), good.retrieved()]):
        rpc.always = reply(messages.GetResponse(result=points, time=0.1))
        _fails("get", packed, StoreUnavailableError)


@pytest.mark.parametrize("following", [0, 7, good.POINT, "nonsense", -1, [], {"a": 1}])
def test_a_scan_ends(following: object, http: HostileServer, rest: Store) -> None:
    """The second page leads to itself, before itself, or nowhere."""
    http.when = _rest_only("scan")
    http.always = answer(200, good.told({"points": [good.HIT], "next_page_offset": following}))
    http.script.append(answer(200, good.told({"points": [], "next_page_offset": good.POINT})))
    _fails("scan", rest)
    assert sum(map(http.when, http.requests)) == 2


def test_a_scan_ends_over_grpc(rpc: HostileGrpc, packed: Store) -> None:
    rpc.when = _grpc_only("scan")
    for offset in (
        messages.PointId(uuid=good.POINT),
        messages.PointId(num=3),
        messages.PointId(),
        messages.PointId(uuid="nonsense"),
    ):
        begin = messages.PointId(uuid=good.POINT)
        first = messages.ScrollResponse(next_page_offset=begin, time=0.1)
        rpc.script.append(reply(first))
        rpc.always = reply(messages.ScrollResponse(next_page_offset=offset, time=0.1))
        _fails("scan", packed)


@pytest.mark.parametrize("count", [None, -1, 1.5, "many", [], {}, NAN, 10**400])
def test_no_wrong_count_is_taken(count: object, http: HostileServer, rest: Store) -> None:
    http.when, http.always = _rest_only("count"), answer(200, good.told({"count": count}))
    _fails("count", rest)


def _described(place: str, value: object) -> dict[str, Any]:
    info = copy.deepcopy(good.INFO)
    *path, last = place.split(".")
    inside = info
    for key in path:
        inside = inside[key]
    inside[last] = value
    return info


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("config", None),
        ("config.params", {}),
        ("config.params.vectors", []),
        ("config.params.vectors.dense", None),
        ("config.params.vectors.dense.size", 0),
        ("config.params.vectors.dense.size", -4),
        ("config.params.vectors.dense.size", 2**40),
        ("config.params.vectors.dense.size", NAN),
        ("config.params.vectors.dense.distance", "Far"),
        ("config.params.sparse_vectors", 5),
        ("config.metadata", [1]),
        ("config.metadata", {"trivec": 5}),
        ("config.metadata", {"trivec": {"fields": ["lang"]}}),
        ("config.metadata", {"trivec": {"fields": {"lang": "nonsense"}}}),
        ("config.metadata", {"trivec": {"fields": {"": "str"}}}),
        ("payload_schema", None),
        ("payload_schema", {"metadata.lang": {"data_type": "nonsense", "points": 1}}),
        ("status", "purple"),
    ],
)
def test_a_description_is_one(place: str, value: object, http: HostileServer, rest: Store) -> None:
    http.when = _rest_only("describe")
    http.always = answer(200, good.told(_described(place, value)))
    _fails("describe", rest, TrivecError)
    _fails("upsert", rest, TrivecError)
    assert not any(map(_rest_only("upsert"), http.requests))


def test_a_description_is_one_over_grpc(rpc: HostileGrpc, packed: Store) -> None:
    rpc.when = _grpc_only("describe")
    empty = messages.GetCollectionInfoResponse(result=messages.CollectionInfo(), time=0.1)
    odd = good.described(good.INFO)
    odd.result.config.params.vectors_config.params_map.map["dense"].size = 0
    for message in (empty, odd, messages.GetCollectionInfoResponse(time=0.1)):
        rpc.always = reply(message)
        _fails("describe", packed)


@pytest.mark.parametrize(
    "version", ["", "1", "1.x-dev", "v1.19.0", "9" * 5000 + ".1", "\u0661.\u0662"]
)
def test_a_version_is_one(
    version: str, http: HostileServer, rpc: HostileGrpc, rest: Store, packed: Store
) -> None:
    http.when, rpc.when = _rest_only("version"), _grpc_only("version")
    http.always = answer(200, {"title": "qdrant", "version": version})
    rpc.always = reply(messages.HealthCheckReply(title="qdrant", version=version))
    _fails("version", rest)
    _fails("version", packed)


# --- waiting, secrets, certificates --------------------------------------------------------------


@pytest.mark.parametrize("name", hostile_http.RETRY_AFTER)
@pytest.mark.parametrize("status", [429, 503])
def test_any_retry_after_is_read(name: str, status: int, http: HostileServer, rest: Store) -> None:
    value = name.removeprefix("retry-after ")
    http.when = _rest_only("count")
    http.always = (
        hostile_http.RETRY_AFTER[name]
        if status == 503
        else answer(429, {"status": {"error": ["busy"]}}, {"Retry-After": value})
    )
    error = _fails("count", rest, StoreUnavailableError)
    assert isinstance(error, StoreUnavailableError)
    assert error.retry_after is None or 0 <= error.retry_after <= 60


@pytest.mark.parametrize("name", hostile_grpc.RETRY_AFTER)
def test_any_retry_after_is_read_over_grpc(name: str, rpc: HostileGrpc, packed: Store) -> None:
    rpc.when, rpc.always = _grpc_only("count"), hostile_grpc.RETRY_AFTER[name]
    error = _fails("count", packed, StoreUnavailableError)
    assert isinstance(error, StoreUnavailableError)
    assert error.retry_after is None or 0 <= error.retry_after <= 60


def test_a_fraction_of_a_second_is_obeyed(http: HostileServer, rpc: HostileGrpc) -> None:
    http.when, rpc.when = _rest_only("count"), _grpc_only("count")
    for status in (429, 503):
        http.script.append(answer(status, {"status": {"error": "busy"}}, {"Retry-After": "0.02"}))
    rpc.script.append(hostile_grpc.busy("0.02"))
    with _over_rest(http.port, deadline=10) as rest, _over_grpc(rpc.port, deadline=10) as packed:
        for store in (rest, packed):
            started = time.monotonic()
            assert store.count() == 1
            assert time.monotonic() - started < 0.5  # without being told it waits longer
    assert sum(map(http.when, http.requests)) == 3


def test_a_request_that_is_too_large_is_so_whenever_to_come_again(http: HostileServer) -> None:
    http.when = _rest_only("upsert")
    text = "request larger than rate limiter capacity, please try to split your request"
    for value in ("20", "soon"):
        http.script.append(answer(429, {"status": {"error": text}}, {"Retry-After": value}))
    with _over_rest(http.port) as store, pytest.raises(StoreError, match="alone is too large"):
        store.upsert([good.DOCUMENT], good.VECTORS)


def test_a_key_that_a_server_sends_back_is_not_shown(
    http: HostileServer, rpc: HostileGrpc, caplog: pytest.LogCaptureFixture
) -> None:
    text = f"\x1b[31mInvalid key {KEY}\n"
    http.when, rpc.when = _rest_only("count"), _grpc_only("count")
    with _over_rest(http.port, api_key=KEY) as rest, _over_grpc(rpc.port, api_key=KEY) as packed:
        for status in (200, 401, 429, 503):
            http.always = answer(status, {"status": {"error": text}}, {"Retry-After": KEY})
            _shows_nothing(_fails("count", rest))
        for code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE):
            rpc.always = hostile_grpc.refuse(code, text)
            _shows_nothing(_fails("count", packed))
        assert KEY not in f"{rest!r} {packed!r} {rest.__dict__}"
    assert KEY not in caplog.text
    assert http.requests[-1].headers["api-key"] == KEY
    assert rpc.calls[-1].metadata["api-key"] == KEY


def _shows_nothing(error: BaseException | None) -> None:
    while error is not None:
        assert KEY not in f"{error!r} {error}"
        assert "\x1b" not in str(error) or error.__cause__ is None
        error = error.__cause__


@pytest.mark.parametrize("key", [f"{KEY}\n", f"\u00fc{KEY}", f"{KEY}\0", f"{KEY}\r\nX: y"])
def test_a_key_that_cannot_be_sent_is_refused_unseen(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for grpc_first in (True, False):
        with pytest.raises(InvalidOptionError, match="api_key") as caught:
            open_store("qdrant://127.0.0.1/c", api_key=key, prefer_grpc=grpc_first)
        assert KEY not in str(caught.value)


def test_a_key_without_tls_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    for url, warned in (
        ("qdrant://plain.example/c", 1),
        ("qdrant://plain.example/d", 0),
        ("qdrants://tls.example/c", 0),
        ("qdrant://localhost/c", 0),
        ("qdrant://127.3.2.1/c", 0),
        ("qdrant://[::1]/c", 0),
        ("qdrant://10.1.2.3/c", 1),
    ):
        for prefer_grpc in (True, False):
            open_store(url, api_key=KEY, prefer_grpc=prefer_grpc).close()
        told = [record.getMessage() for record in caplog.records]
        assert len(told) == warned, url
        assert KEY not in "".join(told)
        caplog.clear()


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("qdrant://127.0.0.1:0/c", {}),
        ("qdrant://127.0.0.1:65535/c", {}),
        ("qdrant://127.0.0.1/c", {"grpc_port": 0}),
        ("qdrant://127.0.0.1/c", {"grpc_port": 65536}),
        ("qdrant://127.0.0.1/c", {"grpc_port": "6334"}),
        ("qdrant://127.0.0.1/c", {"timeout": 0}),
        ("qdrant://127.0.0.1/c", {"timeout": float("nan")}),
        ("qdrant://127.0.0.1/c", {"timeout": "3"}),
    ],
)
def test_odd_ports_and_times_are_refused(url: str, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError):
        open_store(url, **options)


def test_a_certificate_that_nobody_trusts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path)
    with (
        HostileServer(good.rest, certificate=certificate) as http,
        HostileGrpc(good.over_grpc, certificate=certificate) as rpc,
    ):
        for port, prefer_grpc, option in (
            (http.port, False, "SSL_CERT_FILE"),
            (rpc.port, True, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"),
        ):
            url = f"qdrants://127.0.0.1:{port}/c"
            with open_store(url, prefer_grpc=prefer_grpc, grpc_port=port, timeout=5) as store:
                error = _fails("count", store)
            assert not isinstance(error, StoreUnavailableError | AuthenticationError)
            assert "certificate" in str(error)
            assert option in str(error)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        with open_store(f"qdrants://127.0.0.1:{http.port}/c", prefer_grpc=False) as store:
            assert store.count() == 1


@pytest.mark.parametrize("prefer_grpc", [True, False])
def test_a_server_without_tls(prefer_grpc: bool, http: HostileServer) -> None:
    options: dict[str, Any] = {"prefer_grpc": prefer_grpc, "timeout": 5, "deadline": 0.45}
    with RawServer(hostile_grpc.BROKEN_BELOW["http1"]) as server:
        port = server.port
        with open_store(f"qdrants://127.0.0.1:{port}/c", grpc_port=port, **options) as store:
            error = _fails("count", store)
    assert "does not speak TLS" in str(error)
    assert not isinstance(error, StoreUnavailableError)
    port = http.port  # it hangs up
    with open_store(f"qdrants://127.0.0.1:{port}/c", grpc_port=port, **options) as store:
        error = _fails("count", store, StoreUnavailableError)
    assert prefer_grpc or "nothing answers" not in str(error)


def test_nobody_listens() -> None:
    for store in (_over_rest(closed_port()), _over_grpc(closed_port())):
        with store:
            for operation in OPERATIONS:
                _fails(operation, store, StoreUnavailableError)


@pytest.mark.parametrize("prefer_grpc", [True, False])
def test_a_server_that_reads_nothing(prefer_grpc: bool) -> None:
    documents = [Document(str(i), "x" * 1_000_000) for i in range(20)]
    with RawServer(hostile_grpc.HANGING_BELOW["silent"]) as server:
        options: dict[str, Any] = {"prefer_grpc": prefer_grpc, "grpc_port": server.port}
        for scheme in ("qdrant", "qdrants"):  # here in the handshake
            url = f"{scheme}://127.0.0.1:{server.port}/c"
            with open_store(url, timeout=TIMEOUT, deadline=0.45, **options) as store:
                know(store, Collection(good.SCHEMA))
                started = time.monotonic()
                with pytest.raises(StoreUnavailableError):
                    write(store, documents, good.VECTORS.take([0] * 20))
                assert time.monotonic() - started < IN_TIME


@pytest.mark.parametrize("host", ["a..b", "xn--", "a" * 70])
def test_a_host_of_a_ready_client_that_cannot_be(host: str) -> None:
    """Such a URL is refused; a client that was handed in may have any host."""
    for prefer_grpc in (True, False):
        client = QdrantClient(
            host=f"{host}.invalid", prefer_grpc=prefer_grpc, check_compatibility=False
        )
        with closing(client), QdrantStore(client, "c", deadline=0.45) as store:
            error = _fails("count", store)
        assert prefer_grpc or not isinstance(error, StoreUnavailableError)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SSL_CERT_FILE", "nowhere"),
        ("SSL_CERT_FILE", "empty"),
        ("HTTP_PROXY", "ftp://proxy"),
        ("ALL_PROXY", "socks5://127.0.0.1:1"),
    ],
)
def test_an_environment_that_cannot_be(
    variable: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").write_text("")
    monkeypatch.setenv(variable, str(tmp_path / value) if "CERT" in variable else value)
    with pytest.raises(InvalidOptionError, match=variable):
        open_store("qdrants://127.0.0.1/c")
