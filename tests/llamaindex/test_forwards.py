"""How many texts are encoded: each one once."""

from __future__ import annotations

import re

import numpy as np
import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.callbacks.schema import EventPayload
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SemanticSplitterNodeParser
from llama_index.core.schema import TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from watched import CallCounter

from trivec import Store
from trivec.encoders import CachingEncoder
from trivec.testing import HashEncoder
from trivec_llamaindex import TrivecEmbedding, TrivecSparseEmbedding, TrivecVectorStore

NODES = 100


@pytest.fixture
def encoder() -> CallCounter:
    return CallCounter()


def many() -> list[TextNode]:
    return [TextNode(text=f"whale number {i}") for i in range(NODES)]


@pytest.fixture
def embed_model(
    request: pytest.FixtureRequest, vector_store: TrivecVectorStore, encoder: CallCounter
) -> TrivecEmbedding:
    return vector_store.embed_model if request.param else TrivecEmbedding(encoder)


both_models = pytest.mark.parametrize("embed_model", [True, False], indirect=True)


@both_models
def test_100_nodes_are_100_texts_in_few_calls(
    vector_store: TrivecVectorStore, encoder: CallCounter, embed_model: TrivecEmbedding
) -> None:
    index = VectorStoreIndex(
        many(),
        storage_context=StorageContext.from_defaults(vector_store=vector_store),
        embed_model=embed_model,
    )
    assert encoder.encoded == NODES
    assert encoder.calls == 2  # 64 and 36
    assert vector_store.client.count() == NODES
    index.insert_nodes([TextNode(text=f"seal number {i}") for i in range(NODES)])
    assert (encoder.encoded, encoder.calls) == (2 * NODES, 4)


@both_models
@pytest.mark.parametrize("use_async", [False, True])
async def test_documents_are_encoded_once_and_only_the_changed_again(
    vector_store: TrivecVectorStore,
    encoder: CallCounter,
    embed_model: TrivecEmbedding,
    use_async: bool,
) -> None:
    documents = [Document(doc_id=str(i), text=f"whale number {i}") for i in range(20)]
    index = VectorStoreIndex.from_documents(
        documents,
        storage_context=StorageContext.from_defaults(
            vector_store=vector_store, docstore=SimpleDocumentStore()
        ),
        embed_model=embed_model,
        store_nodes_override=True,
    )
    assert encoder.encoded == 20
    documents[3] = Document(doc_id="3", text="a seal")
    refreshed = (
        await index.arefresh_ref_docs(documents) if use_async else index.refresh_ref_docs(documents)
    )
    assert refreshed == [i == 3 for i in range(20)]
    assert encoder.encoded == 21
    if use_async:
        await index.ainsert_nodes([TextNode(text="a fox")])
    else:
        index.insert_nodes([TextNode(text="a fox")])
    assert encoder.encoded == 22
    assert vector_store.client.count() == 21


@both_models
@pytest.mark.parametrize("use_async", [False, True])
async def test_a_pipeline_encodes_each_text_once(
    vector_store: TrivecVectorStore,
    encoder: CallCounter,
    embed_model: TrivecEmbedding,
    use_async: bool,
) -> None:
    pipeline = IngestionPipeline(transformations=[embed_model], vector_store=vector_store)
    nodes = await pipeline.arun(nodes=many()) if use_async else pipeline.run(nodes=many())
    assert encoder.encoded == NODES
    assert vector_store.client.count() == NODES
    assert {len(node.embedding or []) for node in nodes} == {32}


@pytest.mark.parametrize("use_async", [False, True])
async def test_more_than_memory_holds_is_encoded_once_too(
    store: Store, encoder: CallCounter, use_async: bool
) -> None:
    cache = CachingEncoder(encoder, max_bytes=50_000)
    vector_store = TrivecVectorStore(store, cache)
    index = VectorStoreIndex.from_vector_store(vector_store, embed_model=vector_store.embed_model)
    nodes = [TextNode(text=f"whale number {i} " + "of the sea " * 40) for i in range(200)]
    if use_async:
        await index.ainsert_nodes(nodes)
    else:
        index.insert_nodes(nodes)
    assert encoder.encoded == 200
    assert cache._bytes <= 50_000
    expected = HashEncoder().encode_documents([node.get_content() for node in nodes])
    stored = store.get([node.node_id for node in nodes], with_vectors=True).vectors
    assert stored is not None
    assert stored.colbert is not None
    assert expected.colbert is not None
    np.testing.assert_allclose(stored.colbert.values, expected.colbert.values, atol=1e-3)


# --- whoever reads the numbers gets them ---------------------------------------------------------

ANIMALS = " ".join(
    f"{animal} live in the {place}. {animal} eat what the {place} gives."
    for animal, place in (("Whales", "sea"), ("Foxes", "wood"), ("Eagles", "mountains"))
)


@both_models
def test_a_semantic_splitter_splits_as_with_any_other_model(embed_model: TrivecEmbedding) -> None:
    def split(model: BaseEmbedding) -> list[str]:
        parser = SemanticSplitterNodeParser(
            embed_model=model,
            buffer_size=0,
            breakpoint_percentile_threshold=50,
            sentence_splitter=lambda text: re.findall(r"[^.]+\. ?", text),
        )
        nodes = parser.get_nodes_from_documents([Document(text=ANIMALS)])
        return [node.get_content() for node in nodes]

    expected = split(PlainEmbedding())
    assert len(expected) == 3
    assert split(embed_model) == expected


class PlainEmbedding(BaseEmbedding):
    """The same numbers without anything of ours between."""

    def _get_text_embedding(self, text: str) -> list[float]:
        dense = HashEncoder().encode_documents([text]).dense
        assert dense is not None
        numbers: list[float] = dense[0].tolist()
        return numbers

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


@both_models
async def test_every_method_of_an_embedding_model_gives_the_numbers(
    embed_model: TrivecEmbedding,
) -> None:
    texts = ["a blue whale", "a grey seal"]
    expected = [PlainEmbedding().get_text_embedding(text) for text in texts]
    assert embed_model.get_text_embedding_batch(texts) == expected
    assert embed_model.get_text_embedding_batch([]) == []
    assert await embed_model.aget_text_embedding_batch(texts) == expected
    assert [embed_model.get_text_embedding(text) for text in texts] == expected
    assert [await embed_model.aget_text_embedding(text) for text in texts] == expected
    assert [embed_model.get_query_embedding(text) for text in texts] == expected
    mean = np.mean(expected, axis=0)
    assert np.allclose(embed_model.get_agg_embedding_from_queries(texts), mean)
    assert np.allclose(await embed_model.aget_agg_embedding_from_queries(texts), mean)
    assert [n.embedding for n in embed_model([TextNode(text=t) for t in texts])] == expected
    called = await embed_model.acall([TextNode(text=t) for t in texts])
    assert [node.embedding for node in called] == expected
    first, second = embed_model.get_text_embedding_batch(texts)
    assert embed_model.similarity(first, second) == pytest.approx(np.dot(first, second))
    assert (first, second) == tuple(expected)


def test_callbacks_hear_the_numbers(vector_store: TrivecVectorStore) -> None:
    handler = LlamaDebugHandler(print_trace_on_end=False)
    embed_model = vector_store.embed_model
    embed_model.callback_manager = CallbackManager([handler])
    embed_model.get_text_embedding_batch(["a blue whale"])
    [(_, end)] = handler.get_event_pairs(CBEventType.EMBEDDING)
    assert [len(one) for one in (end.payload or {})[EventPayload.EMBEDDINGS]] == [32]


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
