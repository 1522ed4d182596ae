"""Dates in points that another program wrote, or trivec before it wrote instants beside them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as edge
from qdrant_client import QdrantClient, models

from trivec import Document, F, Filter, Schema, Store, Vector, Vectors, open_store
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.testing.contract.instants import INSTANTS, NO_INSTANTS
from trivec_qdrant import Names, QdrantStore
from trivec_qdrant import store as store_module

VALUES: list[Any] = [*INSTANTS, *NO_INSTANTS, None, 5, ["2020-6-1", "2021-01-01T00:00"]]
JUNE = datetime(2020, 6, 1, tzinfo=UTC)
CONDITIONS: list[Filter] = [
    F("when") >= JUNE,
    ~(F("when") >= JUNE),
    F("when") == datetime(2020, 6, 1, 8, tzinfo=UTC),
    F("when").in_([datetime(2020, 6, 1, 10), datetime(2017, 1, 1)]),
    (F("when") < JUNE) & ~(F("n") == 3) | (F("n") > 40),
    F("when").exists(),
]
ROW = np.ones(4, np.float32)


def _payload(i: int, names: Names) -> dict[str, Any]:
    metadata = {"when": VALUES[i], "n": i}
    return {names.text: "text", **({names.metadata: metadata} if names.metadata else metadata)}


def _of_the_client(folder: Path, names: Names) -> Store:
    client = QdrantClient(":memory:")
    vectors = {"dense": models.VectorParams(size=4, distance=models.Distance.DOT)}
    client.create_collection("other", vectors_config=vectors)
    points = [
        models.PointStruct(id=i, vector={"dense": ROW.tolist()}, payload=_payload(i, names))
        for i in range(len(VALUES))
    ]
    client.upsert("other", points)
    return QdrantStore(client, "other", names=names)


def _of_the_engine(folder: Path, names: Names) -> Store:
    (folder / "other").mkdir()
    config = edge.EdgeConfig(vectors={"dense": edge.EdgeVectorParams(4, edge.Distance.Dot)})
    shard = edge.EdgeShard.create(str(folder / "other"), config)
    if names.metadata:
        index = edge.PayloadSchemaType.Datetime
        shard.update(edge.UpdateOperation.create_field_index(names.key("when"), index))
    points = [
        edge.Point(i, {"dense": ROW.tolist()}, _payload(i, names)) for i in range(len(VALUES))
    ]
    shard.update(edge.UpdateOperation.upsert_points(points))
    shard.close()
    return open_store(f"qdrant+edge:{folder}/other", names=names)


@pytest.fixture(params=[_of_the_client, _of_the_engine], ids=["client", "engine"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Names], Store]:
    return lambda names: request.param(tmp_path, names)


LAYOUTS = [Names(id=""), Names(text="page_content", id=""), Names(id="", metadata="")]


@pytest.mark.parametrize("names", LAYOUTS, ids=["ours", "langchain", "flat"])
def test_dates_of_others_mean_what_the_definition_says(
    make: Callable[[Names], Store], names: Names
) -> None:
    with make(names) as store:
        # One of them is written again, by trivec.
        again = store.get(["7"]).documents
        assert again[0].metadata == {"when": VALUES[7], "n": 7}
        store.upsert(again, Vectors(dense=ROW[None]))
        assert store.get(["7"]).documents == again
        documents = [d for page in store.scan() for d in page.documents]
        assert len(documents) == len(VALUES)
        for condition in CONDITIONS:
            expected = {d.id for d in documents if condition.matches(d.metadata)}
            assert expected
            assert store.count(condition) == len(expected), condition
            pages = store.scan(filter=condition)
            assert {d.id for page in pages for d in page.documents} == expected
            hits = store.search(Vector(dense=ROW), mode="dense", k=100, filter=condition)
            assert {hit.document.id for hit in hits} == expected
        old = F("when") < JUNE
        kept = {d.id for d in documents if not old.matches(d.metadata)}
        store.delete_where(old)
        assert {d.id for page in store.scan() for d in page.documents} == kept


def test_metadata_comes_back_without_the_instants(tmp_path: Path) -> None:
    names = Names(metadata="")
    with open_store(f"qdrant+edge:{tmp_path}/flat", names=names) as store:
        store.create(_schema(), fields={"when": datetime})
        one = Document("a", "", {"when": "20200601T100000,5+0200", "days": ["2020-06-01", "x"]})
        store.upsert([one], Vectors(dense=ROW[None]))
        assert store.get(["a"]).documents == [one]
        assert store.count(F("when") == datetime(2020, 6, 1, 8, 0, 0, 500_000)) == 1
        assert store.count(F("days") <= JUNE) == 1
        with pytest.raises(InvalidDocumentError, match="trivec_instants"):
            store.upsert([Document("b", "", {"trivec_instants": 1})], Vectors(dense=ROW[None]))
    with pytest.raises(InvalidOptionError, match="trivec's own"):
        Names(metadata="trivec_instants")


def test_many_strangers_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store_module, "MANY_STRANGERS", 5)
    monkeypatch.setattr(store_module, "STRANGERS", 7)
    with _of_the_engine(tmp_path, Names(id="")) as store, caplog.at_level(logging.WARNING):
        expected = sum((F("when") >= JUNE).matches({"when": value}) for value in VALUES)
        assert store.count(F("when") >= JUNE) == expected
        assert store.count(F("when") >= JUNE) == expected
    assert len(caplog.messages) == 1
    assert "copy the collection" in caplog.messages[0]


def _schema() -> Schema:
    return Schema(dense=4, sparse=False, colbert=None)
