"""The asynchronous methods leave the event loop alone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode

from trivec import Document, Hit, Vector, Vectors, open_store
from trivec.search import Search
from trivec.stores.memory import MemoryStore
from trivec.testing import HashEncoder
from trivec_llamaindex import TrivecEmbedding, TrivecRetriever, TrivecVectorStore

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
        store.drop()
    assert gap < 0.05
    assert threading.get_ident() not in encoder.threads | threads
