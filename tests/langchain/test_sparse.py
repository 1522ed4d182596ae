"""The published stores of Qdrant and Milvus, unchanged, with one pass per text."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_milvus import Milvus
from langchain_milvus.utils.sparse import BaseSparseEmbedding
from langchain_qdrant import QdrantVectorStore, RetrievalMode, SparseEmbeddings

from trivec.errors import InvalidOptionError, MissingDependencyError
from trivec.testing import HashEncoder
from trivec_langchain import TrivecEmbeddings, sparse_embeddings
from trivec_langchain.embeddings import DenseEncoder

TEXTS = [f"whale number {i}" for i in range(100)]


async def test_langchain_qdrant_takes_one_pass_per_text(encoder: HashEncoder) -> None:
    store = QdrantVectorStore.from_texts(
        TEXTS,
        TrivecEmbeddings(encoder),
        sparse_embedding=sparse_embeddings(encoder, "langchain_qdrant"),
        retrieval_mode=RetrievalMode.HYBRID,
        location=":memory:",
        validate_collection_config=False,
    )
    before = encoder.encoded
    assert before - len(TEXTS) in (0, 1)  # it measures the dimension with a text of its own
    assert store.similarity_search("whale number 7", k=1)[0].page_content == "whale number 7"
    assert encoder.encoded == before + 1
    await store.asimilarity_search("whale number 8", k=1)
    assert encoder.encoded == before + 2


# langchain-milvus warns of its own default.
@pytest.mark.filterwarnings("ignore:The 'ranker_type' and:DeprecationWarning")
def test_langchain_milvus_takes_one_pass_per_text(encoder: HashEncoder, tmp_path: Path) -> None:
    store = Milvus.from_texts(
        TEXTS,
        [TrivecEmbeddings(encoder), sparse_embeddings(encoder, "langchain_milvus")],
        connection_args={"uri": str(tmp_path / "lite.db")},
        vector_field=["dense", "sparse"],
        index_params=[
            {"index_type": "FLAT", "metric_type": "IP"},
            {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "IP"},
        ],
    )
    assert encoder.encoded == len(TEXTS)
    # Its own default for sparse search, drop_ratio_build, is refused by milvus-lite.
    found = store.similarity_search(
        "whale number 7", k=1, param=[{"metric_type": "IP"}, {"metric_type": "IP"}]
    )
    assert found[0].page_content == "whale number 7"
    assert encoder.encoded == len(TEXTS) + 1


async def test_the_interfaces_are_theirs(encoder: HashEncoder) -> None:
    for_qdrant = sparse_embeddings(encoder, "langchain_qdrant")
    for_milvus = sparse_embeddings(encoder, "langchain_milvus")
    assert isinstance(for_qdrant, SparseEmbeddings)
    assert isinstance(for_milvus, BaseSparseEmbedding)
    vectors = HashEncoder().encode_documents(["blue whale", ""])
    assert vectors.sparse is not None
    rows = [vectors.sparse.row(0), {}]
    assert for_milvus.embed_documents(["blue whale", ""]) == rows
    assert await for_milvus.aembed_documents(["blue whale", ""]) == rows
    assert for_milvus.embed_query("blue whale") == rows[0]
    assert await for_milvus.aembed_query("blue whale") == rows[0]
    for found in (
        for_qdrant.embed_documents(["blue whale", ""]),
        await for_qdrant.aembed_documents(["blue whale", ""]),
    ):
        assert [dict(zip(v.indices, v.values, strict=True)) for v in found] == rows
    for one in (for_qdrant.embed_query("blue whale"), await for_qdrant.aembed_query("blue whale")):
        assert one.indices == list(rows[0])
        assert one.values == list(rows[0].values())
    assert encoder.encoded == 3  # two texts and a question


def test_copies_share_the_encoder(encoder: HashEncoder) -> None:
    for library in ("langchain_qdrant", "langchain_milvus"):
        made: Any = sparse_embeddings(encoder, library)
        expected = made.embed_query("blue whale")
        before = encoder.encoded
        assert copy.deepcopy(made).embed_query("blue whale") == expected
        assert encoder.encoded == before


def test_a_missing_package_is_named(encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "trivec_langchain._sparse_qdrant", raising=False)
    monkeypatch.setitem(sys.modules, "langchain_qdrant", None)
    with pytest.raises(MissingDependencyError, match="pip install langchain-qdrant"):
        sparse_embeddings(encoder, "langchain_qdrant")


def test_an_unknown_library_or_encoder_is_refused(encoder: HashEncoder) -> None:
    library: Any = "langchain_vespa"
    with pytest.raises(InvalidOptionError, match="langchain_vespa"):
        sparse_embeddings(encoder, library)
    dense = DenseEncoder(TrivecEmbeddings(encoder))
    dense.encode_query("whale")
    with pytest.raises(InvalidOptionError, match="lacks"):
        sparse_embeddings(dense, "langchain_qdrant")
