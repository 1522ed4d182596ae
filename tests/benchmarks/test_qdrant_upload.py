"""What an upload to Qdrant costs the client: packed messages, the client's own, JSON."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient

from trivec import Document, Vectors
from trivec.rows import SparseRows, TokenRows
from trivec.stores.backend import Stepwise
from trivec.stores.steps import run
from trivec_qdrant import Names
from trivec_qdrant.engines.client import ClientEngine
from trivec_qdrant.engines.grpc import GrpcEngine

pytestmark = pytest.mark.benchmark

DOCUMENTS, TOKENS, DIM, WORDS, TEXT = 14, 200, 1024, 80, 500
ROUNDS = 3
REQUEST = 7  # documents; more would exceed the 32 MiB that a server takes over REST

STUB = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
import grpc
from qdrant_client import grpc as messages

done = messages.PointsOperationResponse(
    result=messages.UpdateResult(operation_id=1, status=messages.UpdateStatus.Completed), time=0.0
).SerializeToString()
answer = {"result": {"operation_id": 1, "status": "completed"}, "status": "ok", "time": 0.0}

class Grpc(grpc.GenericRpcHandler):
    def service(self, handler_call_details):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: done)

class Rest(BaseHTTPRequestHandler):
    def do_PUT(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

server = grpc.server(
    ThreadPoolExecutor(1), handlers=[Grpc()], options=[("grpc.max_receive_message_length", -1)]
)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
rest = HTTPServer(("127.0.0.1", 0), Rest)
print(rest.server_address[1], port, flush=True)
rest.serve_forever()
"""


@pytest.fixture
def stub() -> Iterator[tuple[int, int]]:
    """Yield the REST and gRPC ports of a server, in a process of its own, that reads and nods."""
    with subprocess.Popen(
        [sys.executable, "-c", STUB], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        rest, grpc_port = map(int, server.stdout.readline().split())
        yield rest, grpc_port
        server.terminate()


def _corpus() -> tuple[list[Document], Vectors]:
    rng = np.random.default_rng(0)
    rows = [
        {int(i): float(rng.random()) + 0.01 for i in rng.choice(250_000, WORDS, replace=False)}
        for _ in range(DOCUMENTS)
    ]
    vectors = Vectors(
        dense=rng.standard_normal((DOCUMENTS, DIM)).astype(np.float32),
        sparse=SparseRows.from_dicts(rows),
        colbert=TokenRows(
            np.arange(DOCUMENTS + 1) * TOKENS,
            rng.standard_normal((DOCUMENTS * TOKENS, DIM)).astype(np.float32),
        ),
    )
    return [Document(f"d{i}", "x" * TEXT, {"n": i}) for i in range(DOCUMENTS)], vectors


def test_client_cpu_of_an_upload(stub: tuple[int, int], capsys: pytest.CaptureFixture[str]) -> None:
    rest, grpc_port = stub
    documents, vectors = _corpus()

    def client(*, prefer_grpc: bool) -> QdrantClient:
        return QdrantClient(
            url=f"http://127.0.0.1:{rest}",
            grpc_port=grpc_port,
            prefer_grpc=prefer_grpc,
            timeout=60,
            check_compatibility=False,
        )

    routes = {
        "packed messages over gRPC": GrpcEngine(client(prefer_grpc=True), "c", Names()),
        "the client's PointStruct over gRPC": ClientEngine(client(prefer_grpc=True), "c", Names()),
        "the client's PointStruct over REST": ClientEngine(client(prefer_grpc=False), "c", Names()),
    }
    seconds = dict.fromkeys(routes, float("inf"))
    for _ in range(ROUNDS):  # in turns, so that a busy moment does not hit one of them only
        for name, engine in routes.items():
            begun = time.process_time()
            for start in range(0, DOCUMENTS, REQUEST):
                stop = start + REQUEST
                steps: Stepwise[None] = engine.write(
                    documents[start:stop], vectors.slice(start, stop)
                )
                run(steps, engine)
            seconds[name] = min(seconds[name], time.process_time() - begun)
    fastest = seconds["packed messages over gRPC"]
    lines = [
        f"{name}: {spent * 1000 / DOCUMENTS:.2f} CPU s per 1,000 documents, {spent / fastest:.1f} x"
        for name, spent in seconds.items()
    ]
    with capsys.disabled():
        print("\n".join(["", f"processor: {_processor()}", *lines]))


def _processor() -> str:
    """Return the processor's name and those of its flags that vector arithmetic uses."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    info = dict(line.split(":", 1) for line in lines if ":" in line)
    info = {key.strip(): value.strip() for key, value in info.items()}
    known = ("avx2", "fma", "f16c", "avx512f", "avx512_vnni", "amx_tile")
    flags = [flag for flag in known if flag in info.get("flags", "").split()]
    return f"{info.get('model name', 'unknown')} ({' '.join(flags)})"
