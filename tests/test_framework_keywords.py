"""Keywords that a framework's base classes take for ours are honoured or an error, never dropped.

The methods are found by looking at the classes, so that a new one of a framework must be placed.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
from langchain_core.documents import Document
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery
from pydantic import BaseModel

import trivec_langchain as langchain
import trivec_llamaindex as llamaindex
from trivec import F, Store
from trivec.errors import InvalidOptionError
from trivec.testing import HashEncoder
from trivec_langchain.retriever import StoreRetriever

TEXTS = ["whale", "whale song", "fox", "whale and fox"]
TENANTS = ["a", "b", "a", "b"]
QUERY = VectorStoreQuery(query_str="whale", similarity_top_k=9)


class Case:
    """One collection of two tenants, and an object of each class over it."""

    def __init__(self, store: Store) -> None:
        self.encoder = HashEncoder()
        self.store = store
        self.langchain = langchain.TrivecVectorStore(store, self.encoder)
        self.langchain.add_texts(TEXTS, [{"t": t} for t in TENANTS], ids=list("0123"))
        self.retriever = langchain.TrivecRetriever(vectorstore=self.langchain, k=9)
        self.store_retriever = self.langchain.as_retriever(k=9)
        self.llamaindex = llamaindex.TrivecVectorStore(store, self.encoder)
        self.dense = self.encoder.encode_query("whale").dense.tolist()  # type: ignore[union-attr]


Call = Callable[[Case, dict[str, Any]], object]
Calls = Mapping[str, Call]

DOCUMENT = [Document("seal", metadata={"t": "a"}, id="9")]


def over(name: str, *arguments: object) -> Call:
    """Return a call of a method of LangChain's vector store."""
    return lambda case, options: getattr(case.langchain, name)(*arguments, **options)


def searched(name: str) -> Call:
    return over(name, "whale", 9)


def by_vector(name: str) -> Call:
    return lambda case, options: getattr(case.langchain, name)(case.dense, 9, **options)


def made(name: str, given: list[Any]) -> Call:
    def call(case: Case, options: dict[str, Any]) -> object:
        method = getattr(langchain.TrivecVectorStore, name)
        return method(given, case.encoder, store=case.store, **options)

    return call


def retrieving(of: str) -> Calls:
    """Return the calls of one of LangChain's retrievers."""

    def one(case: Case) -> Any:
        return getattr(case, of)

    async def questions() -> AsyncIterator[str]:
        yield "whale"

    return {
        "invoke": lambda c, o: one(c).invoke("whale", **o),
        "ainvoke": lambda c, o: one(c).ainvoke("whale", **o),
        "batch": lambda c, o: one(c).batch(["whale", "fox"], **o),
        "abatch": lambda c, o: one(c).abatch(["whale", "fox"], **o),
        "batch_as_completed": lambda c, o: one(c).batch_as_completed(["whale", "fox"], **o),
        "abatch_as_completed": lambda c, o: one(c).abatch_as_completed(["whale", "fox"], **o),
        "stream": lambda c, o: one(c).stream("whale", **o),
        "astream": lambda c, o: one(c).astream("whale", **o),
        "astream_log": lambda c, o: one(c).astream_log("whale", **o),
        "astream_events": lambda c, o: one(c).astream_events("whale", version="v2", **o),
        "transform": lambda c, o: one(c).transform(iter(["whale"]), **o),
        "atransform": lambda c, o: one(c).atransform(questions(), **o),
        "bind": lambda c, o: one(c).bind(**o).invoke("whale"),
    }


