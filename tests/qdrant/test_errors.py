"""What servers answer, as the errors that say whether to try again."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import grpc
import pytest
from hooks import know, once, write
from qdrant_client import grpc as messages

from trivec import Document, Schema, Store, open_store
from trivec.collection import Collection
from trivec.errors import (
    AuthenticationError,
    CollectionNotFoundError,
    RequestTooLargeError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)

SCHEMA = Schema(dense=8, sparse=True, colbert=8)
KEY = "s3cr3t-key"
COMPLETED = {"result": {"operation_id": 1, "status": "completed"}, "status": "ok", "time": 0.0}
RATE = "Rate limiting exceeded: Read rate limit exceeded: Operation requires 1 tokens"
SPLIT = "request larger than rate limiter capacity, please try to split your request"
LARGE = "JSON payload (33554433 bytes) is larger than allowed (limit: 33554432 bytes)."
DISK = "No space left on device: WAL buffer size exceeds available disk space"
STRICT = "Max vector storage size limit of 0.00095MB reached!"
TIMED_OUT = "1 of 1 read operations failed: Timeout error: Operation 'Search' timed out"


def _known(store: Store) -> Store:
    """Let a store know its collection without asking."""
    know(store, Collection(SCHEMA))
    return store


@pytest.fixture
def rest(http_server: Any) -> Store:
    url = f"qdrant://127.0.0.1:{http_server.port}/c"
    return _known(open_store(url, prefer_grpc=False, timeout=5))


@pytest.fixture
def packed(grpc_server: Any) -> Store:
    port = grpc_server.port
    return _known(open_store(f"qdrant://127.0.0.1:{port - 1}/c", grpc_port=port, timeout=5))


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (429, SPLIT, RequestTooLargeError),
        (400, LARGE, RequestTooLargeError),
        (413, "Payload Too Large", RequestTooLargeError),
        (429, "busy", StoreUnavailableError),
        (503, "no", StoreUnavailableError),
        (500, "disk", StoreUnavailableError),
        (500, DISK, StoreFullError),
        (507, "no", StoreFullError),
        (400, STRICT, StoreFullError),
        (500, TIMED_OUT, StoreError),
        (400, "Wrong input: Vector dimension error", StoreError),
        (401, "Must provide an API key or an Authorization bearer token", AuthenticationError),
        (403, "Forbidden: Global manage access is required", AuthenticationError),
        (404, "Not found: Collection `c` doesn't exist!", CollectionNotFoundError),
        (404, "Not found: No point with id 77 found", StoreError),
    ],
)
def test_rest_answers(
    rest: Any, http_server: Any, make_vectors: Any, status: int, text: str, error: type[Exception]
) -> None:
    http_server.reply(status, {"status": {"error": text}})
    with pytest.raises(StoreError, match=r"'c'") as caught:
        write(rest, [Document("a", "")], make_vectors(1))
    assert type(caught.value) is error


def test_rest_retry_after_is_obeyed(rest: Any, http_server: Any, make_vectors: Any) -> None:
    http_server.reply(429, {"status": {"error": RATE}}, retry_after="20")
    with pytest.raises(StoreUnavailableError) as caught:
        write(rest, [Document("a", "")], make_vectors(1))
    assert caught.value.retry_after == 20
    http_server.reply(503, b"later", retry_after="7")
    with pytest.raises(StoreUnavailableError) as caught:
        write(rest, [Document("a", "")], make_vectors(1))
    assert caught.value.retry_after == 7


def test_a_dropped_connection_is_retried_with_the_same_ids(
    rest: Any, http_server: Any, make_vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    http_server.answers.append(None)
    http_server.reply(200, COMPLETED)
    rest.upsert([Document("a", "")], make_vectors(1))
    first, second = (body for *_, body in http_server.requests)
    assert first == second


def test_a_write_that_is_not_done_is_retried(
    rest: Any, http_server: Any, make_vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    waited = {**COMPLETED, "result": {"operation_id": 1, "status": "wait_timeout"}}
    http_server.reply(200, waited)
    http_server.reply(200, COMPLETED)
    rest.upsert([Document("a", "")], make_vectors(1))
    assert len(http_server.requests) == 2
    http_server.reply(200, waited)
    with pytest.raises(StoreUnavailableError, match="wait_timeout"):
        once(rest, "delete", ["a"])


def test_too_large_writes_are_halved(rest: Any, http_server: Any, make_vectors: Any) -> None:
    http_server.reply(400, {"status": {"error": LARGE}})
    http_server.reply(200, COMPLETED)
    http_server.reply(200, COMPLETED)
    report = rest.upsert([Document(str(i), "") for i in range(4)], make_vectors(4))
    assert report.requests == 2
    assert len(http_server.requests) == 3


def test_json_bodies_stay_below_the_servers_limit(
    rest: Any, http_server: Any, make_vectors: Any
) -> None:
    rest._handle.options = replace(rest._handle.options, batch_bytes=60_000)
    for _ in range(100):
        http_server.reply(200, COMPLETED)
    rest.upsert([Document(str(i), "text") for i in range(60)], make_vectors(60, tokens=20))
    sizes = [len(body) for *_, body in http_server.requests]
    assert len(sizes) > 1
    assert max(sizes) <= 60_000


@pytest.mark.parametrize(
    ("url", "prefer_grpc", "where"),
    [
        ("qdrant://127.0.0.1:1/c", True, "qdrant://127.0.0.1:1/c (gRPC on port 2): 'c': "),
        ("qdrant://127.0.0.1:1/c", False, "qdrant://127.0.0.1:1/c (REST on port 1): 'c': "),
        ("qdrant://no.such.host.invalid/c", True, "invalid/c (gRPC on port 6334)"),
        ("qdrant://no.such.host.invalid/c", False, "invalid/c (REST on port 6333)"),
    ],
)
def test_nothing_listens(
    url: str, prefer_grpc: bool, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waited.append)
    with (
        open_store(url, prefer_grpc=prefer_grpc, timeout=5) as store,
        pytest.raises(StoreUnavailableError, match=re.escape(where)) as caught,
    ):
        store.count()
    assert str(caught.value).startswith("nothing answers at qdrant://")
    assert waited == []


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [
        ("UNAVAILABLE", "Socket closed", StoreUnavailableError),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", StoreUnavailableError),
        ("RESOURCE_EXHAUSTED", SPLIT, RequestTooLargeError),
        ("RESOURCE_EXHAUSTED", "Received message larger than max", RequestTooLargeError),
        ("RESOURCE_EXHAUSTED", "busy", StoreUnavailableError),
        ("INTERNAL", "disk", StoreUnavailableError),
        ("INTERNAL", DISK, StoreFullError),
        ("INVALID_ARGUMENT", STRICT, StoreFullError),
        ("INTERNAL", TIMED_OUT, StoreError),
        ("INVALID_ARGUMENT", "Wrong input", StoreError),
        ("UNAUTHENTICATED", "Invalid API key or JWT", AuthenticationError),
        ("PERMISSION_DENIED", "Forbidden", AuthenticationError),
        ("NOT_FOUND", "Not found: Collection `c` doesn't exist!", CollectionNotFoundError),
    ],
)
def test_grpc_answers(
    packed: Any, grpc_server: Any, make_vectors: Any, code: str, text: str, error: type[Exception]
) -> None:
    grpc_server.answers.append((getattr(grpc.StatusCode, code), text, {}))
    with packed, pytest.raises(StoreError, match=r"'c'") as caught:
        write(packed, [Document("a", "")], make_vectors(1))
    assert type(caught.value) is error


def test_grpc_retry_after_is_obeyed(packed: Any, grpc_server: Any, make_vectors: Any) -> None:
    exhausted = (grpc.StatusCode.RESOURCE_EXHAUSTED, RATE, {"retry-after": "20"})
    grpc_server.answers.append(exhausted)
    with packed, pytest.raises(StoreUnavailableError) as caught:
        write(packed, [Document("a", "")], make_vectors(1))
    assert caught.value.retry_after == 20


def test_a_grpc_write_that_is_not_done_is_retried(
    packed: Any, grpc_server: Any, make_vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    grpc_server.upserted(messages.UpdateStatus.WaitTimeout)
    grpc_server.upserted()
    with packed:
        packed.upsert([Document("a", "")], make_vectors(1))
    assert grpc_server.requests[0] == grpc_server.requests[1]


def test_keys_reach_the_server_and_nothing_else(
    http_server: Any, grpc_server: Any, make_vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"qdrant://127.0.0.1:{http_server.port}/c"
    http_server.reply(401, b"Invalid API key or JWT")
    with open_store(url, prefer_grpc=False, api_key=KEY) as store:
        with pytest.raises(AuthenticationError) as caught:
            store.describe()
        assert http_server.requests[0][2]["api-key"] == KEY
        assert KEY not in f"{store!r} {caught.value!r} {store._handle.backend.__dict__}"
    monkeypatch.setenv("QDRANT_API_KEY", KEY)
    grpc_server.upserted()
    with _known(open_store(url, grpc_port=grpc_server.port)) as store:
        write(store, [Document("a", "")], make_vectors(1))
    assert grpc_server.metadata[0]["api-key"] == KEY


def test_answers_come_uncompressed(http_server: Any, grpc_server: Any, make_vectors: Any) -> None:
    url = f"qdrant://127.0.0.1:{http_server.port}/c"
    http_server.reply(404, {"status": {"error": "Not found: Collection `c` doesn't exist!"}})
    with open_store(url, prefer_grpc=False) as store, pytest.raises(CollectionNotFoundError):
        store.describe()
    headers = {name.lower(): value for name, value in http_server.requests[0][2].items()}
    assert headers["accept-encoding"] == "identity"
    grpc_server.upserted()
    with _known(open_store(url, grpc_port=grpc_server.port)) as store:
        write(store, [Document("a", "")], make_vectors(1))
        backend: Any = store._handle.backend
        options = backend._engine._client.init_options
    assert options["grpc_options"]["grpc.compression_enabled_algorithms_bitset"] == 1
