"""A small correct backend in plain Python, in pieces that mutants replace.

It stands for a database of its own: rows are written as text, as a client would send them, and
read from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from trivec import Document, Filter, Hit, Scores, Vector, Vectors
from trivec.collection import Collection, Page
from trivec.errors import CollectionNotFoundError, InvalidVectorsError
from trivec.fields import FieldType
from trivec.ranking import reciprocal_ranks, weighted_sum
from trivec.rows import TokenRows
from trivec.search import Part, Search
from trivec.stores import Backend, Limits, TokenCodes


class Row(NamedTuple):
    """One document with its vectors."""

    document: Document
    vector: Vector


@dataclass(slots=True)
class Table:
    """What the database holds under one name."""

    collection: Collection
    rows: dict[str, Row] = field(default_factory=dict)


tables: dict[str, Table] = {}


class PlainBackend(Backend[Collection]):
    """A collection in a dict."""

    limits = Limits(colbert_bits=(16, 32, 8, 4, 2, 1))

    # --- the collection ------------------------------------------------------------------------

    def describe(self, declared: Mapping[str, FieldType]) -> Collection | None:
        table = tables.get(self.name)
        return None if table is None else table.collection

    def create(self, collection: Collection, *, adopt: bool) -> Collection:
        return tables.setdefault(self.name, Table(collection)).collection

    def drop(self) -> None:
        tables.pop(self.name, None)

    def close(self) -> None:
        pass

    # --- documents -----------------------------------------------------------------------------

    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        rows = self.rows()
        tokens = vectors.colbert
        if tokens is not None and collection.colbert and collection.colbert.bits < 16:
            vectors = replace(vectors, colbert=self.tokens(tokens, collection.colbert.bits))
        for document, vector in zip(documents, vectors, strict=True):
            rows[self.key(document.id)] = Row(self.kept(document), vector)

    def tokens(self, rows: TokenRows, bits: int) -> TokenRows:
        """Return token vectors as they are read back from fewer than 16 bits."""
        return TokenCodes.encode(rows, bits).decoded()

    def kept(self, document: Document) -> Document:
        """Return a document as it is read back from its JSON."""
        metadata = json.loads(json.dumps(dict(document.metadata)))
        return replace(document, metadata=metadata)

    def key(self, id: str) -> str:
        """Return the key of a row: an id in quotes, which `ids_of` reads."""
        return json.dumps(id)

    def get(self, collection: Collection, ids: Sequence[str], with_vectors: bool) -> Page:
        rows = self.rows()
        keys = self.keys_of(f"[{', '.join(map(self.key, ids))}]")
        return self.page(collection, [rows[key] for key in keys if key in rows], with_vectors)

    def keys_of(self, text: str) -> list[str]:
        """Read the keys in a query, as a database parses them."""
        return [json.dumps(id) for id in json.loads(text)]

    def scan_page(
        self,
        collection: Collection,
        cursor: object,
        limit: int,
        with_vectors: bool,
        condition: Filter | None,
    ) -> tuple[Page, object]:
        keys = cursor if isinstance(cursor, list) else self.matching(condition)
        rows = self.rows()
        batch = [rows[key] for key in keys[:limit] if key in rows]
        return self.page(collection, batch, with_vectors), keys[limit:] or None

    def delete(self, collection: Collection, ids: Sequence[str]) -> None:
        rows = self.rows()
        for id in ids:
            rows.pop(self.key(id), None)

    def delete_where(self, collection: Collection, condition: Filter) -> None:
        rows = self.rows()
        for key in self.matching(condition):
            del rows[key]

    def count(self, collection: Collection, condition: Filter | None) -> int:
        return len(self.matching(condition))

    def rows(self) -> dict[str, Row]:
        """Return the rows of the collection, or say that it does not exist."""
        if self.name not in tables:
            raise CollectionNotFoundError(f"collection {self.name!r} does not exist")
        return tables[self.name].rows

    def matching(self, condition: Filter | None) -> list[str]:
        """Return the keys of the rows that satisfy a condition."""
        return [k for k, row in self.rows().items() if self.satisfies(row.document, condition)]

    def satisfies(self, document: Document, condition: Filter | None) -> bool:
        """Return whether a document satisfies a condition."""
        return condition is None or condition.matches(document.metadata)

    def page(self, collection: Collection, rows: Sequence[Row], with_vectors: bool) -> Page:
        """Return rows as documents and vectors."""
        documents = [row.document for row in rows]
        if not with_vectors:
            return Page(documents, None)
        schema = collection.schema
        vectors = Vectors.from_rows(
            [row.vector for row in rows],
            dense=schema.dense,
            sparse=schema.sparse,
            colbert=schema.colbert,
        )
        return Page(documents, vectors)

    # --- search --------------------------------------------------------------------------------

    def search(
        self, collection: Collection, queries: Sequence[Vector], search: Search
    ) -> list[list[Hit]]:
        return [self.hits(query, search) for query in queries]

    def hits(self, query: Vector, search: Search) -> list[Hit]:
        """Answer one query."""
        rows = [self.rows()[key] for key in self.matching(search.filter)]
        lists = [self.candidates(query, rows, part, search) for part in search.sources(query)]
        found = {row.document.id: row for candidates in lists for row in candidates}
        ranks = self.ranks(lists)
        hits = [self.hit(query, row, search, ranks[id]) for id, row in found.items()]
        return self.cut([hit for hit in hits if hit is not None], search.hit_limit, by_id=True)

    def candidates(
        self, query: Vector, rows: Sequence[Row], part: Part, search: Search
    ) -> list[Row]:
        """Return the best rows of one source."""
        having = [row for row in rows if self.has(row, part)]
        scored = [(self.part_score(query, row.vector, part), row) for row in having]
        scored = [(score, row) for score, row in scored if part == "dense" or score > 0]
        scored.sort(key=lambda pair: (-pair[0], pair[1].document.id))
        return [row for _, row in scored[: search.source_limit]]

    def ranks(self, lists: Sequence[Sequence[Row]]) -> Mapping[str, float]:
        """Return the fused scores of ranked lists by id."""
        return reciprocal_ranks([row.document.id for row in rows] for rows in lists)

    def has(self, row: Row, part: Part) -> bool:
        """Return whether a row has a part at all."""
        if part == "dense":
            return row.vector.dense is not None and bool(row.vector.dense.any())
        if part == "sparse":
            return bool(row.vector.sparse)
        return row.vector.colbert is not None and len(row.vector.colbert) > 0

    def hit(self, query: Vector, row: Row, search: Search, rank_score: float) -> Hit | None:
        """Return a row as a hit; None where it lacks the part that it is ranked by."""
        parts: dict[Part, float] = {
            part: self.part_score(query, row.vector, part) for part in search.parts
        }
        hybrid = self.hybrid(parts, search) if search.mode == "hybrid" else None
        if search.mode == "colbert" and not self.has(row, "colbert"):
            return None
        score = rank_score
        if search.mode == "hybrid":
            score = hybrid or 0.0
        elif search.mode != "rrf":
            score = parts[search.mode]
        return Hit(row.document, score, Scores(**parts, hybrid=hybrid))

    def hybrid(self, parts: Mapping[Part, float], search: Search) -> float:
        """Return the weighted mean of the parts."""
        return weighted_sum(parts, search.weights)

    def cut(self, hits: list[Hit], k: int, *, by_id: bool) -> list[Hit]:
        """Return the k best hits, of equal scores those of the lowest ids."""
        hits.sort(key=lambda hit: (-hit.score, hit.document.id if by_id else ""))
        return hits[:k]

    def part_score(self, query: Vector, document: Vector, part: Part) -> float:
        """Return one part of the score; 0 where either side lacks it."""
        if part == "sparse":
            lexical, weights = document.sparse or {}, query.sparse or {}
            return float(sum(weight * lexical.get(term, 0.0) for term, weight in weights.items()))
        one, other = getattr(query, part), getattr(document, part)
        if one is None or other is None or not len(one) or not len(other):
            return 0.0
        if one.shape[-1] != other.shape[-1]:  # the collection was created anew meanwhile
            raise InvalidVectorsError(f"dimension {one.shape[-1]}; expected {other.shape[-1]}")
        if part == "dense":
            return float(np.dot(one, other))
        return float((one @ other.T).max(axis=1).mean())
