"""Arguments, options and errors of the LlamaIndex vector store, which no database changes."""

from __future__ import annotations

import copy
import datetime
import pickle
from typing import Any

import pytest
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import MetadataFilters
from llama_index.core.vector_stores.types import BasePydanticVectorStore, VectorStoreQuery
from llama_index.core.vector_stores.types import VectorStoreQueryMode as Mode

from trivec import F, Store, Weights
from trivec.document import PRIVATE_KEY
from trivec.errors import (
    InvalidDocumentError,
    InvalidFilterError,
    InvalidOptionError,
    InvalidVectorsError,
)
from trivec.testing import HashEncoder
from trivec_llamaindex import (
    TrivecEmbedding,
    TrivecRerank,
    TrivecRetriever,
    TrivecSparseEmbedding,
    TrivecVectorStore,
)

SEA = MetadataFilters.from_dicts([{"key": "kind", "value": "sea"}])


def test_it_is_a_vector_store_that_stores_text(vector_store: TrivecVectorStore) -> None:
    names = [base.__name__ for base in TrivecVectorStore.__mro__]
    assert BasePydanticVectorStore.__name__ in names
    assert vector_store.stores_text
    assert vector_store.is_embedding_query
    assert vector_store.class_name() == "TrivecVectorStore"
    assert isinstance(vector_store.client, Store)


def test_the_metadata_of_two_nodes_with_one_id_is_that_of_the_last(
    vector_store: TrivecVectorStore,
) -> None:
    twice = [TextNode(id_="a", text="one"), TextNode(id_="a", text="two", metadata={"n": 2})]
    assert vector_store.add(twice) == ["a", "a"]
    assert vector_store.get_nodes() == [twice[1]]


def test_what_json_cannot_hold_is_an_error_that_names_the_node(
    vector_store: TrivecVectorStore,
) -> None:
    node = TextNode(id_="mine", text="a", metadata={"took": datetime.timedelta(1)})
    with pytest.raises(InvalidDocumentError, match=r"'mine': metadata\.took .*datetime\.timedelta"):
        vector_store.add([node])
    with pytest.raises(InvalidDocumentError, match="reserved"):
        vector_store.add([TextNode(id_="mine", text="a", metadata={PRIVATE_KEY: 1})])


async def test_nothing_is_deleted_without_a_condition(filled: TrivecVectorStore) -> None:
    for filters in (None, MetadataFilters(filters=[])):
        with pytest.raises(InvalidOptionError, match="clear"):
            filled.delete_nodes(filters=filters)
        with pytest.raises(InvalidOptionError, match="clear"):
            await filled.adelete_nodes(filters=filters)
    with pytest.raises(InvalidFilterError):
        filled.delete_nodes(filters=MetadataFilters(filters=[MetadataFilters(filters=[])]))
    assert len(filled.get_nodes()) == 5


@pytest.mark.parametrize(
    "mode",
    [
        Mode.TEXT_SEARCH,
        Mode.SEMANTIC_HYBRID,
        Mode.SVM,
        Mode.LOGISTIC_REGRESSION,
        Mode.LINEAR_REGRESSION,
    ],
)
async def test_any_other_mode_raises(filled: TrivecVectorStore, mode: Mode) -> None:
    query = VectorStoreQuery(query_str="whale", query_embedding=[0.1] * 32, mode=mode)
    with pytest.raises(InvalidOptionError, match="not supported"):
        filled.query(query)
    with pytest.raises(InvalidOptionError, match="not supported"):
        await filled.aquery(query)


def test_alpha_stands_for_two_weights(filled: TrivecVectorStore) -> None:
    def scores(**options: Any) -> list[float]:
        query = VectorStoreQuery(query_str="whale song", similarity_top_k=5, **options)
        return filled.query(query).similarities or []

    assert scores(mode=Mode.HYBRID, alpha=1.0) == pytest.approx(scores(mode=Mode.DEFAULT))
    sparse = scores(mode=Mode.SPARSE)
    assert scores(mode=Mode.HYBRID, alpha=0.0)[: len(sparse)] == pytest.approx(sparse)
    with pytest.raises(InvalidOptionError, match="alpha"):
        scores(mode=Mode.HYBRID, alpha=1.5)


