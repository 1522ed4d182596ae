"""How many texts are encoded: each one once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from watched import CallCounter

from trivec import Hit, Vector
from trivec.collection import Collection
from trivec.search import Mode, Search
from trivec.stores.memory import MemoryBackend
from trivec_langchain import TrivecEmbeddings, TrivecReranker, TrivecRetriever, TrivecVectorStore

MODES: list[Mode] = ["dense", "sparse", "colbert", "hybrid", "rrf"]


@pytest.fixture
def encoder() -> CallCounter:
    return CallCounter()


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the number of queries of every request to a memory store."""
    seen: list[int] = []
    search = MemoryBackend.search

    def counted(
        self: MemoryBackend, collection: Collection, queries: Sequence[Vector], options: Search
    ) -> list[list[Hit]]:
        seen.append(len(queries))
        return search(self, collection, queries, options)

    monkeypatch.setattr(MemoryBackend, "search", counted)
    return seen


async def test_100_documents_are_100_texts(
    vectorstore: TrivecVectorStore, encoder: CallCounter
) -> None:
    vectorstore.add_texts(f"text {i}" for i in range(100))
    assert encoder.encoded == 100
    await vectorstore.aadd_texts(f"more text {i}" for i in range(100))
    assert encoder.encoded == 200


@pytest.mark.parametrize("mode", MODES)
async def test_one_question_is_one_text(
    filled: TrivecVectorStore, encoder: CallCounter, mode: Mode
) -> None:
    before = encoder.encoded
    filled.similarity_search("whales at night", mode=mode)
    assert encoder.encoded == before + 1
    await filled.asimilarity_search("foxes at night", mode=mode)
    assert encoder.encoded == before + 2


async def test_diverse_results_take_one_text(
    filled: TrivecVectorStore, encoder: CallCounter
) -> None:
    before = encoder.encoded
    filled.max_marginal_relevance_search("whales at night")
    assert encoder.encoded == before + 1
    await filled.amax_marginal_relevance_search("foxes at night")
    assert encoder.encoded == before + 2


async def test_a_batch_is_one_call_and_one_request(
    filled: TrivecVectorStore, encoder: CallCounter, requests: list[int]
) -> None:
    retriever = TrivecRetriever(vectorstore=filled, k=2)
    texts, calls = encoder.encoded, encoder.calls
    answers = retriever.batch([f"question {i} of whales" for i in range(20)])
    assert (encoder.encoded - texts, encoder.calls - calls) == (20, 1)
    assert requests == [20]
    assert [len(answer) for answer in answers] == [2] * 20
    await retriever.abatch([f"question {i} of foxes" for i in range(20)])
    assert (encoder.encoded - texts, encoder.calls - calls) == (40, 2)
    assert requests == [20, 20]


def test_a_reranker_reads_what_the_retriever_has_encoded(
    filled: TrivecVectorStore, encoder: CallCounter
) -> None:
    reranker = TrivecReranker(encoder=encoder, store=filled.store)
    before = encoder.encoded
    found = filled.similarity_search("whales at night")
    reranker.compress_documents(found, "whales at night")
    assert encoder.encoded == before + 1


def test_the_embeddings_of_an_encoder_share_its_pass(
    filled: TrivecVectorStore, encoder: CallCounter
) -> None:
    before = encoder.encoded
    embedding: list[float] = TrivecEmbeddings(encoder).embed_query("whales at night")
    filled.similarity_search("whales at night")
    assert encoder.encoded == before + 1
    embeddings: Any = filled.embeddings
    assert embeddings.embed_query("whales at night") == embedding
    assert encoder.encoded == before + 1
