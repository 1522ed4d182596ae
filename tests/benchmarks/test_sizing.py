"""Bytes on disk of a document with BGE-M3's dimensions, beside what `trivec plan` computes.

Two sizes of each collection are measured, so that what a database reserves once, such as logs of a
fixed size, does not count as part of a document. For Vespa, whose content nodes are not here, the
bytes of what is fed are given.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from trivec import Document, Vectors, open_store
from trivec.collection import Collection
from trivec.insight.plan import MODELS, plan
from trivec.rows import SparseRows, TokenRows
from trivec_qdrant import QdrantStore
from trivec_vespa.mapping import feed_fields

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

SCHEMA = MODELS["BAAI/bge-m3"]
TOKENS, TERMS, DIM = 200, 120, 1024
TEXT_BYTES = 800  # about 4 bytes to a token
SMALL, LARGE, BATCH = 200, 500, 50
DATABASES = {
    "archive": ("archive:{folder}/sizing", "", ""),
    "qdrant+edge": ("qdrant+edge:{folder}/sizing", "qdrant", "float16 multivector"),
    "milvus+lite": (
        "milvus+lite:{folder}/sizing.db/sizing",
        "milvus",
        "payload, float16 in base64",
    ),
}


def _batch(start: int, n: int) -> tuple[list[Document], Vectors]:
    """Return documents whose vectors are random, which nothing can compress."""
    rng = np.random.default_rng(start)

    def unit(rows: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        values = rng.standard_normal((rows, DIM), dtype=np.float32)
        return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)

    terms = [rng.choice(250_002, TERMS, replace=False) for _ in range(n)]
    vectors = Vectors(
        dense=unit(n),
        sparse=SparseRows.from_dicts(
            [dict(zip(row.tolist(), rng.uniform(0.02, 0.4, TERMS), strict=True)) for row in terms]
        ),
        colbert=TokenRows(np.arange(n + 1) * TOKENS, unit(n * TOKENS)),
    )
    letters = rng.integers(97, 123, (n, TEXT_BYTES), dtype=np.uint8)
    texts = [row.tobytes().decode() for row in letters]
    return [Document(f"d{start + i:09d}", texts[i], {"n": start + i}) for i in range(n)], vectors


def _on_disk(folder: Path) -> int:
    """Return what a folder takes: blocks that are written, without the holes of sparse files."""
    paths = [Path(path, name) for path, _, names in os.walk(folder) for name in names]
    return sum(path.lstat().st_blocks * 512 for path in paths)


def _write(url: str, start: int, stop: int) -> None:
    with open_store(url) as store:
        store.create(SCHEMA, fields={"n": int}, exist_ok=True)
        for first in range(start, stop, BATCH):
            store.upsert(*_batch(first, min(BATCH, stop - first)))
        assert store.count() == stop
        if isinstance(store, QdrantStore):
            store.optimize()  # build the indexes, which a server does by itself


@pytest.mark.parametrize("name", DATABASES)
def test_bytes_on_disk(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pattern, database, colbert = DATABASES[name]
    url = pattern.format(folder=tmp_path)
    sizes = []
    for start, stop in ((0, SMALL), (SMALL, LARGE)):
        _write(url, start, stop)  # closing the store writes everything out
        sizes.append(_on_disk(tmp_path))
    per_document = (sizes[1] - sizes[0]) / (LARGE - SMALL)
    vectors = int(_batch(0, 1)[1].row_bytes()[0])
    planned = sum(
        choice.document_bytes
        for choice in plan(SCHEMA, tokens=TOKENS - 1, terms=TERMS)
        if choice.database == database
        and (choice.storage == colbert if choice.part == "colbert" else choice.default)
    )
    with capsys.disabled():
        print(
            f"\n{name}: {per_document:,.0f} bytes a document ({SMALL}: {sizes[0]:,}, {LARGE}: "
            f"{sizes[1]:,}); planned {planned:,.0f}; float32 vectors {vectors:,}; text "
            f"{TEXT_BYTES}"
        )


def test_bytes_that_vespa_is_fed(capsys: pytest.CaptureFixture[str]) -> None:
    documents, vectors = _batch(0, BATCH)
    collection = Collection(SCHEMA)
    fed = [
        len(json.dumps({"fields": feed_fields(document, vectors, i, collection, binary=False)}))
        for i, document in enumerate(documents)
    ]
    planned = sum(
        choice.document_bytes
        for choice in plan(SCHEMA, tokens=TOKENS - 1, terms=TERMS)
        if choice.database == "vespa" and choice.default
    )
    with capsys.disabled():
        print(f"\nvespa: {np.mean(fed):,.0f} bytes fed a document; planned {planned:,.0f} stored")