def test_a_hybrid_score_is_the_mean_of_both_though_one_node_only_has_the_words(
    filled: TrivecVectorStore,
) -> None:
    def scores(**options: Any) -> dict[str, float]:
        query = VectorStoreQuery(query_str="carries", similarity_top_k=5, **options)
        answer = filled.query(query)
        return dict(zip(answer.ids or [], answer.similarities or [], strict=True))

    dense, sparse = scores(mode=Mode.DEFAULT), scores(mode=Mode.SPARSE)
    assert list(sparse) == ["4"]
    assert scores(mode=Mode.HYBRID, alpha=0.5) == pytest.approx(
        {id: (dense[id] + sparse.get(id, 0)) / 2 for id in dense}
    )


@pytest.mark.parametrize("weights", [Weights(0, 0, 1), {"colbert": 2.0}])
def test_weights_of_one_query_come_first(
    filled: TrivecVectorStore, encoder: HashEncoder, weights: Any
) -> None:
    expected = filled.client.search(
        encoder.encode_query("whale song"), k=2, weights=Weights(0, 0, 1)
    )
    query = VectorStoreQuery(
        query_str="whale song", similarity_top_k=2, mode=Mode.HYBRID, alpha=0.5
    )
    answer = filled.query(query, weights=weights)
    assert answer.similarities == pytest.approx([hit.score for hit in expected])


async def test_an_unknown_option_is_not_swallowed(filled: TrivecVectorStore) -> None:
    query = VectorStoreQuery(query_str="whale")
    options: Any = {"qdrant_filters": 1}
    with pytest.raises(TypeError, match="qdrant_filters"):
        filled.query(query, **options)
    with pytest.raises(TypeError, match="qdrant_filters"):
        await filled.aquery(query, **options)
    with pytest.raises(TypeError):
        filled.add([], **options)
    with pytest.raises(InvalidOptionError, match="unknown weights"):
        filled.query(query, weights={"lexical": 1.0})


def test_our_own_filter_narrows_that_of_the_query(filled: TrivecVectorStore) -> None:
    query = VectorStoreQuery(query_str="whale", similarity_top_k=5, filters=SEA)
    assert set(filled.query(query, filter=F("n") > 0).ids or []) == {"2", "4"}
    assert set(filled.query(query, filter={"n": [0, 1]}).ids or []) == {"0"}


def test_a_given_embedding_is_the_dense_vector(
    filled: TrivecVectorStore, encoder: HashEncoder
) -> None:
    other = encoder.encode_query("red fox at night").dense
    assert other is not None
    query = VectorStoreQuery(query_str="whale", query_embedding=other.tolist(), similarity_top_k=1)
    assert filled.query(query).ids == ["3"]
    query.mode = Mode.HYBRID
    assert filled.query(query, weights=Weights(1, 0, 0)).ids == ["3"]
    assert filled.query(query, weights=Weights(0, 1, 0)).ids == ["4"]


def test_a_query_needs_something_to_search_with(filled: TrivecVectorStore) -> None:
    with pytest.raises(InvalidOptionError, match="query_str"):
        filled.query(VectorStoreQuery())
    with pytest.raises(InvalidOptionError, match="query_str"):
        filled.query(VectorStoreQuery(query_embedding=[0.1] * 32, mode=Mode.HYBRID))


