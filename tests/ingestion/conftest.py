"""Collections in every database to copy between, and servers that fail when a test says so."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pytest
import vespa_answers

import vespa_standin
from trivec import Store, open_store
from trivec.collection import Collection
from trivec.testing import HashEncoder

SCHEMA = HashEncoder(dense=4, colbert=4).schema

KINDS = {
    "memory": "memory:/{name}",
    "archive": "archive:{folder}/archive/{name}",
    "edge": "qdrant+edge:{folder}/edge/{name}",
    "milvus-lite": "milvus+lite:{folder}/lite.db/{name}",
    "milvus-double": "{double}/{name}",
    "vespa": "",
}
"""What collections can be copied from and to here."""


class Databases:
    """Opens one collection of each kind and name, and keeps it open."""

    def __init__(self, request: pytest.FixtureRequest, folder: Path, stack: ExitStack) -> None:
        self._request = request
        self._folder = folder
        self._stack = stack
        self._open: dict[tuple[str, str], Store] = {}
        self._unique = uuid4().hex[:8]

    def collection(self, kind: str, name: str) -> Store:
        """Return a collection, which need not exist yet."""
        if (kind, name) not in self._open:
            store = self._opened(kind, name)
            self._stack.enter_context(store)
            self._stack.callback(store.drop)
            self._open[kind, name] = store
        return self._open[kind, name]

    def url(self, kind: str, name: str) -> str:
        """Return the URL of a collection of any kind but Vespa, whose deployment has options."""
        double = self._request.getfixturevalue("milvus_double") if "double" in kind else ""
        name = f"{name}_{self._unique}"
        return KINDS[kind].format(folder=self._folder, double=double, name=name)

    def _opened(self, kind: str, name: str) -> Store:
        if kind != "vespa":
            return open_store(self.url(kind, name))
        vespa_standin.need()
        standin = vespa_standin.StandIn()
        self._stack.callback(standin.close)
        return open_store(standin.url(name), config_server=standin.config_server)


@pytest.fixture(scope="module")
def databases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Databases]:
    with ExitStack() as stack:
        yield Databases(request, tmp_path_factory.mktemp("databases"), stack)


@dataclass(frozen=True)
class Fault:
    """What happens to one write instead of an answer of status 200.

    With status 0 the connection is dropped. `applied` says whether the write was done before.
    """

    status: int = 0
    applied: bool = False


Faults = Callable[[int, list[str]], Fault | None]


class FaultyServer(ABC):
    """A database that speaks to its connector over HTTP/1.1 on a port of loopback.

    Attributes:
        stored: The documents, by the key under which the database keeps them.
        faults: Called with the number of a write, from 1, and the ids in it.
        writes: How many writes came.
    """

    url: ClassVar[str]
    options: ClassVar[dict[str, object]]
    described: Collection = Collection(SCHEMA)

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, Any]] = {}
        self.faults: Faults = lambda number, ids: None
        self.writes = 0
        self.port = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def start(self) -> None:
        """Listen, on the port of the last time."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                server._open.add(self.connection)

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer = server._answer(self.command, self.path, body)
                if not status:
                    self.close_connection = True
                    return
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = _answer

            def log_message(self, format: str, *_: object) -> None:
                pass

        class Listener(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # connections that `stop` cut

        self._http = Listener(("127.0.0.1", self.port), Handler)
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections and cut those that are open, as a process that dies."""
        self._http.shutdown()
        self._http.server_close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):  # closed before
                connection.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def open(self) -> Store:
        """Open the collection."""
        store = open_store(self.url.format(port=self.port), **self.options)
        backend: Any = store._handle.backend
        backend.describe = lambda declared: self.described
        return store

    def ids(self) -> list[str]:
        """Return the ids of the documents that are stored, sorted."""
        return sorted(fields["id"] for fields in self.stored.values())

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        content = json.loads(body) if body else {}
        written = self.written(method, urlsplit(path).path, content)
        if written is None:
            with self._lock:
                return self.read(method, urlsplit(path).path, content)
        with self._lock:
            self.writes += 1
            fault = self.faults(self.writes, [fields["id"] for fields in written.values()])
            if fault is None or fault.applied:
                self.stored |= written
        if fault is not None:
            # Each connector reads its own.
            return fault.status, {"status": {"error": "scripted"}, "message": "scripted"}
        return 200, self.done(path)

    def done(self, path: str) -> object:
        """Return the answer that acknowledges a write."""
        return {"result": {"operation_id": 1, "status": "completed"}, "time": 0.0}

    @abstractmethod
    def written(self, method: str, path: str, body: Any) -> dict[str, dict[str, Any]] | None:
        """Return what a write holds, by key, or None for another request."""

    @abstractmethod
    def read(self, method: str, path: str, body: Any) -> tuple[int, object]:
        """Answer another request."""


class QdrantServer(FaultyServer):
    """The requests of Qdrant's REST interface that ingestion makes."""

    url = "qdrant://127.0.0.1:{port}/c"
    options: ClassVar = {"prefer_grpc": False, "timeout": 10}

    def written(self, method: str, path: str, body: Any) -> dict[str, dict[str, Any]] | None:
        if (method, path) != ("PUT", "/collections/c/points"):
            return None
        return {point["id"]: point["payload"] for point in body["points"]}

    def read(self, method: str, path: str, body: Any) -> tuple[int, object]:
        if path.endswith("/points/count"):
            return 200, {"result": {"count": len(self.stored)}, "time": 0.0}
        assert (method, path) == ("POST", "/collections/c/points")
        there = [{"id": i, "payload": self.stored[i]} for i in body["ids"] if i in self.stored]
        return 200, {"result": there, "time": 0.0}


class VespaServer(FaultyServer):
    """The requests of Vespa's document and query interfaces that ingestion makes."""

    url = "vespa://127.0.0.1:{port}/c"
    options: ClassVar = {"deploy": False}

    def done(self, path: str) -> object:
        return vespa_answers.acknowledgement(path)

    def written(self, method: str, path: str, body: Any) -> dict[str, dict[str, Any]] | None:
        if method != "POST" or not path.startswith("/document/v1/"):
            return None
        return {unquote(path.rpartition("/")[2]): body["fields"]}

    def read(self, method: str, path: str, body: Any) -> tuple[int, object]:
        if path == "/search/":
            return 200, vespa_answers.result(len(self.stored))
        if path.startswith("/document/v1/c-collection/"):
            from trivec_vespa.mapping import description_fields

            fields = description_fields(Collection(SCHEMA))
            return 200, vespa_answers.document(path, fields)
        stored = self.stored.get(unquote(path.rpartition("/")[2]))
        if stored is None:
            return 404, vespa_answers.acknowledgement(path)
        return 200, vespa_answers.document(path, stored)


@pytest.fixture(params=[QdrantServer, VespaServer], ids=["qdrant", "vespa"])
def server(request: pytest.FixtureRequest) -> Iterator[FaultyServer]:
    pytest.importorskip("qdrant_client" if request.param is QdrantServer else "vespa")
    server: FaultyServer = request.param()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def faults() -> type[Fault]:
    return Fault


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Do not wait before a retry; do what the test put into this list, one for each wait."""
    events: list[Callable[[], None]] = []

    def wait(state: object) -> float:
        if events:
            events.pop(0)()
        return 0.0

    monkeypatch.setattr("trivec.retry._wait", wait)
    monkeypatch.setattr("trivec_vespa.documents._WAIT_SECONDS", 0.0)
    return events
