"""The messages that a server gets, and how its answers are read, over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from hooks import know
from qdrant_client import grpc as messages
from qdrant_client.conversions.conversion import RestToGrpc, payload_to_grpc

from trivec import ColbertStorage, Document, F, Schema, Store, open_store
from trivec.collection import Collection
from trivec.errors import StoreError
from trivec.fields import FieldType
from trivec.stores.steps import Steps, run
from trivec_qdrant import Names
from trivec_qdrant.mapping import payload, point_id
from trivec_qdrant.schema import own_metadata

SCHEMA = Schema(dense=8, sparse=True, colbert=8, model="m")
FIELDS = {"lang": FieldType.STR, "tags": FieldType.LIST_STR, "when": FieldType.DATETIME}
Refusal = tuple[grpc.StatusCode, str, dict[str, str]]
MISSING: Refusal = (grpc.StatusCode.NOT_FOUND, "Not found: Collection `c` doesn't exist!", {})
EXISTS: Refusal = (
    grpc.StatusCode.ALREADY_EXISTS,
    "Wrong input: Collection `c` already exists!",
    {},
)
DONE = messages.CollectionOperationResponse(result=True)


@pytest.fixture
def store(grpc_server: Any) -> Iterator[Store]:
    with open_store(f"qdrant://127.0.0.1:{grpc_server.port - 1}/c") as store:
        yield store


def _methods(grpc_server: Any) -> list[str]:
    return [method.rpartition("/")[2] for method, _ in grpc_server.requests]


def _described(created: messages.CreateCollection) -> messages.GetCollectionInfoResponse:
    """Return how a server describes what was created, its metadata kept."""
    params = messages.CollectionParams(
        shard_number=1,
        vectors_config=created.vectors_config,
        sparse_vectors_config=created.sparse_vectors_config,
    )
    config = messages.CollectionConfig(
        params=params,
        hnsw_config=messages.HnswConfigDiff(m=16, ef_construct=100, full_scan_threshold=10_000),
        optimizer_config=messages.OptimizersConfigDiff(
            deleted_threshold=0.2,
            vacuum_min_vector_number=1000,
            default_segment_number=0,
            flush_interval_sec=5,
        ),
        wal_config=messages.WalConfigDiff(wal_capacity_mb=32, wal_segments_ahead=0),
        metadata=created.metadata,
    )
    return messages.GetCollectionInfoResponse(
        result=messages.CollectionInfo(
            status=messages.CollectionStatus.Green,
            optimizer_status=messages.OptimizerStatus(ok=True),
            segments_count=1,
            config=config,
        )
    )


def test_what_is_created_is_described(store: Store, grpc_server: Any) -> None:
    grpc_server.answers += [MISSING, DONE]
    for _ in range(len(FIELDS) + 2):
        grpc_server.upserted()
    store.create(SCHEMA, fields=FIELDS)
    assert _methods(grpc_server) == ["Get", "Create", *["CreateFieldIndex"] * 5]
    created = messages.CreateCollection.FromString(grpc_server.requests[1][1])
    colbert = created.vectors_config.params_map.map["colbert"]
    assert (colbert.hnsw_config.m, colbert.hnsw_config.payload_m) == (0, 0)
    assert colbert.hnsw_config.HasField("payload_m")
    assert colbert.datatype == messages.Datatype.Float16
    assert colbert.distance == messages.Distance.Dot
    indexes = [
        messages.CreateFieldIndexCollection.FromString(request)
        for _, request in grpc_server.requests[2:]
    ]
    assert {(i.field_name, messages.FieldType.Name(i.field_type)) for i in indexes} == {
        ("metadata.lang", "FieldTypeKeyword"),
        ("metadata.tags", "FieldTypeKeyword"),
        ("metadata.when", "FieldTypeDatetime"),
        ("trivec_instants", "FieldTypeKeyword"),
        ("trivec_instants.when", "FieldTypeDatetime"),
    }
    grpc_server.answers.append(_described(created))
    assert store.describe() == Collection(SCHEMA, FIELDS, ColbertStorage(16))


def _create(store: Store) -> None:
    """Create the collection without looking whether it exists."""
    backend = store._handle.backend
    collection: Collection | Steps[Collection] = backend.create(Collection(SCHEMA), adopt=False)
    run(collection, backend)


def test_a_create_whose_answer_was_lost_is_repeated(store: Any, grpc_server: Any) -> None:
    def created(schema: Schema) -> messages.CreateCollection:
        dense = messages.VectorParams(size=8, distance=messages.Distance.Dot)
        return messages.CreateCollection(
            vectors_config=messages.VectorsConfig(params=dense),
            metadata=payload_to_grpc(own_metadata(Collection(schema))),
        )

    grpc_server.answers += [EXISTS, _described(created(SCHEMA))]
    grpc_server.upserted()
    _create(store)
    other = Schema(dense=4, sparse=False, colbert=None, model="other")
    grpc_server.answers += [EXISTS, _described(created(other))]
    with pytest.raises(StoreError, match="already exists"):
        _create(store)


def test_hybrid_is_one_request_over_filtered_candidates(
    store: Store, grpc_server: Any, make_vectors: Any
) -> None:
    know(store, Collection(SCHEMA, FIELDS))
    query = make_vectors(1)[0]
    one = Document("a", "text", {"lang": "en"})
    hit = messages.ScoredPoint(
        id=RestToGrpc.convert_extended_point_id(point_id("a", Names())),
        payload=payload_to_grpc(payload(one, Names())),
        vectors=messages.VectorsOutput(vectors=messages.NamedVectorsOutput()),  # it has none
        score=0.5,
    )
    none = messages.BatchResult()
    answer = messages.QueryBatchResponse(result=[messages.BatchResult(result=[hit]), none, none])
    grpc_server.answers.append(answer)
    hits = store.search(query, k=10, candidates=50, filter=F("lang") == "en")
    assert [(h.document, h.score) for h in hits] == [(one, 0.5)]
    assert _methods(grpc_server) == ["QueryBatch"]
    batch = messages.QueryBatchPoints.FromString(grpc_server.requests[0][1])
    request, *probes = batch.query_points
    assert request.limit == 11
    assert len(request.query.formula.expression.sum.sum) == 3
    assert list(request.with_vectors.include.names) == ["dense", "sparse"]
    assert [stage.using for stage in request.prefetch] == ["dense", "sparse", "colbert"]
    for stage in request.prefetch:
        assert stage.limit == 100  # two lists of 50: a lower limit would cut scores
        assert stage.params.quantization.ignore
        assert [leaf.using for leaf in stage.prefetch] == ["dense", "sparse"]
        for leaf in stage.prefetch:
            assert leaf.limit == 50
            assert leaf.filter.must[0].field.key == "metadata.lang"
    # The same trip asks each source for one more, to see whether the server had to choose.
    assert [(probe.using, probe.limit) for probe in probes] == [("dense", 51), ("sparse", 51)]
    assert not any(probe.with_payload.enable for probe in probes)
    assert all(probe.filter.must[0].field.key == "metadata.lang" for probe in probes)


def test_an_alias_is_not_dropped_without_a_word(store: Store, grpc_server: Any) -> None:
    grpc_server.answers.append(messages.CollectionOperationResponse(result=False))
    dense = messages.VectorParams(size=8, distance=messages.Distance.Dot)
    created = messages.CreateCollection(vectors_config=messages.VectorsConfig(params=dense))
    grpc_server.answers.append(_described(created))
    with pytest.raises(StoreError, match="alias"):
        store.drop()


def test_substrings_are_asked_for_as_the_servers_version_can(grpc_server: Any) -> None:
    for version, substring in (("1.19.0", False), ("1.20.1", True)):
        with open_store(f"qdrant://127.0.0.1:{grpc_server.port - 1}/c") as store:
            know(store, Collection(SCHEMA))
            grpc_server.answers += [
                messages.HealthCheckReply(title="qdrant", version=version),
                messages.CountResponse(result=messages.CountResult(count=3)),
            ]
            assert store.count(F("lang").text("e")) == 3
            request = messages.CountPoints.FromString(grpc_server.requests[-1][1])
            match = request.filter.must[0].field.match
            assert match.WhichOneof("match_value") == ("substring" if substring else "text")
