"""The collection that every test searches, in all stores of `store_cases.CASES`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from store_cases import CASES, FIELDS, StoreCase

from trivec import Document, Hit, Schema, Store, Vectors, open_store
from trivec.rows import SparseRows, TokenRows

SCHEMA = Schema(dense=32, sparse=True, colbert=16, model="contract")
HOSTILE = [
    "plain",
    "it's",
    'say "hi"',
    "back\\slash",
    "\\' or 1 == 1 or '",
    '" or true or "',
    "{x}",
    "@x",
    "%_*?",
    "line\nbreak",
    "tab\there",
    "zażółć 北京 🐋",
    "https://example.org/a?b=c&d#e",
    "a" * 500,
]


@dataclass(frozen=True)
class Corpus:
    """Documents with their vectors, and queries."""

    documents: list[Document]
    vectors: Vectors
    queries: Vectors


@pytest.fixture(params=CASES, ids=lambda case: case.name, scope="module")
def case(request: pytest.FixtureRequest) -> StoreCase:
    case: StoreCase = request.param
    if case.fixture:
        request.getfixturevalue(case.fixture)
    return case


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def shared(case: StoreCase, folder: Path) -> Iterator[Store]:
    """Yield a collection for the whole module."""
    store = case.open(folder, f"contract_{uuid4().hex[:12]}")
    store.create(SCHEMA, fields=FIELDS, colbert=case.colbert, exist_ok=True)
    yield store
    store.drop()
    store.close()


@pytest.fixture
def store(shared: Store) -> Store:
    """Return the module's collection, emptied."""
    ids = [document.id for page in shared.scan() for document in page.documents]
    shared.delete(ids)
    return shared


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """120 documents, some of which lack a part, and 12 queries, one without lexical weights."""
    rng = np.random.default_rng(7)
    vectors = _random_vectors(rng, 120)
    assert vectors.dense is not None
    vectors.dense[5:120:11] = 0
    documents = [
        Document(f"doc-{i:03d}", f"text {i}", _metadata(rng, i)) for i in range(len(vectors))
    ]
    return Corpus(documents, vectors, _random_vectors(np.random.default_rng(8), 12))


@pytest.fixture(scope="module")
def filled(shared: Store, corpus: Corpus) -> Store:
    """Return the module's collection holding the corpus; such modules only read."""
    shared.upsert(corpus.documents, corpus.vectors)
    return shared


@pytest.fixture(scope="module")
def oracle(case: StoreCase, corpus: Corpus) -> Iterator[Store]:
    """Yield the same collection in memory: the definition."""
    with open_store(f"memory:/oracle_{uuid4().hex}") as store:
        store.create(SCHEMA, fields=FIELDS)
        store.upsert(corpus.documents, case.stored(corpus.vectors))
        yield store
        store.drop()


AssertSameHits = Callable[[Sequence[Hit], Sequence[Hit]], None]


@pytest.fixture(scope="module")
def assert_same_hits(case: StoreCase) -> AssertSameHits:
    """Compare hits with those of the oracle: ids, order, documents, every part."""

    def check(found: Sequence[Hit], expected: Sequence[Hit]) -> None:
        tolerance = case.tolerance
        assert sorted(h.document.id for h in found) == sorted(h.document.id for h in expected)
        by_id = {hit.document.id: hit for hit in expected}
        for hit, in_place in zip(found, expected, strict=True):
            same = by_id[hit.document.id]
            # Stored in 16 bits, documents nearer than the precision may change places.
            assert same.score == pytest.approx(in_place.score, abs=2 * tolerance)
            if tolerance <= 1e-6:
                assert hit.document.id == in_place.document.id
            assert hit.document == same.document
            assert hit.score == pytest.approx(same.score, abs=tolerance)
            for part in ("dense", "sparse", "colbert", "hybrid"):
                got, wanted = getattr(hit.scores, part), getattr(same.scores, part)
                assert (got is None) == (wanted is None), part
                if wanted is not None:
                    assert got == pytest.approx(wanted, abs=tolerance), part

    return check


def _unit(rng: np.random.Generator, n: int, dim: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    values = rng.standard_normal((n, dim))
    unit: np.ndarray[Any, np.dtype[np.float32]]
    unit = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _random_vectors(rng: np.random.Generator, n: int) -> Vectors:
    """n texts; each 7th has no lexical weight, each 9th no token vector."""
    sparse = [
        {int(i): float(rng.uniform(0.02, 0.4)) for i in rng.choice(60, rng.integers(3, 12), False)}
        if row % 7 != 6
        else {}
        for row in range(n)
    ]
    tokens = [_unit(rng, 0 if row % 9 == 8 else int(rng.integers(1, 9)), 16) for row in range(n)]
    return Vectors(
        dense=_unit(rng, n, 32),
        sparse=SparseRows.from_dicts(sparse),
        colbert=TokenRows.from_arrays(tokens, dim=16),
    )


def _metadata(rng: np.random.Generator, i: int) -> dict[str, Any]:
    """Values of every declared field, some null, some missing, some empty."""
    values: dict[str, Any] = {
        "lang": ["en", "de", "fr", *HOSTILE][i % (3 + len(HOSTILE))],
        "year": int(rng.integers(2015, 2026)),
        "price": float(rng.choice([0.3, 0.1 + 0.2, 2.0, -1.5, 1e9])),
        "flag": bool(rng.integers(2)),
        "when": ["2020-01-31", "2020-01-31T12:00:00Z", "2020-01-31T13:30:00+01:00"][i % 3],
        "tags": [str(t) for t in rng.choice(["a", "b", "it's", "c\\d"], rng.integers(0, 3), False)],
        "sizes": [int(s) for s in rng.integers(0, 5, rng.integers(0, 3))],
        "nested": {"kind": ["x", "y"][i % 2], "level": i % 4},
        "extra": {"name": ["left", "right"][i % 2], "level": i % 5},
    }
    if i % 6 == 1:
        values[list(values)[int(rng.integers(8))]] = None
    if i % 6 == 2:
        del values[list(values)[int(rng.integers(8))]]
    return values
