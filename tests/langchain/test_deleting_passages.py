"""A document that was ingested as passages is deleted by its own id, on every store."""

from __future__ import annotations

import asyncio

import pytest

from trivec import Document, Store, ingest, read_parents
from trivec.testing import HashEncoder
from trivec_langchain import TrivecVectorStore


@pytest.fixture
def store(every_store: Store) -> Store:
    return every_store


@pytest.fixture
def articles(store: Store, encoder: HashEncoder) -> list[Document]:
    """Return two documents of a collection that has their passages."""
    store.create(encoder.schema, fields={"parent": str, "lang": str})
    text = "The blue whale sings at night. " * 12
    articles = [Document("a", text, {"lang": "en"}), Document("b", text, {"lang": "de"})]
    ingest(articles, encoder, store, passages=32)
    assert store.count() > 4
    return articles


def test_delete(store: Store, encoder: HashEncoder, articles: list[Document]) -> None:
    vectorstore = TrivecVectorStore(store, encoder)
    assert vectorstore.delete(["a", "nothing"])
    assert read_parents(store, ["a", "b"]) == articles[1:]
    assert asyncio.run(vectorstore.adelete(["b"]))
    assert store.count() == 0


def test_delete_within_a_filter(
    store: Store, encoder: HashEncoder, articles: list[Document]
) -> None:
    TrivecVectorStore(store, encoder, filter={"lang": "en"}).delete(["a", "b"])
    assert read_parents(store, ["a", "b"]) == articles[1:]
