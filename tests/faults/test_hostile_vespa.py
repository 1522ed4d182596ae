"""A server in Vespa's place that answers wrongly, late, or not at all.

Whatever it does, a call ends in time, with an error of trivec or with the right result. A document
counts as written, found or missing only if Vespa says so.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import hostile_http
import numpy as np
import pytest
from hostile_http import Behaviour, HostileServer, Request, answer

from trivec import Document, Store, Vectors, open_store
from trivec.errors import StoreError, StoreUnavailableError, TrivecError

pytest.importorskip("vespa.application", reason="the [vespa] extra is not installed")
from two_documents import DOCUMENTS, EXPECTED, OPERATIONS, QUERY, SCHEMA, VECTORS, TwoDocuments

DEADLINE = 0.5
MARGIN = 0.6  # for a machine with other things to do; far below any time of the server's


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
    vespa = TwoDocuments()

    def good(request: Request) -> Behaviour:
        return answer(*vespa.answer(request.method, request.path))

    shared.good, shared.always, shared.when = good, None, lambda request: True
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
    shared_store._handle.forget()
    return shared_store


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat what failed at once."""
    monkeypatch.setattr("trivec.retry._wait", lambda state: 0.0)
    monkeypatch.setattr("trivec_vespa.documents._WAIT_SECONDS", 0.01)


def _error(call: Callable[[], object]) -> TrivecError:
    """Return the error of a call, which must be a TrivecError, come in time, and be readable."""
    started = time.monotonic()
    with pytest.raises(TrivecError) as caught:
        call()
    assert time.monotonic() - started < DEADLINE + MARGIN
    assert len(str(caught.value)) < 3000
    return caught.value


@pytest.mark.parametrize("operation", OPERATIONS)
def test_good_answers_are_taken(operation: str, store: Store) -> None:
    assert OPERATIONS[operation](store) == EXPECTED[operation]


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
    # One of five is taken each time: progress does not prolong the call.
    documents = [Document(str(i), "") for i in range(200)]
    server.when = lambda request: request.method == "POST" and len(server.requests) % 5 != 0
    server.always = hostile_http.busy("0.3")
    error = _error(lambda: store.upsert(documents, Vectors(dense=np.ones((200, 4)))))
    assert isinstance(error, StoreUnavailableError)
    assert "deadline" in str(error)


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


# --- the way to the server ------------------------------------------------------------------------


def test_a_redirect_elsewhere_is_no_answer(server: HostileServer, store: Store) -> None:
    # Even if there is a Vespa that answers well: it is not the one that was asked.
    with HostileServer(server.good) as elsewhere:

        def away(connection: hostile_http.Connection, request: Request) -> bool:
            place = f"http://127.0.0.1:{elsewhere.port}{request.path}"
            return answer(307, b"", {"Location": place})(connection, request)

        server.always = away
        for operation, call in OPERATIONS.items():
            error = _error(partial(call, store))
            assert "redirects" in str(error), operation
            assert not isinstance(error, StoreUnavailableError)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return hostile_http.self_signed(tmp_path_factory.mktemp("tls"))


def _secure(port: int) -> Store:
    return open_store(f"vespas://127.0.0.1:{port}/c", timeout=1, deadline=2)


def test_a_certificate_that_nobody_vouches_for(certificate: tuple[Path, Path]) -> None:
    with HostileServer(certificate=certificate) as server, _secure(server.port) as store:
        with pytest.raises(StoreError, match=r"certificate is not trusted: .*HTTPR_CA_BUNDLE") as e:
            store.count()
        assert not isinstance(e.value, StoreUnavailableError)
        assert server.requests == []


def test_the_certificate_of_an_authority_of_ones_own(
    certificate: tuple[Path, Path], server: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPR_CA_BUNDLE", str(certificate[0]))
    with HostileServer(server.good, certificate=certificate) as tls, _secure(tls.port) as store:
        assert store.count() == 2


def test_a_server_that_speaks_no_tls(server: HostileServer) -> None:
    with _secure(server.port) as store, pytest.raises(TrivecError):
        store.count()


@pytest.mark.parametrize("scheme", ["vespa", "vespas"])
def test_a_closed_port_is_told_at_once(scheme: str) -> None:
    started = time.monotonic()
    url = f"{scheme}://127.0.0.1:{hostile_http.closed_port()}/c"
    with (
        open_store(url, deploy=False) as store,
        pytest.raises(StoreUnavailableError, match="nothing answers at"),
    ):
        store.count()
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("behaviour", ["deaf", "drip-body", "drip-headers"])
def test_a_config_server_holds_no_call(behaviour: str, server: HostileServer) -> None:
    # Nobody listens where Vespa should: its config server is asked whether there is one.
    server.always = hostile_http.HANGING[behaviour]
    url = f"vespa://127.0.0.1:{hostile_http.closed_port()}/c"
    config = f"http://127.0.0.1:{server.port}"
    with open_store(url, config_server=config, deadline=DEADLINE) as store:
        error = _error(lambda: store.create(SCHEMA))
    assert isinstance(error, StoreUnavailableError)


@pytest.mark.parametrize("behaviour", [*hostile_http.BROKEN, *hostile_http.EMPTY])
@pytest.mark.usefixtures("no_waits")
def test_nothing_is_deployed_over_what_cannot_be_read(
    behaviour: str, server: HostileServer
) -> None:
    server.always = (hostile_http.BROKEN | hostile_http.EMPTY)[behaviour]
    server.requests.clear()
    url = f"vespa://127.0.0.1:{hostile_http.closed_port()}/c"
    config = f"http://127.0.0.1:{server.port}"
    with open_store(url, config_server=config, deadline=DEADLINE) as store:
        _error(lambda: store.create(SCHEMA))
    assert {request.method for request in server.requests} == {"GET"}


def test_a_deployment_has_its_own_time(server: HostileServer) -> None:
    server.when = lambda request: request.method == "POST"
    server.always = hostile_http.drip_body

    def config(request: Request) -> Behaviour:
        return answer(404, {"error-code": "NOT_FOUND", "message": "no application"})

    server.good = config
    url = f"vespa://127.0.0.1:{hostile_http.closed_port()}/c"
    options = {"config_server": f"http://127.0.0.1:{server.port}", "deploy_timeout": 0.8}
    started = time.monotonic()
    with open_store(url, deadline=0.2, **options) as store, pytest.raises(StoreUnavailableError):
        store.create(SCHEMA)
    assert 0.8 <= time.monotonic() - started < 0.8 + MARGIN
