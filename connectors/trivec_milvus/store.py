"""Collections in Milvus and in files of milvus-lite."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient

from trivec.collection import Capability, Collection, Page
from trivec.document import Document
from trivec.errors import CollectionNotFoundError, InvalidOptionError, StoreError
from trivec.filters import Filter
from trivec.hit import Hit
from trivec.schema import Schema
from trivec.search import Search
from trivec.stores.deadline import (
    DEADLINE_SECONDS,
    check_seconds,
    request_seconds,
    unless_limited,
)
from trivec.stores.overflow import Overflow
from trivec.stores.retry import aretrying
from trivec.stores.store import BATCH_BYTES, Store
from trivec.stores.url import StoreUrl
from trivec.vectors import Vector, Vectors
from trivec_milvus.client import Address, Connection, LoopClient
from trivec_milvus.creation import Creation, load, why
from trivec_milvus.failures import reading
from trivec_milvus.filters import all_of, any_of_ids, literal, render
from trivec_milvus.lite import LiteFile
from trivec_milvus.mapping import check_rows, document, row_bytes, rows, vectors_of
from trivec_milvus.replies import check_deleted, check_written, count_of, ids_after
from trivec_milvus.requests import Request, Steps, advance, fetch, fields_of
from trivec_milvus.schema import LIMITS, MAX_TOKENS, FieldNames, Layout, is_lite
from trivec_milvus.search import answer

__all__ = ["Consistency", "MilvusStore"]

T = TypeVar("T")

Consistency = Literal["Strong", "Bounded", "Session", "Eventually"]
ColbertType = Literal["float32", "float16"]

_IDS_PER_REQUEST = 1000
# milvus-lite searches rows that are not flushed one by one: 3,000 of them took 405 ms dense and
# 868 ms sparse, and 21 and 6 ms after a flush of 0.46 s.
_FLUSH_ROWS = 1000
_FLUSH_BEFORE_SEARCH = 64


class MilvusStore(Store):
    """A collection in Milvus.

    The dense and sparse vectors are native fields with the metric IP. The ColBERT vectors are,
    whichever the server can do (`capabilities` says which and why):

    - *native*: an array of structs with one vector per token, whose MaxSim Milvus computes. Needs
      a server of at least 2.6.19.
    - *payload*: float16 values packed into an array of strings, whose MaxSim is computed here.
      For milvus-lite and older servers.

    A search takes this many steps, one after the other; the requests of one step depend on nothing
    in it, and go out together in the asynchronous twins:

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
    them together. A step is repeated where equal scores straddle the last place.

    Args:
        client: A client that the caller closes.
        name: The collection.
        consistency: How much of what was written a read must see, as Milvus calls it: "Strong",
            "Bounded", "Session" or "Eventually".
        colbert_type: The type of native ColBERT vectors in a new collection, "float32" or
            "float16"; servers that do not take "float16" get "float32".
        field_names: The names of the fields.
        timeout_seconds: How long one request may take, if the call has as long.
        colbert_overflow: What to do with more than 4,096 ColBERT vectors of one document.
        batch_bytes: The most bytes of one write; 32 MiB by default, half of what a server takes.
        deadline: Seconds that one call may take in all; see `Store`.

    Raises:
        InvalidOptionError: If an option is unknown.
    """

    limits = LIMITS

    def __init__(
        self,
        client: MilvusClient | Connection,
        name: str,
        *,
        consistency: Consistency = "Strong",
        colbert_type: ColbertType = "float32",
        field_names: FieldNames | None = None,
        timeout_seconds: float = 30.0,
        colbert_overflow: Overflow = "pool",
        batch_bytes: int = BATCH_BYTES,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        super().__init__(
            name, colbert_overflow=colbert_overflow, batch_bytes=batch_bytes, deadline=deadline
        )
        for option, value, known in (
            ("consistency", consistency, get_args(Consistency)),
            ("colbert_type", colbert_type, get_args(ColbertType)),
        ):
            if value not in known:
                raise InvalidOptionError(f"{option}={value!r}; expected one of {known}")
        timeout = check_seconds(timeout_seconds, "timeout_seconds")
        self._connection = (
            client if isinstance(client, Connection) else Connection(client, timeout=timeout)
        )
        self._consistency = consistency
        self._timeout = timeout
        self._half = colbert_type == "float16"
        self._names = field_names or FieldNames()
        self._layout: Layout | None = None
        self._reason = ""
        self._unflushed = 0
        self._version: str | None = None

    @classmethod
    def from_url(
        cls,
        url: StoreUrl,
        *,
        token: str | None = None,
        user: str | None = None,
        password: str | None = None,
        database: str | None = None,
        tls: bool | None = None,
        ca_file: str | Path | None = None,
        consistency: Consistency = "Strong",
        colbert_type: ColbertType = "float32",
        field_names: FieldNames | None = None,
        timeout_seconds: float = 30.0,
        colbert_overflow: Overflow = "pool",
        batch_bytes: int = BATCH_BYTES,
        deadline: float = DEADLINE_SECONDS,
    ) -> Self:
        """Open `milvus://host:19530/name` or `milvus+lite:FILE.db/name`.

        Args:
            url: The parsed URL.
            token: The token; by default the environment variable `MILVUS_TOKEN`.
            user: The user; by default `MILVUS_USER`.
            password: Their password; by default `MILVUS_PASSWORD`.
            database: The database; by default `MILVUS_DATABASE`.
            tls: Whether to encrypt; by default `MILVUS_TLS` (yes or no), and always with `ca_file`.
                Without it, a token or a password that leaves this machine is warned of in the log.
            ca_file: A PEM file with the server's certificate; by default `MILVUS_CA_FILE`.
            consistency: See the class.
            colbert_type: See the class.
            field_names: See the class.
            timeout_seconds: See the class.
            colbert_overflow: See the class.
            batch_bytes: See the class.
            deadline: See the class.

        Raises:
            StoreUnavailableError: If the server does not answer.
            StoreError: If another process has the file open.
        """
        deadline = check_seconds(deadline, "deadline")
        timeout_seconds = check_seconds(timeout_seconds, "timeout_seconds")
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
            address = Address.of(
                url,
                token=token,
                user=user,
                password=password,
                database=database,
                tls=tls,
                ca_file=ca_file,
            )
            address.warn_of_plain_secrets()
        with unless_limited(deadline):
            connection = Connection(address=address, lite=lite, timeout=timeout_seconds)
        try:
            return cls(
                connection,
                url.name,
                consistency=consistency,
                colbert_type=colbert_type,
                field_names=field_names,
                timeout_seconds=timeout_seconds,
                colbert_overflow=colbert_overflow,
                batch_bytes=batch_bytes,
                deadline=deadline,
            )
        except BaseException:
            connection.close()
            raise

    @classmethod
    def local_files(cls, url: StoreUrl) -> tuple[Path, ...]:
        """Return the file of Milvus Lite, which holds several collections."""
        return () if url.path is None else (url.path,)

    # --- the collection ------------------------------------------------------------------------

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """The storage of ColBERT vectors, and how the hybrid score is computed."""
        known = self._known()
        if known.schema.colbert is None:
            return (Capability("hybrid", "server", "the collection holds no ColBERT vectors"),)
        layout = self._opened()
        kind = "float16" if layout.half or not layout.native else "float32"
        reason = self._reason or why(layout, self._server())
        if layout.native:
            return (
                Capability("colbert", f"native, {kind}", reason),
                Capability("hybrid", "server", "Milvus adds the three scores"),
            )
        return (
            Capability("colbert", f"payload, {kind}", reason),
            Capability("hybrid", "client", "candidates are read and scored here"),
        )

    def _describe(self) -> Collection | None:
        client, names = self._connection.client, {"collection_name": self.name}
        with self._calls(), self._connection.reads(self.name):
            if not client.has_collection(**names, timeout=self._seconds()):
                self._layout = None
                return None
            described = client.describe_collection(**names, timeout=self._seconds())
        with reading(self.name):
            layout = Layout.read(described, self._names)
        if layout != self._layout:
            load(self._connection, self.name, self._deadline)
        self._layout = layout
        return layout.collection

    def _create(self, collection: Collection) -> None:
        creation = Creation(
            self._connection, self.name, self._server(), self._consistency, self._deadline
        )
        wanted = Layout(collection, self._names)
        self._layout, self._reason = creation.run(wanted, half=self._half)

    def _drop(self) -> None:
        with self._calls(), self._connection.writes(self.name):
            if self._connection.lite is not None:
                self._connection.lite.check_only_ours(self.name)
            self._connection.client.drop_collection(self.name, timeout=self._seconds())

    def _forget(self) -> None:
        super()._forget()
        self._layout = None
        self._unflushed = 0

    def _close(self) -> None:
        try:
            if self._connection.lite is not None:
                # Another handle may have dropped the collection.
                with suppress(CollectionNotFoundError), unless_limited(self._deadline):
                    self._flush_lite(at_least=_FLUSH_BEFORE_SEARCH)
        finally:
            self._unflushed = 0
            self._connection.close()

    async def aclose(self) -> None:
        """Release connections and threads; see `close`."""
        try:
            await self._connection.aclose()
        finally:
            await super().aclose()

    # --- documents -----------------------------------------------------------------------------

    def _max_colbert_rows(self, schema: Schema) -> int | None:
        return MAX_TOKENS

    def _check_documents(self, documents: Sequence[Document], vectors: Vectors) -> None:
        check_rows(documents, vectors, self._opened())

    def _wire_bytes(self, vectors: Vectors) -> NDArray[np.int64]:
        return row_bytes(vectors, self._opened())

    def _write(self, documents: Sequence[Document], vectors: Vectors) -> None:
        made = rows(documents, vectors, self._opened())
        if made:
            client = self._connection.client
            # milvus-lite's upsert leaves what the old row had in the dynamic field; its insert
            # replaces the row, which on a server would make a second one.
            write = client.insert if is_lite(self._server()) else client.upsert
            with self._calls(), self._connection.writes(self.name):
                answer = write(self.name, made, timeout=self._seconds())
            check_written(answer, len(made))
            self._unflushed += len(made)
            self._flush_lite(at_least=_FLUSH_ROWS)

    def _get(self, ids: Sequence[str], with_vectors: bool) -> Page:
        return self._page(self._run(self._read(ids, with_vectors)), with_vectors)

    def _read(self, ids: Sequence[str], with_vectors: bool) -> Steps[list[dict[str, Any]]]:
        layout = self._opened()
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(ids), _IDS_PER_REQUEST):
            some = ids[start : start + _IDS_PER_REQUEST]
            tokens = dict.fromkeys(some, 0)
            if with_vectors and layout.schema.colbert is not None:
                names = layout.names
                counts = yield from fetch(layout, tokens, [names.id, names.tokens])
                tokens = {i: row[names.tokens] for i, row in counts.items()}
            parts = layout.schema.parts if with_vectors else ()
            found |= yield from fetch(layout, tokens, fields_of(layout, parts))
        return list(found.values())

    def _page(self, found: Sequence[Mapping[str, Any]], with_vectors: bool) -> Page:
        layout = self._opened()
        with reading(self.name):
            documents = [document(row, layout) for row in found]
            return Page(documents, vectors_of(found, layout) if with_vectors else None)

    def _scan(
        self, batch_size: int, with_vectors: bool, condition: Filter | None
    ) -> Iterator[Page]:
        # Not by the client's iterator, which puts the last id into its filter unescaped.
        layout = self._opened()
        expression = render(condition, layout.columns, id_field=layout.names.id)
        last = ""
        output = [layout.names.id] if with_vectors else fields_of(layout, ())
        while True:
            after = f"{layout.names.id} > {literal(last)}"
            request = Request(
                "query",
                {
                    "filter": all_of(after, expression),
                    "output_fields": output,
                    "limit": min(batch_size, 16_384),
                    "iterator": "True",  # in the order of the ids
                    "reduce_stop_for_best": True,
                },
            )
            found = self._retrying(self._call, request)
            if not found:
                return
            with reading(self.name):
                ids = ids_after(last, found, layout.names.id)
            last = max(ids)
            yield self._retrying(self._get, ids, True) if with_vectors else self._page(found, False)

    def _delete(self, ids: Sequence[str]) -> None:
        # Not by the client's `ids`, which it puts into a filter unescaped.
        for start in range(0, len(ids), _IDS_PER_REQUEST):
            some = ids[start : start + _IDS_PER_REQUEST]
            self._delete_matching(any_of_ids(self._names.id, some))

    def _delete_where(self, condition: Filter) -> None:
        columns = self._opened().columns
        self._delete_matching(render(condition, columns, id_field=self._names.id))

    def _delete_matching(self, expression: str) -> None:
        if not expression:
            raise StoreError("an empty expression would delete everything")
        with self._calls(), self._connection.writes(self.name):
            answer = self._connection.client.delete(
                self.name, filter=expression, timeout=self._seconds()
            )
        check_deleted(answer)

    def _count(self, condition: Filter | None) -> int:
        layout = self._opened()
        expression = render(condition, layout.columns, id_field=layout.names.id)
        found = self._call(Request("query", {"filter": expression, "output_fields": ["count(*)"]}))
        with reading(self.name):
            return count_of(found)

    # --- search --------------------------------------------------------------------------------

    def _prepared(self, queries: Sequence[Vector], search: Search) -> tuple[Search, list[Vector]]:
        if search.filter is not None and self._known().fields:
            # Milvus takes a column that is not there any more for a key that no document has.
            self._known(anew=True)
        return super()._prepared(queries, search)

    def _search(self, queries: Sequence[Vector], search: Search) -> list[list[Hit]]:
        self._flush_lite(at_least=_FLUSH_BEFORE_SEARCH)
        return self._run(answer(queries, search, self._opened()))

    async def _asearch(self, queries: Sequence[Vector], search: Search) -> list[list[Hit]]:
        self._check_open()
        lite = self._connection.lite
        if lite is not None:
            context = contextvars.copy_context()

            def blocking() -> list[list[Hit]]:
                return self._retrying(self._search, queries, search)

            return await asyncio.wrap_future(lite.searcher.submit(context.run, blocking))
        mine = self._connection.of_loop()
        if mine is None:
            return await super()._asearch(queries, search)

        async def once() -> list[list[Hit]]:
            return await self._arun(answer(queries, search, self._opened()), mine)

        async with mine.turns:
            return await aretrying()(once)

    def _run(self, steps: Steps[T]) -> T:
        requests, result = advance(steps, None)
        while not result:
            answers = [self._call(request) for request in requests]
            requests, result = self._advance(steps, answers)
        return result[0]

    async def _arun(self, steps: Steps[T], client: LoopClient) -> T:
        """Run each step in a thread, and the requests between two of them all at once."""
        requests, result = await self._in_thread(advance, steps, None)
        while not result:
            calls = (self._acall(client, request) for request in requests)
            answers = await asyncio.gather(*calls)
            requests, result = await self._in_thread(self._advance, steps, answers)
        return result[0]

    def _advance(self, steps: Steps[T], answers: list[Any]) -> tuple[list[Request], tuple[T, ...]]:
        with reading(self.name):
            return advance(steps, answers)

    def _call(self, request: Request) -> Any:  # noqa: ANN401 - pymilvus has no types
        return self._connection.call(request, self.name, self._common())

    async def _acall(self, client: LoopClient, request: Request) -> Any:  # noqa: ANN401
        if request.large:
            return await self._in_thread(self._call, request)
        with self._calls():
            return await client.call(request, self._common())

    def _common(self) -> dict[str, Any]:
        """Return the arguments that all reads have in common."""
        return {
            "collection_name": self.name,
            "timeout": self._seconds(),
            "consistency_level": self._consistency,
        }

    def _seconds(self) -> float:
        return request_seconds(self._timeout)

    def _calls(self) -> AbstractContextManager[None]:
        return self._connection.calls(self.name)

    # --- the server ----------------------------------------------------------------------------

    def _opened(self) -> Layout:
        self._known()
        layout = self._layout
        if layout is None:  # another thread has just been told that it was dropped
            raise CollectionNotFoundError(f"collection {self.name!r} does not exist")
        return layout

    def _server(self) -> str:
        if self._version is None:
            with self._calls():
                version = self._connection.client.get_server_version(timeout=self._seconds())
            if not isinstance(version, str) or not version:
                raise StoreError(f"Milvus answered {version!r} where it was asked for its version")
            self._version = version
        return self._version

    def _flush_lite(self, *, at_least: int) -> None:
        if self._unflushed >= at_least and is_lite(self._server()):
            with self._calls(), self._connection.writes(self.name):
                self._connection.client.flush(self.name, timeout=self._seconds())
            self._unflushed = 0
