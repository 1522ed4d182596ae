"""Bytes on the disk of a million documents of 200 tokens, by how token vectors are kept.

Two sizes of each collection are measured, so that what a database reserves once does not count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from sized_documents import BATCH, DIM, TOKENS, batch, bytes_on_disk

from trivec import ColbertStorage, Vectors, open_store
from trivec.insight.plan import MODELS

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

SMALL, LARGE = 100, 300  # documents


@dataclass(frozen=True)
class Case:
    """One way to store documents.

    Args:
        url: Of the collection in {folder}.
        colbert: How it keeps token vectors, for `ColbertStorage.parse`.
        count: Returns the bytes that its files in a folder take.
        dtype: The type of token vectors when they are written, as an encoder's `colbert_dtype`.
    """

    url: str
    colbert: str
    count: Callable[[Path], int] = bytes_on_disk
    dtype: type[np.float32] | type[np.float16] = np.float32

    @property
    def database(self) -> str:
        return self.url.partition(":")[0]

    @property
    def token_bytes(self) -> int:
        """The bytes of a document's token vectors by `ColbertStorage` alone."""
        storage = ColbertStorage.parse(self.colbert)
        return storage.kept(TOKENS) * storage.token_bytes(DIM)

    def bytes_per_document(self, folder: Path) -> float:
        """Return the bytes of one document more, with its text and all three vectors."""
        sizes = []
        for start, stop in ((0, SMALL), (SMALL, LARGE)):
            with open_store(self.url.format(folder=folder)) as store:
                store.create(
                    MODELS["BAAI/bge-m3"],
                    fields={"n": int},
                    colbert=ColbertStorage.parse(self.colbert),
                    exist_ok=True,
                )
                for first in range(start, stop, BATCH):
                    documents, vectors = batch(first, BATCH)
                    store.upsert(documents, self._of_type(vectors))
                store.optimize()
            sizes.append(self.count(folder))  # closing the store writes everything out
        return (sizes[1] - sizes[0]) / (LARGE - SMALL)

    def _of_type(self, vectors: Vectors) -> Vectors:
        tokens = vectors.colbert
        assert tokens is not None
        return replace(vectors, colbert=replace(tokens, values=tokens.values.astype(self.dtype)))


EDGE, ARCHIVE = "qdrant+edge:{folder}/storage", "archive:{folder}/storage"
CASES = [
    *(Case(EDGE, colbert) for colbert in ("bits=32", "bits=16", "bits=8", "bits=4")),
    Case(EDGE, "bits=4,pool=2"),
    Case(ARCHIVE, "bits=32"),
    Case(ARCHIVE, "bits=16", dtype=np.float16),  # archives keep both types as they come
    *(Case(ARCHIVE, colbert) for colbert in ("bits=4", "bits=1", "bits=1,pool=2")),
]
"""The rows of the table; those of a database stand together, the largest first."""


def test_a_million_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"{'1 million documents':32} {'on disk':>10} {'token vectors by bits':>24}"]
    for i, case in enumerate(CASES):
        folder = tmp_path / str(i)
        folder.mkdir()
        on_disk = case.bytes_per_document(folder) / 1000
        name = f"{case.database} {case.colbert}"
        lines.append(f"{name:32} {on_disk:7.1f} GB {case.token_bytes / 1000:21.1f} GB")
    with capsys.disabled():
        print("\n" + "\n".join(lines))