async def test_without_an_encoder_nodes_bring_their_embeddings(store: Store) -> None:
    made = TrivecVectorStore(store)
    nodes = [
        TextNode(id_="a", text="a", embedding=[1.0, 0.0, 0.0]),
        TextNode(id_="b", text="b", embedding=[0.0, 1.0, 0.0]),
    ]
    assert made.add(nodes) == ["a", "b"]
    assert made.client.schema.parts == ("dense",)
    query = VectorStoreQuery(query_embedding=[0.1, 0.9, 0.0], similarity_top_k=1)
    assert made.query(query).ids == ["b"]
    assert (await made.aquery(query)).nodes == [nodes[1].model_copy(update={"embedding": None})]
    with pytest.raises(InvalidOptionError, match="needs a trivec encoder"):
        made.query(VectorStoreQuery(query_str="b", mode=Mode.HYBRID))
    with pytest.raises(InvalidVectorsError, match="'c'"):
        made.add([TextNode(id_="c", text="c")])
    with pytest.raises(InvalidOptionError, match="without an encoder"):
        _ = made.embed_model


@pytest.mark.parametrize("mode", [Mode.DEFAULT, Mode.MMR])
def test_embeddings_of_any_length_are_compared_by_their_cosine(store: Store, mode: Mode) -> None:
    made = TrivecVectorStore(store)
    embeddings = {"near": [0.1, 0.0], "far": [3.0, 4.0]}
    made.add([TextNode(id_=id, text=id, embedding=given) for id, given in embeddings.items()])
    query = VectorStoreQuery(query_embedding=[2.0, 0.0], similarity_top_k=2, mode=mode)
    answer = made.query(query)
    assert answer.ids == ["near", "far"]
    assert answer.similarities == pytest.approx([1, 0.6], abs=1e-3)


def test_a_nodes_own_embedding_is_scaled_beside_an_encoder(
    vector_store: TrivecVectorStore, encoder: HashEncoder
) -> None:
    dense = encoder.encode_query("whale").dense
    assert dense is not None
    vector_store.add([TextNode(id_="a", text="fox", embedding=(5 * dense).tolist())])
    answer = vector_store.query(VectorStoreQuery(query_str="whale"))
    assert answer.similarities == pytest.approx([1], abs=1e-3)


def test_an_embedding_may_be_an_array(filled: TrivecVectorStore, encoder: HashEncoder) -> None:
    dense = encoder.encode_query("red fox at night").dense
    assert dense is not None
    query = VectorStoreQuery(query_embedding=dense, similarity_top_k=1)  # type: ignore[arg-type]
    assert filled.query(query).ids == ["3"]
    empty = VectorStoreQuery(query_embedding=[], query_str="whale song")
    assert filled.query(empty).ids == filled.query(VectorStoreQuery(query_str="whale song")).ids


def test_copies_share_the_encoder_and_the_store_and_are_not_pickled(
    filled: TrivecVectorStore, encoder: HashEncoder
) -> None:
    copied = copy.deepcopy(filled)
    assert copied is not filled
    assert copied.client is filled.client
    query = VectorStoreQuery(query_str="whale song", similarity_top_k=1)
    assert copied.query(query).ids == ["4"]
    retriever = copy.deepcopy(TrivecRetriever(filled.client, encoder, k=1))
    assert retriever.retrieve("whale song")[0].node_id == "4"
    for model in (TrivecEmbedding(encoder), TrivecSparseEmbedding(encoder)):
        question = model.get_query_embedding("whale song")
        assert copy.deepcopy(model).get_query_embedding("whale song") == question
    for made in (filled, TrivecEmbedding(encoder), TrivecRerank(encoder)):
        assert copy.deepcopy(made) is not made
        with pytest.raises(TypeError, match=f"cannot pickle {type(made).__name__}"):
            pickle.dumps(made)


def test_an_embedding_of_another_dimension_is_refused(vector_store: TrivecVectorStore) -> None:
    with pytest.raises(InvalidVectorsError, match="'a' has an embedding of dimension 3"):
        vector_store.add([TextNode(id_="a", text="a", embedding=[1.0, 0.0, 0.0])])
