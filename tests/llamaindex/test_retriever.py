"""The retriever in every mode, and the reranker."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.llms.mock import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters
from pydantic import ValidationError

from trivec import F, Vector, Weights, open_store
from trivec.errors import InvalidOptionError
from trivec.rows import unit
from trivec.search import Mode
from trivec.testing import HashEncoder
from trivec_llamaindex import TrivecRerank, TrivecRetriever, TrivecVectorStore

MODES: list[Mode] = ["dense", "sparse", "colbert", "hybrid", "rrf"]
SEA = MetadataFilters(filters=[MetadataFilter(key="kind", value="sea")])


@pytest.mark.parametrize("mode", MODES)
async def test_every_mode_is_the_stores_own(
    filled: TrivecVectorStore, encoder: HashEncoder, nodes: list[TextNode], mode: Mode
) -> None:
    retriever = TrivecRetriever(
        filled.client, encoder, k=3, mode=mode, weights=Weights(1, 1, 0), filters=SEA
    )
    expected = filled.client.search(
        encoder.encode_query("whale song"),
        k=3,
        mode=mode,
        weights=Weights(1, 1, 0),
        filter=F("kind") == "sea",
    )
    by_id = {node.node_id: node for node in nodes}
    before = encoder.encoded
    for found in (retriever.retrieve("whale song"), await retriever.aretrieve("whale song")):
        assert [one.node_id for one in found] == [hit.document.id for hit in expected]
        assert [one.score for one in found] == pytest.approx([hit.score for hit in expected])
        assert [one.node for one in found] == [by_id[one.node_id] for one in found]
    assert encoder.encoded == before + 1


@pytest.mark.parametrize("filters", [SEA, F("kind") == "sea", {"kind": "sea"}])
def test_filters_of_any_kind(filled: TrivecVectorStore, encoder: HashEncoder, filters: Any) -> None:
    retriever = TrivecRetriever(filled.client, encoder, filters=filters)
    assert {one.node_id for one in retriever.retrieve("fox")} == {"0", "2", "4"}


def test_an_embedding_or_texts_of_a_query_transform_are_the_dense_part(
    filled: TrivecVectorStore, encoder: HashEncoder
) -> None:
    retriever = TrivecRetriever(filled.client, encoder, k=1, mode="dense")
    dense = encoder.encode_query("red fox at night").dense
    assert dense is not None
    given = QueryBundle("whale", embedding=dense.tolist())
    assert retriever.retrieve(given)[0].node_id == "3"
    hypothetical = QueryBundle("whale", custom_embedding_strs=["red fox", "fox at night"])
    assert retriever.retrieve(hypothetical)[0].node_id == "3"


async def test_an_embedding_or_a_mean_of_any_length_is_scored_as_a_cosine(
    filled: TrivecVectorStore, encoder: HashEncoder
) -> None:
    retriever = TrivecRetriever(filled.client, encoder, k=1, mode="dense")
    texts = ["red fox", "fox at night"]
    rows = encoder.encode_queries(texts).dense
    assert rows is not None
    mean = rows.mean(axis=0)
    [expected] = filled.client.search(Vector(dense=unit(mean)), k=1, mode="dense")
    for bundle in (
        QueryBundle("whale", embedding=3 * mean),  # an array
        QueryBundle("whale", custom_embedding_strs=texts),
    ):
        for found in (retriever.retrieve(bundle), await retriever.aretrieve(bundle)):
            assert found[0].node_id == expected.document.id
            assert found[0].score == pytest.approx(expected.score)


async def test_an_empty_question_is_answered_as_an_index_does(
    filled: TrivecVectorStore, encoder: HashEncoder
) -> None:
    index = VectorStoreIndex.from_vector_store(filled, embed_model=filled.embed_model)
    expected = index.as_retriever(similarity_top_k=3).retrieve("")
    retriever = TrivecRetriever(filled.client, encoder, k=3, mode="dense")
    assert len(expected) == 3
    for found in (retriever.retrieve(""), await retriever.aretrieve("")):
        assert [one.node_id for one in found] == [one.node_id for one in expected]
        assert [one.score for one in found] == pytest.approx([one.score for one in expected])


def test_a_collection_that_does_not_exist_is_empty(encoder: HashEncoder) -> None:
    with open_store("memory:/never_created") as store:
        assert TrivecRetriever(store, encoder).retrieve("whale") == []


def test_what_it_cannot_do_is_refused(filled: TrivecVectorStore, encoder: HashEncoder) -> None:
    with pytest.raises(InvalidOptionError, match="mode='best'"):
        TrivecRetriever(filled.client, encoder, mode="best")  # type: ignore[arg-type]
    insensitive = MetadataFilters(
        filters=[
            MetadataFilter(key="kind", value="SEA", operator=FilterOperator.TEXT_MATCH_INSENSITIVE)
        ]
    )
    with pytest.raises(InvalidOptionError, match="TrivecVectorStore only"):
        TrivecRetriever(filled.client, encoder, filters=insensitive).retrieve("whale")


# --- reranking ---------------------------------------------------------------------------------


class ShortestFirst:
    """A cross-encoder that likes short texts."""

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        return [-len(text) for _, text in text_pairs]


@pytest.mark.parametrize("mode", ["colbert", "hybrid"])
async def test_nodes_are_sorted_by_their_new_scores(
    encoder: HashEncoder, nodes: list[TextNode], mode: Any
) -> None:
    given = [NodeWithScore(node=node, score=0.5) for node in nodes]
    rerank = TrivecRerank(encoder, mode=mode, top_n=2)
    found = rerank.postprocess_nodes(given, query_str="Who hunts at night?")
    assert found[0].node is nodes[3]
    assert len(found) == 2
    assert (found[0].score or 0) > (found[1].score or 0)
    assert [one.score for one in given] == [0.5] * 5
    again = await rerank.apostprocess_nodes(given, query_str="Who hunts at night?")
    assert [one.node_id for one in again] == [one.node_id for one in found]


def test_stored_vectors_are_used(filled: TrivecVectorStore, encoder: HashEncoder) -> None:
    given = [NodeWithScore(node=node) for node in filled.get_nodes()]
    before = encoder.encoded
    rerank = TrivecRerank(encoder, store=filled.client)
    assert rerank.postprocess_nodes(given, query_str="Who hunts at night?")[0].node_id == "3"
    assert encoder.encoded == before + 1


def test_a_cross_encoder(nodes: list[TextNode]) -> None:
    given = [NodeWithScore(node=node) for node in nodes]
    rerank = TrivecRerank(cross_encoder=ShortestFirst(), top_n=1)
    assert rerank.postprocess_nodes(given, query_str="?")[0].node is nodes[1]


def test_a_reranker_needs_a_scorer_a_question_and_a_number(encoder: HashEncoder) -> None:
    with pytest.raises(InvalidOptionError, match="either"):
        TrivecRerank()
    with pytest.raises(InvalidOptionError, match="question"):
        TrivecRerank(encoder).postprocess_nodes([])
    with pytest.raises(ValidationError):
        TrivecRerank(encoder, top_n=0)


async def test_a_query_engine_of_both(filled: TrivecVectorStore, encoder: HashEncoder) -> None:
    engine = RetrieverQueryEngine.from_args(
        TrivecRetriever(filled.client, encoder, k=5, mode="rrf"),
        llm=MockLLM(max_tokens=5),
        node_postprocessors=[TrivecRerank(encoder, store=filled.client, top_n=1)],
    )
    assert engine.query("Who hunts at night?").source_nodes[0].node_id == "3"
    assert (await engine.aquery("Who hunts at night?")).source_nodes[0].node_id == "3"