OURS: Mapping[type, Calls] = {
    langchain.TrivecVectorStore: {
        "__init__": lambda c, o: langchain.TrivecVectorStore(
            c.store, c.encoder, **o
        ).similarity_search("whale", 9),
        **{
            name: searched(name)
            for name in (
                *("similarity_search", "asimilarity_search"),
                *("similarity_search_with_score", "asimilarity_search_with_score"),
                *("max_marginal_relevance_search", "amax_marginal_relevance_search"),
            )
        },
        **{
            name: lambda c, o, name=name: getattr(c.langchain, name)(  # type: ignore[misc]
                "whale", 9, mode="dense", **o
            )
            for name in (
                "similarity_search_with_relevance_scores",
                "asimilarity_search_with_relevance_scores",
            )
        },
        **{
            name: by_vector(name)
            for name in (
                *("similarity_search_by_vector", "asimilarity_search_by_vector"),
                "max_marginal_relevance_search_by_vector",
                "amax_marginal_relevance_search_by_vector",
            )
        },
        **{
            name: over(name, ["whale", "fox"], 9)
            for name in (
                *("search_hits", "asearch_hits"),
                *("search_hits_or_errors", "asearch_hits_or_errors"),
            )
        },
        "search": over("search", "whale", "similarity"),
        "asearch": over("asearch", "whale", "mmr"),
        "as_retriever": lambda c, o: c.langchain.as_retriever(k=9, **o).invoke("whale"),
        "add_documents": over("add_documents", DOCUMENT),
        "aadd_documents": over("aadd_documents", DOCUMENT),
        "add_texts": over("add_texts", ["seal"]),
        "aadd_texts": over("aadd_texts", ["seal"]),
        "delete": over("delete", ["unknown"]),
        "adelete": over("adelete", ["unknown"]),
        "from_texts": made("from_texts", []),
        "afrom_texts": made("afrom_texts", []),
        "from_documents": made("from_documents", []),
        "afrom_documents": made("afrom_documents", []),
    },
    langchain.TrivecRetriever: {
        "__init__": lambda c, o: langchain.TrivecRetriever(
            vectorstore=c.langchain, k=9, **o
        ).invoke("whale"),
        **retrieving("retriever"),
    },
    StoreRetriever: {
        "__init__": lambda c, o: StoreRetriever(vectorstore=c.langchain, **o),
        **retrieving("store_retriever"),
        "add_documents": lambda c, o: c.store_retriever.add_documents(DOCUMENT, **o),
        "aadd_documents": lambda c, o: c.store_retriever.aadd_documents(DOCUMENT, **o),
    },
    langchain.TrivecReranker: {
        "__init__": lambda c, o: langchain.TrivecReranker(encoder=c.encoder, **o),
    },
    langchain.TrivecEmbeddings: {},
    langchain.TrivecTranslator: {},
    llamaindex.TrivecVectorStore: {
        "__init__": lambda c, o: llamaindex.TrivecVectorStore(c.store, c.encoder, **o).query(QUERY),
        "from_dict": lambda c, o: llamaindex.TrivecVectorStore.from_dict(
            {}, store=c.store, encoder=c.encoder, **o
        ).query(QUERY),
        "from_json": lambda c, o: llamaindex.TrivecVectorStore.from_json(
            "{}", store=c.store, encoder=c.encoder, **o
        ).query(QUERY),
        "query": lambda c, o: c.llamaindex.query(QUERY, **o),
        "aquery": lambda c, o: c.llamaindex.aquery(QUERY, **o),
        "add": lambda c, o: c.llamaindex.add([TextNode(text="seal")], **o),
        "async_add": lambda c, o: c.llamaindex.async_add([TextNode(text="seal")], **o),
        "delete": lambda c, o: c.llamaindex.delete("unknown", **o),
        "adelete": lambda c, o: c.llamaindex.adelete("unknown", **o),
        "delete_nodes": lambda c, o: c.llamaindex.delete_nodes(["unknown"], **o),
        "adelete_nodes": lambda c, o: c.llamaindex.adelete_nodes(["unknown"], **o),
    },
    llamaindex.TrivecRetriever: {
        "__init__": lambda c, o: llamaindex.TrivecRetriever(c.store, c.encoder, **o).retrieve(
            "whale"
        ),
    },
    llamaindex.TrivecEmbedding: {
        "__init__": lambda c, o: llamaindex.TrivecEmbedding(c.encoder, **o),
        "from_dict": lambda c, o: llamaindex.TrivecEmbedding.from_dict({}, encoder=c.encoder, **o),
        "from_json": lambda c, o: llamaindex.TrivecEmbedding.from_json(
            "{}", encoder=c.encoder, **o
        ),
    },
    llamaindex.TrivecSparseEmbedding: {
        "__init__": lambda c, o: llamaindex.TrivecSparseEmbedding(c.encoder, **o),
    },
    llamaindex.TrivecRerank: {
        "__init__": lambda c, o: llamaindex.TrivecRerank(c.encoder, **o),
        "from_dict": lambda c, o: llamaindex.TrivecRerank.from_dict({}, encoder=c.encoder, **o),
        "from_json": lambda c, o: llamaindex.TrivecRerank.from_json("{}", encoder=c.encoder, **o),
    },
}

