"""What the classes of both frameworks write down, they read again; copies are whole."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.load import dumpd
from langchain_core.runnables import ConfigurableField
from langchain_core.structured_query import Comparator, Comparison, Operation, Operator
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)
from llama_index.core.vector_stores.types import VectorStoreQuery
from pydantic import BaseModel

import trivec_langchain as langchain
import trivec_llamaindex as llamaindex
from trivec import F, Filter, Store, Weights, open_store
from trivec.errors import InvalidFilterError, InvalidOptionError
from trivec.filters.dicts import as_filter
from trivec.testing import HashEncoder
from trivec_langchain.documents import to_langchain
from trivec_langchain.retriever import StoreRetriever

ENCODER = HashEncoder()
NOON = datetime(2024, 6, 1, 12, tzinfo=timezone(timedelta(hours=2)))

paths = st.sampled_from(["a", "b.c", "operator", "field", "value", "conditions", "filters"])
scalars = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([0, 1, 0.0, 1.0, True, False, "1", "true", "2024-06-01", "AND", ""])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.datetimes(timezones=st.just(UTC))
)
ordered = st.integers(-(2**63), 2**63 - 1) | st.datetimes() | st.floats(-1e9, 1e9)
lists = st.lists(scalars, max_size=3)
leaves: st.SearchStrategy[Filter] = st.one_of(
    st.builds(lambda p, v: F(p) == v, paths, scalars),
    st.builds(lambda p, v: F(p) != v, paths, scalars),
    st.builds(lambda p, v: F(p) >= v, paths, ordered),
    st.builds(lambda p, v: F(p) < v, paths, ordered),
    st.builds(lambda p, v: F(p).in_(v), paths, lists),
    st.builds(lambda p, v: F(p).not_in(v), paths, lists),
    st.builds(lambda p, v: F(p).all(v), paths, lists),
    st.builds(lambda p, v: F(p).contains(v), paths, scalars),
    st.builds(lambda p: F(p).exists(), paths),
    st.builds(lambda p: F(p).is_null(), paths),
    st.builds(lambda p: F(p).text("x"), paths),
)
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        st.builds(lambda a: ~a, inner),
    ),
    max_leaves=5,
)
all_weights = st.builds(Weights, *[st.floats(0.01, 10)] * 3)


@pytest.fixture(scope="module")
def opened() -> Iterator[Store]:
    with open_store("memory:/framework-dumps") as store:
        yield store


def dumps(one: BaseModel) -> list[dict[str, Any]]:
    """Return everything that an object writes down as arguments of its constructor."""
    found = [one.model_dump(), one.model_dump(mode="json"), json.loads(one.model_dump_json())]
    return [*found, dict(one.model_dump(exclude_unset=True)), json.loads(json.dumps(found[0]))]


@settings(max_examples=25, deadline=None)
@given(condition=filters, weights=all_weights)
def test_a_retriever_of_langchain(opened: Store, condition: Filter, weights: Weights) -> None:
    made = langchain.TrivecVectorStore(opened, ENCODER)
    options: dict[str, Any] = {"k": 3, "mode": "rrf", "candidates": 7, "tags": ["x"]}
    options |= {"parents": True, "per_group": 2, "evidence": 1, "score_key": "score"}
    retriever = langchain.TrivecRetriever(
        vectorstore=made, filter=condition, weights=weights, **options
    )
    for dump in dumps(retriever):
        assert langchain.TrivecRetriever(vectorstore=made, **dump) == retriever
        assert langchain.TrivecRetriever(vectorstore=made, **dump).filter == condition
    own = made.as_retriever(filter=condition, weights=weights, k=2, metadata={"a": 1})
    for dump in dumps(own):
        again = StoreRetriever(vectorstore=made, **dump)
        assert again == own
        assert again.search_kwargs["filter"] == condition
        assert again.search_kwargs["weights"] == weights


@settings(max_examples=25, deadline=None)
@given(condition=filters, weights=all_weights)
def test_a_vector_store_of_llamaindex(opened: Store, condition: Filter, weights: Weights) -> None:
    fields: dict[str, Any] = {"a": int, "tags": list[str], "when": datetime}
    made = llamaindex.TrivecVectorStore(
        opened,
        ENCODER,
        weights=weights,
        candidates=9,
        filter=condition,
        group_by="ref_doc_id",
        per_group=3,
        evidence=2,
        fields=fields,
        colbert="bits=4,pool=2,prune=1/3",
    )
    for dump in dumps(made):
        same_store(llamaindex.TrivecVectorStore(opened, ENCODER, **dump), made)
    cls = llamaindex.TrivecVectorStore
    same_store(cls.from_dict(made.to_dict(), store=opened, encoder=ENCODER), made)
    same_store(cls.from_json(made.to_json(), store=opened, encoder=ENCODER), made)
    assert made.to_dict()["class_name"] == "TrivecVectorStore"


def same_store(again: llamaindex.TrivecVectorStore, made: llamaindex.TrivecVectorStore) -> None:
    names = ("weights", "candidates", "filter", "fields", "colbert")
    for name in (*names, "group_by", "per_group", "evidence", "parents"):
        assert getattr(again, name) == getattr(made, name), name


def metadata_filters() -> st.SearchStrategy[MetadataFilters]:
    values = st.text("abc", max_size=3) | st.integers(-9, 9) | st.floats(-9, 9)
    some = st.lists(st.text("ab", max_size=2), min_size=1) | st.lists(
        st.integers(-9, 9), min_size=1
    )
    compared = st.sampled_from([FilterOperator.EQ, FilterOperator.NE])
    leaf: st.SearchStrategy[Any] = st.builds(
        MetadataFilter, key=st.sampled_from("ab"), value=values, operator=compared
    ) | st.builds(
        MetadataFilter, key=st.sampled_from("ab"), value=some, operator=st.just(FilterOperator.IN)
    )
    group = st.recursive(
        leaf,
        lambda inner: st.builds(
            MetadataFilters,
            filters=st.lists(inner, max_size=3),
            condition=st.sampled_from(list(FilterCondition)),
        ),
        max_leaves=4,
    )
    return st.builds(
        MetadataFilters,
        filters=st.lists(group, max_size=3),
        condition=st.sampled_from(list(FilterCondition)),
    )


@settings(max_examples=25, deadline=None)
@given(condition=metadata_filters())
def test_filters_of_llamaindex(opened: Store, condition: MetadataFilters) -> None:
    made = llamaindex.TrivecVectorStore(opened, ENCODER, filter=condition)
    for dump in dumps(made):
        again = llamaindex.TrivecVectorStore(opened, ENCODER, **dump)
        assert again.filter == condition
        assert repr(again.filter) == repr(condition)


def test_filters_of_langchain(opened: Store) -> None:
    made = langchain.TrivecVectorStore(opened, ENCODER)
    structured = Operation(
        Operator.AND,
        [
            Comparison(Comparator.GTE, "year", 2020),
            Operation(Operator.NOT, [Comparison(Comparator.EQ, "lang", "de")]),
        ],
    )
    expected = (F("year") >= 2020) & ~(F("lang") == "de")
    retriever = langchain.TrivecRetriever(vectorstore=made, filter=structured)
    assert retriever.filter == expected
    retriever.filter = structured  # not checked when it is set
    for dump in dumps(retriever):
        assert langchain.TrivecRetriever(vectorstore=made, **dump).filter == expected


@pytest.mark.parametrize("mode", ["dense", "sparse", "colbert", "hybrid"])
def test_rerankers(mode: Any) -> None:
    weights = Weights(0.1, 0.2, 0.7)
    first = langchain.TrivecReranker(encoder=ENCODER, mode=mode, weights=weights, top_n=2)
    for dump in dumps(first):
        assert langchain.TrivecReranker(encoder=ENCODER, **dump).weights == weights
        assert langchain.TrivecReranker(encoder=ENCODER, **dump).model_dump() == first.model_dump()
    second = llamaindex.TrivecRerank(ENCODER, mode=mode, weights=weights, top_n=2)
    cls = llamaindex.TrivecRerank
    again = [cls(ENCODER, **dump) for dump in dumps(second)]
    again += [cls.from_dict(second.to_dict(), encoder=ENCODER)]
    again += [cls.from_json(second.to_json(), encoder=ENCODER)]
    for one in again:
        assert (one.mode, one.weights, one.top_n) == (mode, weights, 2)


def test_embedding_models() -> None:
    for made in (
        llamaindex.TrivecEmbedding(ENCODER, embed_batch_size=3, for_store=True, num_workers=2),
        llamaindex.TrivecSparseEmbedding(ENCODER, embed_batch_size=3, num_workers=2),
    ):
        for dump in dumps(made):
            again = type(made)(ENCODER, **dump)
            assert again.model_dump() == made.model_dump()
            assert again.embed_batch_size == 3
        with pytest.raises(InvalidOptionError, match="model_name='other'"):
            type(made)(ENCODER, model_name="other")


# --- plain dicts that look like a dump -----------------------------------------------------------


def test_fields_named_as_the_parts_of_a_dump() -> None:
    metadata = {"operator": "Vodafone", "field": "x", "lang": "en"}
    plain: list[dict[str, Any]] = [
        {"operator": "Vodafone"},
        {"operator": "Vodafone", "lang": "en"},
        {"operator": "Vodafone", "field": "x", "lang": "en"},
        {"operator": {"$eq": "Vodafone"}, "field": "x"},
        {"operator": ["Vodafone"], "field": "x"},
    ]
    for condition in plain:
        assert as_filter(condition).matches(metadata), condition
        assert not as_filter(condition).matches({}), condition
    for unclear in ({"operator": "Vodafone", "field": "x"}, {"operator": "and", "conditions": []}):
        with pytest.raises(InvalidFilterError, match=r"\$eq"):
            as_filter(unclear)
    assert as_filter({"operator": "==", "field": "lang", "value": "en"}) == (F("lang") == "en")


def test_a_filter_that_no_database_knows_cannot_bound_a_store(opened: Store) -> None:
    insensitive = MetadataFilters(
        filters=[MetadataFilter(key="a", value="x", operator=FilterOperator.TEXT_MATCH_INSENSITIVE)]
    )
    with pytest.raises(InvalidFilterError, match="text_match_insensitive"):
        llamaindex.TrivecVectorStore(opened, ENCODER, filter=insensitive)


# --- use after reading and copying ---------------------------------------------------------------


@pytest.fixture
def filled(store: Store) -> langchain.TrivecVectorStore:
    made = langchain.TrivecVectorStore(store, ENCODER)
    made.add_texts(["whale", "fox"], [{"a": 1}, {"a": True}], ids=["one", "true"])
    return made


def ids(found: Any) -> list[str]:
    return [document.id for document in found]


def test_a_retriever_that_was_written_and_read_finds_the_same(
    filled: langchain.TrivecVectorStore,
) -> None:
    retriever = langchain.TrivecRetriever(vectorstore=filled, filter=F("a") == 1)
    again = langchain.TrivecRetriever(vectorstore=filled, **json.loads(retriever.model_dump_json()))
    assert ids(again.invoke("fox")) == ["one"]
    own = filled.as_retriever(filter=F("a") == True)  # noqa: E712
    read = StoreRetriever(vectorstore=filled, **json.loads(own.model_dump_json()))
    assert ids(read.invoke("whale")) == ["true"]
    assert dumpd(retriever)["type"] == "not_implemented"


def test_fields_that_are_configured_or_updated_in_a_copy(
    filled: langchain.TrivecVectorStore,
) -> None:
    retriever = langchain.TrivecRetriever(vectorstore=filled)
    dumped = (F("a") == 1).to_dict()
    for condition in (F("a") == 1, {"a": 1}, dumped):
        copied = retriever.model_copy(update={"filter": condition})
        assert ids(copied.invoke("fox")) == ["one"]
        assert copied.model_dump()["filter"] == dumped
        configurable = retriever.configurable_fields(filter=ConfigurableField(id="f"))
        found = configurable.with_config(configurable={"f": condition}).invoke("fox")
        assert ids(found) == ["one"]
    nodes = llamaindex.TrivecVectorStore(filled.store, ENCODER)
    query = VectorStoreQuery(query_str="fox", similarity_top_k=9)
    bound = nodes.model_copy(update={"filter": {"a": 1}})
    assert bound.query(query).ids == ["one"]
    assert [node.node_id for node in bound.get_nodes()] == ["one"]
    assert len(nodes.query(query).ids or []) == 2


def everything(store: Store) -> list[Any]:
    """Return an object of each class of both frameworks."""
    made = langchain.TrivecVectorStore(store, ENCODER, filter={"a": 1})
    return [
        made,
        made.as_retriever(k=1, metadata={"m": [1]}),
        langchain.TrivecRetriever(vectorstore=made, filter={"a": 1}, metadata={"m": [1]}),
        langchain.TrivecReranker(encoder=ENCODER, store=store),
        langchain.TrivecEmbeddings(ENCODER),
        llamaindex.TrivecVectorStore(store, ENCODER, filter={"a": 1}),
        llamaindex.TrivecRetriever(store, ENCODER, filters={"a": 1}),
        llamaindex.TrivecEmbedding(ENCODER),
        llamaindex.TrivecSparseEmbedding(ENCODER),
        llamaindex.TrivecRerank(ENCODER, store=store),
    ]


def answer(one: Any, store: Store) -> object:
    """Return what an object finds or makes, by whatever it is for."""
    documents = [hit.document for hit in store.search(ENCODER.encode_query("whale"))]
    if isinstance(one, langchain.TrivecVectorStore):
        return ids(one.similarity_search("fox"))
    if isinstance(one, langchain.TrivecReranker):
        return one.score([to_langchain(d) for d in documents], "fox")
    if isinstance(one, langchain.TrivecEmbeddings):
        return one.embed_query("fox")
    if isinstance(one, llamaindex.TrivecVectorStore):
        return one.query(VectorStoreQuery(query_str="fox")).ids
    if isinstance(one, llamaindex.TrivecEmbedding | llamaindex.TrivecSparseEmbedding):
        return one.get_query_embedding("fox")
    if isinstance(one, llamaindex.TrivecRetriever):
        return [found.node_id for found in one.retrieve("fox")]
    if isinstance(one, llamaindex.TrivecRerank):
        found = llamaindex.TrivecRetriever(store, ENCODER).retrieve("whale")
        return [node.score for node in one.postprocess_nodes(found, query_str="fox")]
    return ids(one.invoke("fox"))


WAYS: list[Callable[[Any], Any]] = [
    copy.copy,
    copy.deepcopy,
    lambda one: copy.deepcopy({"in": [one]})["in"][0],
    lambda one: one.model_copy(deep=True) if isinstance(one, BaseModel) else copy.deepcopy(one),
]


@pytest.mark.parametrize("way", WAYS, ids=["copy", "deepcopy", "nested", "model_copy"])
def test_copies_of_every_class_share_encoder_and_store(
    filled: langchain.TrivecVectorStore, way: Callable[[Any], Any]
) -> None:
    store = filled.store
    for one in everything(store):
        expected = answer(one, store)
        copied = way(one)
        assert copied is not one
        assert type(copied) is type(one)
        assert answer(copied, store) == expected
        for other in (one, copied):
            for name in ("store", "client"):
                if getattr(other, name, None) is not None:
                    assert getattr(other, name) is store
        del one, copied, other


def test_a_deep_copy_shares_nothing_else(filled: langchain.TrivecVectorStore) -> None:
    for retriever in (
        langchain.TrivecRetriever(vectorstore=filled, metadata={"m": [1]}),
        filled.as_retriever(k=1, metadata={"m": [1]}),
    ):
        copied = copy.deepcopy(retriever)
        assert copied.vectorstore is filled
        assert copied.metadata is not None
        copied.metadata["m"].append(2)
        assert retriever.metadata == {"m": [1]}


def test_no_class_is_pickled_half(filled: langchain.TrivecVectorStore) -> None:
    for one in everything(filled.store):
        with pytest.raises(TypeError, match=f"cannot pickle {type(one).__name__}"):
            pickle.dumps(one)
