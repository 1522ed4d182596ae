"""Milvus that answers wrongly, late or not at all: in time, with our errors, once."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
import tenacity
from hostile_grpc import (
    BROKEN,
    BROKEN_BELOW,
    HANGING,
    HANGING_BELOW,
    STATUSES,
    Behaviour,
    Call,
    HostileGrpc,
    RawServer,
    busy,
    refuse,
    reply,
)
from hostile_http import self_signed

from trivec import Document, F, Store, open_store
from trivec.deadline import limited
from trivec.errors import (
    AuthenticationError,
    InvalidOptionError,
    SchemaMismatchError,
    StoreError,
    StoreUnavailableError,
    TrivecError,
)
from trivec.retry import ATTEMPTS
from trivec.testing import HashEncoder

pytest.importorskip("pymilvus", reason="pymilvus is not installed")

from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

ENCODER = HashEncoder()
TEXTS = ["blue whale", "grey whale", "blue sky and sea"]
QUERY = ENCODER.encode_query("blue whale")
SHORT = 0.4  # seconds of a deadline that a hanging server meets


def forward(url: str) -> Behaviour:
    """Return a behaviour that hands calls on to another server."""
    channel: Any = grpc.insecure_channel(url.removeprefix("milvus://"))

    def behave(call: Call) -> bytes:
        method = channel.unary_unary(f"/milvus.proto.milvus.MilvusService/{call.method}")
        return bytes(method(call.request, timeout=20))

    return behave


@pytest.fixture(scope="module")
def good(milvus_double: str) -> Behaviour:
    return forward(milvus_double)


@pytest.fixture
def server(good: Behaviour) -> Iterator[HostileGrpc]:
    with HostileGrpc(good) as opened:
        yield opened


def _url(server: HostileGrpc | RawServer, name: str | None = None) -> str:
    return f"milvus://127.0.0.1:{server.port}/{name or f'h_{uuid4().hex[:12]}'}"


def _only(*methods: str) -> Callable[[Call], bool]:
    return lambda call: call.method in methods


def _filled(store: Store) -> None:
    store.create(ENCODER.schema, fields={"n": int})
    documents = [Document(f"d{i}", text, {"n": i}) for i, text in enumerate(TEXTS)]
    store.upsert(documents, ENCODER.encode_documents(TEXTS))


@pytest.fixture(scope="module")
def collection(milvus_double: str) -> Iterator[str]:
    """Yield the name of a collection behind the server, which no test changes."""
    name = f"h_{uuid4().hex[:12]}"
    with open_store(f"{milvus_double}/{name}") as store:
        _filled(store)
        yield name
        store.drop()


Operation = Callable[[Store], object]


def _connection(store: Any) -> Any:
    return store._handle.backend._connection


def _forget(store: Any) -> None:
    """Let the next call read the description, and load the collection."""
    store._handle.forget()
    store._handle.backend._loaded = None


def _upsert(store: Store) -> object:
    return store.upsert([Document("new", "x", {"n": 9})], ENCODER.encode_documents(["x"]))


def _search(mode: Any) -> Operation:
    return lambda store: store.search(QUERY, mode=mode)


def _asearch(mode: Any) -> Operation:
    async def search(store: Store) -> object:
        try:
            return await store.asearch(QUERY, mode=mode)
        finally:
            await _connection(store).aclose()

    return lambda store: asyncio.run(search(store))


OPERATIONS: dict[str, tuple[str, Operation]] = {
    "describe": ("DescribeCollection", lambda store: store.describe()),
    "count": ("Query", lambda store: store.count()),
    "count-where": ("Query", lambda store: store.count(F("n") > 0)),
    "get": ("Query", lambda store: store.get(["d0"])),
    "get-vectors": ("Query", lambda store: store.get(["d0"], with_vectors=True)),
    "scan": ("Query", lambda store: list(store.scan())),
    "scan-vectors": ("Query", lambda store: list(store.scan(with_vectors=True))),
    "upsert": ("Upsert", _upsert),
    "delete": ("Delete", lambda store: store.delete(["no such id"])),
    "delete-where": ("Delete", lambda store: store.delete_where(F("n") > 1000)),
    "dense": ("Search", _search("dense")),
    "sparse": ("Search", _search("sparse")),
    "rrf": ("Search", _search("rrf")),
    "colbert": ("Search", _search("colbert")),
    "hybrid": ("HybridSearch", _search("hybrid")),
    "async-dense": ("Search", _asearch("dense")),
    "async-colbert": ("Query", _asearch("colbert")),
    "async-hybrid": ("HybridSearch", _asearch("hybrid")),
    "load": ("LoadCollection", lambda store: store.count()),
    "load-state": ("GetLoadState", lambda store: store.count()),
}
STATUS = common_pb2.Status(code=0)


def _status(**fields: Any) -> Behaviour:
    """Return a behaviour that answers with a status, wherever the answer has its own."""
    status = common_pb2.Status(**fields)
    whole = milvus_pb2.MutationResult(status=status).SerializeToString()
    bare = status.SerializeToString()
    return lambda call: bare if call.method == "LoadCollection" else whole


MILVUS = {
    "unknown-code": _status(code=65535, reason="no reason"),
    "retriable": _status(code=65535, reason="later", retriable=True),
    "rate-limit": _status(code=8, reason="rate limit exceeded[rate=1]"),
    "old-rate-limit": _status(error_code=common_pb2.RateLimit, reason="rate limit"),
    "full": _status(code=7, reason="disk quota exceeded"),
    "negative-code": _status(code=-5, reason="odd"),
    "no-reason": _status(code=1),
}
"""What Milvus says in the message of an answer."""

_TIMES = {**BROKEN, **STATUSES, **MILVUS}


@pytest.fixture
def store(server: HostileGrpc, collection: str) -> Iterator[Store]:
    """Yield a store of the collection with a deadline, which leaves no time to try again."""
    with open_store(_url(server, collection), deadline=20.0) as opened:
        yield opened


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivec.retry._exponential", tenacity.wait_none())


@pytest.fixture
def no_repetitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make waits so long that no deadline leaves time for one."""
    monkeypatch.setattr("trivec.retry._exponential", tenacity.wait_fixed(1000))


