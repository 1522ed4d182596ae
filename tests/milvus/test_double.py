"""The double refuses what a server refuses, so that milvus-lite's leniency hides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pymilvus import AnnSearchRequest, DataType, MilvusClient, WeightedRanker
from pymilvus.client.embedding_list import EmbeddingList
from pymilvus.exceptions import MilvusException

EYE = np.eye(4, dtype=np.float32)
ROW: dict[str, Any] = {
    "id": "a",
    "text": "x",
    "dense": EYE[0],
    "sparse": {1: 0.5},
    "colbert": [{"vec": EYE[0]}, {"vec": EYE[1]}],
}


@pytest.fixture(scope="module")
def client(milvus_double: str) -> Iterator[Any]:
    client = MilvusClient(milvus_double.replace("milvus://", "http://"))
    schema = _schema()
    client.create_collection("double", schema=schema)
    index = client.prepare_index_params()
    index.add_index("dense", index_type="HNSW", metric_type="IP", params={})
    index.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    with pytest.raises(MilvusException, match="no vector index on field"):
        client.load_collection("double")
    index.add_index("colbert[vec]", index_type="HNSW", metric_type="MAX_SIM_IP", params={})
    client.create_index("double", index, sync=False)
    client.load_collection("double")
    client.upsert("double", [ROW, ROW | {"id": "b", "colbert": []}])
    yield client
    client.drop_collection("double")
    client.close()


def _schema(capacity: int = 8, kind: DataType = DataType.FLOAT_VECTOR) -> Any:
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=512)
    schema.add_field("text", DataType.VARCHAR, max_length=8)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=4)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    token = MilvusClient.create_struct_field_schema()
    token.add_field("vec", kind, dim=4)
    struct: dict[str, Any] = {"struct_schema": token, "max_capacity": capacity}
    schema.add_field("colbert", DataType.ARRAY, element_type=DataType.STRUCT, **struct)
    return schema


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": "żżżżż"}, "exceeds max length: 10 > 8"),
        ({"sparse": {}}, "empty sparse float vector row"),
        ({"colbert": [{"vec": EYE[0]}] * 9}, "exceeds max capacity"),
        ({"free": "x" * 66_000}, "json field"),
    ],
    ids=["bytes", "sparse", "capacity", "json"],
)
def test_rows_that_a_server_refuses(client: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(MilvusException, match=message):
        client.upsert("double", [ROW | {"id": "c"} | change])
    assert client.query("double", filter='id == "c"', output_fields=["id"]) == []


def test_a_row_without_a_field_is_refused(client: Any) -> None:
    with pytest.raises(MilvusException, match="text"):
        client.upsert("double", [{k: v for k, v in ROW.items() if k != "text"}])
    with pytest.raises(MilvusException, match="duplicates"):
        client.insert("double", [ROW])


def test_schemas_that_a_server_refuses(client: Any) -> None:
    with pytest.raises(MilvusException, match=r"in \(0, 4096\]"):
        client.create_collection("wide", schema=_schema(capacity=5000))
    with pytest.raises(MilvusException, match="only float vector"):
        client.create_collection("half", schema=_schema(kind=DataType.FLOAT16_VECTOR))


def test_max_sim_and_the_sum_of_weighted_scores(client: Any) -> None:
    query = EmbeddingList(np.array([[0.5, 0, 0, 0], [0, 0.25, 0, 0]], np.float32))
    found = client.search(
        "double", data=[query], anns_field="colbert[vec]", limit=5, output_fields=["id"]
    )
    assert [(hit["id"], hit["distance"]) for hit in found[0]] == [("a", 0.75)]
    legs = [
        AnnSearchRequest([EYE[0]], "dense", {}, 5),
        AnnSearchRequest([query], "colbert[vec]", {}, 5),
    ]
    for weights, refused in (((1, 0.5), False), ((1, 1.5), True), ((-0.1, 1), True)):
        ranker = WeightedRanker(*weights, norm_score=False)
        if refused:
            with pytest.raises(MilvusException, match=r"range \[0, 1\]"):
                client.hybrid_search("double", legs, ranker, limit=5, output_fields=["id"])
        else:
            (hits,) = client.hybrid_search("double", legs, ranker, limit=5, output_fields=["id"])
            assert {h["id"]: h["distance"] for h in hits} == {"a": 1.375, "b": 1.0}


def test_searches_that_a_server_refuses(client: Any) -> None:
    common = {"anns_field": "dense", "output_fields": ["id"]}
    with pytest.raises(MilvusException, match=r"ef\(2\) should be larger than k\(3\)"):
        client.search(
            "double", data=[EYE[0]], limit=3, search_params={"params": {"ef": 2}}, **common
        )
    with pytest.raises(MilvusException, match="topk"):
        client.search("double", data=[EYE[0]], limit=16_385, **common)
    with pytest.raises(MilvusException, match="must be the same"):
        client.search("double", data=[EYE[0]], anns_field="colbert[vec]", limit=3)
