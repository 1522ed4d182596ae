"""How many documents per second reach a server that takes everything."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from trivec import Document, Schema, Vectors
from trivec.collection import Collection
from trivec.rows import SparseRows, TokenRows

pytest.importorskip("vespa")
from vespa.application import Vespa

from trivec_vespa import VespaStore
from trivec_vespa.mapping import description_fields

TOKENS, DIM = 200, 1024
SCHEMA = Schema(dense=DIM, sparse=True, colbert=DIM)
OURS, THEIRS = 256, 8  # documents; pyvespa's defaults take about half a second for each

# In a process of its own, so that it takes no time from the interpreter that feeds.
SINK = """
import http.server, sys
class Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self): self.answer(DESCRIPTION)
    def do_POST(self):
        left = int(self.headers["Content-Length"])
        while left: left -= len(self.rfile.read(min(left, 1 << 20)))
        self.answer(b"{}")
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
DESCRIPTION = sys.argv[1].encode()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture
def sink() -> Iterator[int]:
    description = json.dumps({"fields": description_fields(Collection(SCHEMA))})
    process = subprocess.Popen([sys.executable, "-c", SINK, description], stdout=subprocess.PIPE)
    assert process.stdout is not None
    yield int(process.stdout.readline())
    process.terminate()
    process.wait()
    process.stdout.close()


def _vectors(count: int) -> Vectors:
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((count * TOKENS, DIM), dtype=np.float32)
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    return Vectors(
        dense=tokens[::TOKENS],
        sparse=SparseRows.from_dicts([dict.fromkeys(range(120), 0.2)] * count),
        colbert=TokenRows(np.arange(count + 1) * TOKENS, tokens),
    )


def _as_lists(vectors: Vectors, row: int) -> dict[str, Any]:
    """Return a document as pyvespa's examples feed it."""
    vector = vectors[row]
    assert vector.dense is not None
    assert vector.colbert is not None
    weights = {str(key): value for key, value in (vector.sparse or {}).items()}
    return {
        "id": str(row),
        "fields": {
            "dense_rep": vector.dense.tolist(),
            "lexical_rep": weights,
            "lexical_ws": {key: round(value * 10_000) for key, value in weights.items()},
            "colbert_rep": {str(i): token.tolist() for i, token in enumerate(vector.colbert)},
        },
    }


@pytest.mark.benchmark
def test_feeding(sink: int) -> None:
    app = Vespa("http://127.0.0.1", sink)
    vectors = _vectors(OURS)
    documents = [Document(str(i), "") for i in range(OURS)]
    with VespaStore(app, "test", deploy=False) as store:
        store.upsert(documents[:8], vectors.slice(0, 8))  # opens the connections
        start = time.perf_counter()
        store.upsert(documents, vectors)
        ours = OURS / (time.perf_counter() - start)
    failed: list[str] = []
    start = time.perf_counter()
    app.feed_iterable(
        (_as_lists(vectors, row) for row in range(THEIRS)),
        schema="test",
        callback=lambda reply, id: None if reply.is_successful() else failed.append(id),
    )
    theirs = THEIRS / (time.perf_counter() - start)
    assert failed == []
    print(
        f"\n{TOKENS} tokens x {DIM}: trivec {ours:.1f} documents/s, pyvespa's defaults with lists "
        f"{theirs:.2f} documents/s, ratio {ours / theirs:.0f}"
    )
