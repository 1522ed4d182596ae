"""The asynchronous methods leave the event loop alone: all of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from langchain_core.documents import Document
from watched import BlockingEncoder, asynchronous_methods, block_memory_stores

from trivec import F, Store, open_store
from trivec_langchain import (
    TrivecEmbeddings,
    TrivecReranker,
    TrivecRetriever,
    TrivecVectorStore,
)

LoopGap = Callable[[Callable[[], Awaitable[object]]], Awaitable[float]]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Return the threads that memory stores, which block, have run in."""
    return block_memory_stores(monkeypatch)


async def test_20_searches_and_an_ingest_leave_the_loop_its_turns(
    loop_gap: LoopGap, threads: set[int]
) -> None:
    encoder = BlockingEncoder()
    with open_store("memory:/langchain_async") as store:
        made = TrivecVectorStore(store, encoder)
        await made.aadd_texts(["blue whale", "red fox"])
        retriever = TrivecRetriever(vectorstore=made, k=1)

        async def work() -> None:
            await asyncio.gather(
                made.aadd_texts((f"text {i} of a whale" for i in range(100)), batch_size=25),
                *(made.asimilarity_search(f"whale {i}", mode="colbert") for i in range(8)),
                *(made.amax_marginal_relevance_search(f"fox {i}") for i in range(6)),
                *(retriever.ainvoke(f"seal {i}") for i in range(5)),
                retriever.abatch([f"question {i}" for i in range(5)]),
            )

        gap = await loop_gap(work)
        await store.adrop()
    assert gap < 0.05
    assert threading.get_ident() not in encoder.threads | threads


async def test_what_is_asked_while_a_batch_is_encoded_needs_no_new_pass() -> None:
    encoder = BlockingEncoder()
    with open_store("memory:/langchain_async_shared") as store:
        made = TrivecVectorStore(store, encoder)
        await made.aadd_texts(["blue whale"])
        before = encoder.encoded
        await asyncio.gather(*(made.asimilarity_search("whale") for _ in range(10)))
        assert encoder.encoded == before + 1
        await store.adrop()


Call = Callable[[TrivecVectorStore], Awaitable[object]]
DOCUMENT = Document("A whale song.", id="song")


def bound(made: TrivecVectorStore) -> TrivecVectorStore:
    """Return a vector store over the same collection, bound to documents without a field."""
    return TrivecVectorStore(made.store, made._encoder, filter=F("other").is_null())


TWINS: dict[str, Call] = {
    "aadd_documents": lambda made: made.aadd_documents([DOCUMENT]),
    "aadd_texts": lambda made: made.aadd_texts(["A whale song."]),
    "adelete": lambda made: made.adelete(["a"]),
    "afrom_documents": lambda made: made.afrom_documents(
        [DOCUMENT], made._encoder, store=made.store
    ),
    "afrom_texts": lambda made: made.afrom_texts(["A seal."], made._encoder, store=made.store),
    "aget_by_ids": lambda made: made.aget_by_ids(["a"]),
    "amax_marginal_relevance_search": lambda made: made.amax_marginal_relevance_search("whale"),
    "amax_marginal_relevance_search_by_vector": lambda made: (
        made.amax_marginal_relevance_search_by_vector([1.0] * 32)
    ),
    "asearch": lambda made: made.asearch("whale", "similarity"),
    "asearch_hits": lambda made: made.asearch_hits(["whale"]),
    "asearch_hits_or_errors": lambda made: made.asearch_hits_or_errors(["whale"]),
    "asimilarity_search": lambda made: made.asimilarity_search("whale"),
    "asimilarity_search_by_vector": lambda made: made.asimilarity_search_by_vector([1.0] * 32),
    "asimilarity_search_with_relevance_scores": lambda made: (
        made.asimilarity_search_with_relevance_scores("whale", mode="dense")
    ),
    "asimilarity_search_with_score": lambda made: made.asimilarity_search_with_score("whale"),
}
MORE: dict[str, Call] = {
    "adelete by filter": lambda made: made.adelete(filter={"n": 1}),
    "adelete everything": lambda made: made.adelete(delete_all=True),
    "bound.aadd_documents": lambda made: bound(made).aadd_documents([DOCUMENT]),
    "bound.adelete": lambda made: bound(made).adelete(["a"]),
    "bound.adelete everything": lambda made: bound(made).adelete(delete_all=True),
    "bound.aget_by_ids": lambda made: bound(made).aget_by_ids(["a"]),
    "bound.asimilarity_search": lambda made: bound(made).asimilarity_search("whale"),
    "retriever.ainvoke": lambda made: TrivecRetriever(vectorstore=made).ainvoke("whale"),
    "retriever.abatch": lambda made: TrivecRetriever(vectorstore=made).abatch(["whale"]),
    "as_retriever().ainvoke": lambda made: made.as_retriever(search_type="mmr").ainvoke("whale"),
    "reranker": lambda made: TrivecReranker(
        encoder=made._encoder, store=made.store
    ).acompress_documents([DOCUMENT], "whale"),
    "embeddings.aembed_documents": lambda made: TrivecEmbeddings(made._encoder).aembed_documents(
        ["whale"]
    ),
    "embeddings.aembed_query": lambda made: TrivecEmbeddings(made._encoder).aembed_query("whale"),
}


@pytest.mark.parametrize("name", [*TWINS, *MORE])
async def test_no_asynchronous_method_works_in_the_thread_of_the_loop(
    threads: set[int], store: Store, name: str
) -> None:
    encoder = BlockingEncoder(seconds=0)
    made = TrivecVectorStore(store, encoder)
    await made.aadd_texts(["blue whale", "red fox"], ids=["a", "b"])
    encoder.threads.clear()
    threads.clear()
    await {**TWINS, **MORE}[name](made)
    used = encoder.threads | threads
    assert used
    assert threading.get_ident() not in used


def test_every_asynchronous_method_is_among_them() -> None:
    assert asynchronous_methods(TrivecVectorStore) == set(TWINS)
