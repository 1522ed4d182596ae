"""How many texts are encoded: each one once."""

from __future__ import annotations

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import TextNode
from watched import CallCounter

from trivec.testing import HashEncoder
from trivec_llamaindex import TrivecEmbedding, TrivecSparseEmbedding, TrivecVectorStore

NODES = 100


@pytest.fixture
def encoder() -> CallCounter:
    return CallCounter()


def many() -> list[TextNode]:
    return [TextNode(text=f"whale number {i}") for i in range(NODES)]


@pytest.mark.parametrize("deferred", [True, False])
def test_100_nodes_are_100_texts_in_few_calls(
    vector_store: TrivecVectorStore, encoder: CallCounter, deferred: bool
) -> None:
    VectorStoreIndex(
        many(),
        storage_context=StorageContext.from_defaults(vector_store=vector_store),
        embed_model=TrivecEmbedding(encoder, deferred=deferred),
    )
    assert encoder.encoded == NODES
    assert encoder.calls == 2  # 64 and 36
    assert vector_store.client.count() == NODES


@pytest.mark.parametrize("deferred", [True, False])
async def test_100_nodes_are_100_texts_asynchronously(
    vector_store: TrivecVectorStore, encoder: CallCounter, deferred: bool
) -> None:
    pipeline = IngestionPipeline(
        transformations=[TrivecEmbedding(encoder, deferred=deferred)],
        vector_store=vector_store,
        disable_cache=True,
    )
    await pipeline.arun(nodes=many())
    assert encoder.encoded == NODES
    assert await vector_store.client.acount() == NODES


@pytest.mark.parametrize("mode", ["default", "sparse", "hybrid", "mmr"])
async def test_a_question_is_one_text(
    filled: TrivecVectorStore, encoder: CallCounter, mode: str
) -> None:
    index = VectorStoreIndex.from_vector_store(filled, embed_model=TrivecEmbedding(encoder))
    retriever = index.as_retriever(vector_store_query_mode=mode, similarity_top_k=2)
    before = encoder.encoded
    assert retriever.retrieve("the whale song at night")
    assert encoder.encoded == before + 1
    assert await retriever.aretrieve("the fox hunt at night")
    assert encoder.encoded == before + 2


async def test_dense_and_sparse_models_share_a_pass(encoder: CallCounter) -> None:
    dense, sparse = TrivecEmbedding(encoder), TrivecSparseEmbedding(encoder)
    texts = ["blue whale", "grey seal"]
    vectors = HashEncoder().encode_documents(texts)
    assert vectors.sparse is not None
    assert vectors.dense is not None
    rows = [vectors.sparse.row(i) for i in range(2)]
    assert dense.get_text_embedding_batch(texts) == vectors.dense.tolist()
    assert await dense.aget_text_embedding_batch(texts) == vectors.dense.tolist()
    assert sparse.get_text_embedding_batch(texts) == rows
    assert await sparse.aget_text_embedding_batch(texts) == rows
    assert sparse.get_text_embedding(texts[0]) == rows[0]
    assert await sparse.aget_text_embedding(texts[0]) == rows[0]
    assert dense.get_text_embedding(texts[1]) == vectors.dense[1].tolist()
    assert await dense.aget_text_embedding(texts[1]) == vectors.dense[1].tolist()
    assert encoder.encoded == 2
    assert dense.get_query_embedding("blue whale") == vectors.dense[0].tolist()
    assert await dense.aget_query_embedding("blue whale") == vectors.dense[0].tolist()
    assert sparse.get_query_embedding("blue whale") == rows[0]
    assert await sparse.aget_query_embedding("blue whale") == rows[0]
    assert encoder.encoded == 3
