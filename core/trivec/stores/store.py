"""One collection in one database, as users call it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, Unpack, final

from trivec.arguments import at_least_one
from trivec.colbert_storage import ColbertStorage, Overflow
from trivec.collection import Capability, Collection, OptimizeReport, Page, UpsertReport
from trivec.document import Document
from trivec.fields import FieldType, field_types
from trivec.filters import Filter
from trivec.hit import Hit
from trivec.schema import Schema
from trivec.search import Search, SearchOptions
from trivec.stores.backend import Backend
from trivec.stores.handle import Handle
from trivec.stores.limits import Limits
from trivec.stores.operations import Operations
from trivec.stores.options import StoreOptions, agreed_colbert
from trivec.stores.searching import Searching
from trivec.stores.view import View
from trivec.vectors import Vector, Vectors


@final
class Store:
    """One collection in one database.

    Made by `open_store`, or by a connector from a ready client; a context manager that closes it.
    Every method has an asynchronous twin with the prefix `a`, which takes the same arguments, does
    the same and does not block the event loop. Any number of threads can use one store.

    Args:
        backend: The collection in its database.
        options: Options of the store; those of a connector are options of its store, too.
        address: Where the collection is, without secrets, for messages; by default the backend's
            class and name.

    Attributes:
        name (str): The collection.
        address (str): Where the collection is, without secrets; the URL given to `open_store`
            with its path made absolute and without `?colbert=…`.

    Example:
        >>> from trivec import Document, open_store
        >>> from trivec.testing import HashEncoder
        >>> encoder = HashEncoder()
        >>> with open_store("memory:/store-example") as store:
        ...     store.create(encoder.schema, fields={"lang": str})
        ...     _ = store.upsert(
        ...         [Document("a", "blue whale", {"lang": "en"})],
        ...         encoder.encode_documents(["blue whale"]),
        ...     )
        ...     [hit.document.id for hit in store.search(encoder.encode_query("whale"))]
        ['a']
    """

    def __init__(
        self,
        backend: Backend[Any],
        options: StoreOptions | None = None,
        *,
        address: str | None = None,
    ) -> None:
        self.name = backend.name
        self.address = f"{type(backend).__name__}/{backend.name}" if address is None else address
        self._owns = True
        self._show(Handle(backend, options or StoreOptions(), self.address), View())

    def _show(self, handle: Handle, view: View) -> None:
        self._handle = handle
        self._operations = Operations(handle, view)
        self._searching = Searching(handle, view)

    def view(
        self,
        *,
        creates: bool = False,
        model: str = "",
        fields: Mapping[str, type | FieldType] | None = None,
        colbert: ColbertStorage | str | None = None,
        bound: Callable[[], Filter | None] = lambda: None,
        encoded: Callable[[Document], str] = lambda document: document.text,
    ) -> Store:
        """Return another store of this collection, which creates it or is bound to a filter.

        A document outside the bound counts as missing: no search finds it, `get` leaves it out,
        and a deletion leaves it alone. A write of one, or over one, is an error. Closing the view
        does nothing; it lives as long as this store.

        Args:
            creates: Whether the first write creates the collection for its vectors. Until then
                the collection counts as empty. Parts that an existing collection lacks are left
                out of writes, and one of another model is refused.
            model: The name of the model that makes the vectors; "" when unknown.
            fields: The metadata that filters will use, declared when the collection is created.
            colbert: How the collection keeps token vectors when it is created; one that exists
                must keep them so. By default the option of the store.
            bound: Returns the filter, or None for everything; called once per call of the view,
                since a filter may depend on the declared fields.
            encoded: Returns the text that the vectors of a document were made of, if that is more
                than the document's own text; evidence needs it.

        Raises:
            InvalidOptionError: If a field's path or type is unknown, or `colbert` is malformed or
                not the option of the store.

        Example:
            >>> from trivec import Document, F, open_store
            >>> from trivec.testing import HashEncoder
            >>> encoder, store = HashEncoder(), open_store("memory:/view-example")
            >>> everything = store.view(creates=True, model=encoder.schema.model)
            >>> vectors = encoder.encode_documents([""])
            >>> _ = everything.upsert([Document("a", "", {"tenant": 1})], vectors)
            >>> second = store.view(bound=lambda: F("tenant") == 2)
            >>> second.get(["a"]).documents, len(everything.get(["a"]).documents)
            ([], 1)
        """
        shown: Store = object.__new__(Store)
        shown.name, shown.address, shown._owns = self.name, self.address, False
        storage = agreed_colbert(colbert, self._handle.options.colbert)
        declared = field_types(fields or {})
        shown._show(self._handle, View(creates, model, declared, storage, bound, encoded))
        return shown

    def __repr__(self) -> str:
        known = self._handle.collection
        storage = None if known is None else known.colbert
        small = f", colbert={str(storage)!r}" if storage is not None and storage.reduces else ""
        return f"Store({self.address!r}{small})"

    # --- what is known of the collection ---------------------------------------------------------

    @property
    def schema(self) -> Schema:
        """Which vectors the collection holds, as far as it is known; see `describe`."""
        return self._handle.run(self._handle.known()).schema

    @property
    def fields(self) -> Mapping[str, FieldType]:
        """The declared metadata fields, as far as they are known; see `describe`."""
        return self._handle.run(self._operations.declared())

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """How this store does what databases differ in."""
        return self._handle.run(self._operations.capabilities())

    @property
    def limits(self) -> Limits:
        """How much the database holds and returns."""
        return self._handle.backend.limits

    @property
    def overflow(self) -> Overflow:
        """The policy for ColBERT rows longer than the database can hold."""
        return self._handle.options.colbert_overflow

    @property
    def colbert(self) -> ColbertStorage | None:
        """The option `colbert`, for a new collection; `describe().colbert` says what one has."""
        return self._operations.storage

    @property
    def max_colbert_rows(self) -> int | None:
        """The most token vectors of one document; None for any number."""
        return self.limits.max_colbert_rows(self.schema.colbert)

    def as_stored(self, document: Document) -> Document:
        """Return a document as the store gives it back: without what it was told to replace."""
        return self._handle.backend.as_stored(document)

    def describe(self) -> Collection:
        """Read what the collection holds; `schema` and `fields` may be older.

        Raises:
            CollectionNotFoundError: If it does not exist.
        """
        return self._handle.run(self._handle.known(anew=True))

    async def adescribe(self) -> Collection:
        """Read what the collection holds."""
        return await self._handle.arun(self._handle.known(anew=True))

    # --- the collection --------------------------------------------------------------------------

    def create(
        self,
        schema: Schema,
        *,
        fields: Mapping[str, type | FieldType] | None = None,
        colbert: ColbertStorage | None = None,
        exist_ok: bool = False,
    ) -> None:
        """Create the collection.

        Args:
            schema: Which vectors it holds; usually `encoder.schema`.
            fields: The metadata that filters will use, which databases index: path to str, int,
                float, bool, datetime, list[str] or list[int].
            colbert: How it keeps token vectors; by default the option of the store, else
                `ColbertStorage()` for a new collection and any for one that exists.
            exist_ok: Whether the collection may exist already, and fit.

        Raises:
            SchemaMismatchError: If it exists and must not, or differs.
            InvalidOptionError: If it is no schema, a field's path or type is unknown, or the
                database cannot keep token vectors so.
        """
        self._handle.run(self._operations.create(schema, fields, colbert, exist_ok))

    async def acreate(
        self,
        schema: Schema,
        *,
        fields: Mapping[str, type | FieldType] | None = None,
        colbert: ColbertStorage | None = None,
        exist_ok: bool = False,
    ) -> None:
        """Create the collection."""
        await self._handle.arun(self._operations.create(schema, fields, colbert, exist_ok))

    def drop(self) -> None:
        """Delete the collection and everything in it; one that does not exist is no error."""
        self._handle.run(self._operations.drop())

    async def adrop(self) -> None:
        """Delete the collection."""
        await self._handle.arun(self._operations.drop())

    def clear(self) -> None:
        """Delete every document of the collection, or of the view."""
        self._handle.run(self._operations.clear())

    async def aclear(self) -> None:
        """Delete every document."""
        await self._handle.arun(self._operations.clear())

    def optimize(self) -> OptimizeReport:
        """Build the indexes now, and give back the disk that deleted documents take.

        Most databases do so by themselves, and this call does nothing. It may take long, and needs
        disk space for a second copy meanwhile.

        Raises:
            CollectionNotFoundError: If the collection does not exist.
            StoreFullError: If there is too little room on the disk.
        """
        return self._handle.run(self._operations.optimize(), timed=False)

    async def aoptimize(self) -> OptimizeReport:
        """Build the indexes now."""
        return await self._handle.arun(self._operations.optimize(), timed=False)

    def close(self) -> None:
        """Release connections and threads; a client that was handed in stays open.

        Every later call of the store raises a `StoreError`; closing it again is no error.
        """
        if self._owns:
            self._handle.close()

    async def aclose(self) -> None:
        """Release connections and threads."""
        if self._owns:
            await self._handle.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    # --- documents -------------------------------------------------------------------------------

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
        return self._handle.run(self._operations.upsert(documents, vectors), timed=False)

    async def aupsert(self, documents: Sequence[Document], vectors: Vectors) -> UpsertReport:
        """Write documents with their vectors."""
        return await self._handle.arun(self._operations.upsert(documents, vectors), timed=False)

    def get(self, ids: Iterable[str], *, with_vectors: bool = False) -> Page:
        """Return the documents with these ids, in this order; unknown ids are left out.

        Args:
            ids: Any number; of those that come twice, the first place counts.
            with_vectors: Whether to read the vectors too.

        Returns:
            The documents, and their vectors if `with_vectors`.
        """
        return self._handle.run(self._operations.get(ids, with_vectors))

    async def aget(self, ids: Iterable[str], *, with_vectors: bool = False) -> Page:
        """Return the documents with these ids."""
        return await self._handle.arun(self._operations.get(ids, with_vectors))

    def delete(self, ids: Iterable[str], *, passages: bool = True) -> None:
        """Delete the documents with these ids and their passages; unknown ids are no error.

        Args:
            ids: Any number; of a document that was ingested as passages, its own id. An id that
                such a document shares with a passage of another one names the document.
            passages: Whether to look for passages of these documents, and delete them too.
        """
        self._handle.run(self._operations.delete(ids, passages))

    async def adelete(self, ids: Iterable[str], *, passages: bool = True) -> None:
        """Delete the documents with these ids and their passages."""
        await self._handle.arun(self._operations.delete(ids, passages))

    def delete_where(self, filter: Filter) -> None:
        """Delete the documents that satisfy a condition.

        Raises:
            InvalidFilterError: If no metadata is found that does not satisfy the condition, such as
                for `x | ~x`, or it compares nothing; use `drop` to delete everything.
        """
        self._handle.run(self._operations.delete_where(filter))

    async def adelete_where(self, filter: Filter) -> None:
        """Delete the documents that satisfy a condition."""
        await self._handle.arun(self._operations.delete_where(filter))

    def count(self, filter: Filter | None = None) -> int:
        """Count the documents, or those that satisfy a condition."""
        return self._handle.run(self._operations.count(filter))

    async def acount(self, filter: Filter | None = None) -> int:
        """Count the documents."""
        return await self._handle.arun(self._operations.count(filter))

    def scan(
        self, *, batch_size: int = 256, with_vectors: bool = False, filter: Filter | None = None
    ) -> Iterator[Page]:
        """Yield every document once, in pages, in no particular order.

        Args:
            batch_size: The most documents of one page.
            with_vectors: Whether to read the vectors too.
            filter: Yield only documents that satisfy this condition.
        """
        batch_size = at_least_one(batch_size, "batch_size")
        scan = self._handle.run(self._operations.scan(batch_size, with_vectors, filter))

        def pages() -> Iterator[Page]:
            while (
                page := self._handle.run(self._operations.next_page(scan), timed=False)
            ) is not None:
                yield page

        return pages()

    async def ascan(
        self, *, batch_size: int = 256, with_vectors: bool = False, filter: Filter | None = None
    ) -> AsyncIterator[Page]:
        """Yield every document once."""
        batch_size = at_least_one(batch_size, "batch_size")
        scan = await self._handle.arun(self._operations.scan(batch_size, with_vectors, filter))
        while (
            page := await self._handle.arun(self._operations.next_page(scan), timed=False)
        ) is not None:
            yield page

    # --- search ----------------------------------------------------------------------------------

    def search(self, query: Vector, **options: Unpack[SearchOptions]) -> list[Hit]:
        """Return the best documents for one query, best first; equal scores in id order.

        With `group_by`, the hits of a group stand side by side, the best group first.

        Args:
            query: The encoded question.
            options: See `SearchOptions`.

        Raises:
            InvalidOptionError: If an option is out of range, or hits cannot be grouped by a field.
            InvalidVectorsError: If the query lacks the part of the mode or has other dimensions.
            InvalidFilterError: If the filter does not fit the declared fields.
        """
        return self.search_many([query], **options)[0]

    async def asearch(self, query: Vector, **options: Unpack[SearchOptions]) -> list[Hit]:
        """Return the best documents for one query."""
        return (await self.asearch_many([query], **options))[0]

    def search_many(
        self, queries: Iterable[Vector], **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """Answer many queries, with the options of `search`.

        Args:
            queries: The encoded questions; `encoder.encode_queries(texts)` as it is.
            options: See `SearchOptions`.

        Returns:
            The hits of each query, in the order of the queries.
        """
        return self._handle.run(self._searching.search_many(queries, Search(**options)))

    async def asearch_many(
        self, queries: Iterable[Vector], **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """Answer many queries."""
        search = Search(**options)
        return await self._handle.arun(self._searching.search_many(queries, search))

    def add_evidence(
        self,
        queries: Iterable[Vector],
        answers: Sequence[Sequence[Hit]],
        **options: Unpack[SearchOptions],
    ) -> list[list[Hit]]:
        """Return hits with the evidence that a search for them with `evidence` would have.

        It is for hits that are chosen among those of a search, so that evidence is not computed
        for the others.

        Args:
            queries: The encoded questions.
            answers: The hits of each question.
            options: The options of the search.
        """
        search = Search(**options)
        return self._handle.run(self._searching.add_evidence(queries, answers, search))

    async def aadd_evidence(
        self,
        queries: Iterable[Vector],
        answers: Sequence[Sequence[Hit]],
        **options: Unpack[SearchOptions],
    ) -> list[list[Hit]]:
        """Return hits with their evidence."""
        search = Search(**options)
        return await self._handle.arun(self._searching.add_evidence(queries, answers, search))
