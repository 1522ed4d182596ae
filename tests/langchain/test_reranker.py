"""The reranker, alone and in LangChain's compression retriever."""

from __future__ import annotations

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import Document
from pydantic import ValidationError

from trivec import Weights
from trivec.errors import InvalidOptionError
from trivec.reranking import RerankMode
from trivec.testing import HashEncoder
from trivec_langchain import TrivecReranker, TrivecVectorStore


class ShortestFirst(BaseCrossEncoder):
    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        return [-len(text) for _, text in text_pairs]


DOCUMENTS = [
    Document("Foxes live in the wood.", metadata={"n": 1}),
    Document("Whales live in the sea.", metadata={"n": 2}, id="w"),
    Document("Seals rest.", metadata={"n": 3}),
]


async def test_documents_are_sorted_and_otherwise_unchanged(encoder: HashEncoder) -> None:
    reranker = TrivecReranker(encoder=encoder, mode="hybrid")
    found = reranker.compress_documents(DOCUMENTS, "Where do whales live?")
    assert found[0] is DOCUMENTS[1]
    assert sorted(d.metadata["n"] for d in found) == [1, 2, 3]
    assert [set(d.metadata) for d in found] == [{"n"}] * 3
    assert await reranker.acompress_documents(DOCUMENTS, "Where do whales live?") == found
    scores = reranker.score(DOCUMENTS, "Where do whales live?")
    assert scores[1] == max(scores)
    assert await reranker.ascore(DOCUMENTS, "Where do whales live?") == pytest.approx(scores)


def test_top_n(encoder: HashEncoder) -> None:
    assert len(TrivecReranker(encoder=encoder, top_n=2).compress_documents(DOCUMENTS, "sea")) == 2
    assert TrivecReranker(encoder=encoder).compress_documents([], "sea") == []
    with pytest.raises(ValidationError):
        TrivecReranker(encoder=encoder, top_n=0)


@pytest.mark.parametrize("mode", ["colbert", "hybrid"])
def test_stored_vectors_are_used(
    filled: TrivecVectorStore, encoder: HashEncoder, mode: RerankMode
) -> None:
    documents = filled.similarity_search("whale", k=5)
    before = encoder.encoded
    reranker = TrivecReranker(encoder=encoder, store=filled.store, mode=mode)
    found = reranker.compress_documents(documents, "Who hunts at night?")
    assert found[0].page_content == "The red fox hunts at night."
    assert encoder.encoded == before + 1
    fresh = TrivecReranker(encoder=HashEncoder(), mode=mode).score(documents, "Who hunts at night?")
    assert reranker.score(documents, "Who hunts at night?") == pytest.approx(fresh, abs=2e-3)


async def test_options_that_are_set_or_updated_in_a_copy_hold(encoder: HashEncoder) -> None:
    reranker = TrivecReranker(encoder=encoder)
    colbert = reranker.score(DOCUMENTS, "Where do whales live?")
    dense = TrivecReranker(encoder=encoder, mode="dense").score(DOCUMENTS, "Where do whales live?")
    copied = reranker.model_copy(update={"mode": "dense"})
    assert copied.score(DOCUMENTS, "Where do whales live?") == dense != colbert
    assert reranker.score(DOCUMENTS, "Where do whales live?") == colbert
    reranker.mode, reranker.weights = "hybrid", Weights(1, 0, 0)
    scores = await reranker.ascore(DOCUMENTS, "Where do whales live?")
    assert scores == pytest.approx(dense)
    assert encoder.encoded == len(DOCUMENTS) + 1
    reranker.mode = "best"  # type: ignore[assignment]
    with pytest.raises(InvalidOptionError, match="mode='best'"):
        reranker.score(DOCUMENTS, "Where do whales live?")


async def test_a_cross_encoder_of_langchain() -> None:
    reranker = TrivecReranker(cross_encoder=ShortestFirst(), top_n=1)
    assert reranker.compress_documents(DOCUMENTS, "?") == [DOCUMENTS[2]]
    assert await reranker.acompress_documents(DOCUMENTS, "?") == [DOCUMENTS[2]]


def test_something_must_score() -> None:
    with pytest.raises(ValidationError, match="either"):
        TrivecReranker()


async def test_langchains_compression_retriever(
    filled: TrivecVectorStore, encoder: HashEncoder
) -> None:
    retriever = ContextualCompressionRetriever(
        base_compressor=TrivecReranker(encoder=encoder, store=filled.store, top_n=1),
        base_retriever=filled.as_retriever(search_kwargs={"k": 5, "mode": "dense"}),
    )
    [found] = retriever.invoke("Who hunts at night?")
    assert found.id == "3"
    assert (await retriever.ainvoke("Who hunts at night?"))[0].id == "3"