@pytest.mark.parametrize("behaviour", _TIMES)
def test_wrong_answers_are_our_errors(
    server: HostileGrpc, collection: str, behaviour: str, no_repetitions: None
) -> None:
    accepted = []
    start = time.monotonic()
    with open_store(_url(server, collection)) as store:
        for name, (method, operation) in OPERATIONS.items():
            if "load" in name:
                _forget(store)
            else:
                store.describe()
            server.when = _only(method)
            server.always = _TIMES[behaviour]
            try:
                operation(store)
            except StoreError:
                pass
            except SchemaMismatchError:
                accepted += [name] if name != "describe" else []  # garbage as a description
            else:
                accepted.append(name)
            server.always = None
    # An answer to LoadCollection is a status and nothing else, and no bytes are the status 0.
    assert set(accepted) <= ({"load"} if behaviour == "empty" else set()), accepted
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_deaf_server_is_waited_for_as_long_as_the_deadline(
    server: HostileGrpc, collection: str, operation: str
) -> None:
    method, call = OPERATIONS[operation]
    with open_store(_url(server, collection), deadline=SHORT) as store:
        if "load" not in operation:
            with limited(60):  # a busy machine may take longer than the short deadline
                store.describe()
        server.when = _only(method)
        server.always = HANGING["deaf"]
        start = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            call(store)
        assert time.monotonic() - start < SHORT + 1


