"""Collections in Milvus and in files of milvus-lite."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient

from trivec.colbert_storage import ColbertStorage
from trivec.collection import Capability, Collection, Page
from trivec.deadline import unless_limited
from trivec.document import Document
from trivec.errors import (
    CollectionNotFoundError,
    InvalidOptionError,
    StoreError,
)
from trivec.fields import FieldType
from trivec.filters import Filter
from trivec.hit import Hit
from trivec.schema import Schema
from trivec.search import Search
from trivec.stores.backend import Backend
from trivec.stores.registry import opener
from trivec.stores.steps import Steps, ask
from trivec.stores.storage import StorageChoice
from trivec.stores.url import StoreUrl
from trivec.vectors import Vector, Vectors
from trivec_milvus.client import Address, Connection
from trivec_milvus.creation import Creation, load, storage_reason
from trivec_milvus.errors import unreadable_answers
from trivec_milvus.filters import all_of, any_of_ids, literal, render
from trivec_milvus.lite import LiteFile
from trivec_milvus.mapping import Row, check_rows, document_of, row_bytes, rows_of, vectors_of
from trivec_milvus.options import MilvusOptions
from trivec_milvus.packing import packed_bytes
from trivec_milvus.replies import check_deleted, check_written, count_of, ids_after
from trivec_milvus.requests import Method, Request, fetch, fields_of
from trivec_milvus.schema import LIMITS, MAX_LIMIT, Layout, is_lite
from trivec_milvus.search import SearchSteps

_IDS_PER_REQUEST = 1000
# milvus-lite searches rows that are not flushed one by one: for 3,000 of them a dense search took
# 405 ms and a sparse one 868 ms; after a flush of 0.46 s they took 21 and 6 ms.
_FLUSH_ROWS = 1000
_FLUSH_BEFORE_SEARCH = 64


class MilvusBackend(Backend[Layout]):
    """A collection in Milvus.

    The dense and sparse vectors are native fields with the metric IP. The ColBERT vectors are
    stored in one of two ways, by what the server supports (`capabilities` says which and why):

    - *native*: an array of structs with one vector per token; Milvus computes the MaxSim. It needs
      a server of at least 2.6.19. Vectors have 16 bits, or 32 if `create` asks for them or the
      server takes no others.
    - *payload*: values packed into an array of strings; the MaxSim is computed here. They are
      float16 for milvus-lite and older servers, and codes of 8, 4, 2 or 1 bits for all, if `create`
      asks for them: arrays of structs hold float32 or float16 only.

    A search takes the following steps, one after the other. The requests of one step do not depend
    on each other, and the asynchronous methods send them together:

    | mode | native | payload |
    | --- | --- | --- |
    | dense | 1 | 1 |
    | sparse | 1 | 1 |
    | rrf | 2: sources; documents | the same |
    | colbert | 3: sources; MaxSim of the candidates; documents | 2: sources; candidates |
    | hybrid | 3: sources; restricted hybrid search; MaxSim of the k best | 2: sources; candidates |

    The *sources* are the dense and the sparse search; the *documents* are the k best with their
    texts; *candidates* are read with their ColBERT vectors, and for hybrid with all vectors.

    `search_many` sends one request per source for all queries, and reads the candidates of all of
    them together. A step is repeated if equal scores straddle the cut. A search with a filter on
    declared fields reads the description of the collection first.

    Args:
        name: The collection.
        connection: The connection to the server.
        options: The options.
    """

    limits = LIMITS
    options = MilvusOptions

    def __init__(self, name: str, connection: Connection, options: MilvusOptions) -> None:
        super().__init__(name)
        self._connection = connection
        self._options = options
        self._loaded: Layout | None = None  # the layout that the collection was last loaded with
        self._unflushed = 0  # rows written to milvus-lite since its last flush

    @classmethod
    def of_client(cls, client: MilvusClient, name: str, options: MilvusOptions) -> Self:
        """Return the backend of a collection that a ready client reaches; its owner closes it."""
        return cls(name, Connection(options, client=client), options)

    @classmethod
    def from_url(cls, url: StoreUrl, options: MilvusOptions) -> Self:
        """Open `milvus://host:19530/name` or `milvus+lite:FILE.db/name`.

        Raises:
            InvalidOptionError: If the URL names no server or file.
            StoreUnavailableError: If the server does not answer.
            StoreError: If another process has the file open.
        """
        lite = None
        if url.scheme == "milvus+lite":
            if url.path is None:
                raise InvalidOptionError(
                    f"milvus+lite:{url.name} names no file; expected milvus+lite:FILE.db/name, "
                    f"such as 'milvus+lite:./milvus.db/{url.name}'"
                )
            lite = LiteFile.open(url.path)
            address = Address(lite.uri, lite=True)
        else:
            if url.host is None:
                raise InvalidOptionError(
                    f"milvus needs a server: expected milvus://host:19530/{url.name}, or "
                    f"'milvus+lite:FILE.db/{url.name}' for a file"
                )
            address = Address.of(url, options)
            address.warn_of_plain_secrets()
        with unless_limited(options.deadline):
            connection = Connection(options, address=address, lite=lite)
        return cls(url.name, connection, options)

    @classmethod
    def local_files(cls, url: StoreUrl) -> tuple[Path, ...]:
        """Return the file of milvus-lite, which holds several collections."""
        return () if url.path is None else (url.path,)

    @classmethod
    def storage_choices(
        cls, schema: Schema, *, tokens: float, terms: float
    ) -> Sequence[StorageChoice]:
        choice = partial(StorageChoice, "milvus")
        dense, numbers = 4.0 * (schema.dense or 0), tokens * (schema.colbert or 0)
        choices = [
            choice("dense", "FLOAT_VECTOR", "4 d", dense, True),
            # A term is an id of 4 bytes and a weight.
            choice("sparse", "SPARSE_FLOAT_VECTOR", "8 s", 8 * terms, True),
            choice("colbert", "native, FLOAT_VECTOR", "4 t d", 4 * numbers, False),
            choice("colbert", "native, FLOAT16_VECTOR", "2 t d", 2 * numbers, True),
            # Strings hold no bytes: base64 makes 4 characters of 3.
            choice("colbert", "payload, float16 in base64", "8/3 t d", 8 / 3 * numbers, False),
        ]
        for bits, levels in ((8, "d"), (4, "d/2"), (2, "d/4"), (1, "d/8")):
            size, name = tokens * packed_bytes(bits, schema.colbert or 0), ColbertStorage(bits)
            formula = f"4/3 t ({levels} + 2)"
            choices.append(choice("colbert", f"payload, {name} in base64", formula, size, False))
        return [offered for offered in choices if offered.part in schema.parts]

    # --- the collection ------------------------------------------------------------------------

    def describe(self, declared: Mapping[str, FieldType]) -> Steps[Layout | None]:
        try:
            description = yield from ask(Request("describe_collection", {}))
        except CollectionNotFoundError:
            self._loaded = None
            return None
        with unreadable_answers(self.name):
            layout = Layout.read(description, self._options.names)
        if layout != self._loaded:
            yield from ask(partial(load, self._connection, self.name))
            self._loaded = layout
        return layout

    def create(self, collection: Collection, *, adopt: bool) -> Steps[Layout]:
        creation = Creation(self._connection, self.name)
        layout: Layout = yield from ask(partial(creation.run, collection))
        self._loaded = layout
        return layout

    def drop(self) -> Steps[None]:
        if self._connection.lite is not None:
            self._connection.lite.check_only_ours(self.name)
        yield from ask(Request("drop_collection", {}))
        self._loaded = None
        self._unflushed = 0

    def capabilities(self, collection: Layout) -> tuple[Capability, ...]:
        """Return the storage of ColBERT vectors, and where the hybrid score is computed."""
        if collection.schema.colbert is None:
            return (Capability("hybrid", "server", "the collection holds no ColBERT vectors"),)
        reason = storage_reason(collection, self._connection.version)
        colbert = Capability("colbert", collection.tokens_stored_as, reason)
        if collection.native:
            return (colbert, Capability("hybrid", "server", "Milvus adds the three scores"))
        return (colbert, Capability("hybrid", "client", "candidates are read and scored here"))

    def close(self) -> None:
        try:
            if self._connection.lite is not None and self._unflushed >= _FLUSH_BEFORE_SEARCH:
                # Another handle may have dropped the collection.
                with suppress(CollectionNotFoundError), unless_limited(self._options.deadline):
                    self.send(Request("flush", {}))
        finally:
            self._unflushed = 0
            self._connection.close()

    async def aclose(self) -> None:
        try:
            await self._connection.aclose()
        finally:
            await super().aclose()

    # --- documents -----------------------------------------------------------------------------

    def check(self, collection: Layout, documents: Sequence[Document], vectors: Vectors) -> None:
        check_rows(documents, vectors, collection)

    def wire_bytes(self, collection: Layout, vectors: Vectors) -> NDArray[np.int64]:
        return row_bytes(vectors, collection)

    def write(
        self, collection: Layout, documents: Sequence[Document], vectors: Vectors
    ) -> Steps[None]:
        rows = rows_of(documents, vectors, collection)
        if not rows:
            return
        # The upsert of milvus-lite leaves the dynamic fields of the old row; its insert replaces
        # the row. On a server, an insert would add a second one.
        method: Method = "insert" if is_lite(self._connection.version) else "upsert"
        check_written((yield from ask(Request(method, {"data": rows}, large=True))), len(rows))
        self._unflushed += len(rows)
        yield from self._flush_lite(_FLUSH_ROWS)

    def get(self, collection: Layout, ids: Sequence[str], with_vectors: bool) -> Steps[Page]:
        names, parts = collection.names, collection.schema.parts if with_vectors else ()
        rows: dict[str, Row] = {}
        with unreadable_answers(self.name):
            for start in range(0, len(ids), _IDS_PER_REQUEST):
                tokens = dict.fromkeys(ids[start : start + _IDS_PER_REQUEST], 0)
                if "colbert" in parts:
                    counts = yield from fetch(collection, tokens, [names.id, names.tokens])
                    tokens = {id: row[names.tokens] for id, row in counts.items()}
                rows |= yield from fetch(collection, tokens, fields_of(collection, parts))
            return _page(list(rows.values()), collection, with_vectors)

    def scan_page(
        self,
        collection: Layout,
        cursor: object,
        limit: int,
        with_vectors: bool,
        condition: Filter | None,
    ) -> Steps[tuple[Page, object]]:
        """Read the documents after the last id of the page before, in the order of the ids.

        The client's iterator would put the last id into its filter unescaped.
        """
        name = collection.names.id
        last = cursor if isinstance(cursor, str) else ""
        expression = render(condition, collection.columns, id_field=name)
        rows = yield from ask(
            Request(
                "query",
                {
                    "filter": all_of(f"{name} > {literal(last)}", expression),
                    "output_fields": [name] if with_vectors else fields_of(collection, ()),
                    "limit": min(limit, MAX_LIMIT),
                    "iterator": "True",  # in the order of the ids
                    "reduce_stop_for_best": True,
                },
                large=True,
            )
        )
        if not rows:
            return Page([], None), None
        with unreadable_answers(self.name):
            ids = ids_after(last, rows, name)
            page = Page([], None) if with_vectors else _page(rows, collection, False)
        if with_vectors:
            page = yield from self.get(collection, ids, True)
        return page, max(ids)

    def delete(self, collection: Layout, ids: Sequence[str]) -> Steps[None]:
        # The client's `ids` would come into a filter unescaped.
        for start in range(0, len(ids), _IDS_PER_REQUEST):
            some = ids[start : start + _IDS_PER_REQUEST]
            yield from self._delete_matching(any_of_ids(collection.names.id, some))

    def delete_where(self, collection: Layout, condition: Filter) -> Steps[None]:
        columns, name = collection.columns, collection.names.id
        yield from self._delete_matching(render(condition, columns, id_field=name))

    def _delete_matching(self, expression: str) -> Steps[None]:
        if not expression:
            raise StoreError("an empty expression would delete everything")
        check_deleted((yield from ask(Request("delete", {"filter": expression}))))

    def count(self, collection: Layout, condition: Filter | None) -> Steps[int]:
        expression = render(condition, collection.columns, id_field=collection.names.id)
        options = {"filter": expression, "output_fields": ["count(*)"]}
        rows = yield from ask(Request("query", options))
        with unreadable_answers(self.name):
            return count_of(rows)

    # --- search --------------------------------------------------------------------------------

    def search(
        self, collection: Layout, queries: Sequence[Vector], search: Search
    ) -> Steps[list[list[Hit]]]:
        if search.filter is not None and collection.fields:
            yield from self._check_unchanged(collection)
        steps = SearchSteps(queries, search, collection)
        yield from self._flush_lite(_FLUSH_BEFORE_SEARCH)
        with unreadable_answers(self.name):
            return (yield from steps.run())

    def _check_unchanged(self, collection: Layout) -> Steps[None]:
        """Raise `StoreError` if another handle has made the collection anew with other fields.

        Milvus takes a column that does not exist for a key that no document has, so a filter on
        one would find nothing.
        """
        existing = yield from self.describe({})
        if existing is None:
            raise CollectionNotFoundError(f"collection {self.name!r} does not exist")
        if existing != collection:
            raise StoreError(f"collection {self.name!r} was dropped and made anew meanwhile")

    # --- requests ------------------------------------------------------------------------------

    def send(self, request: Any) -> Any:
        if isinstance(request, Request):
            return self._connection.send(self.name, request)
        return request()

    def asend(self, request: Any) -> Awaitable[Any] | None:
        if not isinstance(request, Request):
            return None
        lite = self._connection.lite
        if lite is not None and request.reads:
            context = contextvars.copy_context()
            return asyncio.wrap_future(lite.searcher.submit(context.run, self.send, request))
        client = self._connection.of_loop()
        if client is None or lite is not None or request.large:
            return None
        return self._connection.asend(self.name, request, client)

    def _flush_lite(self, rows: int) -> Steps[None]:
        """Flush milvus-lite if at least so many rows were written since the last time."""
        if self._unflushed >= rows and is_lite(self._connection.version):
            yield from ask(Request("flush", {}))
            self._unflushed = 0


def _page(rows: Sequence[Row], layout: Layout, with_vectors: bool) -> Page:
    documents = [document_of(row, layout) for row in rows]
    return Page(documents, vectors_of(rows, layout) if with_vectors else None)


MilvusStore = opener(MilvusOptions, MilvusBackend.of_client)
"""Opens a collection through a ready `MilvusClient`, which stays open; takes `MilvusOptions`."""
