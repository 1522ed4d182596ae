"""The documents, vectors and queries that the contract stores and searches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivec.colbert_storage import ColbertStorage
from trivec.document import Document
from trivec.rows import SparseRows, TokenRows
from trivec.schema import Schema
from trivec.vectors import Vector, Vectors

SCHEMA = Schema(dense=32, sparse=True, colbert=16, model="contract")

FIELDS: Mapping[str, Any] = {
    "lang": str,
    "year": int,
    "price": float,
    "flag": bool,
    "when": datetime,
    "tags": list[str],
    "sizes": list[int],
    "nested.kind": str,
}
"""The declared metadata of `SCHEMA`'s collections: every type of field."""

STORAGES = (
    *(ColbertStorage(bits, pool) for bits in ColbertStorage.BITS for pool in (1, 2, 3)),
    *(ColbertStorage(16, prune=1 / 3), ColbertStorage(1, pool=2, prune=1 / 3)),
)
"""How collections keep token vectors in the tests that compare them with `memory:`."""

STRINGS = [
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

SMALL = Schema(dense=4, sparse=True, colbert=4, model="small")
"""The schema of collections whose contents hardly matter."""


@dataclass(frozen=True)
class Corpus:
    """Documents with their vectors, and queries."""

    documents: list[Document]
    vectors: Vectors
    queries: Vectors

    @property
    def dense(self) -> NDArray[np.float32]:
        """The dense vectors of the documents."""
        assert self.vectors.dense is not None
        return self.vectors.dense


@lru_cache(maxsize=1)
def corpus() -> Corpus:
    """Return 120 documents, some of which lack a part, and 12 queries, one of them no sparse part.

    Each 7th text has no lexical weight, each 9th no token vector, each 11th no dense vector.
    """
    rng = np.random.default_rng(7)
    vectors = random_vectors(rng, 120)
    assert vectors.dense is not None
    vectors.dense[5:120:11] = 0
    documents = [
        Document(f"doc-{i:03d}", f"text {i}", _metadata(rng, i)) for i in range(len(vectors))
    ]
    return Corpus(documents, vectors, random_vectors(np.random.default_rng(8), 12))


def unit(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.float32]:
    """Return n random unit vectors."""
    values = rng.standard_normal((n, dim))
    scaled: NDArray[np.float32]
    scaled = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def random_vectors(rng: np.random.Generator, n: int) -> Vectors:
    """Return the vectors of n texts; each 7th has no lexical weight, each 9th no token vector."""
    sparse = [
        {int(i): float(rng.uniform(0.02, 0.4)) for i in rng.choice(60, rng.integers(3, 12), False)}
        if row % 7 != 6
        else {}
        for row in range(n)
    ]
    tokens = [unit(rng, 0 if row % 9 == 8 else int(rng.integers(1, 9)), 16) for row in range(n)]
    return Vectors(
        dense=unit(rng, n, 32),
        sparse=SparseRows.from_dicts(sparse),
        colbert=TokenRows.from_arrays(tokens, dim=16),
    )


def small_vectors() -> Vectors:
    """Return the vectors of one text, with all parts of `SMALL`."""
    row = Vector(dense=np.eye(4)[0], sparse={3: 0.5}, colbert=np.eye(4)[:2])
    return Vectors.from_rows([row], dense=4, sparse=True, colbert=4)


def _metadata(rng: np.random.Generator, i: int) -> dict[str, Any]:
    """Return values of every declared field, some null, some missing, some empty."""
    values: dict[str, Any] = {
        "lang": ["en", "de", "fr", *STRINGS][i % (3 + len(STRINGS))],
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
