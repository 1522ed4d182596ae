"""A collection of which a program may touch only what satisfies a filter, such as one tenant's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from trivec.collection import Page
from trivec.document import Document
from trivec.errors import InvalidDocumentError, InvalidFilterError
from trivec.fields import FieldType
from trivec.filters import Filter
from trivec.filters.counterexample import counterexample
from trivec.filters.declared import fit_filter
from trivec.hit import Hit
from trivec.search import Search
from trivec.stores.lazy import LazyStore, chunks
from trivec.stores.store import Store
from trivec.vectors import Vector, Vectors

__all__ = ["BoundStore", "together"]


class BoundStore(LazyStore):
    """A `LazyStore` that reads, writes and deletes only what satisfies a filter.

    A document outside the bound counts as missing: no search finds it, `get` leaves it out, and
    a deletion passes it by. A write of one, or over one, is an error.

    Args:
        store: The collection; closing it stays with its owner.
        bound: Returns the filter, or None for no bound; called once per call of the store, since
            a filter may depend on the declared fields.
        model: The name of the model that makes the vectors; "" when unknown.
        fields: The metadata that filters will use, declared when the collection is created.

    Example:
        >>> from trivec import Document, F, open_store
        >>> from trivec.testing import HashEncoder
        >>> encoder, store = HashEncoder(), open_store("memory:/bound-example")
        >>> everything = LazyStore(store)
        >>> everything.write([Document("a", "", {"tenant": 1})], encoder.encode_documents([""]))
        >>> second = BoundStore(store, bound=lambda: F("tenant") == 2)
        >>> second.get(["a"]).documents
        []
        >>> second.delete(["a"])
        >>> len(everything.get(["a"]).documents)
        1
    """

    def __init__(
        self,
        store: Store,
        *,
        bound: Callable[[], Filter | None],
        model: str = "",
        fields: Mapping[str, type | FieldType] | None = None,
    ) -> None:
        super().__init__(store, model=model, fields=fields)
        self._given = bound

    def _bound(self) -> Filter | None:
        """Return the bound as the store searches it."""
        return self.typed(self._given())

    def write(self, documents: Sequence[Document], vectors: Vectors) -> None:
        """Write documents; see `LazyStore.write`.

        Raises:
            InvalidDocumentError: If a document does not satisfy the filter, or has the id of one
                that does not; nothing was written.
        """
        bound = self._bound()
        if bound is not None:
            _check_within(documents, bound)
            for some in chunks(document.id for document in documents):
                _check_over(super().get(some), bound)
        super().write(documents, vectors)

    async def awrite(self, documents: Sequence[Document], vectors: Vectors) -> None:
        """Write documents; see `write`."""
        bound = await asyncio.to_thread(self._bound)
        if bound is not None:
            await asyncio.to_thread(_check_within, documents, bound)
            for some in chunks(document.id for document in documents):
                page = await super().aget(some)
                await asyncio.to_thread(_check_over, page, bound)
        await super().awrite(documents, vectors)

    def search_many(self, queries: Sequence[Vector], search: Search) -> list[list[Hit]]:
        """Answer many queries; see `Store.search_many`."""
        return super().search_many(queries, _narrowed(search, self._bound()))

    async def asearch_many(self, queries: Sequence[Vector], search: Search) -> list[list[Hit]]:
        """Answer many queries; see `search_many`."""
        bound = await asyncio.to_thread(self._bound)
        return await super().asearch_many(queries, _narrowed(search, bound))

    def get(self, ids: Iterable[str], *, with_vectors: bool = False) -> Page:
        """Return the documents with these ids; see `Store.get`."""
        return _within(super().get(ids, with_vectors=with_vectors), self._bound())

    async def aget(self, ids: Iterable[str], *, with_vectors: bool = False) -> Page:
        """Return the documents with these ids; see `Store.get`."""
        page = await super().aget(ids, with_vectors=with_vectors)
        return await asyncio.to_thread(lambda: _within(page, self._bound()))

    def scan(self, *, with_vectors: bool = False, filter: Filter | None = None) -> Iterator[Page]:
        """Yield every document once; see `Store.scan`."""
        return super().scan(with_vectors=with_vectors, filter=together(self._bound(), filter))

    async def ascan(
        self, *, with_vectors: bool = False, filter: Filter | None = None
    ) -> AsyncIterator[Page]:
        """Yield every document once; see `Store.scan`."""
        bound = await asyncio.to_thread(self._bound)
        pages = super().ascan(with_vectors=with_vectors, filter=together(bound, filter))
        async for page in pages:
            yield page

    def delete(self, ids: Iterable[str]) -> None:
        """Delete the documents with these ids; unknown ids are no error."""
        if self._bound() is None:
            super().delete(ids)
            return
        for some in chunks(ids):
            super().delete([document.id for document in self.get(some).documents])

    async def adelete(self, ids: Iterable[str]) -> None:
        """Delete the documents with these ids; unknown ids are no error."""
        if await asyncio.to_thread(self._bound) is None:
            await super().adelete(ids)
            return
        for some in chunks(ids):
            page = await self.aget(some)
            await super().adelete([document.id for document in page.documents])

    def delete_where(self, condition: Filter) -> None:
        """Delete what satisfies a condition; see `Store.delete_where`."""
        super().delete_where(self._deletion(condition))

    async def adelete_where(self, condition: Filter) -> None:
        """Delete what satisfies a condition; see `Store.delete_where`."""
        await super().adelete_where(await asyncio.to_thread(self._deletion, condition))

    def _deletion(self, condition: Filter) -> Filter:
        """Return what to delete; what is true of everything is refused with a bound too."""
        bound = self._bound()
        if bound is None:
            return condition
        fields = self._declared()
        if counterexample(fit_filter(condition, fields), fields) is None:
            raise InvalidFilterError(
                f"{condition!r} would delete every document that this store is bound to; clear it "
                "if that is what you want"
            )
        return bound & condition

    def clear(self) -> None:
        """Delete every document that satisfies the filter."""
        bound = self._bound()
        if bound is None:
            super().clear()
        else:
            super().delete_where(bound)

    async def aclear(self) -> None:
        """Delete every document that satisfies the filter."""
        bound = await asyncio.to_thread(self._bound)
        if bound is None:
            await super().aclear()
        else:
            await super().adelete_where(bound)


def together(*conditions: Filter | None) -> Filter | None:
    """Return one filter that holds where all of these do, or None where there is none.

    >>> from trivec import F
    >>> together(None, F("a") == 1, F("b") == 2).matches({"a": 1, "b": 3})
    False
    """
    given = [condition for condition in conditions if condition is not None]
    if not given:
        return None
    first, *rest = given
    for condition in rest:
        first = first & condition
    return first


def _narrowed(search: Search, bound: Filter | None) -> Search:
    return replace(search, filter=together(bound, search.filter))


def _within(page: Page, bound: Filter | None) -> Page:
    """Return what of a page satisfies the bound."""
    if bound is None:
        return page
    rows = [i for i, d in enumerate(page.documents) if bound.matches(d.metadata)]
    vectors = None if page.vectors is None else page.vectors.take(rows)
    return Page([page.documents[i] for i in rows], vectors)


def _check_within(documents: Sequence[Document], bound: Filter) -> None:
    for document in documents:
        if not bound.matches(document.metadata):
            raise InvalidDocumentError(
                f"document {document.id!r} does not satisfy the filter that bounds this store, "
                f"{bound.to_dict()}; give it that metadata, or write it through a store without "
                "this filter"
            )


def _check_over(page: Page, bound: Filter) -> None:
    for document in page.documents:
        if not bound.matches(document.metadata):
            raise InvalidDocumentError(
                f"document {document.id!r}: the collection holds a document of this id outside "
                "the filter that bounds this store, and does not overwrite it; choose another id"
            )
