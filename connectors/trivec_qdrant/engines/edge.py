"""A collection in a folder, read and written by Qdrant's embedded engine in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import qdrant_edge as edge

from trivec.collection import Collection
from trivec.document import Document
from trivec.errors import CollectionNotFoundError, StoreError, TrivecError
from trivec.ranking import RRF_K
from trivec.rows import spans
from trivec.search import Part
from trivec.stores.folder import check_not_linked, telling_full
from trivec.vectors import Vectors
from trivec_qdrant import mapping
from trivec_qdrant.engines.edge_filters import render
from trivec_qdrant.engines.engine import (
    TINY,
    Engine,
    Fused,
    Nearest,
    PayloadKeys,
    Query,
    ScoredRow,
    Weighted,
    one_request,
    vector_names,
)
from trivec_qdrant.engines.shard import Shard
from trivec_qdrant.filters import Condition
from trivec_qdrant.mapping import PointVectors, Row
from trivec_qdrant.schema import (
    DATATYPES,
    Description,
    Names,
    Quantization,
    SparseColumn,
    VectorColumn,
    colbert_bits,
    own_metadata,
    payload_indexes,
    read_metadata,
    sparse_datatype,
)

PIECE_BYTES = 4 * 1024 * 1024
"""The most bytes of one update. Meanwhile the engine (0.9.0) holds Python's lock, 6 ms for each
MiB, and all other threads wait, also that of the event loop."""

POINT_BYTES = 100
"""About how many bytes one deletion takes in the log, the list of points and the indexes."""

_DATATYPES = {
    "float32": edge.VectorStorageDatatype.Float32,
    "float16": edge.VectorStorageDatatype.Float16,
    "turbo8": edge.VectorStorageDatatype.Turbo8,
    # The stub of qdrant-edge-py 0.9.0 leaves it out.
    "turbo4": edge.VectorStorageDatatype.Turbo4,  # type: ignore[attr-defined]
}
_TURBO = edge.TurboQuantBitSize
_QUANTIZATIONS: dict[str | None, edge.QuantizationConfigType] = {
    "int8": edge.ScalarQuantizationConfig(edge.ScalarType.Int8, always_ram=True),
    "binary": edge.BinaryQuantizationConfig(always_ram=True),
    "turbo4": edge.TurboQuantQuantizationConfig(always_ram=True, bits=_TURBO.Bits4),
    "turbo2": edge.TurboQuantQuantizationConfig(always_ram=True, bits=_TURBO.Bits2),
    "turbo1": edge.TurboQuantQuantizationConfig(always_ram=True, bits=_TURBO.Bits1),
}
_INDEXES = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Bool,
    "datetime": edge.PayloadSchemaType.Datetime,
}


class EdgeEngine(Engine):
    """A collection in an embedded shard.

    Unlike a server, the engine does not check that vectors are finite, that indices are unique and
    that token vectors are not too many; a `Store` does. Other engines of this
    process may share the shard; `path` is its folder as the user named it, perhaps a link.
    """

    def __init__(
        self, shard: Shard, name: str, names: Names, *, path: Path, on_close: Callable[[], None]
    ) -> None:
        super().__init__(name, names)
        self._shard = shard
        self._path = path
        self._on_close = on_close

    @property
    def route(self) -> str:
        return "the embedded engine"

    @contextmanager
    def _translating(self) -> Iterator[None]:
        folder = self._shard.folder
        try:
            with telling_full(folder):
                yield
        except TrivecError:
            raise
        except BaseException as error:  # the engine has no classes of errors
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            if "WouldBlock" in str(error):
                raise StoreError(
                    f"{folder} is open in another process; close it there, or use a server for "
                    f"several processes ({error})"
                ) from error
            raise StoreError(
                f"collection {self.name!r} in {folder} failed: {error}. If it is damaged, put the "
                "files of a copy back, or drop it and write it again"
            ) from error

    @contextmanager
    def _opened(self) -> Iterator[edge.EdgeShard]:
        with self._translating():
            shard = self._shard.open()
            if shard is None:
                raise CollectionNotFoundError(f"collection {self.name!r} does not exist")
            yield shard

    @one_request
    def describe(self) -> Description | None:
        with self._translating():
            shard = self._shard.open()
            if shard is None:
                return None
            indexes = {
                key: str(index.data_type).rpartition(".")[2].lower()
                for key, index in shard.info().payload_schema.items()
            }
            config, metadata = self._shard.config(), self._shard.metadata()
            read_metadata(metadata)  # raises an error if it is damaged
            return Description(
                vectors={name: _column(v) for name, v in (config.get("vectors") or {}).items()},
                sparse={
                    name: SparseColumn(vector.get("modifier"), vector.get("datatype"))
                    for name, vector in (config.get("sparse_vectors") or {}).items()
                },
                indexes=indexes,
                metadata=metadata,
            )

    @one_request
    def create(self, collection: Collection, quantization: Quantization | None) -> None:
        schema, names = collection.schema, self.names
        vectors: dict[str, edge.EdgeVectorParams] = {}
        if schema.dense is not None:
            vectors[names.dense] = edge.EdgeVectorParams(
                size=schema.dense,
                distance=edge.Distance.Dot,
                quantization_config=_QUANTIZATIONS.get(quantization),
            )
        if schema.colbert is not None:
            vectors[names.colbert] = edge.EdgeVectorParams(
                size=schema.colbert,
                distance=edge.Distance.Dot,
                multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
                hnsw_config=edge.HnswIndexConfig(
                    m=0, ef_construct=100, full_scan_threshold=10_000, payload_m=0
                ),
                datatype=_DATATYPES[DATATYPES[colbert_bits(collection)]],
                on_disk=True,
            )
        sparse = edge.EdgeSparseVectorParams(
            on_disk=False, datatype=_DATATYPES[sparse_datatype(collection)]
        )
        config = edge.EdgeConfig(
            vectors=vectors or None,
            sparse_vectors={names.sparse: sparse} if schema.sparse else None,
        )
        with self._translating():
            try:
                shard = self._shard.create(config)
                for key, index in payload_indexes(collection, names).items():
                    shard.update(edge.UpdateOperation.create_field_index(key, _INDEXES[index]))
                self._shard.finish(own_metadata(collection))
            except BaseException:
                self._shard.abandon()
                raise

    @one_request
    def write(self, documents: Sequence[Document], vectors: Vectors) -> None:
        rows = zip(documents, mapping.point_vectors(vectors), strict=True)
        texts = np.fromiter((d.size_bytes for d in documents), np.int64, len(documents))
        sizes = vectors.row_bytes() + texts
        for start, stop in spans(vectors.row_bytes(), PIECE_BYTES):
            points = [
                edge.Point(
                    mapping.point_id(document.id, self.names),
                    self._vectors(row),
                    mapping.payload(document, self.names),
                )
                for document, row in islice(rows, stop - start)
            ]
            self._update(points, int(sizes[start:stop].sum()))

    def _update(self, points: list[edge.Point], size: int) -> None:
        with self._opened() as shard:
            self._shard.check_room(size)
            shard.update(edge.UpdateOperation.upsert_points(points))
            self._shard.wrote(size)

    def _vectors(self, row: PointVectors) -> dict[str, Any]:
        vectors: dict[str, Any] = {}
        if row.dense is not None:
            vectors[self.names.dense] = row.dense
        if row.colbert is not None:
            # 4 ms for 200 x 1024; the array itself takes 14 ms, lists of floats 9 ms.
            vectors[self.names.colbert] = [memoryview(token) for token in row.colbert]
        if row.indices is not None:
            vectors[self.names.sparse] = _sparse(row)
        return vectors

    @one_request
    def query(self, queries: Sequence[Query], where: Condition | None) -> list[list[ScoredRow]]:
        flt = None if where is None else render(where)
        batch = edge.QueryBatchRequest([self._query(query, flt) for query in queries])
        with self._opened() as shard:
            results = shard.query_batch(batch)
        return [
            [ScoredRow(point.score, mapping.read_row(point, self.names)) for point in points]
            for points in results
        ]

    def _query(self, query: Query, flt: edge.Filter | None) -> edge.QueryRequest:
        root = query.root
        fields: dict[str, Any]
        match root:
            case Nearest():
                fields = self._stage(root, flt)
            case Weighted():
                scores = [
                    edge.Expression.Variable(f"$score[{i}]") for i in range(len(root.factors))
                ]
                weighted = [
                    edge.Expression.Mult([edge.Expression.Constant(factor), score])
                    for factor, score in zip(root.factors, scores, strict=True)
                ]
                defaults = {f"$score[{i}]": 0.0 for i in range(len(root.factors))}
                fields = {"query": edge.Formula(edge.Expression.Sum(weighted), defaults)}
            case Fused():
                fields = {"query": edge.Fusion.Rrf(k=RRF_K + 1)}  # the engine's ranks begin at 0
        if not isinstance(root, Nearest):
            fields["prefetches"] = [edge.Prefetch(**self._stage(each, flt)) for each in root.stages]
        return edge.QueryRequest(
            **{**fields, "limit": query.limit},
            with_payload=query.payload,
            with_vector=vector_names(query.vectors, self.names),
        )

    def _stage(self, stage: Nearest, flt: edge.Filter | None) -> dict[str, Any]:
        """Return the fields of a prefetch, or of a root; its leaves carry the filter."""
        exact = edge.QuantizationSearchParams(
            ignore=bool(stage.over), rescore=None if stage.over else True
        )
        dense, colbert = stage.vector.dense, stage.vector.colbert
        vector: Any = dense if dense is not None else colbert
        return {
            "limit": stage.limit,
            "query": edge.Query.Nearest(
                _sparse(stage.vector) if vector is None else vector,
                using=self.names.vector(stage.part),
            ),
            "prefetches": [edge.Prefetch(**self._stage(leaf, flt)) for leaf in stage.over],
            "params": edge.SearchParams(quantization=exact),
            "filter": None if stage.over else _only(stage.among) or flt,
            "score_threshold": TINY if stage.part == "sparse" and not stage.over else None,
        }

    @one_request
    def read(self, ids: Sequence[str | int], parts: Sequence[Part]) -> list[Row]:
        with self._opened() as shard:
            vectors = vector_names(parts, self.names)
            records = shard.retrieve(list(ids), with_payload=True, with_vector=vectors)
        return [mapping.read_row(record, self.names) for record in records]

    @one_request
    def scroll(
        self,
        offset: object,
        limit: int,
        parts: Sequence[Part],
        where: Condition | None,
        payload: PayloadKeys = True,
    ) -> tuple[list[Row], object]:
        request = edge.ScrollRequest(
            offset=cast(Any, offset),
            limit=limit,
            filter=None if where is None else render(where),
            with_payload=payload,
            with_vector=vector_names(parts, self.names),
        )
        with self._opened() as shard:
            records, following = shard.scroll(request)
        return [mapping.read_row(record, self.names) for record in records], following

    @one_request
    def delete(self, ids: Sequence[str | int]) -> None:
        size = POINT_BYTES * len(ids)
        with self._opened() as shard:
            self._shard.check_room(size, deleting=True)
            shard.update(edge.UpdateOperation.delete_points(list(ids)))
            self._shard.wrote(size)

    @one_request
    def delete_where(self, where: Condition) -> None:
        with self._opened() as shard:
            self._shard.check_room(POINT_BYTES * shard.info().points_count, deleting=True)
            shard.update(edge.UpdateOperation.delete_points_by_filter(render(where)))
            self._shard.wrote(POINT_BYTES)

    @one_request
    def count(self, where: Condition | None) -> int:
        flt = None if where is None else render(where)
        with self._opened() as shard:
            return shard.count(edge.CountRequest(exact=True, filter=flt))

    @one_request
    def drop(self) -> None:
        with self._translating():
            check_not_linked(self._path, self.name)
            self._shard.drop()

    def close(self) -> None:
        with self._translating():
            self._on_close()

    @one_request
    def optimize(self) -> tuple[int, int]:
        with self._opened():
            return self._shard.optimize()


def _column(vector: dict[str, Any]) -> VectorColumn:
    return VectorColumn(
        size=int(vector["size"]),
        distance=str(vector["distance"]),
        multivector=vector.get("multivector_config") is not None,
        datatype=str(vector.get("datatype") or "float32"),
    )


def _only(ids: Sequence[str | int]) -> edge.Filter | None:
    return edge.Filter(must=[edge.HasIdCondition(set(ids))]) if ids else None


def _sparse(row: PointVectors) -> edge.SparseVector:
    assert row.indices is not None
    assert row.weights is not None
    return edge.SparseVector(row.indices.tolist(), row.weights.tolist())
