"""Indexes, pipelines and query engines of LlamaIndex over the store."""

from __future__ import annotations

import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.llms.mock import MockLLM
from llama_index.core.node_parser import TokenTextSplitter
from llama_index.core.schema import TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import MetadataFilters

from trivec import Store
from trivec.testing import HashEncoder
from trivec_llamaindex import TrivecVectorStore

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
HUNT = "The red ones hunt at night and sleep by day."
SEA = MetadataFilters.from_dicts([{"key": "n", "value": 1}])


@pytest.fixture
def store(every_store: Store) -> Store:
    return every_store


def storage(vector_store: TrivecVectorStore) -> StorageContext:
    return StorageContext.from_defaults(vector_store=vector_store)


def splitter() -> TokenTextSplitter:
    """Return one that makes several nodes of each document."""
    return TokenTextSplitter(chunk_size=24, chunk_overlap=0)


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
        [found] = retriever.retrieve(HUNT)
        assert found.node.ref_doc_id == "wood", mode
        assert found.metadata == {"n": 2}
    filtered = index.as_retriever(filters=SEA, similarity_top_k=9)
    assert {n.node.ref_doc_id for n in filtered.retrieve(HUNT)} == {"sea"}
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
    assert engine.query(HUNT).source_nodes[0].metadata == {"n": 2}
    assert (await engine.aquery(HUNT)).source_nodes[0].metadata == {"n": 2}


def test_weights_reach_the_store_through_an_index(vector_store: TrivecVectorStore) -> None:
    vector_store.add([TextNode(id_="a", text="whale song"), TextNode(id_="b", text="whale")])
    index = VectorStoreIndex.from_vector_store(vector_store, embed_model=vector_store.embed_model)

    def scores(**weights: float) -> dict[str, float | None]:
        retriever = index.as_retriever(
            vector_store_query_mode="hybrid", vector_store_kwargs={"weights": weights}
        )
        return {found.node_id: found.score for found in retriever.retrieve("whale song deep")}

    for part in ("dense", "sparse", "colbert"):
        hits = vector_store.client.search(
            HashEncoder().encode_query("whale song deep"), mode="hybrid"
        )
        expected = {hit.document.id: getattr(hit.scores, part) for hit in hits}
        assert scores(**{part: 1.0}) == pytest.approx(expected, abs=2e-3), part


async def test_a_pipeline_writes_into_the_store(vector_store: TrivecVectorStore) -> None:
    pipeline = IngestionPipeline(
        transformations=[splitter(), vector_store.embed_model],
        vector_store=vector_store,
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
    assert index.as_retriever(similarity_top_k=1).retrieve(HUNT)[0].metadata == {"n": 2}


@pytest.mark.parametrize("use_async", [False, True])
async def test_a_pipeline_replaces_what_changed_and_deletes_what_is_gone(
    vector_store: TrivecVectorStore, use_async: bool
) -> None:
    pipeline = IngestionPipeline(
        transformations=[splitter(), vector_store.embed_model],
        vector_store=vector_store,
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
    )

    async def run(documents: list[Document]) -> None:
        if use_async:
            await pipeline.arun(documents=documents)
        else:
            pipeline.run(documents=documents)

    await run(DOCUMENTS)
    changed = Document(doc_id="sea", text="Dolphins leap.")
    await run([changed])
    stored = vector_store.get_nodes()
    assert [(node.ref_doc_id, node.get_content()) for node in stored] == [("sea", "Dolphins leap.")]
