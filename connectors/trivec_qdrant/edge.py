"""A collection in a folder of its own, read and written by the engine of Qdrant in this process."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

from trivec.collection import Collection
from trivec.document import Document
from trivec.errors import CollectionNotFoundError, StoreError, TrivecError
from trivec.search import RRF_K, Part
from trivec.vectors import Vectors
from trivec_qdrant import mapping
from trivec_qdrant.engine import Engine, Found, Fused, Nearest, Request, Weighted
from trivec_qdrant.filters import (
    AllOf,
    AnyOf,
    Between,
    Condition,
    Contains,
    Empty,
    Instants,
    IsBool,
    Match,
    NoneOf,
)
from trivec_qdrant.mapping import PointVectors, Row
from trivec_qdrant.schema import INDEX_OF, Description, Names, Storage, VectorColumn, own_metadata

__all__ = ["EdgeEngine", "Shard", "render"]

CONFIG = "edge_config.json"  # the engine's own description of a shard
OURS = "trivec.json"  # what the engine has no place for: the model and the declared fields

TINY = float(np.finfo(np.float32).tiny)  # a lexical score above 0

_PRECISIONS = {
    "float32": edge.VectorStorageDatatype.Float32,
    "float16": edge.VectorStorageDatatype.Float16,
    "turbo8": edge.VectorStorageDatatype.Turbo8,
    "turbo16": edge.VectorStorageDatatype.Turbo16,
}
_QUANTIZATIONS: dict[str, Callable[[], edge.QuantizationConfigType]] = {
    "int8": lambda: edge.ScalarQuantizationConfig(edge.ScalarType.Int8, always_ram=True),
    "binary": lambda: edge.BinaryQuantizationConfig(always_ram=True),
    "turbo4": lambda: _turbo(edge.TurboQuantBitSize.Bits4),
    "turbo2": lambda: _turbo(edge.TurboQuantBitSize.Bits2),
    "turbo1": lambda: _turbo(edge.TurboQuantBitSize.Bits1),
}
_INDEXES = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Bool,
    "datetime": edge.PayloadSchemaType.Datetime,
}


def _turbo(bits: edge.TurboQuantBitSize) -> edge.TurboQuantQuantizationConfig:
    return edge.TurboQuantQuantizationConfig(always_ram=True, bits=bits)


class Shard:
    """The folder of one collection, opened when it is first needed and by one process only.

    Args:
        folder: Where it lies, or will.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._shard: edge.EdgeShard | None = None

    def open(self) -> edge.EdgeShard | None:
        """Return the shard, or None where there is none."""
        with self._lock:
            if self._shard is None and (self.folder / CONFIG).exists():
                self._shard = edge.EdgeShard.load(str(self.folder))
            return self._shard

    def create(self, config: edge.EdgeConfig) -> edge.EdgeShard:
        """Create the shard."""
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._shard = edge.EdgeShard.create(str(self.folder), config)
            return self._shard

    def drop(self) -> None:
        """Delete the folder, if it holds a shard."""
        with self._lock:
            self.close()
            if (self.folder / CONFIG).exists():
                shutil.rmtree(self.folder)

    def close(self) -> None:
        """Write everything out and let other processes open the folder."""
        with self._lock:
            if self._shard is not None:
                self._shard.flush()
                self._shard.close()
                self._shard = None


