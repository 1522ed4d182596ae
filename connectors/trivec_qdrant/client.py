"""A collection behind qdrant-client: a server over gRPC or REST, or its pure-Python mode."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any, cast
from urllib.parse import urlsplit

from qdrant_client import QdrantClient, models
from typing_extensions import override

from trivec.collection import Collection
from trivec.document import Document
from trivec.errors import CollectionNotFoundError, StoreError
from trivec.ranking import level
from trivec.search import Part
from trivec.stores.deadline import limited, request_seconds
from trivec.vectors import Vectors
from trivec_qdrant import mapping, replies
from trivec_qdrant.bounded import bound
from trivec_qdrant.client_filters import render
from trivec_qdrant.columns import described, sparse_params, vector_params
from trivec_qdrant.engine import Engine, Found, PayloadKeys, Request
from trivec_qdrant.errors import translating, unreadable
from trivec_qdrant.filters import Condition
from trivec_qdrant.mapping import PointVectors, Row
from trivec_qdrant.queries import query_request
from trivec_qdrant.schema import Description, Names, Storage, own_metadata, payload_indexes

__all__ = ["TIMEOUT", "ClientEngine", "is_local"]

TIMEOUT = 60.0
"""Seconds of one request, where nobody says otherwise; the client's own 5 over gRPC cut large
writes off."""


def is_local(client: QdrantClient) -> bool:
    """Return whether a client is the pure-Python mode, without a server."""
    options = client.init_options
    return options.get("location") == ":memory:" or options.get("path") is not None


class ClientEngine(Engine):
    """A collection behind a `QdrantClient`.

    Args:
        client: The client.
        name: The collection.
        names: What vectors and payload keys are called.
        timeout: Seconds that one request may take in all; by default the client's, or a minute.
        secret: What no message shows.
        on_close: What to do when the engine is closed; nothing for a client of someone else.
        lock: Held during every call: the pure-Python mode is not made for several threads.
    """

    number_bytes = 24  # a float32 in JSON, or as a Python float

    def __init__(
        self,
        client: QdrantClient,
        name: str,
        names: Names,
        *,
        timeout: float | None = None,
        secret: str = "",
        on_close: Callable[[], None] | None = None,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        super().__init__(name, names)
        self._client = client
        self._timeout = float(timeout or client.init_options.get("timeout") or TIMEOUT)
        self._secret = secret or str(client.init_options.get("api_key") or "")
        self._on_close = on_close
        self._local = is_local(client)
        if not self._local:
            bound(client)
        self._lock = lock or (threading.RLock() if self._local else nullcontext())

    @property
    @override
    def route(self) -> str:
        return "the client's pure-Python mode" if self._local else "JSON over REST"

    @property
    @override
    def endpoint(self) -> str:
        options = self._client.init_options
        if self._local:
            return ""
        if options.get("prefer_grpc"):
            return f"gRPC on port {options.get('grpc_port', 6334)}"
        port = urlsplit(str(options.get("url") or "")).port or options.get("port") or 6333
        return f"REST on port {port}"

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Hold for one request: its time, and the errors of the client and of its answer."""
        if self._local:
            with self._lock, translating(self.name, embedded=True):
                yield
            return
        with limited(request_seconds(self._timeout)), translating(self.name, secret=self._secret):
            yield

    # --- the requests, which gRPC makes in its own way -------------------------------------------

    def _info(self) -> models.CollectionInfo:
        return self._client.get_collection(self.name)

    def _create_collection(
        self,
        vectors: Mapping[str, models.VectorParams],
        sparse: Mapping[str, models.SparseVectorParams] | None,
        metadata: dict[str, Any],
    ) -> bool:
        return self._client.create_collection(
            self.name, vectors_config=vectors, sparse_vectors_config=sparse, metadata=metadata
        )

    def _create_index(self, key: str, kind: models.PayloadSchemaType) -> object:
        index = self._client.create_payload_index(self.name, key, field_schema=kind, wait=True)
        return index.status.value

    def _query_batch(
        self, requests: Sequence[Request], batch: Sequence[models.QueryRequest]
    ) -> list[list[Found]]:
        answers = self._client.query_batch_points(self.name, batch)
        replies.check_number(self.name, requests, answers)
        return [
            self._found(request, answer.points)
            for request, answer in zip(requests, answers, strict=True)
        ]

    def _delete_points(self, selector: models.PointIdsList | models.FilterSelector) -> object:
        return self._client.delete(self.name, selector, wait=True).status.value

    def _count_points(self, flt: models.Filter | None) -> object:
        return self._client.count(self.name, count_filter=flt, exact=True).count

    def _delete_collection(self) -> None:
        self._client.delete_collection(self.name)

    def _version(self) -> str:
        return self._client.info().version

    # --- the engine ------------------------------------------------------------------------------

    @override
    def describe(self) -> Description | None:
        try:
            with self._asking():
                description = described(self._info())
        except CollectionNotFoundError:
            return None
        return replies.check_description(self.name, description)

    @override
    def create(self, collection: Collection, storage: Storage) -> None:
        vectors = vector_params(collection.schema, self.names, storage)
        sparse = sparse_params(collection.schema, self.names, storage)
        with self._lock:
            try:
                with self._asking():
                    created = self._create_collection(vectors, sparse, own_metadata(collection))
                if created is not True:
                    raise unreadable(self.name, f"the server answered {created!r} to its creation")
            except StoreError as error:
                # A first attempt may have got through although its answer did not.
                if "already exists" not in str(error) or not self._is_ours(collection):
                    raise
        if self._local:
            return  # payload indexes have no effect there
        for key, kind in payload_indexes(collection, self.names).items():
            with self._asking():
                status = self._create_index(key, models.PayloadSchemaType(kind))
            replies.check_done(self.name, status)

    def _is_ours(self, collection: Collection) -> bool:
        """Return whether the collection that is there says the same of itself."""
        there = self.describe()
        return there is not None and there.metadata == own_metadata(collection)

    @override
    def write(self, documents: Sequence[Document], vectors: Vectors) -> None:
        points = [
            models.PointStruct(
                id=mapping.point_id(document.id, self.names),
                vector=self._vectors(row),
                payload=mapping.payload(document, self.names),
            )
            for document, row in zip(documents, mapping.point_vectors(vectors), strict=True)
        ]
        with self._asking():
            status = self._client.upsert(self.name, points, wait=True).status.value
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
    def query(self, requests: Sequence[Request], where: Condition | None) -> list[list[Found]]:
        flt = self._filter(where)
        batch = [query_request(r, flt, self.names, embedded=self._local) for r in requests]
        with self._asking():
            answers = self._query_batch(requests, batch)
        if not self._local:
            replies.check_answers(self.name, requests, answers)
        return answers

    def _found(self, request: Request, points: Sequence[models.ScoredPoint]) -> list[Found]:
        scores = [float(point.score) for point in points]
        if self._local:  # numpy's products; servers compute each score by itself
            scores = level(scores)
        rows = self._rows(points, payload=bool(request.payload), parts=request.vectors)
        return [Found(score, row) for score, row in zip(scores, rows, strict=True)]

    @override
    def read(self, ids: Sequence[str | int], parts: Sequence[Part]) -> list[Row]:
        with self._asking():
            rows = self._retrieve(ids, parts)
        if not self._local:
            replies.check_rows(self.name, ids, rows)
        return rows

    def _retrieve(self, ids: Sequence[str | int], parts: Sequence[Part]) -> list[Row]:
        records = self._client.retrieve(
            self.name, list(ids), with_payload=True, with_vectors=self._names_of(parts)
        )
        return self._rows(records, payload=True, parts=parts)

    @override
    def scroll(
        self,
        offset: object,
        limit: int,
        parts: Sequence[Part],
        where: Condition | None,
        *,
        payload: PayloadKeys = True,
    ) -> tuple[list[Row], object]:
        flt = self._filter(where)
        with self._asking():
            rows, following = self._scroll(offset, limit, parts, flt, payload)
        if not self._local:
            replies.check_page(self.name, offset, limit, rows, following)
        return rows, following

    def _scroll(
        self,
        offset: object,
        limit: int,
        parts: Sequence[Part],
        flt: models.Filter | None,
        payload: PayloadKeys,
    ) -> tuple[list[Row], object]:
        records, following = self._client.scroll(
            self.name,
            scroll_filter=flt,
            limit=limit,
            offset=cast(Any, offset),
            with_payload=payload if isinstance(payload, bool) else list(payload),
            with_vectors=self._names_of(parts),
        )
        return self._rows(records, payload=bool(payload), parts=parts), following

    def _names_of(self, parts: Sequence[Part]) -> list[str] | bool:
        return [self.names.vector(part) for part in parts] or False

    def _rows(
        self,
        records: Sequence[models.Record] | Sequence[models.ScoredPoint],
        *,
        payload: bool,
        parts: Sequence[Part],
    ) -> list[Row]:
        if not self._local:
            replies.check_whole(self.name, records, payload=payload, vectors=bool(parts))
        return [self._row(record) for record in records]

    def _row(self, record: models.Record | models.ScoredPoint) -> Row:
        return Row(
            str(record.id), record.payload or {}, mapping.read_vectors(record.vector, self.names)
        )

    @override
    def delete(self, ids: Sequence[str | int]) -> None:
        self._delete(models.PointIdsList(points=list(ids)))

    @override
    def delete_where(self, where: Condition) -> None:
        flt = self._filter(where)
        assert flt is not None
        self._delete(models.FilterSelector(filter=flt))

    def _delete(self, selector: models.PointIdsList | models.FilterSelector) -> None:
        with self._asking():
            status = self._delete_points(selector)
        replies.check_done(self.name, status)

    @override
    def count(self, where: Condition | None) -> int:
        flt = self._filter(where)
        with self._asking():
            count = self._count_points(flt)
        return replies.check_count(self.name, count)

    @override
    def drop(self) -> None:
        with self._asking():
            self._delete_collection()
        if self.describe() is not None:  # servers delete nothing by an alias, and say nothing
            raise StoreError(
                f"{self.name!r} is still there after it was deleted: it is an alias; drop the "
                "collection that it stands for"
            )

    @override
    def close(self) -> None:
        if self._on_close is not None:
            self._on_close()

    def _filter(self, where: Condition | None) -> models.Filter | None:
        return None if where is None else render(where, substring=lambda: self._substring)

    @cached_property
    def _substring(self) -> bool:
        """Whether there is a condition for substrings, by the server's version.

        Since version 1.20 a text condition without an index compares words; before, substrings.
        """
        if self._local:
            return True
        with self._asking():
            version = self._version()
        return replies.version_of(self.name, version) >= (1, 20)
