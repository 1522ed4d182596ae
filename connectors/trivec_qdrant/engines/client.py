"""A collection on a server over REST, through qdrant-client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

import httpx
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from trivec.bounded import bound
from trivec.collection import Collection
from trivec.deadline import limited, request_seconds
from trivec.document import Document
from trivec.errors import CollectionNotFoundError, StoreError
from trivec.search import Part
from trivec.stores.steps import Steps, ask
from trivec.vectors import Vectors
from trivec_qdrant import mapping
from trivec_qdrant.client import TIMEOUT
from trivec_qdrant.engines import replies
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
    vector_names,
)
from trivec_qdrant.engines.queries import query_request
from trivec_qdrant.engines.twins import Twins
from trivec_qdrant.errors import translating, unreadable
from trivec_qdrant.filters import Condition, has_text
from trivec_qdrant.mapping import PointVectors, Row
from trivec_qdrant.precision import check_version
from trivec_qdrant.schema import Description, Names, Quantization, own_metadata, payload_indexes


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a method of the client.

    Args:
        method: Its path from the client, such as "upsert" or "grpc_points.Upsert".
        arguments: Its arguments.
        numbers: About how many numbers it takes or returns; 4 bytes of text count as one.
    """

    method: str
    arguments: Mapping[str, Any]
    numbers: int