@pytest.mark.parametrize("behaviour", [*BROKEN_BELOW, *HANGING_BELOW])
def test_no_server_of_milvus_is_our_error(behaviour: str) -> None:
    start = time.monotonic()
    with (
        RawServer({**BROKEN_BELOW, **HANGING_BELOW}[behaviour]) as raw,
        pytest.raises(StoreError),
    ):
        open_store(_url(raw), deadline=SHORT)
    assert time.monotonic() - start < SHORT + 1


# --- one layer of repetitions ------------------------------------------------------------------


TIMES = {
    "UNAVAILABLE": ATTEMPTS,
    "RESOURCE_EXHAUSTED": ATTEMPTS,
    "DEADLINE_EXCEEDED": ATTEMPTS,
    "ABORTED": ATTEMPTS,
    "rate-limit": ATTEMPTS,
    "old-rate-limit": ATTEMPTS,
    "retriable": ATTEMPTS,
    "INVALID_ARGUMENT": 1,
    "UNAUTHENTICATED": 1,
    "UNIMPLEMENTED": 1,
    "INTERNAL": 1,
    "unknown-code": 1,
    "full": 1,
    "garbage": 1,
}


@pytest.mark.parametrize("operation", ["count", "upsert", "delete", "dense", "async-dense"])
def test_a_call_is_made_as_often_as_the_store_repeats_it(
    server: HostileGrpc, store: Store, operation: str, no_waits: None
) -> None:
    method, call = OPERATIONS[operation]
    store.describe()
    server.when = _only(method)
    made = {}
    for behaviour in TIMES:
        server.calls.clear()
        server.always = _TIMES[behaviour]
        with pytest.raises(StoreError):
            call(store)
        methods = [call.method for call in server.calls]
        made[behaviour] = methods.count(method)
        assert methods.count("Connect") <= (operation == "async-dense")  # nobody connects anew
    assert made == TIMES


def test_connecting_is_tried_once(server: HostileGrpc) -> None:
    for behaviour in ("UNAVAILABLE", "INTERNAL", "garbage", "rate-limit", "UNIMPLEMENTED"):
        server.calls.clear()
        server.always = _TIMES[behaviour]
        with pytest.raises(StoreError):
            open_store(_url(server))
        assert len(server.calls) == 1


def test_a_server_that_comes_back_is_found(
    server: HostileGrpc, store: Store, no_waits: None
) -> None:
    store.describe()
    server.when = _only("Query")
    server.script += [STATUSES["UNAVAILABLE"], MILVUS["rate-limit"], busy("0")]
    assert store.count() == len(TEXTS)


def test_a_client_that_was_handed_in_is_called_once_too(
    server: HostileGrpc, collection: str, no_waits: None
) -> None:
    from pymilvus import MilvusClient

    from trivec_milvus import MilvusStore

    client: Any = MilvusClient(f"http://127.0.0.1:{server.port}")
    stub = client._handler._stub
    with MilvusStore(client, collection) as store:
        assert store.count() == len(TEXTS)
        server.when = _only("Query")
        server.always = STATUSES["UNAVAILABLE"]
        server.calls.clear()
        with pytest.raises(StoreUnavailableError):
            store.count()
        assert [call.method for call in server.calls].count("Query") == ATTEMPTS
        server.always = None
        client._handler.reconnect()  # as pymilvus does where a call of its owner fails
        assert store.count() == len(TEXTS)
        stub = client._handler._stub
    assert client._handler._stub is stub
    client.close()
    with pytest.raises(InvalidOptionError, match="closed"):
        MilvusStore(client, collection).count()


def test_an_asynchronous_client_that_could_not_connect_is_made_anew(
    server: HostileGrpc, collection: str, no_repetitions: None
) -> None:
    async def search(store: Any) -> None:
        for behaviour in ("UNAVAILABLE", "UNAUTHENTICATED", "garbage"):
            server.always = _TIMES[behaviour]
            with pytest.raises(StoreError):
                await store.asearch(QUERY)
        server.always = None
        server.calls.clear()
        assert await store.asearch(QUERY)
        await _connection(store).aclose()

    with open_store(_url(server, collection), token="root:s3cret") as store:
        store.describe()
        server.when = _only("Connect")
        asyncio.run(search(store))
    for call in server.calls:
        keys = [key for key, _ in call.context.invocation_metadata()]
        assert keys.count("authorization") == 1


