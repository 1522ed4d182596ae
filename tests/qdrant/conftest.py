"""Vectors, and servers that answer from a script."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import grpc
import numpy as np
import pytest
from qdrant_client import grpc as messages

from trivec import Vectors
from trivec.rows import SparseRows, TokenRows

MakeVectors = Callable[..., Vectors]
Elsewhere = Callable[[str], AbstractContextManager[None]]

_OPENED = """
import sys
from trivec import Schema, open_store
store = open_store(sys.argv[1])
store.create(Schema(dense=2, sparse=False, colbert=None))
print("open", flush=True)
sys.stdin.read()
print(store.count())
"""


@pytest.fixture
def elsewhere() -> Elsewhere:
    """Return what keeps a new collection open in another process, which finds it empty at last."""

    @contextmanager
    def opened(url: str) -> Iterator[None]:
        command = [sys.executable, "-c", _OPENED, url]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None
            assert other.stdin is not None
            assert other.stdout.readline() == "open\n"
            yield
            other.stdin.close()
            assert other.stdout.read() == "0\n"
            other.wait(20)

    return opened


@pytest.fixture(scope="session")
def make_vectors() -> MakeVectors:
    """Return a function that makes n random texts with all three parts."""

    def make(
        n: int, *, dense: int = 8, colbert: int = 8, tokens: int = 6, seed: int = 0
    ) -> Vectors:
        rng = np.random.default_rng(seed)

        def unit(rows: int, dim: int) -> Any:
            values = rng.standard_normal((rows, dim))
            return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)

        rows = [
            {int(i): float(rng.uniform(0.05, 0.4)) for i in rng.choice(40, 8, replace=False)}
            for _ in range(n)
        ]
        return Vectors(
            dense=unit(n, dense),
            sparse=SparseRows.from_dicts(rows),
            colbert=TokenRows.from_arrays([unit(tokens, colbert) for _ in range(n)], dim=colbert),
        )

    return make


@dataclass
class ScriptedHttp:
    """An HTTP server that gives prepared answers: (status, headers, body), or None to hang up."""

    answers: list[tuple[int, dict[str, str], bytes] | None] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    def reply(self, status: int, body: object, **headers: str) -> None:
        """Prepare one answer; its headers' underscores become hyphens."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers.append((status, {k.replace("_", "-"): v for k, v in headers.items()}, content))


@pytest.fixture
def http_server() -> Iterator[ScriptedHttp]:
    script = ScriptedHttp()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            script.requests.append((self.command, self.path, dict(self.headers), body))
            answer = script.answers.pop(0) if script.answers else (200, {}, b'{"result": null}')
            if answer is None:
                self.connection.close()
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in {"content-type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield script
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class ScriptedGrpc:
    """A gRPC server: each answer is a message, or (code, details, trailing metadata)."""

    answers: list[Any] = field(default_factory=list)
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    def upserted(self, status: int = messages.UpdateStatus.Completed) -> None:
        result = messages.UpdateResult(operation_id=1, status=status)  # type: ignore[arg-type]
        self.answers.append(messages.PointsOperationResponse(result=result, time=0.0))


@pytest.fixture
def grpc_server() -> Iterator[ScriptedGrpc]:
    script = ScriptedGrpc()

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, handler_call_details: Any) -> Any:
            def answer(request: bytes, context: Any) -> bytes:
                script.requests.append((handler_call_details.method, request))
                script.metadata.append(dict(context.invocation_metadata()))
                reply = script.answers.pop(0)
                if not isinstance(reply, tuple):
                    return bytes(reply.SerializeToString())
                code, text, trailing = reply
                context.set_trailing_metadata(tuple(trailing.items()))
                return bytes(context.abort(code, text))

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(
        ThreadPoolExecutor(2),
        handlers=[Handler()],
        options=[("grpc.max_receive_message_length", -1)],
    )
    script.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield script
    server.stop(None).wait()