class ClientEngine(Engine):
    """A collection behind a `QdrantClient`.

    Args:
        client: The client.
        name: The collection.
        names: What vectors and payload keys are called.
        timeout: Seconds that one request may take in all; by default the client's, or a minute.
        on_close: Called when the engine is closed; None for a client that its owner closes.
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
        on_close: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(name, names)
        self._client = client
        options = client.init_options
        self._timeout = float(timeout or options.get("timeout") or TIMEOUT)
        key = options.get("api_key") or (options.get("headers") or {}).get("api-key")
        self._secret = str(key or "")
        self._on_close = on_close
        self._version: tuple[int, int] | None = None
        self._twins: Twins | None = None
        if not self.is_embedded:
            _bind(client)
            self._twins = Twins(client)

    @property
    def route(self) -> str:
        return "JSON over REST"

    @property
    def endpoint(self) -> str:
        options = self._client.init_options
        port = urlsplit(str(options.get("url") or "")).port or options.get("port") or 6333
        return f"REST on port {port}"

    # --- sending ---------------------------------------------------------------------------------

    def send(self, request: Any) -> Any:  # noqa: ANN401
        seconds = request_seconds(self._timeout)
        with limited(seconds), self._translating():
            return self._call(self._client, request, seconds)

    def asend(self, request: Any) -> Awaitable[Any] | None:  # noqa: ANN401
        twins = self._twins
        if twins is None or not twins.possible or request.numbers > self.loop_numbers:
            return None
        return self._asend(request, twins)

    async def _asend(self, call: Call, twins: Twins) -> Any:  # noqa: ANN401
        twin = await twins.get()
        if twin is None:
            return await asyncio.to_thread(self.send, call)
        seconds = request_seconds(self._timeout)
        with self._translating():
            async with asyncio.timeout(seconds):
                return await self._call(twin, call, seconds)

    def _call(self, client: QdrantClient | AsyncQdrantClient, call: Call, seconds: float) -> Any:  # noqa: ANN401
        """Return the answer of a client, or an awaitable of that of an asynchronous client."""
        return attrgetter(call.method)(client)(**call.arguments)

    def _translating(self) -> AbstractContextManager[None]:
        """Translate the errors of sending a request, and of reading its answer."""
        return translating(self.name, secret=self._secret, embedded=self.is_embedded)

    def close(self) -> None:
        if self._twins is not None:
            self._twins.close()
        if self._on_close is not None:
            self._on_close()

    async def aclose(self) -> None:
        if self._twins is not None:
            await self._twins.aclose()
        await asyncio.to_thread(self.close)

    def _ask(self, method: str, numbers: int = 0, /, **arguments: object) -> Steps[Any]:
        """Call a method of the client, for this collection; see `Call`."""
        if method != "info":
            arguments["collection_name"] = self.name
        with self._translating():
            answer = yield from ask(self._request(method, arguments, numbers))
            return self._answer(method, answer)

    # --- requests and answers, which gRPC has in its own form ------------------------------------

    def _request(self, method: str, arguments: Mapping[str, object], numbers: int) -> Call:
        return Call(method, arguments, numbers)

    def _answer(self, method: str, answer: Any) -> Any:  # noqa: ANN401
        """Return an answer of the server as the client's method returns it."""
        return answer

    def _status(self, result: Any) -> object:  # noqa: ANN401
        """Return how far a write has come, in the words of REST."""
        return result.status.value

    def _points(self, documents: Sequence[Document], vectors: Vectors) -> list[Any]:
        return [
            models.PointStruct(
                id=mapping.point_id(document.id, self.names),
                vector=self._vectors(row),
                payload=mapping.payload(document, self.names),
            )
            for document, row in zip(documents, mapping.point_vectors(vectors), strict=True)
        ]

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

    def _query_batch(
        self, batch: Sequence[models.QueryRequest], numbers: int
    ) -> Steps[Sequence[Sequence[Any]]]:
        """Return the points that answer each query."""
        # The method of the client copies each number of the vectors first.
        answer = yield from self._ask(
            "http.search_api.query_batch_points",
            numbers,
            query_request_batch=models.QueryRequestBatch(searches=list(batch)),
        )
        if answer.result is None:
            raise unreadable(self.name, "an answer without a result came")
        return [response.points for response in answer.result]

    def _rows(
        self, points: Sequence[Any], parts: Sequence[Part], payload: PayloadKeys
    ) -> list[Row]:
        """Return points with the parts and the payload that were asked for."""
        if not self.is_embedded:
            replies.check_whole(self.name, points, payload=bool(payload), vectors=bool(parts))
        return [mapping.read_row(point, self.names) for point in points]

    # --- the operations --------------------------------------------------------------------------

    def describe(self) -> Steps[Description | None]:
        try:
            with self._translating():
                described = description((yield from self._ask("get_collection")))
        except CollectionNotFoundError:
            return None
        return replies.check_description(self.name, described)

    def create(self, collection: Collection, quantization: Quantization | None) -> Steps[None]:
        metadata = own_metadata(collection)
        storage = collection.colbert
        has_tokens = collection.schema.colbert is not None
        if has_tokens and storage and storage.reduces and not self.is_embedded:
            check_version(storage, (yield from self._server_version()))
        try:
            created = yield from self._ask(
                "create_collection",
                vectors_config=vector_params(collection, self.names, quantization),
                sparse_vectors_config=sparse_params(collection, self.names),
                metadata=metadata,
            )
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
            yield from self._update(
                "create_payload_index",
                field_name=key,
                field_schema=models.PayloadSchemaType(index),
            )

    def write(self, documents: Sequence[Document], vectors: Vectors) -> Steps[None]:
        points = self._points(documents, vectors)
        yield from self._update("upsert", numbers_written(documents, vectors), points=points)

    def query(
        self, queries: Sequence[Query], where: Condition | None
    ) -> Steps[list[list[ScoredRow]]]:
        flt = yield from self._filter(where)
        batch = [query_request(q, flt, self.names, embedded=self.is_embedded) for q in queries]
        with self._translating():
            answers = yield from self._query_batch(batch, sum(map(numbers_queried, queries)))
            if len(answers) != len(queries):
                why = f"{len(answers)} answers to {len(queries)} queries came"
                raise unreadable(self.name, why)
            results = list(map(self._scored, queries, answers))
        if not self.is_embedded:
            replies.check_results(self.name, queries, results)
        return results

    def _scored(self, query: Query, points: Sequence[Any]) -> list[ScoredRow]:
        rows = self._rows(points, query.vectors, query.payload)
        return [ScoredRow(float(point.score), row) for point, row in zip(points, rows, strict=True)]

    def read(self, ids: Sequence[str | int], parts: Sequence[Part]) -> Steps[list[Row]]:
        with self._translating():
            points = yield from self._ask(
                "retrieve",
                numbers_read(len(ids), parts),
                ids=list(ids),
                with_payload=True,
                with_vectors=vector_names(parts, self.names),
            )
            rows = self._rows(points, parts, True)
        if not self.is_embedded:
            replies.check_rows(self.name, ids, rows)
        return rows

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
            points, following = yield from self._ask(
                "scroll",
                numbers_read(limit, parts),
                scroll_filter=flt,
                limit=limit,
                offset=offset,
                with_payload=payload,
                with_vectors=vector_names(parts, self.names),
            )
            rows = self._rows(points, parts, payload)
        if not self.is_embedded:
            replies.check_page(self.name, offset, limit, rows, following)
        return rows, following

    def delete(self, ids: Sequence[str | int]) -> Steps[None]:
        return self._update("delete", points_selector=models.PointIdsList(points=list(ids)))

    def delete_where(self, where: Condition) -> Steps[None]:
        flt = cast(models.Filter, (yield from self._filter(where)))
        yield from self._update("delete", points_selector=models.FilterSelector(filter=flt))

    def count(self, where: Condition | None) -> Steps[int]:
        flt = yield from self._filter(where)
        result = yield from self._ask("count", count_filter=flt, exact=True)
        return replies.check_count(self.name, result.count)

    def drop(self) -> Steps[None]:
        yield from self._ask("delete_collection")
        if (yield from self.describe()) is not None:  # a server deletes nothing by an alias
            raise StoreError(
                f"{self.name!r} still exists after it was deleted: it is an alias; drop the "
                "collection that it stands for"
            )

    def _update(self, method: str, numbers: int = 0, /, **arguments: object) -> Steps[None]:
        """Call a method that writes, and check that the write is done."""
        with self._translating():
            result = yield from self._ask(method, numbers, wait=True, **arguments)
            status = self._status(result)
        replies.check_done(self.name, status)

    def _filter(self, where: Condition | None) -> Steps[models.Filter | None]:
        """Return a condition as the client's filter, for the server's version."""
        if where is None:
            return None
        if self.is_embedded or not has_text(where):
            return render(where)
        # Since version 1.20 a text condition without an index compares words; before, substrings.
        return render(where, substring=(yield from self._server_version()) >= (1, 20))

    def _server_version(self) -> Steps[tuple[int, int]]:
        """Return the major and minor version of the server."""
        if self._version is None:
            answer = yield from self._ask("info")
            self._version = replies.version_of(self.name, answer.version)
        return self._version


def _bind(client: QdrantClient) -> None:
    """Let the requests over REST end at the deadline of the call that makes them."""
    http = getattr(client.http.client, "_client", None)
    if isinstance(http, httpx.Client):
        bound(http)
