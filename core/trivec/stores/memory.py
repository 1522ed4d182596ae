"""The exact reference store: every definition in numpy, in the memory of this process."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from trivec.rows import TokenRows
from trivec.scores import PartScores, TokenColumns, Weights, maxsim, score_many
from trivec.search import Search
from trivec.stores.backend import Backend
from trivec.stores.folder import check_name
from trivec.stores.limits import Limits
from trivec.stores.options import StoreOptions
from trivec.stores.url import StoreUrl
from trivec.token_codes import TokenCodes
from trivec.vectors import Vector, Vectors


@dataclass(frozen=True, slots=True)
class Rows:
    """Documents with their vectors, in columns.

    Args:
        documents: n documents.
        vectors: One row for each.
        codes: The token vectors of each in place of those in `vectors`, which has none then, where
            they have fewer than 16 bits.
    """

    documents: Sequence[Document]
    vectors: Vectors
    codes: TokenCodes | None = None

    @property
    def tokens(self) -> TokenColumns | None:
        """The token vectors of each document; None without this part."""
        return self.vectors.colbert if self.codes is None else self.codes

    def take(self, rows: NDArray[np.int64]) -> Rows:
        """Return the rows at these positions."""
        codes = None if self.codes is None else self.codes.take(rows)
        return Rows([self.documents[i] for i in rows.tolist()], self.vectors.take(rows), codes)

    def page(self) -> Page:
        """Return the documents with all of their vectors."""
        vectors = self.vectors
        if self.codes is not None:
            vectors = replace(vectors, colbert=self.codes.decoded())
        return Page(list(self.documents), vectors)


@dataclass(slots=True)
class _Table:
    """The rows of one collection, and their columns while nothing is written."""

    collection: Collection
    rows: dict[str, Rows] = field(default_factory=dict)
    columns: Rows | None = None

    def put(self, documents: Sequence[Document], vectors: Vectors) -> None:
        """Write documents, each as rows of one."""
        rows = self._coded(documents, vectors.filled(self.collection.schema))
        for i, document in enumerate(documents):
            self.rows[document.id] = rows.take(np.array([i]))
        self.columns = None

    def _coded(self, documents: Sequence[Document], vectors: Vectors) -> Rows:
        storage, tokens = self.collection.colbert, vectors.colbert
        if tokens is None or storage is None or storage.bits >= 16:
            return Rows(documents, vectors)
        none = TokenRows(np.zeros_like(tokens.indptr), tokens.values[:0])
        codes = TokenCodes.encode(tokens, storage.bits)
        return Rows(documents, replace(vectors, colbert=none), codes)

    def stack(self, ids: Sequence[str]) -> Rows:
        """Return the rows of these ids."""
        rows = [self.rows[id] for id in ids]
        if not rows:
            return self._coded([], Vectors.none(self.collection.schema))
        codes = [row.codes for row in rows if row.codes is not None]
        return Rows(
            [row.documents[0] for row in rows],
            Vectors.concatenate([row.vectors for row in rows]),
            TokenCodes.concatenate(codes) if codes else None,
        )

    def all(self) -> Rows:
        """Return everything in id order, so that a stable sort breaks ties by id."""
        if self.columns is None:
            self.columns = self.stack(sorted(self.rows))
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

    # Vectors of 16 and 32 bits are kept in the type in which they come.
    limits = Limits(database="memory:", colbert_bits=(16, 32, 8, 4, 2, 1))

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
        with _lock:
            self._table().put(documents, vectors)

    @override
    def get(self, collection: Collection, ids: Sequence[str], with_vectors: bool) -> Page:
        with _lock:
            table = self._table()
            found = [id for id in ids if id in table.rows]
            if not with_vectors:
                return Page([table.rows[id].documents[0] for id in found], None)
            return table.stack(found).page()

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
            rows = self._table().all()
        return _search(queries, rows, search)

    def _select(self, condition: Filter | None) -> list[str]:
        with _lock:
            documents = [row.documents[0] for row in self._table().rows.values()]
        return [d.id for d in documents if condition is None or condition.matches(d.metadata)]

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
    return _search(queries, Rows(documents, vectors), search)


def _search(queries: Sequence[Vector], rows: Rows, search: Search) -> list[list[Hit]]:
    if search.filter is not None:
        condition = search.filter
        kept = [i for i, d in enumerate(rows.documents) if condition.matches(d.metadata)]
        rows = rows.take(np.array(kept, np.int64))
    return [rank(query, rows, search) for query in queries]


def rank(query: Vector, rows: Rows, search: Search) -> list[Hit]:
    """Rank documents, which are in id order, for one query; the filter is not applied."""
    lists = [candidates(query, rows.vectors, s, search)[0] for s in search.sources(query)]
    if not lists:
        return []
    union = np.unique(np.concatenate(lists))
    if search.mode == "colbert" and rows.tokens is not None:
        union = union[np.diff(rows.tokens.indptr)[union] > 0]
    rows = rows.take(union)
    parts = _score(query, rows, search)
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
    best = np.argsort(-ranking, kind="stable")[: search.hit_limit].tolist()
    return [
        Hit(
            rows.documents[i],
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


def _score(query: Vector, rows: Rows, search: Search) -> PartScores:
    """Compute the parts that the search asks for; their weights do not matter here."""
    wanted = Weights(*(float(part in search.parts) for part in ("dense", "sparse", "colbert")))
    parts = score_many(query, rows.vectors, wanted)
    if parts.colbert is None or query.colbert is None or rows.codes is None:
        return parts
    return replace(parts, colbert=maxsim(query.colbert, rows.codes))
