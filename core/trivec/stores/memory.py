"""The exact reference store: every definition in numpy, in the memory of this process."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from trivec.collection import Collection, Page
from trivec.document import Document
from trivec.errors import CollectionNotFoundError, SchemaMismatchError
from trivec.fields import FieldType
from trivec.filters import Filter
from trivec.hit import Hit
from trivec.ranking import reciprocal_ranks
from trivec.scores import PartScores, Weights, score_many
from trivec.search import Search
from trivec.stores.backend import Backend
from trivec.stores.folder import check_name
from trivec.stores.limits import Limits
from trivec.stores.options import StoreOptions
from trivec.stores.url import StoreUrl
from trivec.vectors import Vector, Vectors


@dataclass(slots=True)
class _Table:
    """The rows of one collection, and their columns while nothing is written."""

    collection: Collection
    rows: dict[str, tuple[Document, Vector]] = field(default_factory=dict)
    columns: tuple[list[Document], Vectors] | None = None

    def stack(self, rows: Sequence[tuple[Document, Vector]]) -> tuple[list[Document], Vectors]:
        schema = self.collection.schema
        stacked = Vectors.from_rows(
            [vector for _, vector in rows],
            dense=schema.dense,
            sparse=schema.sparse,
            colbert=schema.colbert,
        )
        return [document for document, _ in rows], stacked

    def all(self) -> tuple[list[Document], Vectors]:
        """Return everything in id order, so that a stable sort breaks ties by id."""
        if self.columns is None:
            self.columns = self.stack([self.rows[i] for i in sorted(self.rows)])
        return self.columns


_tables: dict[str, _Table] = {}
_lock = threading.RLock()


class MemoryBackend(Backend[Collection]):
    """A collection in this process, shared by all stores of the same name.

    Its scores are the definition that all other stores are tested against; it reads every
    vector for every query.

    Args:
        name: The collection.
    """

    limits = Limits(database="memory:", colbert_bits=(16, 32))  # it keeps 32 in any case

    def __init__(self, name: str) -> None:
        super().__init__(check_name(name))

    @classmethod
    @override
    def from_url(cls, url: StoreUrl, options: StoreOptions) -> Self:
        """Open `memory:/name`."""
        return cls(url.name)

    @override
    def describe(self, declared: Mapping[str, FieldType]) -> Collection | None:
        table = _tables.get(self.name)
        return None if table is None else table.collection

    @override
    def create(self, collection: Collection, *, adopt: bool) -> Collection:
        with _lock:  # of two that create it at the same time, the second must not empty it
            existing = _tables.setdefault(self.name, _Table(collection)).collection
        if existing != collection:
            raise SchemaMismatchError(f"collection {self.name!r} was just created otherwise")
        return existing

    @override
    def drop(self) -> None:
        with _lock:
            _tables.pop(self.name, None)

    @override
    def close(self) -> None:
        pass

    @override
    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        rows = {d.id: (d, vector) for d, vector in zip(documents, vectors, strict=True)}
        with _lock:
            table = self._table()
            table.rows.update(rows)
            table.columns = None

    @override
    def get(self, collection: Collection, ids: Sequence[str], with_vectors: bool) -> Page:
        with _lock:
            table = self._table()
            rows = [table.rows[i] for i in ids if i in table.rows]
        if not with_vectors:
            return Page([document for document, _ in rows], None)
        return Page(*table.stack(rows))

    @override
    def scan_page(
        self,
        collection: Collection,
        cursor: object,
        limit: int,
        with_vectors: bool,
        condition: Filter | None,
    ) -> tuple[Page, object]:
        """Read the next of the ids that the first page found."""
        ids = cursor if isinstance(cursor, list) else sorted(self._select(condition))
        page = self.get(collection, ids[:limit], with_vectors)
        return page, ids[limit:] or None

    @override
    def delete(self, collection: Collection, ids: Sequence[str]) -> None:
        with _lock:
            table = self._table()
            for id in ids:
                table.rows.pop(id, None)
            table.columns = None

    @override
    def delete_where(self, collection: Collection, condition: Filter) -> None:
        with _lock:
            self.delete(collection, self._select(condition))

    @override
    def count(self, collection: Collection, condition: Filter | None) -> int:
        return len(self._select(condition))

    @override
    def search(
        self, collection: Collection, queries: Sequence[Vector], search: Search
    ) -> list[list[Hit]]:
        with _lock:
            documents, vectors = self._table().all()
        return search_rows(queries, documents, vectors, search)

    def _select(self, condition: Filter | None) -> list[str]:
        with _lock:
            rows = self._table().rows.values()
            return [d.id for d, _ in rows if condition is None or condition.matches(d.metadata)]

    def _table(self) -> _Table:
        table = _tables.get(self.name)
        if table is None:
            raise CollectionNotFoundError(f"collection {self.name!r} does not exist")
        return table


def search_rows(
    queries: Sequence[Vector], documents: Sequence[Document], vectors: Vectors, search: Search
) -> list[list[Hit]]:
    """Answer queries exactly, by the definition of every score, for databases that cannot rank.

    Args:
        queries: The encoded questions.
        documents: All documents of the collection, in id order.
        vectors: One row for each.
        search: What to search for; its filter is applied.
    """
    if search.filter is not None:
        condition = search.filter
        kept = [i for i, d in enumerate(documents) if condition.matches(d.metadata)]
        documents, vectors = [documents[i] for i in kept], vectors.take(kept)
    return [rank(query, documents, vectors, search) for query in queries]


def rank(
    query: Vector, documents: Sequence[Document], vectors: Vectors, search: Search
) -> list[Hit]:
    """Rank documents, which are in id order, for one query; the filter is not applied."""
    lists = [candidates(query, vectors, s, search)[0] for s in search.sources(query)]
    if not lists:
        return []
    union = np.unique(np.concatenate(lists))
    if search.mode == "colbert" and vectors.colbert is not None:
        union = union[np.diff(vectors.colbert.indptr)[union] > 0]
    parts = _score(query, vectors.take(union), search)
    hybrid = None
    if search.mode == "hybrid":
        hybrid = parts.hybrid(search.weights)
        ranking = hybrid
    elif search.mode == "rrf":
        fused = reciprocal_ranks(found.tolist() for found in lists)
        ranking = np.array([fused[row] for row in union.tolist()])
    else:
        only = {"dense": parts.dense, "sparse": parts.sparse, "colbert": parts.colbert}
        ranking = np.asarray(only[search.mode])
    best = np.argsort(-ranking, kind="stable")[: search.k].tolist()
    return [
        Hit(
            documents[int(union[i])],
            float(ranking[i]),
            parts.row(i, hybrid=None if hybrid is None else float(hybrid[i])),
        )
        for i in best
    ]


def candidates(
    query: Vector, vectors: Vectors, source: str, search: Search
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows that one source gives, best first, and their scores.

    Only rows that have the part at all are among them.
    """
    scores = np.zeros(len(vectors))
    rows = np.zeros(0, np.int64)
    if source == "dense" and vectors.dense is not None:
        rows = np.flatnonzero(vectors.dense.any(axis=1))
        scores = np.asarray(score_many(query, vectors, Weights(1, 0, 0)).dense)
    elif source == "sparse":
        scores = np.asarray(score_many(query, vectors, Weights(0, 1, 0)).sparse)
        rows = np.flatnonzero(scores > 0)
    best = rows[np.argsort(-scores[rows], kind="stable")[: search.source_limit]]
    return best, scores[best]


def _score(query: Vector, vectors: Vectors, search: Search) -> PartScores:
    """Compute the parts that the search asks for; their weights do not matter here."""
    wanted = Weights(*(float(part in search.parts) for part in ("dense", "sparse", "colbert")))
    return score_many(query, vectors, wanted)