class EdgeEngine(Engine):
    """A collection in an embedded shard.

    The engine checks less than a server does: that vectors are finite, that indices are unique,
    that token vectors are not too many. What reaches it from a `Store` was checked.

    Args:
        shard: The folder, which other engines of this process may share.
        name: The collection.
        names: What vectors and payload keys are called.
        on_close: What to do when the engine is closed.
    """

    def __init__(
        self, shard: Shard, name: str, names: Names, *, on_close: Callable[[], None]
    ) -> None:
        super().__init__(name, names)
        self._folder = shard
        self._on_close = on_close

    @property
    def route(self) -> str:
        return "the embedded engine"

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except TrivecError:
            raise
        except Exception as error:  # the engine raises nothing more precise
            if "WouldBlock" in str(error):
                raise StoreError(
                    f"{self._folder.folder} is open in another process; close it there, or use a "
                    f"server for several processes ({error})"
                ) from error
            raise StoreError(f"{self.name!r}: {error}") from error

    @contextmanager
    def _opened(self) -> Iterator[edge.EdgeShard]:
        with self._translating():
            shard = self._folder.open()
            if shard is None:
                raise CollectionNotFoundError(f"collection {self.name!r} does not exist")
            yield shard

    def describe(self) -> Description | None:
        with self._translating():
            shard = self._folder.open()
            if shard is None:
                return None
            indexes = {
                key: str(index.data_type).rpartition(".")[2].lower()
                for key, index in shard.info().payload_schema.items()
            }
            config = json.loads((self._folder.folder / CONFIG).read_text("utf-8"))
            ours = self._folder.folder / OURS
            metadata = json.loads(ours.read_text("utf-8")) if ours.exists() else {}
        return Description(
            vectors={name: _column(v) for name, v in (config.get("vectors") or {}).items()},
            sparse={
                name: vector.get("modifier")
                for name, vector in (config.get("sparse_vectors") or {}).items()
            },
            indexes=indexes,
            metadata=metadata,
        )

    def create(self, collection: Collection, storage: Storage) -> None:
        schema, names = collection.schema, self.names
        vectors: dict[str, edge.EdgeVectorParams] = {}
        if schema.dense is not None:
            quantize = _QUANTIZATIONS.get(storage.quantization or "")
            vectors[names.dense] = edge.EdgeVectorParams(
                size=schema.dense,
                distance=edge.Distance.Dot,
                quantization_config=quantize() if quantize else None,
            )
        if schema.colbert is not None:
            if storage.precision not in _PRECISIONS:
                raise StoreError(
                    f"the embedded engine has no precision {storage.precision!r}; "
                    f"use one of {sorted(_PRECISIONS)}"
                )
            vectors[names.colbert] = edge.EdgeVectorParams(
                size=schema.colbert,
                distance=edge.Distance.Dot,
                multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
                hnsw_config=edge.HnswIndexConfig(
                    m=0, ef_construct=100, full_scan_threshold=10_000, payload_m=0
                ),
                datatype=_PRECISIONS[storage.precision],
                on_disk=True,
            )
        sparse = edge.EdgeSparseVectorParams(
            on_disk=False, datatype=_PRECISIONS[storage.sparse_precision]
        )
        config = edge.EdgeConfig(
            vectors=vectors or None,
            sparse_vectors={names.sparse: sparse} if schema.sparse else None,
        )
        with self._translating():
            shard = self._folder.create(config)
            for path, kind in collection.fields.items():
                shard.update(
                    edge.UpdateOperation.create_field_index(
                        names.key(path), _INDEXES[INDEX_OF[kind.item]]
                    )
                )
            _write_json(self._folder.folder / OURS, own_metadata(collection))

    def write(self, documents: Sequence[Document], vectors: Vectors) -> None:
        points = [
            edge.Point(
                mapping.point_id(document.id, self.names),
                self._vectors(row),
                mapping.payload(document, self.names),
            )
            for document, row in zip(documents, mapping.point_vectors(vectors), strict=True)
        ]
        with self._opened() as shard:
            shard.update(edge.UpdateOperation.upsert_points(points))

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

    def query(self, requests: Sequence[Request], where: Condition | None) -> list[list[Found]]:
        flt = None if where is None else render(where)
        batch = edge.QueryBatchRequest([self._request(request, flt) for request in requests])
        with self._opened() as shard:
            answers = shard.query_batch(batch)
        return [
            [
                Found(p.score, Row(str(p.id), p.payload or {}, mapping.read_vectors(p.vector, self.names)))
                for p in answer
            ]
            for answer in answers
        ]

    def _request(self, request: Request, flt: edge.Filter | None) -> edge.QueryRequest:
        root = request.root
        payload = request.payload if isinstance(request.payload, bool) else list(request.payload)
        vectors = [self.names.vector(part) for part in request.vectors] or False
        if isinstance(root, Nearest):
            leaf = self._prefetch(root, flt)
            return edge.QueryRequest(
                limit=request.limit,
                query=leaf.query,
                prefetches=leaf.prefetches,
                filter=leaf.filter,
                params=leaf.params,
                score_threshold=leaf.score_threshold,
                with_payload=payload,
                with_vector=vectors,
            )
        query: edge.Formula | edge.Fusion
        match root:
            case Weighted():
                query = edge.Formula(
                    edge.Expression.Sum(
                        [
                            edge.Expression.Mult(
                                [
                                    edge.Expression.Constant(factor),
                                    edge.Expression.Variable(f"$score[{i}]"),
                                ]
                            )
                            for i, factor in enumerate(root.factors)
                        ]
                    ),
                    {f"$score[{i}]": 0.0 for i in range(len(root.factors))},
                )
            case Fused():
                query = edge.Fusion.Rrf(k=RRF_K + 1)  # the engine's ranks begin at 0
        return edge.QueryRequest(
            limit=request.limit,
            query=query,
            prefetches=[self._prefetch(stage, flt) for stage in root.stages],
            with_payload=payload,
            with_vector=vectors,
        )

    def _prefetch(self, stage: Nearest, flt: edge.Filter | None) -> edge.Prefetch:
        """Return one stage; its leaves carry the filter."""
        exact = edge.QuantizationSearchParams(
            ignore=bool(stage.over), rescore=None if stage.over else True
        )
        query = stage.query
        vector: Any = query.dense if query.dense is not None else query.colbert
        return edge.Prefetch(
            limit=stage.limit,
            query=edge.Query.Nearest(
                _sparse(query) if vector is None else vector,
                using=self.names.vector(stage.part),
            ),
            prefetches=[self._prefetch(leaf, flt) for leaf in stage.over],
            params=edge.SearchParams(quantization=exact),
            filter=None if stage.over else flt,
            score_threshold=TINY if stage.part == "sparse" and not stage.over else None,
        )

    def read(self, ids: Sequence[str | int], parts: Sequence[Part]) -> list[Row]:
        with self._opened() as shard:
            records = shard.retrieve(list(ids), with_payload=True, with_vector=self._names(parts))
        return [self._row(record) for record in records]

    def scroll(
        self, offset: Any, limit: int, parts: Sequence[Part], where: Condition | None
    ) -> tuple[list[Row], Any]:
        request = edge.ScrollRequest(
            offset=offset,
            limit=limit,
            filter=None if where is None else render(where),
            with_payload=True,
            with_vector=self._names(parts),
        )
        with self._opened() as shard:
            records, following = shard.scroll(request)
        return [self._row(record) for record in records], following

    def _names(self, parts: Sequence[Part]) -> list[str] | bool:
        return [self.names.vector(part) for part in parts] or False

    def _row(self, record: edge.Record) -> Row:
        return Row(str(record.id), record.payload or {}, mapping.read_vectors(record.vector, self.names))

    def delete(self, ids: Sequence[str | int]) -> None:
        with self._opened() as shard:
            shard.update(edge.UpdateOperation.delete_points(list(ids)))

    def delete_where(self, where: Condition) -> None:
        with self._opened() as shard:
            shard.update(edge.UpdateOperation.delete_points_by_filter(render(where)))

    def count(self, where: Condition | None) -> int:
        flt = None if where is None else render(where)
        with self._opened() as shard:
            return shard.count(edge.CountRequest(exact=True, filter=flt))

    def drop(self) -> None:
        with self._translating():
            self._folder.drop()

    def close(self) -> None:
        with self._translating():
            self._on_close()

    def optimize(self) -> None:
        with self._opened() as shard:
            shard.optimize()


