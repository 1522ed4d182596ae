"""A collection that the first write creates."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import numpy as np
import pytest
from trivec.stores.lazy import LazyStore

from trivec import Document, F, Schema, Store, Vectors, Weights, open_store
from trivec.errors import (
    InvalidFilterError,
    InvalidOptionError,
    SchemaMismatchError,
)
from trivec.filters import And
from trivec.search import Search
from trivec.testing import HashEncoder

TEXTS = ["blue whale", "grey seal", "red fox", "whale song", "fox den"]
DOCUMENTS = [Document(str(i), text, {"n": i}) for i, text in enumerate(TEXTS)]


@pytest.fixture
def empty() -> Iterator[Store]:
    with open_store(f"memory:/lazy_{uuid4().hex}") as store:
        yield store
        store.drop()


def test_before_the_first_write_there_is_nothing(empty: Store, encoder: HashEncoder) -> None:
    lazy = LazyStore(empty)
    query = encoder.encode_query("whale")
    assert lazy.search_many([query, query], Search()) == [[], []]
    assert lazy.search_among(query, Search(), ["a"]) == []
    assert lazy.diverse(query, [], k=2, relevance=0.5) == []
    assert lazy.get(["a"]).documents == []
    assert list(lazy.scan()) == []
    lazy.delete(["a"])
    lazy.delete_where(F("n") == 1)
    lazy.clear()


async def test_before_the_first_write_there_is_nothing_to_await(
    empty: Store, encoder: HashEncoder
) -> None:
    lazy = LazyStore(empty)
    query = encoder.encode_query("whale")
    assert await lazy.asearch_many([query], Search()) == [[]]
    assert await lazy.asearch_among(query, Search(), ["a"]) == []
    assert await lazy.adiverse(query, [], k=2, relevance=0.5) == []
    assert (await lazy.aget(["a"])).documents == []
    assert [page async for page in lazy.ascan()] == []
    await lazy.adelete(["a"])
    await lazy.adelete_where(F("n") == 1)
    await lazy.aclear()


def test_the_first_write_makes_the_collection_of_its_vectors(
    empty: Store, encoder: HashEncoder
) -> None:
    lazy = LazyStore(empty, model="hash", fields={"n": int})
    lazy.write(DOCUMENTS, encoder.encode_documents(TEXTS))
    assert empty.schema == encoder.schema
    assert list(empty.fields) == ["n"]


async def test_first_writes_at_the_same_time_make_one_collection(
    empty: Store, encoder: HashEncoder
) -> None:
    stores = [LazyStore(open_store(f"memory:/{empty.name}")) for _ in range(5)]
    vectors = encoder.encode_documents(TEXTS)
    await asyncio.gather(
        *(
            stores[i].awrite([document], vectors.slice(i, i + 1))
            for i, document in enumerate(DOCUMENTS)
        )
    )
    assert empty.count() == len(DOCUMENTS)
    for lazy in stores:
        lazy.store.close()


def test_parts_that_the_collection_lacks_are_left_out(empty: Store, encoder: HashEncoder) -> None:
    empty.create(Schema(dense=32, sparse=True, colbert=None))
    LazyStore(empty).write(DOCUMENTS, encoder.encode_documents(TEXTS))
    vectors = empty.get(["0"], with_vectors=True).vectors
    assert vectors is not None
    assert vectors.colbert is None


def test_the_vectors_of_another_model_are_refused(empty: Store, encoder: HashEncoder) -> None:
    empty.create(Schema(dense=32, sparse=True, colbert=16, model="other"))
    with pytest.raises(SchemaMismatchError, match="of 'hash', the collection's of 'other'"):
        LazyStore(empty, model="hash").write(DOCUMENTS, encoder.encode_documents(TEXTS))


def test_vectors_without_a_common_part_are_refused(empty: Store) -> None:
    empty.create(Schema(dense=None, sparse=True, colbert=None))
    with pytest.raises(SchemaMismatchError, match="sparse vectors only"):
        LazyStore(empty).write(DOCUMENTS[:1], Vectors(dense=np.ones((1, 4))))


def test_clearing_keeps_the_collection(empty: Store, encoder: HashEncoder) -> None:
    lazy = LazyStore(empty, fields={"n": int})
    lazy.write(DOCUMENTS, encoder.encode_documents(TEXTS))
    lazy.clear()
    assert empty.count() == 0
    assert list(empty.fields) == ["n"]
    assert empty.schema.parts == ("dense", "sparse", "colbert")


@pytest.mark.parametrize("mode", ["dense", "sparse", "colbert", "hybrid"])
def test_a_search_among_some_documents_is_that_of_a_store_without_the_others(
    empty: Store, encoder: HashEncoder, mode: str
) -> None:
    lazy = LazyStore(empty)
    lazy.write(DOCUMENTS, encoder.encode_documents(TEXTS))
    query = encoder.encode_query("whale fox")
    search = Search(mode=mode, k=2, weights=Weights.GENERAL, filter=F("n") != 4)  # type: ignore[arg-type]
    found = lazy.search_among(query, search, ["4", "3", "1", "0", "missing"])
    condition = F("n").in_([0, 1, 3])
    expected = empty.search(query, k=2, mode=search.mode, filter=condition)
    assert found == expected


async def test_a_search_among_some_documents_finds_each_once(
    empty: Store, encoder: HashEncoder
) -> None:
    lazy = LazyStore(empty)
    lazy.write(DOCUMENTS, encoder.encode_documents(TEXTS))
    query, ids = encoder.encode_query("whale"), [str(i % 5) for i in range(600)]
    found = lazy.search_among(query, Search(mode="dense"), ids)
    assert sorted(hit.document.id for hit in found) == ["0", "1", "2", "3", "4"]
    assert await lazy.asearch_among(query, Search(mode="dense"), ids) == found


def test_ranks_cannot_be_had_of_some_documents(empty: Store, encoder: HashEncoder) -> None:
    lazy = LazyStore(empty)
    lazy.write(DOCUMENTS, encoder.encode_documents(TEXTS))
    with pytest.raises(InvalidOptionError, match="rrf"):
        lazy.search_among(encoder.encode_query("whale"), Search(mode="rrf"), ["0"])


def test_a_filter_that_compares_nothing_deletes_nothing(empty: Store, encoder: HashEncoder) -> None:
    lazy = LazyStore(empty)
    lazy.write(DOCUMENTS, encoder.encode_documents(TEXTS))
    with pytest.raises(InvalidFilterError):
        lazy.delete_where(And(()))
    assert empty.count() == len(DOCUMENTS)
