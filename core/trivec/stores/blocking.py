"""The blocking half of `Store`: what users call, over a few methods that a connector writes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np

from trivec.arguments import at_least_one, described, expect
from trivec.collection import Collection, OptimizeReport, Page, UpsertReport
from trivec.document import PRIVATE_KEY, Document, check_id
from trivec.errors import (
    InvalidDocumentError,
    InvalidFilterError,
    InvalidOptionError,
    InvalidVectorsError,
    RequestTooLargeError,
    SchemaMismatchError,
    StoreError,
)
from trivec.fields import FieldType, field_types
from trivec.filters import ALWAYS, NEVER, Comparison, Filter, Op, check_is_filter
from trivec.filters.counterexample import counterexample
from trivec.filters.declared import fit_filter
from trivec.hit import Hit
from trivec.ranking import rank_hits
from trivec.rows import spans
from trivec.schema import Schema
from trivec.scores import Weights
from trivec.search import Mode, Search
from trivec.stores.deadline import DEADLINE_SECONDS, in_time
from trivec.stores.handle import BATCH_BYTES, REFUSALS, Handle
from trivec.stores.overflow import Overflow, OverflowingRowError, fit_rows
from trivec.stores.validation import check_documents, check_mode, check_query
from trivec.vectors import Vector, Vectors

__all__ = ["BlockingStore", "listed_queries"]

_log = logging.getLogger("trivec")


class BlockingStore(Handle):
    """What `Store` does without its asynchronous twins."""

    def __init__(
        self,
        name: str,
        *,
        colbert_overflow: Overflow = "pool",
        batch_bytes: int = BATCH_BYTES,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        super().__init__(
            name, colbert_overflow=colbert_overflow, batch_bytes=batch_bytes, deadline=deadline
        )
        self._noted: set[str] = set()  # fields that nobody declared and some filter named

    # --- the collection ------------------------------------------------------------------------

    @in_time
    def create(
        self,
        schema: Schema,
        *,
        fields: Mapping[str, type | FieldType] | None = None,
        exist_ok: bool = False,
    ) -> None:
        """Create the collection.

        Args:
            schema: Which vectors it holds; usually `encoder.schema`.
            fields: The metadata that filters will use, which databases index: path to str, int,
                float, bool, datetime, list[str] or list[int].
            exist_ok: Whether the collection may exist already, and fit.

        Raises:
            SchemaMismatchError: If it exists and must not, or differs.
            InvalidOptionError: If it is no schema, or a field's path or type is unknown.
        """
        expect(schema, Schema, "schema", "a Schema, usually encoder.schema")
        expect(exist_ok, bool, "exist_ok", "True or False")
        wanted = Collection(schema, field_types(fields or {}))
        there = self._retrying(self._describe)
        if there is None:
            self._retrying(self._create, wanted)
            self._collection = wanted
            return
        if not exist_ok:
            raise SchemaMismatchError(f"collection {self.name!r} exists; pass exist_ok=True")
        problems = schema.differences(there.schema) + [
            f"field {path!r} is {there.fields.get(path, 'not declared')}, expected {kind}"
            for path, kind in wanted.fields.items()
            if there.fields.get(path) != kind
        ]
        if problems:
            raise SchemaMismatchError(
                f"collection {self.name!r} exists and does not fit: {'; '.join(problems)}. "
                "Use another name, or drop it and ingest again"
            )
        self._collection = there

    @in_time
    def drop(self) -> None:
        """Delete the collection and everything in it; one that is not there is no error."""
        self._retrying(self._drop)
        self._forget()

    def optimize(self) -> OptimizeReport:
        """Build the indexes now, and give back the disk that deleted documents take.

        Only `qdrant+edge:` has anything to do; all others do it by themselves. It may take long,
        and needs room for a second copy meanwhile.

        Raises:
            CollectionNotFoundError: If the collection is not there.
            StoreFullError: If there is too little room on the disk.
        """
        self._known(anew=True)
        return self._retrying(self._optimize)

    def close(self) -> None:
        """Release connections; see `Store.close`."""
        self._closed = True
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def max_colbert_rows(self) -> int | None:
        """The most token vectors of one document; None for any number."""
        return self._max_colbert_rows(self.schema)

    def as_stored(self, document: Document) -> Document:
        """Return a document as the store gives it back: without what it was told to replace."""
        return document

    # --- documents -----------------------------------------------------------------------------

    def upsert(self, documents: Sequence[Document], vectors: Vectors) -> UpsertReport:
        """Write documents with their vectors, over those of the same ids.

        Args:
            documents: Any number; their ids differ.
            vectors: One row per document, with no part that the collection lacks.

        Returns:
            What was written.

        Raises:
            InvalidDocumentError: If a document is at fault; nothing was written.
            InvalidVectorsError: If the vectors do not fit the collection; nothing was written.
            StoreError: If the database failed; what came before may have been written, and the
                same call may be made again.
        """
        check_documents(self.name, self._known(anew=True), documents, vectors, self.limits)
        documents = list(documents)  # of whatever kind of sequence, for cutting
        self._check_documents(documents, vectors)
        vectors, overflowed = self._fit(vectors, [d.id for d in documents])
        texts = np.fromiter((d.size_bytes for d in documents), np.int64, len(documents))
        sizes = self._wire_bytes(vectors) + texts
        requests = 0
        for start, stop in spans(sizes, self._batch_bytes):
            requests += self._write_in_parts(documents[start:stop], vectors.slice(start, stop))
        return UpsertReport(len(documents), requests, int(sizes.sum()), overflowed)

    @in_time
    def get(self, ids: Iterable[str], *, with_vectors: bool = False) -> Page:
        """Return the documents with these ids, in this order; unknown ids are left out.

        Args:
            ids: Any number; of those that come twice, the first place counts.
            with_vectors: Whether to read the vectors too.

        Returns:
            The documents, and their vectors if `with_vectors`.
        """
        wanted = _ids(ids)
        self._known(anew=with_vectors)
        page = self._retrying(self._get, wanted, with_vectors) if wanted else Page([], None)
        place = {document.id: i for i, document in enumerate(page.documents)}
        order = [place[i] for i in wanted if i in place]
        vectors = page.vectors
        if with_vectors and vectors is None:
            vectors = self._no_vectors()
        return Page(
            [page.documents[i] for i in order], None if vectors is None else vectors.take(order)
        )

    @in_time
    def delete(self, ids: Iterable[str]) -> None:
        """Delete the documents with these ids; unknown ids are no error."""
        wanted = _ids(ids)
        self._known(anew=True)
        if wanted:
            self._retrying(self._delete, wanted)

    @in_time
    def delete_where(self, filter: Filter) -> None:
        """Delete the documents that satisfy a condition.

        Raises:
            InvalidFilterError: If no metadata is found that does not satisfy the condition, such as
                for `x | ~x`, or it compares nothing; use `drop` to delete everything.
        """
        self._known(anew=True)
        condition = self._fitted(check_is_filter(filter))
        if all(one.value == () for one in filter.comparisons()):
            raise InvalidFilterError(
                f"delete_where({filter!r}) compares nothing; use drop() to delete everything"
            )
        if condition is None or counterexample(condition, self.fields) is None:
            raise InvalidFilterError(
                f"delete_where({filter!r}) would delete every document there can be; use drop() "
                "to delete everything"
            )
        if condition != NEVER:
            self._note_undeclared(condition)
            self._retrying(self._delete_where, condition)

    @in_time
    def count(self, filter: Filter | None = None) -> int:
        """Count the documents, or those that satisfy a condition."""
        self._known(anew=True)
        condition = self._fitted(filter)
        found = 0 if condition == NEVER else self._retrying(self._count, condition)
        if not found:
            self._note_undeclared(condition)
        return found

    def scan(
        self, *, batch_size: int = 256, with_vectors: bool = False, filter: Filter | None = None
    ) -> Iterator[Page]:
        """Yield every document once, in pages, in no particular order.

        Args:
            batch_size: The most documents of one page.
            with_vectors: Whether to read the vectors too.
            filter: Yield only what satisfies this condition.
        """
        batch_size = at_least_one(batch_size, "batch_size")
        self._known(anew=True)
        condition = self._fitted(filter)
        pages = iter(()) if condition == NEVER else self._scan(batch_size, with_vectors, condition)
        return self._while_open(pages, condition)

    # --- search --------------------------------------------------------------------------------

    def search(
        self,
        query: Vector,
        *,
        k: int = 10,
        mode: Mode = "hybrid",
        weights: Weights = Weights.GENERAL,
        candidates: int = 100,
        filter: Filter | None = None,
    ) -> list[Hit]:
        """Return the best documents for one query, best first; equal scores in id order.

        Args:
            query: The encoded question.
            k: How many hits at most.
            mode: "dense" and "sparse" rank by that score. "hybrid" ranks by the exact weighted
                score over the union of the `candidates` best dense and the `candidates` best
                sparse documents, "colbert" ranks that union by its ColBERT score, and "rrf" by
                1/(60 + rank) summed over the two lists.
            weights: The weights of "hybrid"; a weight of 0 removes its part, also as a source of
                candidates. If only ColBERT is left, both sources give candidates.
            candidates: How many documents each source gives; at least k.
            filter: A condition that every hit satisfies.

        Raises:
            InvalidOptionError: If an option is out of range.
            InvalidVectorsError: If the query lacks the part of the mode or has other dimensions.
            InvalidFilterError: If the filter does not fit the declared fields.
        """
        return self.search_many(
            [query], k=k, mode=mode, weights=weights, candidates=candidates, filter=filter
        )[0]

    @in_time
    def search_many(
        self,
        queries: Iterable[Vector],
        *,
        k: int = 10,
        mode: Mode = "hybrid",
        weights: Weights = Weights.GENERAL,
        candidates: int = 100,
        filter: Filter | None = None,
    ) -> list[list[Hit]]:
        """Answer many queries, with the options of `search`.

        Args:
            queries: The encoded questions; `encoder.encode_queries(texts)` as it is.
            k: How many hits of each at most.
            mode: See `search`.
            weights: See `search`.
            candidates: See `search`.
            filter: A condition that every hit satisfies.

        Returns:
            The hits of each query, in the order of the queries.
        """
        listed = listed_queries(queries)
        search = Search(mode, k, weights, candidates, filter)
        known = self._collection
        try:
            return self._answered(listed, search)
        except REFUSALS as error:
            if not self._has_changed(known, error):
                raise
        return self._answered(listed, search)

    def _answered(self, queries: Sequence[Vector], search: Search) -> list[list[Hit]]:
        search, checked = self._prepared(queries, search)
        if not checked or search.filter == NEVER:
            return [[] for _ in checked]
        found = self._retrying(self._search, checked, search)
        return self._best_hits(found, search)

    # --- shared machinery ----------------------------------------------------------------------

    def _while_open(self, pages: Iterator[Page], condition: Filter | None) -> Iterator[Page]:
        """Yield pages until the store is closed, since some connectors would open it again."""
        self._check_open()
        found = False
        with self._forgetting():
            for page in pages:
                yield page
                found = True
                self._check_open()
        if not found:
            self._note_undeclared(condition)

    def _fitted(self, condition: Filter | None) -> Filter | None:
        """Return a filter as connectors get it; None where it is true of everything.

        It is simplified, and its values are in the types of the declared fields. What it can never
        be true of is `NEVER`, which no connector is asked for.
        """
        fields = self._known().fields
        if condition is None:
            return None
        try:
            fitted = fit_filter(
                check_is_filter(condition), fields, declared_only=self.declared_only
            ).simplified()
        except RecursionError as error:
            raise InvalidFilterError("a filter has too many brackets in one another") from error
        return None if fitted == ALWAYS else fitted

    def _note_undeclared(self, condition: Filter | None) -> None:
        """Say once of each field of a filter that is not declared and that no document has."""
        if condition is None or self.declared_only:
            return
        for path in {comparison.path for comparison in condition.comparisons()}:
            if path in self._noted or path in self.fields or path.startswith(f"{PRIVATE_KEY}."):
                continue
            self._noted.add(path)
            if not self._retrying(self._count, Comparison(path, Op.EXISTS)):
                _log.warning(
                    "collection %r: a filter names the field %r, which no document has; "
                    "its declared fields are %s",
                    *(self.name, path, ", ".join(self.fields) or "none"),
                )

    def _prepared(self, queries: Sequence[Vector], search: Search) -> tuple[Search, list[Vector]]:
        """Return a search and its queries as connectors get them.

        The queries have only those parts that the collection holds.
        """
        search = replace(search, filter=self._fitted(search.filter))
        check_mode(self.name, self.schema, search.mode)  # also where there is no query
        checked = (check_query(self.name, self.schema, query, search) for query in queries)
        return search, [self._fit(query, ["the query"])[0][0] for query in checked]

    def _best_hits(self, found: Sequence[Sequence[Hit]], search: Search) -> list[list[Hit]]:
        """Return the k best hits of each query."""
        ranked = [rank_hits(hits, search.k) for hits in found]
        if not any(ranked):
            self._note_undeclared(search.filter)
        return ranked

    def _fit(self, vectors: Vectors, names: Sequence[str]) -> tuple[Vectors, tuple[str, ...]]:
        """Apply `colbert_overflow`; return the vectors and the names of the rows it changed."""
        if vectors.colbert is None:
            return vectors, ()
        limit = self._max_colbert_rows(self.schema)
        try:
            fitted, changed = fit_rows(vectors.colbert, limit, self._overflow)
        except OverflowingRowError as error:
            raise InvalidDocumentError(f"{names[error.row]!r}: {error}") from error
        return replace(vectors, colbert=fitted), tuple(names[int(i)] for i in changed)

    def _write_in_parts(self, documents: Sequence[Document], vectors: Vectors) -> int:
        """Write one batch, by halves if the database finds it too large; return the requests."""
        try:
            self._retrying(self._write, documents, vectors)
        except RequestTooLargeError as error:
            if len(documents) == 1:
                raise StoreError(
                    f"document {documents[0].id!r} alone is too large for the database: {error}"
                ) from error
            half = len(documents) // 2
            return self._write_in_parts(
                documents[:half], vectors.slice(0, half)
            ) + self._write_in_parts(documents[half:], vectors.slice(half, len(documents)))
        return 1

    def _no_vectors(self) -> Vectors:
        schema = self.schema
        return Vectors.from_rows(
            [], dense=schema.dense, sparse=schema.sparse, colbert=schema.colbert
        )


def listed_queries(queries: Iterable[Vector]) -> list[Vector]:
    """Return many queries as a list.

    Raises:
        InvalidVectorsError: If they are one query, or something else than queries.
    """
    if isinstance(queries, (str, Vector)) or not isinstance(queries, Iterable):
        raise InvalidVectorsError(
            "queries: expected Vectors, such as encoder.encode_queries(texts), "
            f"got {described(queries)}"
        )
    return list(queries)


def _ids(ids: Iterable[str]) -> list[str]:
    if isinstance(ids, str):
        raise InvalidOptionError(f"ids={ids!r} is one string; pass a list of ids")
    if isinstance(ids, bytes | Document) or not isinstance(ids, Iterable):
        raise InvalidOptionError(f"ids: expected a list of str, got {described(ids)}")
    return list(dict.fromkeys(map(check_id, ids)))
