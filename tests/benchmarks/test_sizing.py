"""Bytes on disk of a document with BGE-M3's dimensions, beside what `trivec plan` computes.

Two sizes of each collection are measured, so that what a database reserves once does not count as
part of a document. For Vespa, whose content nodes are not here, the bytes of what is fed are given.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from sized_documents import BATCH, TERMS, TEXT_BYTES, TOKENS, batch, bytes_on_disk

from trivec import Schema, open_store
from trivec.collection import Collection
from trivec.insight.plan import MODELS, plan
from trivec_vespa.mapping import feed_fields

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

SCHEMA = MODELS["BAAI/bge-m3"]


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


def _write(case: Case, url: str, start: int, stop: int) -> None:
    with open_store(url) as store:
        store.create(case.schema, fields={"n": int}, exist_ok=True)
        for first in range(start, stop, BATCH):
            store.upsert(*batch(first, min(BATCH, stop - first), colbert=bool(case.colbert)))
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
        sizes.append(bytes_on_disk(tmp_path))
    per_document = (sizes[1] - sizes[0]) / (large - small)
    vectors = int(batch(0, 1, colbert=bool(case.colbert))[1].row_bytes()[0])
    with capsys.disabled():
        print(
            f"\n{name}: {per_document:,.0f} bytes a document ({small}: {sizes[0]:,}, {large}: "
            f"{sizes[1]:,}); planned for the vectors {case.planned():,.0f}; "
            f"as float32 {vectors:,}; text {TEXT_BYTES}"
        )


def test_bytes_that_vespa_is_fed(capsys: pytest.CaptureFixture[str]) -> None:
    documents, vectors = batch(0, BATCH)
    collection = Collection(SCHEMA)
    fed = [
        len(json.dumps({"fields": feed_fields(document, vectors, i, collection)}))
        for i, document in enumerate(documents)
    ]
    planned = Case("", "vespa", "tensor<bfloat16>").planned()
    with capsys.disabled():
        print(f"\nvespa: {np.mean(fed):,.0f} bytes fed a document; planned {planned:,.0f} stored")
