"""A store that the first write creates, as programs expect that hand texts to a framework."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypedDict

import numpy as np

from trivec.collection import Page
from trivec.document import Document
from trivec.errors import (
    CollectionNotFoundError,
    InvalidOptionError,
    InvalidVectorsError,
)
from trivec.fields import FieldType, field_types
from trivec.filters import Filter
from trivec.filters.declared import fit_filter
from trivec.hit import Hit
from trivec.mmr import diverse
from trivec.ranking import rank_hits
from trivec.schema import Schema
from trivec.scores import Weights
from trivec.search import Mode, Search
from trivec.stores.memory import rank
from trivec.stores.store import Store
from trivec.vectors import Vector, Vectors

__all__ = ["LazyStore", "chunks"]

# Two first writes at the same time create one collection.
_creating = threading.Lock()
_PAGE = 256


class _Options(TypedDict):
    k: int
    mode: Mode
    weights: Weights
    candidates: int
    filter: Filter | None


class LazyStore:
    """A store whose collection need not exist: until the first write it counts as empty.

    Args:
        store: The collection; closing it stays with its owner.
        model: The name of the model that makes the vectors; "" when unknown.
        fields: The metadata that filters will use, declared when the collection is created.

    Example:
        >>> from trivec import Document, open_store
        >>> from trivec.testing import HashEncoder
        >>> encoder = HashEncoder()
        >>> lazy = LazyStore(open_store("memory:/lazy-example"))
        >>> lazy.get(["a"]).documents
        []
        >>> lazy.write([Document("a", "blue whale")], encoder.encode_documents(["blue whale"]))
        >>> lazy.store.schema.parts
        ('dense', 'sparse', 'colbert')
    """

    def __init__(
        self,
        store: Store,
        *,
        model: str = "",
        fields: Mapping[str, type | FieldType] | None = None,
    ) -> None:
        self.store = store
        self._model = model
        self._fields = dict(fields or {})

    def write(self, documents: Sequence[Document], vectors: Vectors) -> None:
        """Write documents over those of the same ids, into a collection that fits the vectors.

        Parts that an existing collection lacks are left out. If another handle drops the collection
        meanwhile, it is created again.

        Raises:
            SchemaMismatchError: If the collection holds the vectors of another model.
            InvalidVectorsError: If it has other dimensions, or no part in common.
        """
        fitted = self._fitted(vectors)
        try:
            self.store.upsert(documents, fitted)
        except CollectionNotFoundError:
            self.store.upsert(documents, self._fitted(vectors))

    async def awrite(self, documents: Sequence[Document], vectors: Vectors) -> None:
        """Write documents; see `write`."""
        fitted = await asyncio.to_thread(self._fitted, vectors)
        try:
            await self.store.aupsert(documents, fitted)
        except CollectionNotFoundError:
            await self.store.aupsert(documents, await asyncio.to_thread(self._fitted, vectors))

    def _fitted(self, vectors: Vectors) -> Vectors:
        """Create the collection if need be; return the parts that it holds."""
        given = Schema(
            dense=None if vectors.dense is None else vectors.dense.shape[1],
            sparse=vectors.sparse is not None,
            colbert=None if vectors.colbert is None else vectors.colbert.dim,
            model=self._model,
        )
        try:
            # Another handle may have put another model's collection in the place of this one.
            schema = self.store.describe().schema
        except CollectionNotFoundError:
            with _creating:
                self.store.create(given, fields=self._fields, exist_ok=True)
            return vectors
        return vectors.only(given.held_by(schema))

    def typed(self, condition: Filter | None) -> Filter | None:
        """Return a filter with its values in the types of the declared fields, as stores search.

        Raises:
            InvalidFilterError: If a value has another type.
        """
        return None if condition is None else fit_filter(condition, self._declared())

    def _declared(self) -> Mapping[str, FieldType]:
        """Return the declared fields, which are those to come until the collection exists."""
        try:
            return self.store.fields
        except CollectionNotFoundError:
            return field_types(self._fields)

    def _check_model(self) -> None:
        """Refuse to compare with the vectors of another model."""
        self.store.schema.check_model(self._model)

    def search_many(self, queries: Sequence[Vector], search: Search) -> list[list[Hit]]:
        """Answer many queries with one request; see `Store.search_many`.

        Raises:
            SchemaMismatchError: If the collection holds the vectors of another model.
        """
        try:
            self._check_model()
            return self.store.search_many(queries, **_options(search))
        except CollectionNotFoundError:
            return [[] for _ in queries]

    async def asearch_many(self, queries: Sequence[Vector], search: Search) -> list[list[Hit]]:
        """Answer many queries; see `search_many`."""
        try:
            await asyncio.to_thread(self._check_model)
            return await self.store.asearch_many(queries, **_options(search))
        except CollectionNotFoundError:
            return [[] for _ in queries]

    def search_among(self, query: Vector, search: Search, ids: Iterable[str]) -> list[Hit]:
        """Answer a query from the documents with these ids only, ranked in this process.

        Raises:
            InvalidOptionError: If the mode is "rrf", whose ranks would need all at once.
        """
        search = replace(search, filter=self.typed(search.filter))
        hits: list[Hit] = []
        for some in chunks(ids):
            hits += _ranked(query, self.get(some, with_vectors=True), search)
        return rank_hits(hits, search.k)

    async def asearch_among(self, query: Vector, search: Search, ids: Iterable[str]) -> list[Hit]:
        """Answer a query from some documents only; see `search_among`."""
        search = replace(search, filter=await asyncio.to_thread(self.typed, search.filter))
        hits: list[Hit] = []
        for some in chunks(ids):
            page = await self.aget(some, with_vectors=True)
            hits += await asyncio.to_thread(_ranked, query, page, search)
        return rank_hits(hits, search.k)

    def diverse(self, query: Vector, hits: Sequence[Hit], *, k: int, relevance: float) -> list[Hit]:
        """Choose k hits that differ from each other, by their stored dense vectors.

        Args:
            query: What the hits were found for.
            hits: What to choose from.
            k: How many to choose at most.
            relevance: 1 asks for the nearest only, 0 for the most different; see `mmr.diverse`.

        Raises:
            InvalidVectorsError: If the query or the collection has no dense vectors.
        """
        page = self.get([hit.document.id for hit in hits], with_vectors=True)
        return _chosen(query, hits, page, k, relevance)

    async def adiverse(
        self, query: Vector, hits: Sequence[Hit], *, k: int, relevance: float
    ) -> list[Hit]:
        """Choose k hits that differ from each other; see `diverse`."""
        page = await self.aget([hit.document.id for hit in hits], with_vectors=True)
        return await asyncio.to_thread(_chosen, query, hits, page, k, relevance)

    def get(self, ids: Iterable[str], *, with_vectors: bool = False) -> Page:
        """Return the documents with these ids; see `Store.get`.

        Raises:
            SchemaMismatchError: If the vectors are wanted, which are of another model.
        """
        try:
            if with_vectors:
                self._check_model()
            return self.store.get(ids, with_vectors=with_vectors)
        except CollectionNotFoundError:
            return Page([], None)

    async def aget(self, ids: Iterable[str], *, with_vectors: bool = False) -> Page:
        """Return the documents with these ids; see `Store.get`."""
        try:
            if with_vectors:
                await asyncio.to_thread(self._check_model)
            return await self.store.aget(ids, with_vectors=with_vectors)
        except CollectionNotFoundError:
            return Page([], None)

    def scan(self, *, with_vectors: bool = False, filter: Filter | None = None) -> Iterator[Page]:
        """Yield every document once; see `Store.scan`."""
        try:
            yield from self.store.scan(with_vectors=with_vectors, filter=filter)
        except CollectionNotFoundError:
            return

    async def ascan(
        self, *, with_vectors: bool = False, filter: Filter | None = None
    ) -> AsyncIterator[Page]:
        """Yield every document once; see `Store.scan`."""
        try:
            async for page in self.store.ascan(with_vectors=with_vectors, filter=filter):
                yield page
        except CollectionNotFoundError:
            return

    def delete(self, ids: Iterable[str]) -> None:
        """Delete the documents with these ids; unknown ids are no error."""
        try:
            self.store.delete(ids)
        except CollectionNotFoundError:
            return

    async def adelete(self, ids: Iterable[str]) -> None:
        """Delete the documents with these ids; unknown ids are no error."""
        try:
            await self.store.adelete(ids)
        except CollectionNotFoundError:
            return

    def delete_where(self, condition: Filter) -> None:
        """Delete what satisfies a condition; see `Store.delete_where`."""
        try:
            self.store.delete_where(condition)
        except CollectionNotFoundError:
            return

    async def adelete_where(self, condition: Filter) -> None:
        """Delete what satisfies a condition; see `Store.delete_where`."""
        try:
            await self.store.adelete_where(condition)
        except CollectionNotFoundError:
            return

    def clear(self) -> None:
        """Delete every document: drop the collection and create it as it was."""
        try:
            there = self.store.describe()
        except CollectionNotFoundError:
            return
        self.store.drop()
        self.store.create(there.schema, fields=there.fields, exist_ok=True)

    async def aclear(self) -> None:
        """Delete every document; see `clear`."""
        await asyncio.to_thread(self.clear)


def _options(search: Search) -> _Options:
    return {
        "k": search.k,
        "mode": search.mode,
        "weights": search.weights,
        "candidates": search.candidates,
        "filter": search.filter,
    }


def chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    """Yield ids, each once, in runs whose vectors fit in memory together.

    Raises:
        InvalidOptionError: If they are one string.
    """
    if isinstance(ids, str):
        raise InvalidOptionError(f"ids={ids!r} is one string; pass a list of ids")
    rest = iter(dict.fromkeys(ids))
    while some := list(islice(rest, _PAGE)):
        yield some


def _ranked(query: Vector, page: Page, search: Search) -> list[Hit]:
    if search.mode == "rrf":
        raise InvalidOptionError("mode='rrf' cannot be asked of some documents only")
    if page.vectors is None:
        return []
    rows = [
        i
        for i, document in enumerate(page.documents)
        if search.filter is None or search.filter.matches(document.metadata)
    ]
    rows.sort(key=lambda i: page.documents[i].id)
    return rank(query, [page.documents[i] for i in rows], page.vectors.take(rows), search)


def _chosen(query: Vector, hits: Sequence[Hit], page: Page, k: int, relevance: float) -> list[Hit]:
    if not hits:
        return []
    if query.dense is None or page.vectors is None or page.vectors.dense is None:
        raise InvalidVectorsError(
            "maximal marginal relevance compares dense vectors, which the query or the "
            "collection lacks"
        )
    dense = page.vectors.dense
    by_id = {hit.document.id: hit for hit in hits}
    # A document may have been deleted since the search.
    kept = [(by_id[d.id], dense[i]) for i, d in enumerate(page.documents) if d.id in by_id]
    if not kept:
        return []
    order = diverse(query.dense, np.stack([row for _, row in kept]), k=k, relevance=relevance)
    return [kept[i][0] for i in order]