async def test_many_searches_of_a_deaf_server_end_together(
    server: HostileGrpc, collection: str
) -> None:
    with open_store(_url(server, collection), deadline=1.0) as store:
        store.describe()  # by the blocking client; that of the loop is yet to connect
        for method in ("Connect", "Search"):
            server.when = _only(method)
            server.always = HANGING["deaf"]
            start = time.monotonic()
            searches = (store.asearch(QUERY, mode="dense") for _ in range(30))
            found = await asyncio.gather(*searches, return_exceptions=True)
            assert all(isinstance(one, StoreUnavailableError) for one in found), found
            assert time.monotonic() - start < 3
        await _connection(store).aclose()


# --- what must not be acknowledged -------------------------------------------------------------


def _state(number: int) -> Any:
    """Return a state of loading, of those that do not exist too."""
    return number


def _columns(count: int, *, start: int = 0) -> Any:
    ids = schema_pb2.FieldData(type=schema_pb2.VarChar, field_name="id")
    ids.scalars.string_data.data.extend(f"x{i:03}" for i in range(start, start + count))
    return ids


def _counted(value: int, field: str = "count(*)") -> Behaviour:
    data = schema_pb2.FieldData(type=schema_pb2.Int64, field_name=field)
    data.scalars.long_data.data.append(value)
    return reply(milvus_pb2.QueryResults(status=STATUS, fields_data=[data]))


def _hits(ids: list[str], scores: list[float], queries: int = 1) -> Behaviour:
    results = schema_pb2.SearchResultData(
        num_queries=queries, top_k=len(ids), scores=scores, topks=[len(ids)] * queries
    )
    results.ids.str_id.data.extend(ids)
    return reply(milvus_pb2.SearchResults(status=STATUS, results=results))


