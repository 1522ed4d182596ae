"""Packed messages are those of the client."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hooks import know
from qdrant_client import grpc, models
from qdrant_client.conversions.conversion import RestToGrpc

from trivec import Document, Vectors, open_store
from trivec.collection import Collection
from trivec.rows import TokenRows
from trivec.schema import Schema
from trivec_qdrant import Names
from trivec_qdrant.engines.packed import pack_point, unpack_vectors
from trivec_qdrant.mapping import payload, point_id, point_vectors

DOCUMENT = Document("a", "text", {"n": 2**62, "f": 0.1, "list": [None, True, {"k": []}]})


def _packed(vectors: Vectors, names: Names = Names()) -> grpc.PointStruct:  # noqa: B008
    return pack_point(DOCUMENT, next(point_vectors(vectors)), names)


@pytest.mark.parametrize("dims", [(8, 4, 1), (1024, 128, 3), (33, 1024, 200)])
def test_a_packed_point_equals_the_clients(make_vectors: Any, dims: tuple[int, int, int]) -> None:
    dense, colbert, tokens = dims
    vectors = make_vectors(1, dense=dense, colbert=colbert, tokens=tokens)
    row = next(point_vectors(vectors))
    assert row.indices is not None
    assert row.weights is not None
    expected = models.PointStruct(
        id=point_id("a", Names()),
        vector={
            "dense": row.dense,  # type: ignore[dict-item]
            "colbert": row.colbert,  # type: ignore[dict-item]
            "sparse": models.SparseVector(
                indices=row.indices.tolist(), values=row.weights.tolist()
            ),
        },
        payload=payload(DOCUMENT, Names()),
    )
    assert _packed(vectors) == RestToGrpc.convert_point_struct(expected)


def test_what_was_packed_is_read_back(make_vectors: Any) -> None:
    vectors = make_vectors(1, dense=16, colbert=4, tokens=5)
    back = unpack_vectors(_as_stored(_packed(vectors).vectors), Names())
    np.testing.assert_array_equal(back.dense, vectors.dense[0])
    np.testing.assert_array_equal(back.indices, vectors.sparse.indices)
    np.testing.assert_array_equal(back.weights, vectors.sparse.values)
    np.testing.assert_array_equal(back.colbert, vectors.colbert.values)


def test_float16_tokens_are_sent_as_float32(make_vectors: Any) -> None:
    whole = make_vectors(1)
    tokens = TokenRows(whole.colbert.indptr, whole.colbert.values.astype(np.float16))
    point = _packed(Vectors(colbert=tokens))
    sent = point.vectors.vectors.vectors["colbert"].multi_dense.vectors[0].data
    np.testing.assert_array_equal(np.array(sent, np.float32), tokens.values[0].astype(np.float32))


def test_absent_parts_are_left_out() -> None:
    vectors = Vectors(dense=np.zeros((1, 4)), colbert=TokenRows.from_arrays([np.zeros((0, 4))]))
    point = _packed(vectors)
    assert point.vectors.HasField("vectors")
    assert len(point.vectors.vectors.vectors) == 0


def test_a_store_over_grpc_packs_and_unpacks(make_vectors: Any, grpc_server: Any) -> None:
    vectors = make_vectors(3)
    documents = [Document(f"d{i}", f"text {i}", {"n": i}) for i in range(3)]
    url = f"qdrant://127.0.0.1:{grpc_server.port - 1}/c"
    with open_store(url) as store:
        know(store, Collection(Schema(dense=8, sparse=True, colbert=8)))
        grpc_server.upserted()
        store.upsert(documents, vectors)
        request = grpc.UpsertPoints.FromString(grpc_server.requests[0][1])
        assert request.wait
        assert [point.id.uuid for point in request.points] == [
            point_id(d.id, Names()) for d in documents
        ]
        points = [
            grpc.RetrievedPoint(
                id=p.id,
                payload=p.payload,
                vectors=_as_stored(p.vectors),
            )
            for p in request.points
        ]
        grpc_server.answers.append(grpc.GetResponse(result=points))
        page = store.get([d.id for d in documents], with_vectors=True)
        assert page.documents == documents
        _assert_equal(page.vectors, vectors)
        following = grpc.PointId(uuid=point_id("d1", Names()))  # type: ignore[arg-type]
        grpc_server.answers.append(
            grpc.ScrollResponse(result=points[:2], next_page_offset=following)
        )
        grpc_server.answers.append(grpc.ScrollResponse(result=points[2:]))
        pages = list(store.scan(batch_size=2, with_vectors=True))
        assert [d.id for page in pages for d in page.documents] == ["d0", "d1", "d2"]
        _assert_equal(Vectors.concatenate([p.vectors for p in pages if p.vectors]), vectors)
        last = grpc.ScrollPoints.FromString(grpc_server.requests[-1][1])
        assert last.offset == following
        assert last.with_vectors.include.names == ["dense", "sparse", "colbert"]


def _as_stored(vectors: grpc.Vectors) -> grpc.VectorsOutput:
    """Return the vectors of a write as those of an answer, whose messages are the same bytes."""
    stored: grpc.VectorsOutput = grpc.VectorsOutput.FromString(vectors.SerializeToString())
    return stored


def _assert_equal(found: Vectors | None, expected: Vectors) -> None:
    assert found is not None
    assert found.sparse is not None
    assert expected.sparse is not None
    assert found.colbert is not None
    assert expected.colbert is not None
    np.testing.assert_array_equal(found.dense, expected.dense)
    np.testing.assert_array_equal(found.sparse.indices, expected.sparse.indices)
    np.testing.assert_array_equal(found.sparse.values, expected.sparse.values)
    np.testing.assert_array_equal(found.colbert.indptr, expected.colbert.indptr)
    np.testing.assert_array_equal(found.colbert.values, expected.colbert.values)
