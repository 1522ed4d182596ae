"""A collection on a server over REST, through qdrant-client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

from qdrant_client import AsyncQdrantClient, QdrantClient, models
from typing_extensions import override

from trivec.collection import Collection
from trivec.document import Document
from trivec.errors import CollectionNotFoundError, StoreError
from trivec.search import Part
from trivec.stores.deadline import limited, request_seconds
from trivec.stores.steps import Steps, ask
from trivec.vectors import Vectors
from trivec_qdrant import mapping
from trivec_qdrant.client import TIMEOUT
from trivec_qdrant.engines import replies
from trivec_qdrant.engines.bounded import bound
from trivec_qdrant.engines.client_filters import render
from trivec_qdrant.engines.columns import description, sparse_params, vector_params
from trivec_qdrant.engines.engine import (
    Engine,
    PayloadKeys,
    Query,
    ScoredRow,
    numbers_queried,
    numbers_read,
    numbers_written,
)
from trivec_qdrant.engines.queries import query_request
from trivec_qdrant.engines.twins import Twins
from trivec_qdrant.errors import translating, unreadable
from trivec_qdrant.filters import Condition, has_text
from trivec_qdrant.mapping import PointVectors, Row
from trivec_qdrant.schema import Description, Names, Quantization, own_metadata, payload_indexes


@dataclass(frozen=True, slots=True)
class Call:
    """A request over REST.

    Args:
        method: A method of `QdrantClient`, or of one of its APIs of REST.
        arguments: Its arguments.
        numbers: About how many numbers it takes or returns; 4 bytes of text count as one.
        api: The API, such as "search_api"; "" for the client itself.
    """

    method: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    numbers: int = 0
    api: str = ""


class ClientEngine(Engine):
    """A collection behind a `QdrantClient`.

    Args:
        client: The client.
        name: The collection.
        names: What vectors and payload keys are called.
        timeout: Seconds that one request may take in all; by default the client's, or a minute.
        secret: What no message shows.
        on_close: What to do when the engine is closed; nothing for a client of someone else.
    """

    number_bytes = 24  # a float32 in JSON, or as a Python float
    is_embedded: ClassVar[bool] = False
    loop_numbers: ClassVar[int] = 50_000
    """The most numbers of a request that is sent from an event loop. Written as JSON or read from
    it, they take some 5 ms; with more, the request is sent in a thread."""

    def __init__(
        self,
        client: QdrantClient,
        name: str,
        names: Names,
        *,
        timeout: float | None = None,
        secret: str = "",
        on_close: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(name, names)
        self._client = client
        self._timeout = float(timeout or client.init_options.get("timeout") or TIMEOUT)
        self._secret = secret or str(client.init_options.get("api_key") or "")
        self._on_close = on_close
        self._version: tuple[int, int] | None = None
        self._twins: Twins | None = None
        if not self.is_embedded:
            bound(client)
            self._twins = Twins(client)

    @property
    @override
    def route(self) -> str:
        return "JSON over REST"

    @property
    @override
    def endpoint(self) -> str:
        options = self._client.init_options
        port = urlsplit(str(options.get("url") or "")).port or options.get("port") or 6333
        return f"REST on port {port}"

    # --- sending ---------------------------------------------------------------------------------

    @override
    def send(self, request: Any) -> Any:
        seconds = request_seconds(self._timeout)
        with limited(seconds), self._translating():
            return self._call(self._client, request, seconds)

    @override
    def asend(self, request: Any) -> Awaitable[Any] | None:
        twins = self._twins
        if twins is None or not twins.possible or request.numbers > self.loop_numbers:
            return None
        return self._asend(request, twins)

    async def _asend(self, request: Any, twins: Twins) -> Any:  # noqa: ANN401
        twin = await twins.get()
        if twin is None:
            return await asyncio.to_thread(self.send, request)
        seconds = request_seconds(self._timeout)
        with self._translating():
            async with asyncio.timeout(seconds):
                return await self._call(twin, request, seconds)

    def _call(
        self,
        client: QdrantClient | AsyncQdrantClient,
        request: Any,  # noqa: ANN401
        seconds: float,
    ) -> Any:  # noqa: ANN401
        """Return the answer of a client, or an awaitable of that of an asynchronous client."""
        owner: Any = getattr(client.http, request.api) if request.api else client
        return getattr(owner, request.method)(**request.arguments)

    def _translating(self) -> AbstractContextManager[None]:
        """Translate the errors of sending a request, and of reading its answer."""
        return translating(self.name, secret=self._secret, embedded=self.is_embedded)

    @override
    def close(self) -> None:
        if self._twins is not None:
            self._twins.close()
        if self._on_close is not None:
            self._on_close()

    @override
    async def aclose(self) -> None:
        if self._twins is not None:
            await self._twins.aclose()
        await asyncio.to_thread(self.close)

    # --- the requests, which gRPC makes in its own way -------------------------------------------

    def _ask(
        self, method: str, arguments: Mapping[str, object] | None = None, numbers: int = 0
    ) -> Steps[Any]:
        """Call a method of the client for this collection."""
        return ask(Call(method, {"collection_name": self.name, **(arguments or {})}, numbers))

    def _update(
        self, method: str, arguments: Mapping[str, object], numbers: int = 0
    ) -> Steps[object]:
        """Call a method that writes, and return how far the write has come."""
        result = yield from self._ask(method, {**arguments, "wait": True}, numbers)
        return result.status.value

    def _info(self) -> Steps[models.CollectionInfo]:
        return self._ask("get_collection")

    def _create_collection(
        self,
        vectors: Mapping[str, models.VectorParams],
        sparse: Mapping[str, models.SparseVectorParams] | None,
        metadata: dict[str, Any],
    ) -> Steps[object]:
        return self._ask(
            "create_collection",
            {"vectors_config": vectors, "sparse_vectors_config": sparse, "metadata": metadata},
        )

    def _create_index(self, key: str, index: models.PayloadSchemaType) -> Steps[object]:
        return self._update("create_payload_index", {"field_name": key, "field_schema": index})

    def _write_points(self, documents: Sequence[Document], vectors: Vectors) -> Steps[object]:
        points = [
            models.PointStruct(
                id=mapping.point_id(document.id, self.names),
                vector=self._vectors(row),
                payload=mapping.payload(document, self.names),
            )
            for document, row in zip(documents, mapping.point_vectors(vectors), strict=True)
        ]
        return self._update("upsert", {"points": points}, numbers_written(documents, vectors))

    def _query_batch(
        self, queries: Sequence[Query], batch: Sequence[models.QueryRequest]
    ) -> Steps[list[list[ScoredRow]]]:
        answers = yield from self._ask_batch(batch, sum(map(numbers_queried, queries)))
        replies.check_number(self.name, queries, answers)
        return [
            self._scored(query, answer.points)
            for query, answer in zip(queries, answers, strict=True)
        ]

    def _ask_batch(
        self, batch: Sequence[models.QueryRequest], numbers: int
    ) -> Steps[Sequence[models.QueryResponse]]:
        # The method of the client copies each number of the vectors first.
        arguments = {
            "collection_name": self.name,
            "query_request_batch": models.QueryRequestBatch(searches=list(batch)),
        }
        answer = yield from ask(Call("query_batch_points", arguments, numbers, "search_api"))
        if answer.result is None:
            raise unreadable(self.name, "an answer without a result came")
        results: Sequence[models.QueryResponse] = answer.result
        return results

    def _scored(self, query: Query, points: Sequence[models.ScoredPoint]) -> list[ScoredRow]:
        rows = self._rows(points, payload=bool(query.payload), parts=query.vectors)
        return [ScoredRow(float(point.score), row) for point, row in zip(points, rows, strict=True)]

    def _retrieve(self, ids: Sequence[str | int], parts: Sequence[Part]) -> Steps[list[Row]]:
        arguments = {
            "ids": list(ids),
            "with_payload": True,
            "with_vectors": self._names_of(parts),
        }
        records = yield from self._ask("retrieve", arguments, numbers_read(len(ids), parts))
        return self._rows(records, payload=True, parts=parts)

    def _scroll(
        self,
        offset: object,
        limit: int,
        parts: Sequence[Part],
        flt: models.Filter | None,
        payload: PayloadKeys,
    ) -> Steps[tuple[list[Row], object]]:
        arguments = {
            "scroll_filter": flt,
            "limit": limit,
            "offset": offset,
            "with_payload": payload if isinstance(payload, bool) else list(payload),
            "with_vectors": self._names_of(parts),
        }
        records, following = yield from self._ask("scroll", arguments, numbers_read(limit, parts))
        return self._rows(records, payload=bool(payload), parts=parts), following

    def _delete_points(
        self, selector: models.PointIdsList | models.FilterSelector
    ) -> Steps[object]:
        return self._update("delete", {"points_selector": selector})

    def _count_points(self, flt: models.Filter | None) -> Steps[object]:
        return (yield from self._ask("count", {"count_filter": flt, "exact": True})).count

    def _delete_collection(self) -> Steps[object]:
        return self._ask("delete_collection")

    def _server_version(self) -> Steps[object]:
        return (yield from ask(Call("info"))).version

    # --- the operations --------------------------------------------------------------------------

    @override
    def describe(self) -> Steps[Description | None]:
        try:
            with self._translating():
                described = description((yield from self._info()))
        except CollectionNotFoundError:
            return None
        return replies.check_description(self.name, described)

    @override
    def create(self, collection: Collection, quantization: Quantization | None) -> Steps[None]:
        metadata = own_metadata(collection)
        vectors = vector_params(collection, self.names, quantization)
        sparse = sparse_params(collection, self.names)
        try:
            with self._translating():
                created = yield from self._create_collection(vectors, sparse, metadata)
            if created is not True:
                raise unreadable(self.name, f"the server answered {created!r} to its creation")
        except StoreError as error:
            # The first try may have created it although its answer was lost.
            if "already exists" not in str(error):
                raise
            existing = yield from self.describe()
            if existing is None or existing.metadata != metadata:
                raise
        if self.is_embedded:
            return  # payload indexes have no effect there
        for key, index in payload_indexes(collection, self.names).items():
            with self._translating():
                status = yield from self._create_index(key, models.PayloadSchemaType(index))
            replies.check_done(self.name, status)

    @override
    def write(self, documents: Sequence[Document], vectors: Vectors) -> Steps[None]:
        writing = self._write_points(documents, vectors)
        with self._translating():
            status = yield from writing
        replies.check_done(self.name, status)

    def _vectors(self, row: PointVectors) -> dict[str, Any]:
        vectors: dict[str, Any] = {}
        if row.dense is not None:
            vectors[self.names.dense] = row.dense
        if row.colbert is not None:
            vectors[self.names.colbert] = row.colbert
        if row.indices is not None and row.weights is not None:
            vectors[self.names.sparse] = models.SparseVector(
                indices=row.indices.tolist(), values=row.weights.tolist()
            )
        return vectors

    @override
    def query(
        self, queries: Sequence[Query], where: Condition | None
    ) -> Steps[list[list[ScoredRow]]]:
        flt = yield from self._filter(where)
        batch = [query_request(q, flt, self.names, embedded=self.is_embedded) for q in queries]
        with self._translating():
            results = yield from self._query_batch(queries, batch)
        if not self.is_embedded:
            replies.check_results(self.name, queries, results)
        return results

    @override
    def read(self, ids: Sequence[str | int], parts: Sequence[Part]) -> Steps[list[Row]]:
        with self._translating():
            rows = yield from self._retrieve(ids, parts)
        if not self.is_embedded:
            replies.check_rows(self.name, ids, rows)
        return rows

    @override
    def scroll(
        self,
        offset: object,
        limit: int,
        parts: Sequence[Part],
        where: Condition | None,
        payload: PayloadKeys = True,
    ) -> Steps[tuple[list[Row], object]]:
        flt = yield from self._filter(where)
        with self._translating():
            rows, following = yield from self._scroll(offset, limit, parts, flt, payload)
        if not self.is_embedded:
            replies.check_page(self.name, offset, limit, rows, following)
        return rows, following

    def _names_of(self, parts: Sequence[Part]) -> list[str] | bool:
        return [self.names.vector(part) for part in parts] or False

    def _rows(
        self,
        records: Sequence[models.Record] | Sequence[models.ScoredPoint],
        *,
        payload: bool,
        parts: Sequence[Part],
    ) -> list[Row]:
        if not self.is_embedded:
            replies.check_whole(self.name, records, payload=payload, vectors=bool(parts))
        return [
            Row(str(r.id), r.payload or {}, mapping.read_vectors(r.vector, self.names))
            for r in records
        ]

    @override
    def delete(self, ids: Sequence[str | int]) -> Steps[None]:
        yield from self._delete(models.PointIdsList(points=list(ids)))

    @override
    def delete_where(self, where: Condition) -> Steps[None]:
        flt = cast(models.Filter, (yield from self._filter(where)))
        yield from self._delete(models.FilterSelector(filter=flt))

    def _delete(self, selector: models.PointIdsList | models.FilterSelector) -> Steps[None]:
        with self._translating():
            status = yield from self._delete_points(selector)
        replies.check_done(self.name, status)

    @override
    def count(self, where: Condition | None) -> Steps[int]:
        flt = yield from self._filter(where)
        with self._translating():
            count = yield from self._count_points(flt)
        return replies.check_count(self.name, count)

    @override
    def drop(self) -> Steps[None]:
        with self._translating():
            yield from self._delete_collection()
        if (yield from self.describe()) is not None:  # a server deletes nothing by an alias
            raise StoreError(
                f"{self.name!r} still exists after it was deleted: it is an alias; drop the "
                "collection that it stands for"
            )

    def _filter(self, where: Condition | None) -> Steps[models.Filter | None]:
        """Return a condition as the client's filter, for the server's version."""
        if where is None:
            return None
        if self.is_embedded or not has_text(where):
            return render(where)
        if self._version is None:
            with self._translating():
                version = yield from self._server_version()
            self._version = replies.version_of(self.name, version)
        # Since version 1.20 a text condition without an index compares words; before, substrings.
        return render(where, substring=self._version >= (1, 20))
