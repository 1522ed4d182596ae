"""Vespa's container with a content node in memory, and a server that answers by a script."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import vespa_answers
from vespa.application import Vespa

import vespa_standin
from trivec import Schema, Store
from trivec.colbert_storage import ColbertStorage
from trivec.collection import Collection
from trivec.fields import field_types
from trivec_vespa import VespaStore
from trivec_vespa.mapping import description_fields

SCHEMA = Schema(dense=8, sparse=True, colbert=16, model="test")
FIELDS: dict[str, Any] = {"lang": str, "year": int, "tags": list[str]}


@pytest.fixture(scope="session")
def schema() -> Schema:
    return SCHEMA


@pytest.fixture(scope="session")
def collection() -> Collection:
    return Collection(SCHEMA, field_types(FIELDS), ColbertStorage())


@pytest.fixture(scope="session")
def standin() -> Iterator[vespa_standin.StandIn]:
    vespa_standin.need()
    served = vespa_standin.StandIn()
    yield served
    served.close()


OpenStore = Callable[..., Store]


@pytest.fixture
def open_vespa(standin: vespa_standin.StandIn) -> Iterator[OpenStore]:
    """Open stores of the one collection of these tests."""
    opened: list[Store] = []

    def open_one(**options: Any) -> Store:
        app = Vespa("http://127.0.0.1", standin.port)
        options = {"config_server": standin.config_server, "deploy_timeout": 60, **options}
        store = VespaStore(app, "test", **options)
        opened.append(store)
        return store

    yield open_one
    opened[0].drop()
    for store in opened:
        store.close()


@pytest.fixture
def store(open_vespa: OpenStore) -> Store:
    """Return the collection, empty."""
    store = open_vespa()
    store.create(SCHEMA, fields=FIELDS, exist_ok=True)
    return store


@dataclass
class Reply:
    """One scripted answer; without a body, one that acknowledges a write."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    drop: bool = False


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Script:
    """A server whose answers come from a function of the request."""

    port: int
    requests: list[Request] = field(default_factory=list)
    answer: Callable[[Request], Reply] = lambda _: Reply()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def sent(self, method: str) -> list[Request]:
        return [request for request in self.requests if request.method == method]


@pytest.fixture
def script() -> Iterator[Script]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Request(self.command, self.path, dict(self.headers.items()), body)
            scripted.requests.append(request)
            reply = scripted.answer(request)
            time.sleep(reply.seconds)
            if reply.drop:
                self.close_connection = True
                return
            if reply.body is None:
                reply.body = vespa_answers.acknowledgement(self.path)
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body)
            content = content if isinstance(content, bytes) else content.encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = _serve

        def log_message(self, format: str, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scripted = Script(server.server_port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield scripted
    server.shutdown()
    server.server_close()


@pytest.fixture
def reply() -> type[Reply]:
    return Reply


@pytest.fixture
def described(collection: Collection) -> dict[str, object]:
    """Return the answer that describes the collection."""
    path = "/document/v1/test-collection/test/docid/collection"
    return vespa_answers.document(path, description_fields(collection))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Do not wait between attempts; return what the server asked to wait each time."""
    asked: list[float | None] = []

    def no_wait(state: Any) -> float:
        asked.append(state.outcome.exception().retry_after)
        return 0.0

    monkeypatch.setattr("trivec.retry._wait", no_wait)
    monkeypatch.setattr("trivec.stores.steps.pause", asked.append)
    monkeypatch.setattr("trivec_vespa.lifecycle.pause", asked.append)
    return asked
