"""A server in Vespa's place that answers wrongly, late, or not at all.

Whatever it does, a call ends in time with an error of ours, or with the right result; nothing
counts as written, found or absent unless Vespa says so.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import hostile_http
import numpy as np
import pytest
import vespa_answers
from hostile_http import Behaviour, HostileServer, Request, answer

from trivec import Document, F, Schema, Store, Vector, Vectors, open_store
from trivec.collection import Collection
from trivec.errors import StoreError, StoreUnavailableError, TrivecError
from trivec.fields import FieldType
from trivec.rows import SparseRows, TokenRows

pytest.importorskip("vespa.application", reason="the [vespa] extra is not installed")
from trivec_vespa.mapping import describe, feed_fields

SCHEMA = Schema(dense=4, sparse=True, colbert=4)
COLLECTION = Collection(SCHEMA, {"n": FieldType.INT})
DOCUMENTS = [Document(one, f"text {one}", {"n": 1}) for one in ("a", "b/ü")]
VECTORS = Vectors(
    dense=np.eye(2, 4),
    sparse=SparseRows.from_dicts([{7: 0.5}, {7: 0.25}]),
    colbert=TokenRows.from_arrays([np.eye(2, 4), np.eye(1, 4)]),
)
QUERY = Vector(dense=np.eye(1, 4)[0], sparse={7: 1.0}, colbert=np.eye(2, 4))
DEADLINE = 0.5
MARGIN = 0.6  # for a machine with other things to do; far below any time of the server's


def _stored(row: int) -> dict[str, Any]:
    """Return the fields of a document as Vespa gives them back in hex."""
    fields = feed_fields(DOCUMENTS[row], VECTORS, row, COLLECTION, binary=False)
    kept = {name: fields[name] for name in ("id", "text", "metadata", "dense_rep", "colbert_rep")}
    return {**kept, "lexical_rep": {"cells": fields["lexical_rep"]}}


def _hit(row: int) -> dict[str, Any]:
    features = {"attribute(parts)": 7.0, "dense": 1.0, "sparse": 0.5, "colbert": 1.0}
    kept = {name: _stored(row)[name] for name in ("id", "text", "metadata")}
    return {**kept, "matchfeatures": features}


@dataclass
class Good:
    """Vespa with two documents, as far as the calls here ask."""

    there: set[str] = field(default_factory=lambda: {one.id for one in DOCUMENTS})

    def __call__(self, request: Request) -> Behaviour:
        path = request.path.partition("?")[0]
        if path == "/search/":
            rows = [row for row, one in enumerate(DOCUMENTS) if one.id in self.there]
            return answer(200, vespa_answers.found(len(rows), [_hit(row) for row in rows]))
        if path.endswith("/docid/collection"):
            fields = describe(COLLECTION, binary=False)
            return answer(200, vespa_answers.document(path, fields))
        if path.endswith("/docid"):
            return answer(200, vespa_answers.visit(path, [_stored(0), _stored(1)]))
        told = vespa_answers.acknowledgement(path)
        id = str(told["id"]).rpartition("::")[2]
        if request.method == "GET":
            row = next((row for row, one in enumerate(DOCUMENTS) if one.id == id), None)
            return (
                answer(404, told) if row is None else answer(200, {**told, "fields": _stored(row)})
            )
        if request.method == "DELETE":
            self.there.discard(id)
        return answer(200, told)


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "describe": lambda store: store.describe(),
    "create": lambda store: store.create(SCHEMA, fields={"n": int}, exist_ok=True),
    "upsert": lambda store: store.upsert(DOCUMENTS, VECTORS).documents,
    "get": lambda store: store.get(["a", "zz"], with_vectors=True).documents,
    "search": lambda store: [hit.document.id for hit in store.search(QUERY)],
    "count": lambda store: store.count(),
    "delete": lambda store: store.delete(["a"]),
    "delete_where": lambda store: store.delete_where(F("n") == 1),
    "scan": lambda store: [page.documents for page in store.scan(with_vectors=True)],
    "drop": lambda store: store.drop(),
}


def _is_own(operation: str) -> Callable[[Request], bool]:
    """Return which requests are those of an operation, besides reading the description."""

    def own(request: Request) -> bool:
        return not request.path.partition("?")[0].endswith("/docid/collection")

    return own if operation not in ("describe", "create") else lambda request: True


@pytest.fixture(scope="module")
def shared() -> Iterator[HostileServer]:
    with HostileServer() as opened:
        yield opened


@pytest.fixture
def server(shared: HostileServer) -> HostileServer:
    """Return a server that answers like Vespa until a test says otherwise."""
    shared.good, shared.always, shared.when = Good(), None, lambda request: True
    return shared


@pytest.fixture(scope="module")
def shared_store(shared: HostileServer) -> Iterator[Store]:
    with _open(shared) as store:
        yield store


def _open(server: HostileServer, **options: Any) -> Store:
    options = {"deploy": False, "timeout": 0.3, "deadline": DEADLINE, **options}
    return open_store(f"vespa://127.0.0.1:{server.port}/c", **options)


@pytest.fixture
def store(server: HostileServer, shared_store: Store) -> Store:
    """Return a store that knows nothing yet."""
    shared_store._forget()
    return shared_store


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat what failed at once."""
    monkeypatch.setattr("trivec.stores.retry._wait", lambda state: 0.0)
    monkeypatch.setattr("trivec_vespa.store._WAIT_SECONDS", 0.01)


