"""How a LlamaIndex vector store keeps the token vectors of a collection that it creates."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import TextNode

from trivec import ColbertStorage, Store, open_store
from trivec.encoders import CachingEncoder
from trivec.errors import InvalidOptionError, SchemaMismatchError
from trivec.testing import HashEncoder
from trivec_llamaindex import TrivecRetriever, TrivecVectorStore

TEXTS = ["the blue whale lives in the sea", "red fox", "whale"]
TOKENS = [8, 3, 2]  # their words and their end
NODES = [TextNode(id_=str(i), text=text) for i, text in enumerate(TEXTS)]
SMALL = ColbertStorage(bits=1, pool=2)


def kept(store: Store) -> list[int]:
    """Return how many token vectors the texts have in the collection."""
    vectors = store.get(["0", "1", "2"], with_vectors=True).vectors
    assert vectors is not None
    assert vectors.colbert is not None
    return [len(vectors.colbert.row(i)) for i in range(len(TEXTS))]


@pytest.mark.parametrize("storage", ["bits=1,pool=2", "prune=1/3", "bits=4,pool=2,prune=1/3"])
@pytest.mark.parametrize("is_text", [True, False])
async def test_the_first_write_creates_the_collection_so(
    store: Store, encoder: HashEncoder, storage: str, is_text: bool
) -> None:
    expected = ColbertStorage.parse(storage)
    made = TrivecVectorStore(store, encoder, colbert=storage if is_text else expected)
    await made.async_add(NODES) if is_text else made.add(NODES)
    assert store.describe().colbert == expected
    assert kept(store) == [expected.kept(tokens) for tokens in TOKENS]
    assert f"colbert={str(expected)!r}" in repr(made)
    retriever = TrivecRetriever(store, encoder, k=1, mode="colbert")
    assert retriever.retrieve("red fox")[0].node_id == "1"


@pytest.mark.parametrize("max_bytes", [0, 10_000_000])
def test_an_index_prunes_what_the_cache_or_its_file_kept(store: Store, max_bytes: int) -> None:
    inner = HashEncoder()
    encoder = CachingEncoder(inner, max_bytes=max_bytes)
    made = TrivecVectorStore(store, encoder, colbert="prune=1/3")
    VectorStoreIndex(
        NODES,
        storage_context=StorageContext.from_defaults(vector_store=made),
        embed_model=made.embed_model,
    )
    assert inner.encoded == len(TEXTS)
    assert kept(store) == [ColbertStorage(prune=1 / 3).kept(tokens) for tokens in TOKENS]


def test_a_dump_holds_it(store: Store, encoder: HashEncoder) -> None:
    made = TrivecVectorStore(store, encoder, colbert=SMALL)
    assert json.loads(made.model_dump_json())["colbert"] == "bits=1,pool=2"
    cls = TrivecVectorStore
    for again in (
        cls(store, encoder, **made.model_dump()),
        cls.from_json(made.to_json(), store=store, encoder=encoder),
        cls.from_dict(made.to_dict(), store=store, encoder=encoder),
        cls(store, encoder).model_copy(update={"colbert": "bits=1,pool=2"}),
    ):
        dumped = again.to_dict()
        assert dumped["colbert"] == "bits=1,pool=2"
        again.add(NODES)
        assert store.describe().colbert == SMALL
        store.drop()
    assert cls(store, encoder).to_dict()["colbert"] is None


BAD = ["bits=3", "pool=0", "dims=64", "bits=1,bits=2", "", "bits=one", 1, {"bits": 1}]


@pytest.mark.parametrize("storage", BAD)
def test_bad_values(tmp_path: Path, encoder: HashEncoder, storage: Any) -> None:
    with open_store(f"archive:{tmp_path}/a") as store:
        with pytest.raises(InvalidOptionError, match=r"colbert|bits"):
            TrivecVectorStore(store, encoder, colbert=storage)
        made = TrivecVectorStore(store, encoder).model_copy(update={"colbert": storage})
        with pytest.raises(InvalidOptionError, match=r"colbert|bits"):
            made.add(NODES)
    assert not list(tmp_path.iterdir())


def test_a_dimension_that_bits_do_not_fill(tmp_path: Path) -> None:
    with open_store(f"archive:{tmp_path}/a") as store:
        made = TrivecVectorStore(store, HashEncoder(colbert=7), colbert="bits=1")
        with pytest.raises(InvalidOptionError, match="multiple of 8, got 7"):
            made.add(NODES)
    assert not list(tmp_path.iterdir())


def test_another_value_than_that_of_the_store_or_of_the_collection(
    store: Store, encoder: HashEncoder
) -> None:
    small = open_store(f"{store.address}?colbert=bits=1,pool=2")
    with pytest.raises(InvalidOptionError, match="'bits=4' and as 'bits=1,pool=2'"):
        TrivecVectorStore(small, encoder, colbert="bits=4")
    for colbert in (None, SMALL, "pool=2,bits=1"):
        TrivecVectorStore(small, encoder, colbert=colbert).add(NODES)
    assert store.describe().colbert == SMALL
    other = TrivecVectorStore(store, encoder, colbert="bits=4")
    with pytest.raises(
        SchemaMismatchError, match=re.escape("as 'bits=1,pool=2', expected 'bits=4'")
    ):
        other.add(NODES)


def test_nodes_with_embeddings_of_their_own_need_no_storage(store: Store) -> None:
    made = TrivecVectorStore(store, colbert="bits=1")
    made.add([TextNode(id_="0", text="whale", embedding=[1.0, 0.0])])
    assert store.schema.colbert is None
