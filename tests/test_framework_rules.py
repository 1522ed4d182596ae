"""What holds for the classes of both frameworks: imports, errors and secrets."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.load import dumps
from langchain_core.runnables import RunnableLambda
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery

import trivec_langchain as langchain
import trivec_llamaindex as llamaindex
from trivec import Store, open_store
from trivec.errors import AuthenticationError, SchemaMismatchError
from trivec.stores.memory import MemoryBackend
from trivec.testing import HashEncoder

SECRET = "s3cret-key"


@pytest.mark.parametrize(
    ("package", "other_framework"),
    [
        ("trivec_langchain", ["llama_index", "langchain_qdrant", "langchain_milvus"]),
        ("trivec_llamaindex", ["langchain_core", "langchain"]),
    ],
)
def test_a_package_imports_its_framework_only(package: str, other_framework: list[str]) -> None:
    databases = ["qdrant_client", "qdrant_edge", "pymilvus", "milvus_lite", "vespa"]
    names = [*other_framework, *databases, "torch", "transformers"]
    code = f"import sys, {package}; print([n for n in {names!r} if n in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert found.stdout.strip() == "[]"


QUERY = VectorStoreQuery(query_str="whale")
CALLS: list[Callable[[Store], object]] = [
    lambda s: langchain.TrivecVectorStore(s, HashEncoder()).similarity_search("whale"),
    lambda s: langchain.TrivecVectorStore(s, HashEncoder()).add_texts(["whale"]),
    lambda s: langchain.TrivecRetriever(
        vectorstore=langchain.TrivecVectorStore(s, HashEncoder())
    ).batch(["whale"]),
    lambda s: llamaindex.TrivecVectorStore(s, HashEncoder()).query(QUERY),
    lambda s: llamaindex.TrivecVectorStore(s, HashEncoder()).add([TextNode(text="whale")]),
    lambda s: llamaindex.TrivecRetriever(s, HashEncoder()).retrieve("whale"),
]


@pytest.mark.parametrize("call", CALLS)
def test_an_error_of_the_store_reaches_the_user_as_it_is(
    store: Store, monkeypatch: pytest.MonkeyPatch, call: Callable[[Store], object]
) -> None:
    error = AuthenticationError("the server refused the key")
    langchain.TrivecVectorStore(store, HashEncoder()).add_texts(["blue whale"])

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(MemoryBackend, "search", fail)
    monkeypatch.setattr(MemoryBackend, "write", fail)
    with pytest.raises(AuthenticationError) as caught:
        call(store)
    assert caught.value is error


def test_secrets_are_not_written_out() -> None:
    encoder = HashEncoder()
    with open_store("qdrants://localhost:6333/articles", api_key=SECRET) as store:
        vector_store = langchain.TrivecVectorStore(store, encoder)
        retriever = langchain.TrivecRetriever(vectorstore=vector_store)
        reranker = langchain.TrivecReranker(encoder=encoder, store=store)
        nodes = llamaindex.TrivecVectorStore(store, encoder)
        rerank = llamaindex.TrivecRerank(encoder, store=store)
        embed_model = llamaindex.TrivecEmbedding(encoder)
        sparse = llamaindex.TrivecSparseEmbedding(encoder)
        dumped: list[dict[str, Any]] = [
            *(one.model_dump() for one in (retriever, reranker, nodes, rerank, embed_model)),
            *(one.to_dict() for one in (nodes, rerank, embed_model)),
            *(embed_model.to_payload(), sparse.model_dump()),
        ]
        for one in dumped:
            assert not {"vectorstore", "store", "encoder", "_collection", "_encoder"} & set(one)
        shown = [
            *dumped,
            *(one.to_json() for one in (nodes, rerank, embed_model)),
            *(dumps(retriever), dumps(retriever | RunnableLambda(len))),
            *(vector_store, retriever, reranker, nodes, rerank, embed_model, sparse),
            llamaindex.TrivecRetriever(store, encoder),
            langchain.TrivecEmbeddings(encoder),
        ]
        for something in shown:
            assert SECRET not in f"{something!r} {something}"
    assert embed_model.to_payload() == {
        "class_name": "TrivecEmbedding",
        "model_name": "hash",
        "embed_batch_size": 64,
    }


TEMPLATES: dict[type, list[str]] = {
    langchain.TrivecEmbeddings: [
        *("Setup", "Key init args", "Instantiate"),
        *("Embed single text", "Embed multiple texts", "Async"),
    ],
    langchain.TrivecVectorStore: [
        *("Setup", "Key init args — indexing params", "Key init args — client params"),
        *("Instantiate", "Add Documents", "Delete Documents"),
        *("Search", "Search with filter", "Search with score", "Async", "Use as Retriever"),
    ],
    langchain.TrivecRetriever: [
        *("Setup", "Key init args", "Instantiate", "Usage", "Use within a chain"),
    ],
}


@pytest.mark.parametrize("cls", TEMPLATES)
def test_a_class_of_langchain_is_described_as_langchain_asks(cls: type) -> None:
    """The examples in these sections run as doctests."""
    lines = [line.strip() for line in (cls.__doc__ or "").splitlines()]
    places = [lines.index(f"{section}:") for section in TEMPLATES[cls]]
    assert places == sorted(places)


def test_a_collection_of_another_model_is_not_searched(store: Store) -> None:
    encoder, other = HashEncoder(), HashEncoder()
    other.schema = replace(other.schema, model="other")
    langchain.TrivecVectorStore(store, encoder).add_texts(["whale", "fox"], ids=["a", "b"])
    vector_store = langchain.TrivecVectorStore(store, other)
    documents = langchain.TrivecVectorStore(store, encoder).similarity_search("whale")
    nodes = llamaindex.TrivecVectorStore(store, other)
    found = llamaindex.TrivecRetriever(store, encoder).retrieve("whale")
    calls: list[Callable[[], object]] = [
        lambda: vector_store.similarity_search("whale"),
        lambda: vector_store.similarity_search_by_vector([0.1] * 32),
        lambda: vector_store.max_marginal_relevance_search("whale"),
        lambda: vector_store.as_retriever().invoke("whale"),
        lambda: vector_store.search_hits(["whale"]),
        lambda: langchain.TrivecRetriever(vectorstore=vector_store).batch(["whale"]),
        lambda: langchain.TrivecReranker(encoder=other, store=store).score(documents, "whale"),
        lambda: nodes.query(QUERY),
        lambda: nodes.query(replace(QUERY, node_ids=["a"])),
        lambda: nodes.query(replace(QUERY, query_embedding=[0.1] * 32)),
        lambda: llamaindex.TrivecRetriever(store, other).retrieve("whale"),
        lambda: llamaindex.TrivecRerank(other, store=store).postprocess_nodes(
            found, query_str="whale"
        ),
    ]
    for call in calls:
        with pytest.raises(SchemaMismatchError, match="'other'"):
            call()
    other.schema = replace(other.schema, model="")
    assert len(langchain.TrivecVectorStore(store, other).similarity_search("whale")) == 2