DUMP = "chooses how an object is written, and reads nothing"
CHAIN = "the keywords are LangChain's own, or names of steps and outputs of a chain"
PIPELINE = "LlamaIndex hands the keywords of a pipeline to each of its steps"
NOT_OURS = {
    **dict.fromkeys(("dict", "json", "to_dict", "to_json", "schema_json"), DUMP),
    **dict.fromkeys(("construct", "model_construct"), "pydantic's way around all checks"),
    "update_forward_refs": "pydantic's, about annotations",
    **dict.fromkeys(("assign", "with_config"), CHAIN),
    **dict.fromkeys(("configurable_fields", "configurable_alternatives"), CHAIN),
    "stream_events": "the blocking twin, which LangChain has for chat models only",
    **dict.fromkeys(("__call__", "acall"), PIPELINE),
    **dict.fromkeys(("get_text_embedding_batch", "aget_text_embedding_batch"), PIPELINE),
}


def takes_any_keyword(method: object) -> bool:
    try:
        parameters = inspect.signature(method).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def methods(cls: type) -> set[str]:
    """Return the public methods that take any keyword, in the class or in one of its bases."""
    names = {name for name in dir(cls) if not name.startswith("_")} | {"__init__", "__call__"}
    return {
        name
        for name in names
        if any(
            name in vars(base) and takes_any_keyword(getattr(base, name, None))
            for base in cls.__mro__
            if base not in (object, type)
        )
    }


def test_every_public_class_is_here() -> None:
    packages = (langchain, llamaindex)
    public = {getattr(package, name) for package in packages for name in package.__all__}
    assert {one for one in public if isinstance(one, type)} | {StoreRetriever} == set(OURS)


@pytest.mark.parametrize("cls", OURS)
def test_every_method_that_takes_any_keyword_is_placed(cls: type) -> None:
    found = methods(cls)
    assert found - set(NOT_OURS) == set(OURS[cls])
    assert not set(OURS[cls]) & set(NOT_OURS)


def result_of(call: Call, case: Case, options: dict[str, Any]) -> object:
    """Return what a call gives, of whatever kind it is."""

    async def waited(found: Any) -> object:
        return [one async for one in found] if isinstance(found, AsyncIterator) else await found

    found = call(case, options)
    if inspect.isawaitable(found) or isinstance(found, AsyncIterator):
        return asyncio.run(waited(found))
    return list(found) if isinstance(found, Iterator) else found


CALLS = [pytest.param(call, id=f"{cls.__module__.split('.')[0]}.{cls.__name__}.{name}")
         for cls, calls in OURS.items() for name, call in calls.items()]  # fmt: skip


@pytest.mark.filterwarnings("ignore:astream_log is deprecated")
@pytest.mark.parametrize("call", CALLS)
def test_an_unknown_keyword_is_an_error(store: Store, call: Call) -> None:
    case = Case(store)
    with pytest.raises((InvalidOptionError, TypeError, ValueError), match="nonsense"):
        result_of(call, case, {"nonsense": 1})


WITHOUT_FILTER = {
    *("add_documents", "aadd_documents", "add_texts", "aadd_texts", "add", "async_add"),
    *("delete", "adelete", "delete_nodes", "adelete_nodes"),
    *("from_texts", "afrom_texts", "from_documents", "afrom_documents"),
}
"""What has no results to be narrowed; what these do with a filter is in the tests of bounds."""
FILTERED = [
    pytest.param(call, id=f"{cls.__module__.split('.')[0]}.{cls.__name__}.{name}")
    for cls, calls in OURS.items()
    for name, call in calls.items()
    if name not in WITHOUT_FILTER
    and cls in (langchain.TrivecVectorStore, langchain.TrivecRetriever, StoreRetriever,
                llamaindex.TrivecVectorStore)
    and (cls, name) != (StoreRetriever, "__init__")
]  # fmt: skip


def texts_in(found: object) -> set[str]:
    """Return which of the stored texts a result shows, however it is wrapped."""
    shown = repr(found)
    return {text for text in TEXTS if f"'{text}'" in shown}


@pytest.mark.filterwarnings("ignore:astream_log is deprecated")
@pytest.mark.parametrize("call", FILTERED)
def test_a_filter_bounds_the_result(store: Store, call: Call) -> None:
    case = Case(store)
    assert texts_in(result_of(call, case, {})) == set(TEXTS)
    for condition in (F("t") == "a", {"t": "a"}):
        assert texts_in(result_of(call, case, {"filter": condition})) == {"whale", "fox"}