def _error(call: Callable[[], object]) -> TrivecError:
    """Return the error of a call, which must be one of ours, come in time, and be readable."""
    started = time.monotonic()
    with pytest.raises(TrivecError) as caught:
        call()
    assert time.monotonic() - started < DEADLINE + MARGIN
    assert len(str(caught.value)) < 3000
    return caught.value


@pytest.mark.parametrize("operation", OPERATIONS)
def test_good_answers_are_taken(operation: str, store: Store) -> None:
    expected = {"upsert": 2, "get": DOCUMENTS[:1], "search": ["a", "b/ü"], "count": 2,
                "scan": [DOCUMENTS], "describe": COLLECTION}  # fmt: skip
    assert OPERATIONS[operation](store) == expected.get(operation)


@pytest.mark.parametrize("behaviour", hostile_http.HANGING)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_server_holds_a_call(
    operation: str, behaviour: str, server: HostileServer, store: Store
) -> None:
    server.when, server.always = _is_own(operation), hostile_http.HANGING[behaviour]
    error = _error(lambda: OPERATIONS[operation](store))
    assert isinstance(error, StoreUnavailableError)
    assert "imeout" in str(error) or "deadline" in str(error)


@pytest.mark.parametrize("behaviour", [*hostile_http.BROKEN, *hostile_http.EMPTY])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.usefixtures("no_waits")
def test_an_answer_that_is_not_vespas_is_an_error(
    operation: str, behaviour: str, server: HostileServer, store: Store
) -> None:
    every = hostile_http.BROKEN | hostile_http.EMPTY
    server.when, server.always = _is_own(operation), every[behaviour]
    error = _error(lambda: OPERATIONS[operation](store))
    assert isinstance(error, StoreError)
    assert type(error) is StoreError or isinstance(error, StoreUnavailableError)


@pytest.mark.parametrize("status", [301, 400, 404, 410])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.usefixtures("no_waits")
def test_a_status_of_something_in_between_is_no_absence(
    status: int, operation: str, server: HostileServer, store: Store
) -> None:
    server.always = answer(status, b"<html>No</html>", {"Content-Type": "text/html"})
    error = _error(lambda: OPERATIONS[operation](store))
    assert isinstance(error, StoreError)
    assert f"status {status}" in str(error) or "redirects" in str(error)


@pytest.mark.parametrize("behaviour", hostile_http.RETRY_AFTER)
def test_a_retry_after_does_not_hold_a_call(
    behaviour: str, server: HostileServer, store: Store
) -> None:
    server.when = lambda request: request.method == "POST" and "docid/b" in request.path
    server.always = hostile_http.RETRY_AFTER[behaviour]
    error = _error(lambda: store.upsert(DOCUMENTS, VECTORS))
    assert isinstance(error, StoreUnavailableError)
    assert error.retry_after is None or 0 <= error.retry_after <= 60


def test_what_is_not_taken_in_time_is_told(server: HostileServer, store: Store) -> None:
    # One more is taken each time: progress does not prolong the call.
    documents = [Document(str(i), "") for i in range(200)]
    vectors = Vectors(dense=np.ones((200, 4)))
    refused: set[str] = set()

    def busy_at_first(request: Request) -> bool:
        is_write = request.method == "POST" and request.path.startswith("/document/")
        if is_write and len(server.requests) % 5 and len(refused) < 10_000:
            refused.add(f"{request.path} {len(server.requests)}")
            return True
        return False

    server.when, server.always = busy_at_first, hostile_http.busy("0.3")
    error = _error(lambda: store.upsert(documents, vectors))
    assert isinstance(error, StoreUnavailableError)
    assert "documents were not taken, and the call's deadline leaves no time" in str(error)


async def test_the_asynchronous_twins_end_in_time_too(server: HostileServer, store: Store) -> None:
    server.when, server.always = _is_own("search"), hostile_http.drip_body
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.asearch(QUERY),
        lambda: store.aupsert(DOCUMENTS, VECTORS),
        lambda: store.aget(["a"]),
        lambda: store.acount(),
    ]
    for call in calls:
        started = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            await call()
        assert time.monotonic() - started < DEADLINE + MARGIN
