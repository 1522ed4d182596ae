"""Copies between every two databases: the same documents, the same scores, nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trivec import Document, Schema, Store, Vectors, copy
from trivec.rows import SparseRows, TokenRows
from trivec.search import Mode

COUNT, QUERIES = 60, 5
SCHEMA = Schema(dense=16, sparse=True, colbert=8, model="pairs")
FIELDS = {"lang": str, "n": int, "tags": list[str]}
MODES: tuple[Mode, ...] = ("dense", "sparse", "colbert", "hybrid")
PRECISION = {  # of the scores of what each one stores
    "memory": 1e-6,
    "archive": 1e-6,
    "milvus-double": 1e-6,
    "edge": 2e-3,
    "milvus-lite": 2e-3,
    "vespa": 2e-3,
}
PAIRS = [(one, other) for one in PRECISION for other in PRECISION if one != other]


def _vectors(n: int, seed: int) -> Vectors:
    """Return n texts, of which some lack a part."""
    rng = np.random.default_rng(seed)

    def unit(rows: int, dim: int) -> Any:
        values = rng.standard_normal((rows, dim))
        return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)

    dense = unit(n, 16)
    dense[5::11] = 0
    terms = [0 if i % 13 == 6 else int(rng.integers(3, 10)) for i in range(n)]
    tokens = [0 if i % 9 == 8 else int(rng.integers(1, 8)) for i in range(n)]
    return Vectors(
        dense=dense,
        sparse=SparseRows.from_dicts(
            [{int(t): float(rng.uniform(0.02, 0.4)) for t in rng.choice(50, k)} for k in terms]
        ),
        colbert=TokenRows.from_arrays([unit(k, 8) for k in tokens], dim=8),
    )


DOCUMENTS = [
    Document(
        f"d/{i} 'ü'",
        f"text {i} 北京",
        {"lang": ["en", "de"][i % 2], "n": i, "tags": ["a", "b"][: i % 3], "other": {"x": [i]}},
    )
    for i in range(COUNT)
]
VECTORS = _vectors(COUNT, 1)
QUESTIONS = _vectors(QUERIES, 2)


def _emptied(store: Store) -> Store:
    """Return a store with a collection that holds nothing."""
    store.create(SCHEMA, fields=FIELDS, exist_ok=True)
    store.delete([document.id for page in store.scan() for document in page.documents])
    return store


def _scores(store: Store, mode: Mode) -> list[dict[str, float]]:
    """Return the score of every document that a question finds."""
    found = store.search_many(QUESTIONS, mode=mode, k=COUNT, candidates=COUNT)
    return [{hit.document.id: hit.score for hit in hits} for hits in found]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda kind: str(kind))
def test_a_copy_has_the_same_documents_and_scores_and_is_made_once(
    databases: Any, tmp_path: Path, one: str, other: str
) -> None:
    # Each application of Vespa is a process of its own, so it has one collection for both.
    source = _emptied(databases.collection(one, "pairs" if one == "vespa" else "source"))
    target = _emptied(databases.collection(other, "pairs" if other == "vespa" else "target"))
    source.upsert(DOCUMENTS, VECTORS)
    journal = tmp_path / "copy.journal"

    report = copy(source, target, journal=journal)
    assert (report.written.documents, report.written.failed) == (COUNT, 0)
    assert report.verification.problems == ()
    assert report.verification.top10_overlap == 1
    copied = {document.id: document for page in target.scan() for document in page.documents}
    assert copied == {document.id: document for document in DOCUMENTS}
    tolerance = max(PRECISION[one], PRECISION[other])
    for mode in MODES:
        for before, after in zip(_scores(source, mode), _scores(target, mode), strict=True):
            assert after == pytest.approx(before, abs=tolerance), mode

    again = copy(source, target, journal=journal)
    assert (again.written.requests, again.written.unchanged) == (0, COUNT)
    assert again.verification.problems == ()
