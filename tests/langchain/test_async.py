"""The asynchronous methods leave the event loop alone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest

from trivec import Document, Hit, Vector, Vectors, open_store
from trivec.search import Search
from trivec.stores.memory import MemoryStore
from trivec.testing import HashEncoder
from trivec_langchain import TrivecRetriever, TrivecVectorStore

LoopGap = Callable[[Callable[[], Awaitable[object]]], Awaitable[float]]
BUSY_SECONDS = 0.1


class BlockingEncoder(HashEncoder):
    """Blocks its thread as a forward pass does, and remembers which threads it ran in."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def _encode(self, texts: Sequence[str]) -> Vectors:
        self.threads.add(threading.get_ident())
        time.sleep(BUSY_SECONDS)
        return super()._encode(texts)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Let the memory store block as a request does; return the threads that it ran in."""
    seen: set[int] = set()
    search, write = MemoryStore._search, MemoryStore._write

    def slow_search(
        self: MemoryStore, queries: Sequence[Vector], options: Search
    ) -> list[list[Hit]]:
        seen.add(threading.get_ident())
        time.sleep(BUSY_SECONDS)
        return search(self, queries, options)

    def slow_write(self: MemoryStore, documents: Sequence[Document], vectors: Vectors) -> None:
        seen.add(threading.get_ident())
        time.sleep(BUSY_SECONDS)
        write(self, documents, vectors)

    monkeypatch.setattr(MemoryStore, "_search", slow_search)
    monkeypatch.setattr(MemoryStore, "_write", slow_write)
    return seen


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
        store.drop()
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
        store.drop()
