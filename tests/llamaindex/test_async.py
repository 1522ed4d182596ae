"""The asynchronous methods leave the event loop alone: all of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.vector_stores import MetadataFilters
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.core.vector_stores.types import VectorStoreQueryMode as Mode
from watched import BlockingEncoder, asynchronous_methods, block_memory_stores

from trivec import Store, open_store
from trivec_llamaindex import (
    TrivecEmbedding,
    TrivecRerank,
    TrivecRetriever,
    TrivecSparseEmbedding,
    TrivecVectorStore,
)

LoopGap = Callable[[Callable[[], Awaitable[object]]], Awaitable[float]]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Return the threads that the memory store, which blocks, has run in."""
    return block_memory_stores(monkeypatch)


async def test_20_searches_and_an_ingest_leave_the_loop_its_turns(
    loop_gap: LoopGap, threads: set[int]
) -> None:
    encoder = BlockingEncoder()
    with open_store("memory:/llamaindex_async") as store:
        made = TrivecVectorStore(store, encoder)
        await made.async_add([TextNode(text="blue whale"), TextNode(text="red fox")])
        embed_model = TrivecEmbedding(encoder, embed_batch_size=25)
        index = VectorStoreIndex.from_vector_store(made, embed_model=embed_model)
        retriever = TrivecRetriever(store, encoder, k=1, mode="colbert")
        modes = ("default", "sparse", "hybrid", "mmr")

        async def work() -> None:
            nodes = [TextNode(text=f"text {i} of a whale") for i in range(100)]
            await asyncio.gather(
                index.ainsert_nodes(nodes),
                *(
                    index.as_retriever(vector_store_query_mode=mode).aretrieve(f"whale {i} {mode}")
                    for mode in modes
                    for i in range(4)
                ),
                *(retriever.aretrieve(f"fox {i}") for i in range(4)),
            )

        gap = await loop_gap(work)
        await store.adrop()
    assert gap < 0.05
    assert threading.get_ident() not in encoder.threads | threads


Call = Callable[[TrivecVectorStore, BlockingEncoder], Awaitable[object]]
NODE = TextNode(id_="song", text="A whale song.")
KIND = MetadataFilters.from_dicts([{"key": "kind", "value": "sea"}])
ANY_CASE = MetadataFilters.from_dicts(
    [{"key": "kind", "value": "SEA", "operator": "text_match_insensitive"}]
)
TWINS: dict[str, Call] = {
    "aclear": lambda made, _: made.aclear(),
    "adelete": lambda made, _: made.adelete("doc"),
    "adelete_nodes": lambda made, _: made.adelete_nodes(["a"]),
    "aget_nodes": lambda made, _: made.aget_nodes(["a"]),
    "aquery": lambda made, _: made.aquery(VectorStoreQuery(query_str="whale")),
    "async_add": lambda made, _: made.async_add([NODE]),
}


def ask(mode: Mode, filters: MetadataFilters | None) -> Call:
    query = VectorStoreQuery(query_str="whale", mode=mode, filters=filters)
    return lambda made, _: made.aquery(query)


MORE: dict[str, Call] = {
    "aquery sparse": ask(Mode.SPARSE, None),
    "aquery hybrid": ask(Mode.HYBRID, KIND),
    "aquery mmr": ask(Mode.MMR, None),
    "aquery by a local filter": ask(Mode.MMR, ANY_CASE),
    "adelete_nodes by filter": lambda made, _: made.adelete_nodes(filters=KIND),
    "adelete_nodes by local filter": lambda made, _: made.adelete_nodes(filters=ANY_CASE),
    "aget_nodes of all": lambda made, _: made.aget_nodes(),
    "retriever": lambda made, encoder: TrivecRetriever(made.client, encoder).aretrieve("whale"),
    "rerank": lambda made, encoder: TrivecRerank(encoder, store=made.client).apostprocess_nodes(
        [NodeWithScore(node=NODE)], query_str="whale"
    ),
    "embedding": lambda _, encoder: TrivecEmbedding(encoder).aget_text_embedding("seal"),
    "embedding of a question": lambda _, e: TrivecEmbedding(e).aget_query_embedding("seal"),
    "embedding of many": lambda _, e: TrivecEmbedding(e).aget_text_embedding_batch(["seal"]),
    "sparse": lambda _, encoder: TrivecSparseEmbedding(encoder).aget_text_embedding("seal"),
    "sparse of a question": lambda _, e: TrivecSparseEmbedding(e).aget_query_embedding("seal"),
    "sparse of many": lambda _, e: TrivecSparseEmbedding(e).aget_text_embedding_batch(["seal"]),
}


@pytest.mark.parametrize("name", [*TWINS, *MORE])
async def test_no_asynchronous_method_works_in_the_thread_of_the_loop(
    threads: set[int], store: Store, name: str
) -> None:
    encoder = BlockingEncoder(seconds=0)
    made = TrivecVectorStore(store, encoder)
    nodes = [TextNode(id_=id, text="blue whale", metadata={"kind": "sea"}) for id in "ab"]
    await made.async_add(nodes)
    encoder.threads.clear()
    threads.clear()
    await {**TWINS, **MORE}[name](made, encoder)
    used = encoder.threads | threads
    assert used
    assert threading.get_ident() not in used


def test_every_asynchronous_method_is_among_them() -> None:
    assert asynchronous_methods(TrivecVectorStore) == set(TWINS)
