"""A server that fails in every way that Vespa documents."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import vespa_answers
from vespa.application import Vespa

from trivec import Document, Store, Vector, Vectors, open_store
from trivec.errors import (
    AuthenticationError,
    IncompleteResultError,
    InvalidOptionError,
    StoreError,
    StoreUnavailableError,
)
from trivec_vespa import VespaOptions, VespaStore

OpenStore = Callable[..., Store]
VECTORS = Vectors(dense=np.eye(3, 8))
DOCUMENTS = [Document(one, "") for one in "abc"]
EMPTY = vespa_answers.result(0)


@pytest.fixture
def scripted(script: Any, reply: Any, described: dict[str, object]) -> Any:
    """Return the server with a collection in it; `writes` and `queries` answer the rest."""
    script.writes = lambda request: reply()
    script.queries = lambda request: reply(body=EMPTY)

    def answer(request: Any) -> Any:
        if request.method == "GET":
            return reply(body=described)
        return (script.queries if request.path.startswith("/search") else script.writes)(request)

    script.answer = answer
    return script


@pytest.fixture
def opened(scripted: Any) -> Iterator[OpenStore]:
    stores: list[Store] = []

    def open_one(**options: Any) -> Store:
        stores.append(VespaStore(Vespa(scripted.url), "test", deploy=False, **options))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


def _document(request: Any) -> str:
    return str(request.path.partition("?")[0].rsplit("/", 1)[1])


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_asked_again(
    status: int, scripted: Any, opened: OpenStore, reply: Any, waits: list[Any]
) -> None:
    refused = iter([True, False])
    scripted.writes = lambda _: (
        reply(status, headers={"Retry-After": "7"}) if next(refused) else reply()
    )
    report = opened().upsert(DOCUMENTS[:1], VECTORS.slice(0, 1))
    assert report.documents == 1
    assert waits == [7.0]
    assert len(scripted.sent("POST")) == 2


def test_only_what_was_not_taken_is_sent_again(
    scripted: Any, opened: OpenStore, reply: Any, waits: list[Any]
) -> None:
    tries: Counter[str] = Counter()

    def answer(request: Any) -> Any:
        tries[_document(request)] += 1
        return reply(503 if _document(request) == "b" and tries["b"] < 3 else 200)

    scripted.writes = answer
    opened().upsert(DOCUMENTS, VECTORS)
    # b fails beside a and c; alone it makes no progress, so that the batch is repeated once.
    assert tries == {"a": 2, "b": 3, "c": 2}
    assert len(waits) == 2


def test_a_server_that_stays_busy_is_left(
    scripted: Any, opened: OpenStore, reply: Any, waits: list[Any]
) -> None:
    scripted.writes = lambda _: reply(429)
    with pytest.raises(StoreUnavailableError, match="status 429"):
        opened().upsert(DOCUMENTS[:1], VECTORS.slice(0, 1))
    assert len(scripted.sent("POST")) == 6


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "document 'b': .*status 400: no such field"),
        (412, "document 'b': .*status 412: no such field"),
        (413, "document 'b': .*status 413: no such field"),
        (500, "document 'b': .*status 500: no such field"),
        (507, "docid/b: status 507: .*nearly full. Delete documents, add nodes"),
    ],
)
def test_what_waiting_does_not_help_is_told_at_once(
    status: int, message: str, scripted: Any, opened: OpenStore, reply: Any, waits: list[Any]
) -> None:
    refusal = reply(status, {"message": "no such field"})
    scripted.writes = lambda request: refusal if _document(request) == "b" else reply()
    with pytest.raises(StoreError, match=message) as caught:
        opened().upsert(DOCUMENTS, VECTORS)
    assert not isinstance(caught.value, StoreUnavailableError)
    assert waits == []
    assert Counter(map(_document, scripted.sent("POST")))["b"] == 1


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials(status: int, scripted: Any, opened: OpenStore, reply: Any) -> None:
    scripted.writes = lambda _: reply(status, b"<html>no</html>")
    with pytest.raises(AuthenticationError, match=f"{status}.*no"):
        opened().upsert(DOCUMENTS, VECTORS)


def test_a_dropped_connection_is_made_again(
    scripted: Any, opened: OpenStore, reply: Any, waits: list[Any]
) -> None:
    dropped = iter([True, True, False])
    scripted.writes = lambda _: reply(drop=next(dropped))
    opened().upsert(DOCUMENTS[:1], VECTORS.slice(0, 1))
    assert waits == [None, None]


def test_a_slow_answer_is_given_up(
    scripted: Any,
    opened: OpenStore,
    reply: Any,
    waits: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trivec_vespa.client._MARGIN_SECONDS", 0.0)
    scripted.queries = lambda _: reply(seconds=0.5, body=EMPTY)
    with pytest.raises(StoreUnavailableError, match="Timeout"):
        opened(timeout=0.1).count()
    assert len(scripted.sent("POST")) == 6


def test_vespa_is_told_how_long_it_may_take(scripted: Any, opened: OpenStore) -> None:
    store = opened(timeout=2.5)
    store.upsert(DOCUMENTS[:1], VECTORS.slice(0, 1))
    store.count()
    write, query = scripted.sent("POST")
    assert write.path.endswith("timeout=2.5s")
    assert json.loads(query.body)["timeout"] == "2.5s"


PARTIAL = {
    "root": {
        "fields": {"totalCount": 3},
        "coverage": {"coverage": 71, "full": False, "degraded": {"timeout": True}},
    }
}


def test_a_partial_answer_is_an_error_unless_allowed(
    scripted: Any, opened: OpenStore, reply: Any
) -> None:
    scripted.queries = lambda _: reply(body=PARTIAL)
    query = Vector(dense=np.eye(8, dtype=np.float32)[0])
    with pytest.raises(IncompleteResultError, match="71 %"):
        opened().count()
    with pytest.raises(IncompleteResultError, match="71 %"):
        opened().search(query, mode="dense")
    assert opened(allow_partial=True).count() == 3


@pytest.mark.parametrize(
    ("code", "requests"), [(12, 6), (10, 6), (8, 1), (4, 1), (3, 1)], ids=lambda n: str(n)
)
def test_errors_hide_in_answers_of_status_200(
    code: int, requests: int, scripted: Any, opened: OpenStore, reply: Any, waits: list[Any]
) -> None:
    error = {"code": code, "summary": "short", "message": "long", "stackTrace": "secret"}
    scripted.queries = lambda _: reply(body={"root": {"errors": [error]}})
    with pytest.raises(StoreError, match="long") as caught:
        opened().count()
    assert "secret" not in str(caught.value)
    assert len(scripted.sent("POST")) == requests


def test_only_tls_carries_credentials(
    scripted: Any, monkeypatch: pytest.MonkeyPatch, waits: list[Any]
) -> None:
    monkeypatch.setenv("VESPA_CLI_DATA_PLANE_TOKEN", "s3cret")
    url = f"vespa://127.0.0.1:{scripted.port}/test"
    with open_store(url, deploy=False) as store:
        store.count()
    assert all("s3cret" not in str(request.headers) for request in scripted.requests)
    with pytest.raises(InvalidOptionError, match="vespas"):
        open_store(url, token="s3cret")
    secure = open_store(f"vespas://127.0.0.1:{scripted.port}/test")
    assert "s3cret" not in repr(secure)
    with secure, pytest.raises(StoreError, match="does not speak TLS") as caught:
        secure.count()
    assert "s3cret" not in str(caught.value)


def test_a_certificate_that_is_not_there_is_told() -> None:
    with pytest.raises(InvalidOptionError, match=r"cert='nothing\.pem' is no file"):
        open_store("vespas://localhost/test", cert="nothing.pem")


def test_a_token_is_sent_to_the_app_it_belongs_to(scripted: Any) -> None:
    app = Vespa(scripted.url, vespa_cloud_secret_token="s3cret")
    with VespaStore(app, "test", deploy=False) as store:
        store.count()
    with pytest.raises(InvalidOptionError, match=r"give them to Vespa"):
        VespaStore(app, "test", token="s3cret")
    assert "s3cret" not in repr(VespaOptions(token="s3cret", cert="s3cret", key="s3cret"))
    sent = {name.lower(): value for name, value in scripted.requests[-1].headers.items()}
    assert sent["authorization"] == "Bearer s3cret"
    assert sent["user-agent"].startswith("pyvespa")


@pytest.mark.parametrize(
    "options",
    [{"timeout": 0}, {"connections": 0}, {"text_errors": "ignore"}, {"batch_bytes": 0}],
    ids=str,
)
def test_options_out_of_range_are_refused(options: dict[str, Any], opened: OpenStore) -> None:
    with pytest.raises(InvalidOptionError):
        opened(**options)


def test_nothing_listens(waits: list[Any]) -> None:
    for host in ("127.0.0.1:1", "no.such.host.invalid"):
        with (
            open_store(f"vespa://{host}/x", config_server="http://127.0.0.1:1") as store,
            pytest.raises(StoreUnavailableError, match=f"nothing answers at vespa://{host}/x: "),
        ):
            store.count()
    assert waits == []
