"""Clients that are handed in, collections that are there already, handles of one process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hooks import know
from qdrant_client import AsyncQdrantClient, QdrantClient, models

import trivec_qdrant
from trivec import ColbertStorage, Document, F, Schema, Vector, Vectors, open_store
from trivec.collection import Collection
from trivec.errors import (
    InvalidOptionError,
    MissingDependencyError,
    SchemaMismatchError,
    StoreError,
)
from trivec_qdrant import Names, QdrantStore

SCHEMA = Schema(dense=8, sparse=True, colbert=8, model="m")
MAX_SIM = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
OTHERS = Names(
    dense="text-dense", sparse="text-sparse", colbert="late", id="", text="body", metadata=""
)


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


def test_public_names() -> None:
    assert trivec_qdrant.__all__ == ["Names", "QdrantBackend", "QdrantOptions", "QdrantStore"]


def test_a_client_that_was_handed_in_stays_open(client: QdrantClient, make_vectors: Any) -> None:
    with QdrantStore(client, "articles") as store:
        store.create(SCHEMA, fields={"lang": str})
        store.upsert([Document("a", "text", {"lang": "en"})], make_vectors(1))
    assert client.count("articles").count == 1
    again = QdrantStore(client, "articles")
    assert again.schema == SCHEMA
    assert dict(again.fields) == {"lang": "str"}


def test_an_asynchronous_client_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="AsyncQdrantClient"):
        QdrantStore(AsyncQdrantClient(":memory:"), "articles")  # type: ignore[arg-type]


def test_the_collection_is_what_rescoring_needs(client: QdrantClient) -> None:
    for bits, datatype, sparse in (
        (16, "float16", "float16"),
        (32, "float32", "float32"),
        (8, "turbo8", "float16"),
        (4, "turbo4", "float16"),
    ):
        store = QdrantStore(client, datatype, quantization="int8")
        store.create(SCHEMA, colbert=ColbertStorage(bits))
        params = client.get_collection(datatype).config.params
        assert isinstance(params.vectors, dict)
        colbert = params.vectors["colbert"]
        assert colbert.hnsw_config == models.HnswConfigDiff(m=0, payload_m=0)
        assert colbert.datatype is not None
        assert (colbert.datatype.value, colbert.on_disk) == (datatype, True)
        assert colbert.quantization_config is None
        assert isinstance(params.vectors["dense"].quantization_config, models.ScalarQuantization)
        assert params.sparse_vectors is not None
        index = params.sparse_vectors["sparse"].index
        assert index is not None
        assert index.datatype is not None
        assert index.datatype.value == sparse


@pytest.fixture
def existing(client: QdrantClient) -> QdrantClient:
    """Return a client with a collection of another program: other names, flat payloads."""
    client.create_collection(
        "existing",
        vectors_config={
            "text-dense": models.VectorParams(size=4, distance=models.Distance.COSINE),
            "late": models.VectorParams(
                size=4, distance=models.Distance.COSINE, multivector_config=MAX_SIM
            ),
            "image": models.VectorParams(size=9, distance=models.Distance.EUCLID),
        },
        sparse_vectors_config={"text-sparse": models.SparseVectorParams()},
    )
    client.upsert(
        "existing",
        [
            models.PointStruct(
                id=7,
                vector={
                    "text-dense": [1.0, 0, 0, 0],
                    "late": [[0.0, 1, 0, 0]],
                    "text-sparse": models.SparseVector(indices=[9, 3], values=[0.5, 0.25]),
                },
                payload={"body": "seven", "lang": "en"},
            )
        ],
    )
    return client


def test_an_existing_collection_is_attached_by_its_names(existing: QdrantClient) -> None:
    store = QdrantStore(existing, "existing", names=OTHERS)
    store.create(Schema(dense=4, sparse=True, colbert=4, model="m"), exist_ok=True)
    eye = np.eye(4, dtype=np.float32)
    query = Vector(dense=eye[0], sparse={3: 1.0}, colbert=eye[1:2])
    seven = Document("7", "seven", {"lang": "en"})
    hit = store.search(query, filter=F("lang") == "en")[0]
    assert hit.document == seven
    assert (hit.scores.dense, hit.scores.sparse, hit.scores.colbert) == pytest.approx((1, 0.25, 1))
    page = store.get(["7"], with_vectors=True)
    assert page.documents == [seven]
    assert page.vectors is not None
    assert page.vectors[0].sparse == {3: 0.25, 9: 0.5}
    store.upsert([Document("8", "eight", {"lang": "de"})], page.vectors)
    assert existing.retrieve("existing", [8])[0].payload == {"body": "eight", "lang": "de"}
    store.delete(["7"])
    assert store.count() == 1


def test_a_collection_that_does_not_fit_is_refused_with_the_difference(
    existing: QdrantClient,
) -> None:
    wrong = {
        Names(): r"\['image', 'late', 'text-dense', 'text-sparse'\], none of 'dense'",
        Names(dense="late"): "'late' is a multivector",
        Names(colbert="text-dense"): "'text-dense' is no multivector",
        Names(dense="image"): "'image' has the distance Euclid",
    }
    for names, message in wrong.items():
        with pytest.raises(SchemaMismatchError, match=message):
            _ = QdrantStore(existing, "existing", names=names).schema
    with pytest.raises(SchemaMismatchError, match="dense is 4, expected 8"):
        QdrantStore(existing, "existing", names=OTHERS).create(SCHEMA, exist_ok=True)


def test_unfit_storage_is_refused(client: QdrantClient) -> None:
    uint8 = models.VectorParams(
        size=4, distance=models.Distance.DOT, datatype=models.Datatype.UINT8
    )
    idf = models.SparseVectorParams(modifier=models.Modifier.IDF)
    client.create_collection(
        "unfit", vectors_config={"dense": uint8}, sparse_vectors_config={"sparse": idf}
    )
    with pytest.raises(SchemaMismatchError, match=r"uint8.*modifier idf"):
        _ = QdrantStore(client, "unfit").schema


def test_the_unnamed_vector_is_dense(client: QdrantClient) -> None:
    client.create_collection(
        "plain", vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT)
    )
    store = QdrantStore(client, "plain", names=Names(dense=""))
    assert store.schema == Schema(dense=2, sparse=False, colbert=None)
    store.upsert([Document("a", "text")], Vectors(dense=np.eye(2)[:1]))
    hit = store.search(Vector(dense=np.eye(2)[0]), mode="hybrid")[0]
    assert (hit.document, hit.scores.dense) == (Document("a", "text"), 1.0)


# The client leaves its lock file open when another process holds it.
@pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")
def test_handles_of_one_process_share_a_folder(tmp_path: Path, make_vectors: Any) -> None:
    one, two = (open_store(f"qdrant+local:{tmp_path}/{name}") for name in ("one", "two"))
    one.create(SCHEMA)
    two.create(SCHEMA)
    one.upsert([Document("a", "")], make_vectors(1))
    one.close()
    assert two.count() == 0
    two.close()
    client = QdrantClient(path=str(tmp_path))  # nobody holds it any more
    with pytest.raises(StoreError, match="another process"):
        open_store(f"qdrant+local:{tmp_path}/one")
    client.close()
    with open_store(f"qdrant+local:{tmp_path}/one") as again:
        assert again.count() == 1


@pytest.mark.parametrize("name", ["a/b", 'a"b', "a" * 256, "a:b", "..", "tab\t"])
def test_names_that_qdrant_refuses(client: QdrantClient, name: str) -> None:
    with pytest.raises(InvalidOptionError, match="name of a Qdrant collection"):
        QdrantStore(client, name)


def test_a_url_without_a_server_or_with_an_unknown_option() -> None:
    with pytest.raises(InvalidOptionError, match="host:port"):
        open_store("qdrant:/name")
    with pytest.raises(InvalidOptionError, match="unknown option colbert_datatype"):
        open_store("qdrant+memory:/name", colbert_datatype="float16")


@pytest.mark.parametrize(
    ("url", "module"), [("qdrant+memory:/n", "qdrant_client"), ("qdrant+edge:f/n", "qdrant_edge")]
)
def test_a_missing_client_names_the_extra(
    url: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.startswith(("trivec_qdrant.", module))]:
        if name.partition(".")[0] == module or name.rpartition(".")[2] in ("edge", "shard"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("trivec_qdrant.engines.opening._memory", [])
    with pytest.raises(MissingDependencyError, match=r"pip install 'trivec\[qdrant\]'"):
        open_store(url)


def test_addresses_of_servers() -> None:
    cases: dict[str, tuple[str, int]] = {
        "qdrant://example.org/n": ("http://example.org:6333", 6334),
        "qdrants://example.org:7000/n": ("https://example.org:7000", 7001),
        "qdrant://[::1]:6333/n": ("http://[::1]:6333", 6334),
    }
    for url, (address, grpc_port) in cases.items():
        with open_store(url) as store:
            backend: Any = store._handle.backend
            options = backend._engine._client.init_options
            assert (options["url"], options["grpc_port"]) == (address, grpc_port)
            assert options["timeout"] == 60
            assert options["prefer_grpc"]
            know(store, Collection(SCHEMA))
            assert store.capabilities[1].value == "packed messages over gRPC"
    with open_store("qdrant://example.org/n", prefer_grpc=False) as store:
        know(store, Collection(SCHEMA))
        assert store.capabilities[1].value == "JSON over REST"
