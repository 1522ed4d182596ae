"""Bytes on disk of a document with BGE-M3's dimensions, beside what `trivec plan` computes.

Two sizes of each collection are measured, so that what a database reserves once does not count as
part of a document. For Vespa, whose content nodes are not here, the bytes of what is fed are given.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from trivec import Document, Schema, Vectors, open_store
from trivec.collection import Collection
from trivec.insight.plan import MODELS, plan
from trivec.rows import SparseRows, TokenRows
from trivec_vespa.mapping import feed_fields

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

SCHEMA = MODELS["BAAI/bge-m3"]
TOKENS, TERMS, DIM = 200, 120, 1024
TEXT_BYTES = 800  # about 4 bytes to a token
BATCH = 50


@dataclass(frozen=True)
class Case:
    """One way to store documents.

    Args:
        url: Of the collection in {folder}.
        database: Its name in `plan`.
        colbert: How `plan` calls the storage of token vectors; "" for a collection without them.
        counts: How many documents there are when the disk is measured.
    """

    url: str
    database: str
    colbert: str
    counts: tuple[int, int] = (200, 500)

    @property
    def schema(self) -> Schema:
        return SCHEMA if self.colbert else replace(SCHEMA, colbert=None)

    def planned(self) -> float:
        """Return the bytes of a document's vectors by `plan`; 0 for the archive."""
        return sum(
            choice.document_bytes
            for choice in plan(self.schema, tokens=TOKENS - 1, terms=TERMS)
            if choice.database == self.database
            and (choice.storage == self.colbert if choice.part == "colbert" else choice.default)
        )


MANY = (4000, 12_000)
EDGE, LITE = "qdrant+edge:{folder}/sizing", "milvus+lite:{folder}/sizing.db/sizing"
CASES = {
    "archive": Case("archive:{folder}/sizing", "", "float32"),
    "qdrant+edge": Case(EDGE, "qdrant", "float16 multivector"),
    "milvus+lite": Case(LITE, "milvus", "payload, float16 in base64"),
    "qdrant+edge without ColBERT": Case(EDGE, "qdrant", "", MANY),
    "milvus+lite without ColBERT": Case(LITE, "milvus", "", MANY),
}


def _batch(start: int, n: int, *, colbert: bool = True) -> tuple[list[Document], Vectors]:
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
        colbert=TokenRows(np.arange(n + 1) * TOKENS, unit(n * TOKENS)) if colbert else None,
    )
    letters = rng.integers(97, 123, (n, TEXT_BYTES), dtype=np.uint8)
    texts = [row.tobytes().decode() for row in letters]
    return [Document(f"d{start + i:09d}", texts[i], {"n": start + i}) for i in range(n)], vectors


def _on_disk(folder: Path) -> int:
    """Return what a folder takes: blocks that are written, without the holes of sparse files.

    Logs of writes, which are cut again, do not count.
    """
    paths = [Path(path, name) for path, _, names in os.walk(folder) for name in names]
    return sum(path.lstat().st_blocks * 512 for path in paths if "wal" not in path.parts)


def _write(case: Case, url: str, start: int, stop: int) -> None:
    with open_store(url) as store:
        store.create(case.schema, fields={"n": int}, exist_ok=True)
        for first in range(start, stop, BATCH):
            store.upsert(*_batch(first, min(BATCH, stop - first), colbert=bool(case.colbert)))
        assert store.count() == stop
        store.optimize()  # build the indexes, which others do by themselves


@pytest.mark.parametrize("name", CASES)
def test_bytes_on_disk(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES[name]
    url = case.url.format(folder=tmp_path)
    small, large = case.counts
    sizes = []
    for start, stop in ((0, small), (small, large)):
        _write(case, url, start, stop)  # closing the store writes everything out
        sizes.append(_on_disk(tmp_path))
    per_document = (sizes[1] - sizes[0]) / (large - small)
    vectors = int(_batch(0, 1, colbert=bool(case.colbert))[1].row_bytes()[0])
    with capsys.disabled():
        print(
            f"\n{name}: {per_document:,.0f} bytes a document ({small}: {sizes[0]:,}, {large}: "
            f"{sizes[1]:,}); planned for the vectors {case.planned():,.0f}; "
            f"as float32 {vectors:,}; text {TEXT_BYTES}"
        )


def test_bytes_that_vespa_is_fed(capsys: pytest.CaptureFixture[str]) -> None:
    documents, vectors = _batch(0, BATCH)
    collection = Collection(SCHEMA)
    fed = [
        len(json.dumps({"fields": feed_fields(document, vectors, i, collection)}))
        for i, document in enumerate(documents)
    ]
    planned = Case("", "vespa", "tensor<bfloat16>").planned()
    with capsys.disabled():
        print(f"\nvespa: {np.mean(fed):,.0f} bytes fed a document; planned {planned:,.0f} stored")
