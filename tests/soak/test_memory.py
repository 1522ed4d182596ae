"""Resident memory while a million documents pass; 50,000 unless `make soak` asks for more."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np
import psutil
import pytest

from trivec import Document, IngestReport, Store, Vectors, ingest
from trivec.collection import Collection
from trivec.rows import SparseRows, TokenRows
from trivec.stores.memory import MemoryBackend
from trivec.testing import HashEncoder

COUNT = int(os.environ.get("TRIVEC_SOAK_DOCUMENTS", "50000"))
GROWTH = 48 * 1024 * 1024  # of which the allocator and SQLite's caches take their part


class QuickEncoder(HashEncoder):
    """Gives the same vectors to every text."""

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        n = len(texts)
        return Vectors(
            dense=np.full((n, 32), 0.17, np.float32),
            sparse=SparseRows(np.arange(n + 1), np.full(n, 7), np.full(n, 0.5)),
            colbert=TokenRows(np.arange(n + 1) * 3, np.full((3 * n, 16), 0.25, np.float32)),
        )


class Nowhere(MemoryBackend):
    """Counts what it is given and keeps nothing."""

    written = 0

    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        self.written += len(documents)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("with_journal", [True, False], ids=["journal", "no journal"])
def test_memory_does_not_grow_with_the_documents(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], with_journal: bool
) -> None:
    encoder = QuickEncoder()
    resident: list[int] = []

    def documents() -> Iterator[Document]:
        for i in range(COUNT):
            yield Document(f"document-{i:09d}", "a few words", {"n": i})

    def look(report: IngestReport) -> None:
        resident.append(psutil.Process().memory_info().rss)

    nowhere = Nowhere(f"nowhere-{uuid4().hex}")
    with Store(nowhere) as store:
        store.create(encoder.schema)
        report = ingest(
            documents(),
            encoder,
            store,
            journal=tmp_path / "soak.journal" if with_journal else None,
            progress=look,
        )
        assert report.documents == nowhere.written == COUNT
        store.drop()
    early, late = max(resident[: len(resident) // 5]), max(resident)
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{COUNT} documents {'with' if with_journal else 'without'} a journal: "
            f"{COUNT / report.seconds:.0f}/s, resident {early / 1e6:.0f} MB after a fifth, "
            f"{late / 1e6:.0f} MB at most"
        )
    assert late - early < GROWTH