ODD: dict[str, tuple[str, Behaviour]] = {
    "upsert-none-counted": (
        "upsert",
        reply(milvus_pb2.MutationResult(status=STATUS)),
    ),
    "upsert-more-counted": (
        "upsert",
        reply(milvus_pb2.MutationResult(status=STATUS, upsert_cnt=2)),
    ),
    "upsert-fewer-counted": (
        "upsert",
        reply(milvus_pb2.MutationResult(status=STATUS, upsert_cnt=-1)),
    ),
    "count-negative": ("count", _counted(-1)),
    "count-of-another": ("count", _counted(3, "other")),
    "count-as-rows": (
        "count",
        reply(milvus_pb2.QueryResults(status=STATUS, fields_data=[_columns(2)])),
    ),
    "get-others": (
        "get",
        reply(milvus_pb2.QueryResults(status=STATUS, fields_data=[_columns(2)])),
    ),
    "get-vectors-without": (
        "get-vectors",
        reply(milvus_pb2.QueryResults(status=STATUS, fields_data=[_columns(1)])),
    ),
    "scan-for-ever": (
        "scan",
        reply(milvus_pb2.QueryResults(status=STATUS, fields_data=[_columns(2)])),
    ),
    "search-without-queries": ("dense", _hits([], [], 0)),
    "search-of-two-queries": ("dense", _hits(["a"], [0.5], 2)),
    "search-without-fields": ("dense", _hits(["a"], [0.5])),
    "search-twice": ("sparse", _hits(["a", "a"], [0.5, 0.5])),
    "search-nan": ("colbert", _hits(["a"], [float("nan")])),
    "search-without-scores": ("rrf", _hits(["a", "b"], [])),
    "async-search-nan": ("async-dense", _hits(["a"], [float("inf")])),
    "async-without-fields": ("async-dense", _hits(["a"], [0.5])),
    "fused-twice": ("hybrid", _hits(["d0", "d0"], [0.5, 0.5])),
    "fused-others": ("hybrid", _hits(["x0"], [0.5])),
    "described-empty": (
        "describe",
        reply(milvus_pb2.DescribeCollectionResponse(status=STATUS)),
    ),
    "load-state-odd": (
        "load-state",
        reply(milvus_pb2.GetLoadStateResponse(status=STATUS, state=_state(77))),
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_answers_of_the_right_type_that_cannot_be(
    server: HostileGrpc, collection: str, case: str, no_waits: None
) -> None:
    operation, behaviour = ODD[case]
    method, call = OPERATIONS[operation]
    with open_store(_url(server, collection)) as store:
        if "load" not in operation:
            store.describe()
        server.when = _only(method)
        server.always = behaviour
        with pytest.raises(TrivecError) as caught:
            call(store)
        assert isinstance(caught.value, StoreError) or operation == "describe"
        assert not isinstance(caught.value, ValueError)


def test_scores_of_others_are_no_scores(
    server: HostileGrpc, collection: str, good: Behaviour
) -> None:
    server.when = lambda call: b"MAX_SIM_IP" in call.request and call.method == "Search"
    server.always = _hits(["d0", "x0"], [0.5, 0.4])
    with open_store(_url(server, collection)) as store:
        for mode in ("colbert", "hybrid"):
            with pytest.raises(StoreError, match="not asked for"):
                store.search(QUERY, mode=mode)


ABOUT = [
    "[]",
    "null",
    "{",
    '{"fields": []}',
    '{"fields": {"n": "decimal"}}',
    '{"fields": {"n": 3}}',
    '{"fields": {"n": "int", "": "int"}}',
    '{"fields": {"other": "int"}}',
    '{"model": {"a": 1}, "fields": null}',
    "[" * 100_000,
]


@pytest.mark.parametrize("about", ABOUT, ids=lambda about: about[:20])
def test_a_description_that_others_wrote(
    server: HostileGrpc, collection: str, good: Behaviour, about: str
) -> None:
    def described(call: Call) -> bytes:
        answer = milvus_pb2.DescribeCollectionResponse.FromString(good(call))
        answer.schema.description = about
        for pair in answer.properties:
            pair.value = about
        return bytes(answer.SerializeToString())

    server.when = _only("DescribeCollection")
    server.always = described
    readable = about in ("[]", "null", "{")  # as that of a program which keeps nothing there
    with open_store(_url(server, collection)) as store:
        if readable:
            assert store.describe().fields == {}
        else:
            with pytest.raises((StoreError, SchemaMismatchError)):
                store.describe()


@pytest.mark.parametrize(
    ("key", "value"),
    [("dim", "0"), ("dim", "-4"), ("dim", "x"), ("dim", None), ("max_length", "x")],
)
def test_a_description_with_odd_parameters(
    server: HostileGrpc, collection: str, good: Behaviour, key: str, value: str | None
) -> None:
    def described(call: Call) -> bytes:
        answer = milvus_pb2.DescribeCollectionResponse.FromString(good(call))
        for described in answer.schema.fields:
            kept = [pair for pair in described.type_params if pair.key != key]
            changed = len(kept) < len(described.type_params)
            del described.type_params[:]
            described.type_params.extend(kept)
            if changed and value is not None:
                described.type_params.add(key=key, value=value)
        return bytes(answer.SerializeToString())

    server.when = _only("DescribeCollection")
    server.always = described
    with (
        open_store(_url(server, collection)) as store,
        pytest.raises((StoreError, SchemaMismatchError)),
    ):
        store.describe()


def test_a_collection_whose_creation_fails_is_not_left_half_made(
    server: HostileGrpc, no_waits: None
) -> None:
    url = _url(server)
    for method in ("CreateCollection", "CreateIndex", "LoadCollection", "GetLoadState"):
        with open_store(url) as store:
            server.when = _only(method)
            server.always = STATUSES["INVALID_ARGUMENT"]
            with pytest.raises(StoreError):
                store.create(ENCODER.schema)
            server.always = None
            store.create(ENCODER.schema)
            store.drop()


def test_loading_has_time_while_it_moves(
    server: HostileGrpc, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trivec_milvus.creation._POLL_SECONDS", 0.02)
    loading = reply(milvus_pb2.GetLoadStateResponse(status=STATUS, state=_state(2)))
    progress = 0

    def answer(call: Call) -> bytes:
        nonlocal progress
        progress += 10
        time.sleep(0.08)
        whole = milvus_pb2.GetLoadingProgressResponse(status=STATUS, progress=progress)
        return bytes(whole.SerializeToString())

    def behave(call: Call) -> bytes:
        return loading(call) if call.method == "GetLoadState" else answer(call)

    server.when = _only("GetLoadState", "GetLoadingProgress")
    server.always = behave
    with open_store(_url(server, collection), deadline=SHORT) as store:
        start = time.monotonic()
        store.describe()
        assert time.monotonic() - start > 2 * SHORT
    server.always = lambda call: (
        loading(call)
        if call.method == "GetLoadState"
        else milvus_pb2.GetLoadingProgressResponse(status=STATUS, progress=5).SerializeToString()
    )
    with open_store(_url(server, collection), deadline=SHORT) as store:
        start = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            store.describe()
        assert time.monotonic() - start < 3 * SHORT


# --- TLS and credentials -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal",
    [
        STATUSES["UNAUTHENTICATED"],
        STATUSES["PERMISSION_DENIED"],
        _status(code=1400, reason="auth check failure"),
    ],
)
def test_refused_credentials_are_not_asked_again(server: HostileGrpc, refusal: Behaviour) -> None:
    server.always = refusal
    with pytest.raises(AuthenticationError):
        open_store(_url(server), token="root:Milvus")
    assert len(server.calls) == 1


def test_no_error_and_no_log_repeats_the_token(
    server: HostileGrpc, collection: str, caplog: pytest.LogCaptureFixture, no_waits: None
) -> None:
    token = "s3cret-token"
    says = f"bad token {token}"
    with open_store(_url(server, collection), token=token) as store:
        sent = {call.metadata.get("authorization") for call in server.calls}
        assert base64.b64encode(token.encode()).decode() in str(sent)
        store.describe()
        server.when = _only("Query", "Search")
        for behaviour in (
            refuse(grpc.StatusCode.UNAUTHENTICATED, says),
            refuse(grpc.StatusCode.UNAVAILABLE, says),
            _status(code=65535, reason=says),
        ):
            server.always = behaviour
            for operation in ("count", "dense", "async-dense"):
                with pytest.raises(StoreError) as caught:
                    OPERATIONS[operation][1](store)
                assert token not in str(caught.value)
                assert caught.value.__suppress_context__
    assert "***" in caplog.text
    assert token not in caplog.text


def test_a_certificate_that_is_not_trusted(
    good: Behaviour, collection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path)
    with HostileGrpc(good, certificate=certificate) as server:
        start = time.monotonic()
        with pytest.raises(StoreError, match=r"certificate.*ca_file \(MILVUS_CA_FILE\)") as caught:
            open_store(_url(server, collection), tls=True)
        assert not isinstance(caught.value, StoreUnavailableError)
        assert time.monotonic() - start < 5
        with pytest.raises(StoreUnavailableError, match=r"tls=True \(MILVUS_TLS=yes\)"):
            open_store(_url(server, collection))
        monkeypatch.setenv("MILVUS_CA_FILE", str(certificate[0]))
        with open_store(_url(server, collection)) as store:
            assert store.count() == len(TEXTS)
            assert OPERATIONS["async-dense"][1](store)
    with HostileGrpc(good) as plain, pytest.raises(StoreError, match=r"TLS.*tls=False") as caught:
        open_store(_url(plain, collection))
    assert not isinstance(caught.value, StoreUnavailableError)
