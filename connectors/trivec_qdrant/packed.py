"""Vectors as protobuf bytes and back, without a Python float in between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np
from google.protobuf.internal import api_implementation
from numpy.typing import NDArray
from qdrant_client import grpc
from qdrant_client.conversions.conversion import RestToGrpc, grpc_to_payload, payload_to_grpc
from typing_extensions import override

from trivec.document import Document
from trivec.errors import StoreUnavailableError
from trivec.search import Part
from trivec.vectors import Vectors
from trivec_qdrant import mapping
from trivec_qdrant.client import ClientEngine
from trivec_qdrant.engine import PayloadKeys
from trivec_qdrant.errors import translating
from trivec_qdrant.filters import Condition
from trivec_qdrant.mapping import PointVectors, Row
from trivec_qdrant.schema import Names

__all__ = ["PackedEngine", "can_pack", "pack_point", "unpack_vectors"]

Floats = NDArray[np.float32]


def can_pack() -> bool:
    """Return whether protobuf parses bytes fast: its implementation is upb."""
    return bool(api_implementation.Type() == "upb")


def pack_point(document: Document, row: PointVectors, names: Names) -> grpc.PointStruct:
    """Return the point of a document as a message, its vectors written as bytes.

    The same message as the client builds of lists of floats, in a 20th of the time.
    """
    point = mapping.point_id(document.id, names)
    vectors = grpc.Vectors()
    named = vectors.vectors.vectors
    vectors.vectors.SetInParent()  # a point without any vector still says so
    if row.dense is not None:
        named[names.dense].dense.MergeFromString(_prefix(len(row.dense), 1) + _bytes(row.dense))
    if row.colbert is not None:
        named[names.colbert].multi_dense.MergeFromString(_pack_rows(row.colbert))
    if row.indices is not None and row.weights is not None:
        named[names.sparse].sparse.CopyFrom(
            # Their memoryviews yield Python numbers three times as fast as the arrays.
            grpc.SparseVector(values=row.weights.data, indices=row.indices.data)
        )
    return grpc.PointStruct(
        id=grpc.PointId(num=point) if isinstance(point, int) else grpc.PointId(uuid=point),
        vectors=vectors,
        payload=payload_to_grpc(mapping.payload(document, names)),
    )


def unpack_vectors(stored: grpc.VectorsOutput, names: Names) -> PointVectors:
    """Return the vectors of a point that was read."""
    if stored.HasField("vector"):  # the unnamed one
        named: Mapping[str, grpc.VectorOutput] = {"": stored.vector}
    else:
        named = stored.vectors.vectors
    dense = indices = weights = colbert = None
    if names.dense in named:
        dense = _unpack(named[names.dense].dense)
    if names.sparse in named:
        sparse = named[names.sparse].sparse
        indices = np.array(sparse.indices, np.uint32)
        weights = np.array(sparse.values, np.float32)
    if names.colbert in named:
        colbert = _unpack_rows(named[names.colbert].multi_dense)
    return PointVectors(dense, indices, weights, colbert)


def _pack_rows(rows: Floats) -> bytes:
    """Return the bytes of a MultiDenseVector: every row behind the same few bytes."""
    prefix = np.frombuffer(_prefix(rows.shape[1], 2), np.uint8)
    packed = np.empty((len(rows), len(prefix) + 4 * rows.shape[1]), np.uint8)
    packed[:, : len(prefix)] = prefix
    packed[:, len(prefix) :] = np.ascontiguousarray(rows, "<f4").view(np.uint8)
    return packed.tobytes()


def _unpack_rows(message: grpc.MultiDenseVector) -> Floats:
    """Return the rows of a MultiDenseVector, which all are equally long."""
    count = len(message.vectors)
    packed = np.frombuffer(message.SerializeToString(), np.uint8).reshape(count, -1)
    dimension = len(message.vectors[0].data)
    rows: Floats = packed[:, -4 * dimension :].copy().view("<f4")
    return rows


def _unpack(message: grpc.DenseVector) -> Floats:
    size = 4 * len(message.data)
    return np.frombuffer(message.SerializeToString()[-size:], "<f4").astype(np.float32, copy=False)


def _bytes(values: Floats) -> bytes:
    return np.ascontiguousarray(values, "<f4").tobytes()


@lru_cache
def _prefix(dimension: int, depth: int) -> bytes:
    """Return what stands before the floats of a DenseVector (field 1, its length in bytes).

    Depth 2 is that of a DenseVector within a MultiDenseVector.
    """
    inside = b"" if depth == 1 else _prefix(dimension, depth - 1)
    return b"\x0a" + _varint(len(inside) + 4 * dimension) + inside


def _varint(number: int) -> bytes:
    """Return a number in groups of 7 bits, lowest first, all but the last marked."""
    groups = [number & 127]
    while number := number >> 7:
        groups[-1] |= 128
        groups.append(number & 127)
    return bytes(groups)


class PackedEngine(ClientEngine):
    """A collection on a server over gRPC, with vectors packed and unpacked by numpy.

    Of 200 documents of 200 token vectors, a server took 62 a second in this way, 25 as the
    client's own points over gRPC and 12 over REST.
    """

    number_bytes = 4

    @property
    @override
    def route(self) -> str:
        return "packed messages over gRPC"

    @property
    def _timeout(self) -> int:
        """Seconds until a call is given up; the client's own default of 5 cuts large writes off."""
        return int(self._client.init_options.get("timeout") or 60)

    @override
    def write(self, documents: Sequence[Document], vectors: Vectors) -> None:
        rows = mapping.point_vectors(vectors)
        points = [
            pack_point(document, row, self.names)
            for document, row in zip(documents, rows, strict=True)
        ]
        request = grpc.UpsertPoints(collection_name=self.name, points=points, wait=True)
        with translating(self.name):
            answer = self._client.grpc_points.Upsert(request, timeout=self._timeout)
        if answer.result.status != grpc.UpdateStatus.Completed:
            status = grpc.UpdateStatus.Name(answer.result.status)
            raise StoreUnavailableError(
                f"{self.name!r}: the server answered {status!r} before the write was done; "
                "it may be applied later"
            )

    @override
    def read(self, ids: Sequence[str | int], parts: Sequence[Part]) -> list[Row]:
        request = grpc.GetPoints(
            collection_name=self.name,
            ids=[RestToGrpc.convert_extended_point_id(one) for one in ids],
            with_payload=grpc.WithPayloadSelector(enable=True),
            with_vectors=self._selector(parts),
        )
        with translating(self.name):
            answer = self._client.grpc_points.Get(request, timeout=self._timeout)
        return self._rows(answer.result)

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
        request = grpc.ScrollPoints(
            collection_name=self.name,
            filter=None if flt is None else RestToGrpc.convert_filter(flt),
            offset=cast(Any, offset),
            limit=limit,
            with_payload=_payload_selector(payload),
            with_vectors=self._selector(parts),
        )
        with translating(self.name):
            answer = self._client.grpc_points.Scroll(request, timeout=self._timeout)
        following = answer.next_page_offset if answer.HasField("next_page_offset") else None
        return self._rows(answer.result), following

    def _selector(self, parts: Sequence[Part]) -> grpc.WithVectorsSelector:
        if not parts:
            return grpc.WithVectorsSelector(enable=False)
        names = [self.names.vector(part) for part in parts]
        return grpc.WithVectorsSelector(include=grpc.VectorsSelector(names=names))

    def _rows(self, points: Iterable[grpc.RetrievedPoint]) -> list[Row]:
        return [
            Row(
                point.id.uuid or str(point.id.num),
                grpc_to_payload(point.payload),
                unpack_vectors(point.vectors, self.names),
            )
            for point in points
        ]


def _payload_selector(keys: PayloadKeys) -> grpc.WithPayloadSelector:
    if isinstance(keys, bool):
        return grpc.WithPayloadSelector(enable=keys)
    return grpc.WithPayloadSelector(include=grpc.PayloadIncludeSelector(fields=list(keys)))