# --- as_retriever ------------------------------------------------------------------------------


def test_as_retriever_honours_what_it_is_given(store: Store) -> None:
    made = Case(store).langchain
    retriever = made.as_retriever(k=1, filter={"t": "b"}, mode="sparse", weights={"sparse": 1})
    assert retriever.search_kwargs["filter"] == (F("t") == "b")
    assert [d.metadata for d in retriever.invoke("whale")] == [{"t": "b"}]
    assert made.as_retriever(mode="sparse").invoke("seal") == []
    diverse = made.as_retriever(search_type="mmr", k=2, fetch_k=3, lambda_mult=0, filter={"t": "b"})
    assert {d.metadata["t"] for d in diverse.invoke("whale")} == {"b"}
    near: Any = {"search_type": "similarity_score_threshold", "mode": "dense", "tags": ["x"]}
    threshold = made.as_retriever(score_threshold=0.99, **near)
    assert [d.page_content for d in threshold.invoke("whale")] == ["whale"]
    assert len(made.as_retriever(score_threshold=0, **near).invoke("whale")) == 4
    assert threshold.tags == ["x"]
    assert made.as_retriever(name="mine").name == "mine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "nonsense"}, "mode='nonsense'"),
        ({"k": 0}, "k=0"),
        ({"candidates": "many"}, "candidates"),
        ({"weights": {"lexical": 1}}, "unknown weights"),
        ({"filter": {"t": {"$near": 1}}}, "unknown operator"),
        ({"filter": "t = 'a'"}, "is not a filter; parse_filter"),
        ({"search_type": "nonsense"}, "search_type='nonsense'"),
        ({"search_kwargs": {"nonsense": 1}}, "unknown search option nonsense"),
        ({"search_kwargs": {"k": 1}, "k": 1}, "k is in search_kwargs and a keyword too"),
        ({"lambda_mult": 0.5}, "lambda_mult needs search_type='mmr'"),
        ({"fetch_k": 0, "search_type": "mmr"}, "k=0"),
        ({"lambda_mult": 7, "search_type": "mmr"}, "lambda_mult=7"),
        ({"score_threshold": 0.5}, "needs search_type='similarity_score_threshold'"),
        (
            {"score_threshold": 0.5, "search_type": "similarity_score_threshold"},
            "no relevance scores",
        ),
        ({"embedding": None}, "unknown search option embedding"),
    ],
)
def test_as_retriever_refuses_what_it_cannot_honour(
    store: Store, options: Any, message: str
) -> None:
    made = Case(store).langchain
    with pytest.raises(ValueError, match=message):
        made.as_retriever(**options)
    fields = {"search_type", "search_kwargs"}
    if set(options) <= fields:
        with pytest.raises(ValueError, match="nonsense"):
            StoreRetriever(vectorstore=made, **options)


def test_a_retrievers_filter_holds_together_with_that_of_the_call(store: Store) -> None:
    case = Case(store)
    bound = case.langchain.as_retriever(k=9, filter={"t": "a"})
    for found in (
        bound.invoke("whale", filter={"t": "b"}),
        asyncio.run(bound.ainvoke("whale", filter=F("t") == "b")),
        langchain.TrivecRetriever(vectorstore=case.langchain, filter={"t": "a"}).invoke(
            "whale", filter={"t": "b"}
        ),
    ):
        assert found == []
    assert {d.metadata["t"] for d in bound.invoke("whale", filter=None)} == {"a"}


def test_a_retriever_is_checked_when_it_is_made(store: Store) -> None:
    made = Case(store).langchain
    wrong: list[dict[str, Any]] = [{"k": 0}, {"candidates": -1}, {"mode": "x"}, {"filter": 3}]
    for options in wrong:
        with pytest.raises(ValueError, match="1 validation error"):
            langchain.TrivecRetriever(vectorstore=made, **options)


DECLARED = (langchain.TrivecVectorStore, llamaindex.TrivecRetriever)
"""Plain classes whose constructors take search options, which a TypedDict declares."""


def test_only_pydantic_models_have_constructors_of_any_keyword() -> None:
    for cls, calls in OURS.items():
        assert ("__init__" in calls) == (issubclass(cls, BaseModel) or cls in DECLARED)
