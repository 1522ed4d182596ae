"""Indexes, pipelines and query engines of LlamaIndex over the store."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms.mock import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import MetadataFilters

from trivec import Vectors
from trivec.testing import HashEncoder
from trivec_llamaindex import TrivecEmbedding, TrivecSparseEmbedding, TrivecVectorStore

DOCUMENTS = [
    Document(
        doc_id="sea",
        text="Blue whales live in the sea. " * 4 + "Seals rest on the shore after a long swim.",
        metadata={"n": 1},
    ),
    Document(
        doc_id="wood",
        text="Foxes live in the wood. " * 4 + "The red ones hunt at night and sleep by day.",
        metadata={"n": 2},
    ),
]
SEA = MetadataFilters.from_dicts([{"key": "n", "value": 1}])


class CallCounter(HashEncoder):
    """Counts the calls too."""

    calls = 0

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        self.calls += 1
        return super().encode_documents(texts)


@pytest.fixture
def encoder() -> CallCounter:
    return CallCounter()


def storage(vector_store: TrivecVectorStore) -> StorageContext:
    return StorageContext.from_defaults(vector_store=vector_store)


def splitter() -> SentenceSplitter:
    """Return one that makes several nodes of each document."""
    return SentenceSplitter(chunk_size=24, chunk_overlap=0)


@pytest.mark.parametrize("use_async", [False, True])
def test_an_index_finds_its_documents_and_forgets_them(
    vector_store: TrivecVectorStore, use_async: bool
) -> None:
    index = VectorStoreIndex.from_documents(
        DOCUMENTS,
        storage_context=storage(vector_store),
        embed_model=vector_store.embed_model,
        transformations=[splitter()],
        use_async=use_async,
    )
    for mode in ("default", "sparse", "hybrid", "mmr"):
        retriever = index.as_retriever(vector_store_query_mode=mode, similarity_top_k=1)
        [found] = retriever.retrieve("Who hunts at night?")
        assert found.node.ref_doc_id == "wood", mode
        assert found.metadata == {"n": 2}
    filtered = index.as_retriever(filters=SEA, similarity_top_k=9)
    assert {n.node.ref_doc_id for n in filtered.retrieve("Who hunts at night?")} == {"sea"}
    index.delete_ref_doc("wood")
    assert {node.ref_doc_id for node in vector_store.get_nodes()} == {"sea"}


async def test_an_index_asynchronously(vector_store: TrivecVectorStore) -> None:
    index = VectorStoreIndex.from_vector_store(vector_store, embed_model=vector_store.embed_model)
    await index.ainsert_nodes([TextNode(id_="a", text="blue whale"), TextNode(id_="b", text="fox")])
    for mode in ("default", "sparse", "hybrid", "mmr"):
        retriever = index.as_retriever(vector_store_query_mode=mode, similarity_top_k=1)
        assert (await retriever.aretrieve("whale"))[0].node_id == "a", mode
    await index.adelete_nodes(["a"])
    assert [node.node_id for node in await vector_store.aget_nodes()] == ["b"]


async def test_a_query_engine_answers(vector_store: TrivecVectorStore) -> None:
    index = VectorStoreIndex.from_documents(
        DOCUMENTS, storage_context=storage(vector_store), embed_model=vector_store.embed_model
    )
    engine = index.as_query_engine(
        llm=MockLLM(max_tokens=5),
        vector_store_query_mode="hybrid",
        similarity_top_k=1,
        vector_store_kwargs={"weights": {"dense": 1, "sparse": 0.3, "colbert": 1}},
    )
    assert engine.query("Who hunts at night?").source_nodes[0].metadata == {"n": 2}
    assert (await engine.aquery("Who hunts at night?")).source_nodes[0].metadata == {"n": 2}


async def test_a_pipeline_writes_into_the_store(vector_store: TrivecVectorStore) -> None:
    pipeline = IngestionPipeline(
        transformations=[splitter(), vector_store.embed_model],
        vector_store=vector_store,
        disable_cache=True,
    )
    nodes = pipeline.run(documents=DOCUMENTS)
    stored = {node.node_id: node for node in vector_store.get_nodes()}
    assert len(stored) == len(nodes) > 2
    for node in nodes:
        assert stored[node.node_id] == node.model_copy(update={"embedding": None})
    vector_store.clear()
    again = await pipeline.arun(documents=DOCUMENTS)
    assert len(await vector_store.aget_nodes()) == len(again)
    index = VectorStoreIndex.from_vector_store(vector_store, embed_model=vector_store.embed_model)
    assert index.as_retriever(similarity_top_k=1).retrieve("night")[0].metadata == {"n": 2}


NODES = 100


def many() -> list[TextNode]:
    return [TextNode(text=f"whale number {i}") for i in range(NODES)]


@pytest.mark.parametrize("deferred", [True, False])
def test_100_nodes_are_100_texts_in_few_calls(
    vector_store: TrivecVectorStore, encoder: CallCounter, deferred: bool
) -> None:
    VectorStoreIndex(
        many(),
        storage_context=storage(vector_store),
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


def test_what_is_written_out_of_a_model_names_it_only(encoder: CallCounter) -> None:
    assert TrivecEmbedding(encoder).to_payload() == {
        "class_name": "TrivecEmbedding",
        "model_name": "hash",
        "embed_batch_size": 64,
    }
    assert "encoder" not in TrivecEmbedding(encoder).to_dict()
