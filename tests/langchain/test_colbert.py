"""How a LangChain vector store keeps the token vectors of a collection that it creates."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from trivec import ColbertStorage, Store, open_store
from trivec.errors import InvalidOptionError, SchemaMismatchError
from trivec.testing import HashEncoder
from trivec_langchain import TrivecEmbeddings, TrivecVectorStore

TEXTS = ["the blue whale lives in the sea", "red fox", ""]
TOKENS = [8, 3, 1]  # their words and their end
SMALL = ColbertStorage(bits=1, pool=2)


def kept(store: Store) -> list[int]:
    """Return how many token vectors the texts have in the collection."""
    vectors = store.get(["0", "1", "2"], with_vectors=True).vectors
    assert vectors is not None
    assert vectors.colbert is not None
    return [len(vectors.colbert.row(i)) for i in range(len(TEXTS))]


@pytest.mark.parametrize("storage", ["bits=1,pool=2", "prune=1/3", "bits=4,pool=2,prune=1/3"])
@pytest.mark.parametrize("is_text", [True, False])
def test_the_first_write_creates_the_collection_so(
    store: Store, encoder: HashEncoder, storage: str, is_text: bool
) -> None:
    expected = ColbertStorage.parse(storage)
    made = TrivecVectorStore(store, encoder, colbert=storage if is_text else expected)
    made.add_texts(TEXTS, ids=["0", "1", "2"])
    assert store.describe().colbert == expected
    assert kept(store) == [expected.kept(tokens) for tokens in TOKENS]
    assert made.similarity_search("blue whale", k=1, mode="colbert")[0].id == "0"
    assert f"colbert={str(expected)!r}" in repr(made)


DOCUMENTS = [Document(text) for text in TEXTS]
CALLS: list[Callable[..., TrivecVectorStore | Awaitable[TrivecVectorStore]]] = [
    lambda **options: TrivecVectorStore.from_texts(TEXTS, **options),
    lambda **options: TrivecVectorStore.afrom_texts(TEXTS, **options),
    lambda **options: TrivecVectorStore.from_documents(DOCUMENTS, **options),
    lambda **options: TrivecVectorStore.afrom_documents(DOCUMENTS, **options),
]


@pytest.mark.parametrize("call", CALLS)
async def test_constructors_that_write(
    store: Store,
    encoder: HashEncoder,
    call: Callable[..., TrivecVectorStore | Awaitable[TrivecVectorStore]],
) -> None:
    options: dict[str, Any] = {"embedding": encoder, "store": store, "ids": ["0", "1", "2"]}
    made = call(**options, colbert="bits=2,prune=1/3")
    if not isinstance(made, TrivecVectorStore):
        await made
    storage = ColbertStorage(bits=2, prune=1 / 3)
    assert store.describe().colbert == storage
    assert kept(store) == [storage.kept(tokens) for tokens in TOKENS]


def test_pruning_of_vectors_that_the_cache_kept(store: Store, encoder: HashEncoder) -> None:
    made = TrivecVectorStore(store, encoder, colbert="prune=1/3")
    embeddings = made.embeddings
    assert isinstance(embeddings, TrivecEmbeddings)
    made.add_texts(TEXTS[:1], ids=["0"])
    made.search_hits(TEXTS)  # remembers the texts as questions
    embeddings.embed_documents(TEXTS)
    made.add_texts(TEXTS, ids=["0", "1", "2"])
    assert kept(store) == [ColbertStorage(prune=1 / 3).kept(tokens) for tokens in TOKENS]


BAD = ["bits=3", "pool=0", "dims=64", "bits=1,bits=2", "", "bits=one", 1, {"bits": 1}]


@pytest.mark.parametrize("storage", BAD)
def test_bad_values(tmp_path: Path, encoder: HashEncoder, storage: Any) -> None:
    with open_store(f"archive:{tmp_path}/a") as store:
        with pytest.raises(InvalidOptionError, match=r"colbert|bits"):
            TrivecVectorStore(store, encoder, colbert=storage)
        with pytest.raises(InvalidOptionError, match=r"colbert|bits"):
            TrivecVectorStore.from_texts(TEXTS, encoder, store=store, colbert=storage)
    assert not list(tmp_path.iterdir())


def test_a_dimension_that_bits_do_not_fill(tmp_path: Path) -> None:
    with open_store(f"archive:{tmp_path}/a") as store:
        made = TrivecVectorStore(store, HashEncoder(colbert=7), colbert="bits=1")
        with pytest.raises(InvalidOptionError, match="multiple of 8, got 7"):
            made.add_texts(TEXTS)
    assert not list(tmp_path.iterdir())


def test_another_value_than_that_of_the_store_or_of_the_collection(
    store: Store, encoder: HashEncoder
) -> None:
    small = open_store(f"{store.address}?colbert=bits=1,pool=2")
    with pytest.raises(InvalidOptionError, match="'bits=4' and as 'bits=1,pool=2'"):
        TrivecVectorStore(small, encoder, colbert="bits=4")
    for colbert in (None, SMALL, "pool=2,bits=1"):
        TrivecVectorStore(small, encoder, colbert=colbert).add_texts(TEXTS)
    assert store.describe().colbert == SMALL
    other = TrivecVectorStore(store, encoder, colbert="bits=4")
    with pytest.raises(
        SchemaMismatchError, match=re.escape("as 'bits=1,pool=2', expected 'bits=4'")
    ):
        other.add_texts(["seal"])
    assert TrivecVectorStore(store, encoder).add_texts(["seal"], ids=["s"]) == ["s"]


def test_embeddings_without_token_vectors_need_no_storage(store: Store) -> None:
    embeddings = DeterministicFakeEmbedding(size=6)
    made = TrivecVectorStore(store, embeddings, colbert="bits=1")
    assert made.add_texts(["whale"], ids=["0"]) == ["0"]
    assert store.schema.colbert is None
