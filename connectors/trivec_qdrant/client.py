"""A collection behind qdrant-client: a server over gRPC or REST, or its pure-Python mode."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, cast
from urllib.parse import urlsplit

import numpy as np
from qdrant_client import QdrantClient, models
from typing_extensions import override

from trivec.collection import Collection
from trivec.document import Document
from trivec.errors import CollectionNotFoundError, StoreError, StoreUnavailableError
from trivec.search import RRF_K, Part, level
from trivec.vectors import Vectors
from trivec_qdrant import mapping
from trivec_qdrant.client_filters import render
from trivec_qdrant.engine import (
    Engine,
    Found,
    Fused,
    Nearest,
    PayloadKeys,
    Request,
    Weighted,
)
from trivec_qdrant.errors import translating
from trivec_qdrant.filters import Condition
from trivec_qdrant.mapping import PointVectors, Row
from trivec_qdrant.schema import (
    Description,
    Names,
    Storage,
    VectorColumn,
    own_metadata,
    payload_indexes,
)

__all__ = ["ClientEngine", "is_local"]

TINY = float(np.finfo(np.float32).tiny)  # a lexical score above 0

_TURBO = {"turbo4": "bits4", "turbo2": "bits2", "turbo1": "bits1"}


def _quantization(name: str | None) -> models.QuantizationConfig | None:
    if name is None:
        return None
    if name == "int8":
        int8 = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
        return models.ScalarQuantization(scalar=int8)
    if name == "binary":
        return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))
    bits = models.TurboQuantBitSize(_TURBO[name])
    return models.TurboQuantization(
        turbo=models.TurboQuantQuantizationConfig(always_ram=True, bits=bits)
    )


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
        on_close: Callable[[], None] | None = None,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        super().__init__(name, names)
        self._client = client
        self._on_close = on_close
        self._local = is_local(client)
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

    @override
    def describe(self) -> Description | None:
        try:
            with self._lock, translating(self.name):
                info = self._client.get_collection(self.name)
        except CollectionNotFoundError:
            return None
        params = info.config.params
        vectors = params.vectors or {}
        if isinstance(vectors, models.VectorParams):
            vectors = {"": vectors}
        return Description(
            vectors={name: _column(vector) for name, vector in vectors.items()},
            sparse={
                name: None if vector.modifier is None else vector.modifier.value
                for name, vector in (params.sparse_vectors or {}).items()
            },
            indexes={key: index.data_type.value for key, index in info.payload_schema.items()},
            metadata=info.config.metadata or {},
        )

    @override
    def create(self, collection: Collection, storage: Storage) -> None:
        schema, names = collection.schema, self.names
        vectors: dict[str, models.VectorParams] = {}
        if schema.dense is not None:
            vectors[names.dense] = models.VectorParams(
                size=schema.dense,
                # Exactly the definition of the score; the cosine would rescale what is stored.
                distance=models.Distance.DOT,
                quantization_config=_quantization(storage.quantization),
            )
        if schema.colbert is not None:
            vectors[names.colbert] = models.VectorParams(
                size=schema.colbert,
                distance=models.Distance.DOT,
                multivector_config=models.MultiVectorConfig(
                    comparator=models.MultiVectorComparator.MAX_SIM
                ),
                # No index: these only rescore. Building one took 150 s instead of 0.8 s for 200
                # documents of 200 tokens; payload_m would be inherited from the collection.
                hnsw_config=models.HnswConfigDiff(m=0, payload_m=0),
                datatype=models.Datatype(storage.precision),
                on_disk=True,
            )
        sparse = {
            names.sparse: models.SparseVectorParams(
                index=models.SparseIndexParams(
                    on_disk=False, datatype=models.Datatype(storage.sparse_precision)
                )
            )
        }
        with self._lock:
            try:
                with translating(self.name):
                    self._client.create_collection(
                        self.name,
                        vectors_config=vectors,
                        sparse_vectors_config=sparse if schema.sparse else None,
                        metadata=own_metadata(collection),
                    )
            except StoreError as error:
                # A first attempt may have got through although its answer did not.
                if "already exists" not in str(error) or not self._is_ours(collection):
                    raise
        if self._local:
            return  # payload indexes have no effect there
        with translating(self.name):
            for key, kind in payload_indexes(collection, names).items():
                self._client.create_payload_index(
                    self.name, key, field_schema=models.PayloadSchemaType(kind), wait=True
                )

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
        with self._lock, translating(self.name):
            self._completed(self._client.upsert(self.name, points, wait=True))

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
        batch = [self._request(request, flt) for request in requests]
        with self._lock, translating(self.name):
            answers = self._client.query_batch_points(self.name, batch)
        return [self._found(answer.points) for answer in answers]

    def _found(self, points: Sequence[models.ScoredPoint]) -> list[Found]:
        scores = [point.score for point in points]
        if self._local:  # numpy's products; servers compute each score by itself
            scores = level(scores)
        return [
            Found(
                score, Row(str(p.id), p.payload or {}, mapping.read_vectors(p.vector, self.names))
            )
            for score, p in zip(scores, points, strict=True)
        ]

    def _request(self, request: Request, flt: models.Filter | None) -> models.QueryRequest:
        root = request.root
        shared: dict[str, Any] = {
            "limit": request.limit,
            "with_payload": (
                request.payload if isinstance(request.payload, bool) else list(request.payload)
            ),
            "with_vector": [self.names.vector(part) for part in request.vectors] or False,
        }
        if isinstance(root, Nearest):
            leaf = self._prefetch(root, flt)
            return models.QueryRequest(
                prefetch=leaf.prefetch,
                query=leaf.query,
                using=leaf.using,
                filter=leaf.filter,
                params=leaf.params,
                score_threshold=leaf.score_threshold,
                **shared,
            )
        prefetch = [self._prefetch(stage, flt) for stage in root.stages]
        query: models.Query
        match root:
            case Weighted():
                query = models.FormulaQuery(
                    formula=models.SumExpression(
                        sum=[
                            models.MultExpression(mult=[factor, f"$score[{i}]"])
                            for i, factor in enumerate(root.factors)
                        ]
                    ),
                    defaults={f"$score[{i}]": 0.0 for i in range(len(root.factors))},
                )
            case Fused():
                # The server's ranks begin at 0.
                query = models.RrfQuery(rrf=models.Rrf(k=RRF_K + 1))
        return models.QueryRequest(prefetch=prefetch, query=query, **shared)

    def _prefetch(self, stage: Nearest, flt: models.Filter | None) -> models.Prefetch:
        """Return one stage; its leaves carry the filter."""
        exact = models.QuantizationSearchParams(
            ignore=True if stage.over else None, rescore=None if stage.over else True
        )
        return models.Prefetch(
            prefetch=[self._prefetch(leaf, flt) for leaf in stage.over] or None,
            query=_query_vector(stage.query),
            using=self.names.vector(stage.part) or None,
            filter=None if stage.over else _only(stage.among) or flt,
            params=None if self._local else models.SearchParams(quantization=exact),
            score_threshold=TINY if stage.part == "sparse" and not stage.over else None,
            limit=stage.limit,
        )

    @override
    def read(self, ids: Sequence[str | int], parts: Sequence[Part]) -> list[Row]:
        with self._lock, translating(self.name):
            records = self._client.retrieve(
                self.name, list(ids), with_payload=True, with_vectors=self._names_of(parts)
            )
        return [self._row(record) for record in records]

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
        with self._lock, translating(self.name):
            records, following = self._client.scroll(
                self.name,
                scroll_filter=self._filter(where),
                limit=limit,
                offset=cast(Any, offset),
                with_payload=payload if isinstance(payload, bool) else list(payload),
                with_vectors=self._names_of(parts),
            )
        return [self._row(record) for record in records], following

    def _names_of(self, parts: Sequence[Part]) -> list[str] | bool:
        return [self.names.vector(part) for part in parts] or False

    def _row(self, record: models.Record) -> Row:
        return Row(
            str(record.id), record.payload or {}, mapping.read_vectors(record.vector, self.names)
        )

    @override
    def delete(self, ids: Sequence[str | int]) -> None:
        with self._lock, translating(self.name):
            selector = models.PointIdsList(points=list(ids))
            self._completed(self._client.delete(self.name, selector, wait=True))

    @override
    def delete_where(self, where: Condition) -> None:
        flt = self._filter(where)
        assert flt is not None
        with self._lock, translating(self.name):
            selector = models.FilterSelector(filter=flt)
            self._completed(self._client.delete(self.name, selector, wait=True))

    @override
    def count(self, where: Condition | None) -> int:
        with self._lock, translating(self.name):
            return self._client.count(self.name, count_filter=self._filter(where), exact=True).count

    @override
    def drop(self) -> None:
        with self._lock, translating(self.name):
            self._client.delete_collection(self.name)
        if self.describe() is not None:  # servers delete nothing by an alias, and say nothing
            raise StoreError(
                f"{self.name!r} is still there after it was deleted: it is an alias; drop the "
                "collection that it stands for"
            )

    @override
    def close(self) -> None:
        if self._on_close is not None:
            self._on_close()

    def _completed(self, result: models.UpdateResult) -> None:
        """Check that a write can be found, not only that it will be."""
        if result.status is not models.UpdateStatus.COMPLETED:
            raise StoreUnavailableError(
                f"{self.name!r}: the server answered {result.status.value!r} before the write was "
                "done; it may be applied later"
            )

    def _filter(self, where: Condition | None) -> models.Filter | None:
        return None if where is None else render(where, substring=lambda: self._substring)

    @cached_property
    def _substring(self) -> bool:
        """Whether there is a condition for substrings, by the server's version.

        Since version 1.20 a text condition without an index compares words; before, substrings.
        """
        if self._local:
            return True
        with translating(self.name):
            version = re.match(r"(\d+)\.(\d+)", self._client.info().version)
        return version is not None and (int(version[1]), int(version[2])) >= (1, 20)


def _column(vector: models.VectorParams) -> VectorColumn:
    return VectorColumn(
        size=vector.size,
        distance=vector.distance.value,
        multivector=vector.multivector_config is not None,
        datatype=vector.datatype.value if vector.datatype is not None else "float32",
    )


def _only(ids: Sequence[str | int]) -> models.Filter | None:
    return models.Filter(must=[models.HasIdCondition(has_id=list(ids))]) if ids else None


def _query_vector(query: PointVectors) -> models.VectorInput:
    if query.dense is not None:
        dense: list[float] = query.dense.tolist()
        return dense
    if query.colbert is not None:
        tokens: list[list[float]] = query.colbert.tolist()
        return tokens
    assert query.indices is not None
    assert query.weights is not None
    return models.SparseVector(indices=query.indices.tolist(), values=query.weights.tolist())