def _column(vector: dict[str, Any]) -> VectorColumn:
    return VectorColumn(
        size=int(vector["size"]),
        distance=str(vector["distance"]),
        multivector=vector.get("multivector_config") is not None,
        datatype=str(vector.get("datatype") or "float32"),
    )


def _sparse(row: PointVectors) -> edge.SparseVector:
    assert row.indices is not None
    assert row.weights is not None
    return edge.SparseVector(row.indices.tolist(), row.weights.tolist())


def _write_json(path: Path, value: object) -> None:
    """Write a file so that it is there whole or not at all."""
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def render(condition: Condition) -> edge.Filter:
    """Return a condition as the engine's filter, which is never empty at the top."""
    inner = _render(condition)
    return inner if isinstance(inner, edge.Filter) else edge.Filter(must=[inner])


def _render(condition: Condition) -> edge.ConditionType:
    match condition:
        case AllOf(parts):
            return edge.Filter(must=[_render(part) for part in parts])
        case AnyOf(()):
            return edge.HasIdCondition(set())  # an empty `should` would match everything
        case AnyOf(parts):
            return edge.Filter(should=[_render(part) for part in parts])
        case NoneOf(part):
            return edge.Filter(must_not=[_render(part)])
        case Empty(key):
            return edge.IsEmptyCondition(key)
        case Match(key, values):
            return edge.FieldCondition(key, match=edge.MatchAny(list(values)))
        case IsBool(key, value):
            # The binding reads Python's True as the integer 1, numpy's as a boolean.
            return edge.FieldCondition(key, match=edge.MatchValue(np.bool_(value)))  # type: ignore[arg-type]
        case Contains(key, text):
            return edge.FieldCondition(key, match=edge.MatchSubstring(text))
        case Between(key, gt, gte, lt, lte):
            return edge.FieldCondition(key, range=edge.RangeFloat(gt=gt, gte=gte, lt=lt, lte=lte))
        case Instants(key, gt, gte, lt, lte):
            bounds = (None if b is None else b.isoformat() for b in (gte, gt, lte, lt))
            return edge.FieldCondition(key, range=edge.RangeDateTime(*bounds))
