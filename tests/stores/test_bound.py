"""A bound store neither reads nor writes nor deletes what lies outside its filter."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from trivec.stores.bound import BoundStore
from trivec.stores.lazy import LazyStore

from trivec import Document, F, Filter, Store, Vectors
from trivec.errors import (
    InvalidDocumentError,
    InvalidFilterError,
    InvalidOptionError,
    SchemaMismatchError,
)
from trivec.filters import And
from trivec.search import Search
from trivec.testing import HashEncoder

TEXTS = {"1": "blue whale", "2": "red fox", "3": "grey seal", "4": "whale song"}
OWNERS = {"1": "a", "2": "a", "3": "b", "4": "b"}
OURS = F("t") == "a"


def documents(ids: str, owner: str | None = None) -> list[Document]:
    return [Document(i, TEXTS.get(i, "new"), {"t": owner or OWNERS[i], "n": int(i)}) for i in ids]


def vectors(found: list[Document]) -> Vectors:
    return HashEncoder().encode_documents([document.text for document in found])


@pytest.fixture
def everything(store: Store) -> LazyStore:
    lazy = LazyStore(store)
    lazy.write(documents("1234"), vectors(documents("1234")))
    return lazy


@pytest.fixture
def bound(everything: LazyStore, store: Store) -> BoundStore:
    return BoundStore(store, bound=lambda: OURS, model="hash")


def left(everything: LazyStore) -> set[str]:
    return {document.id for page in everything.scan() for document in page.documents}


async def pages(store: BoundStore, condition: Filter | None = None) -> list[str]:
    found = [d.id async for page in store.ascan(filter=condition) for d in page.documents]
    assert sorted(found) == sorted(
        d.id for page in store.scan(filter=condition) for d in page.documents
    )
    return sorted(found)


async def test_nothing_outside_is_read(bound: BoundStore) -> None:
    query = HashEncoder().encode_query("whale song")
    for options, expected in (
        (Search(k=9, mode="dense"), ["1", "2"]),
        (Search(k=9, mode="sparse"), ["1"]),
        (Search(k=9, filter=F("n") > 1), ["2"]),
        (Search(k=9, filter=F("t") == "b"), []),
        (Search(k=9, filter=(F("n") == 4) | (F("n") == 2)), ["2"]),
    ):
        found = [
            bound.search_many([query], options)[0],
            (await bound.asearch_many([query], options))[0],
            bound.search_among(query, options, ["1", "2", "3", "4"]),
            await bound.asearch_among(query, options, ["1", "2", "3", "4"]),
        ]
        ids = [sorted(hit.document.id for hit in hits) for hits in found]
        assert ids == [expected] * 4
    assert [d.id for d in bound.get(list("4321")).documents] == ["2", "1"]
    page = await bound.aget(list("4321"), with_vectors=True)
    assert [d.id for d in page.documents] == ["2", "1"]
    assert page.vectors is not None
    assert len(page.vectors) == 2
    assert await pages(bound) == ["1", "2"]
    assert await pages(bound, F("n") > 1) == ["2"]


async def test_nothing_outside_is_deleted(bound: BoundStore, everything: LazyStore) -> None:
    bound.delete(["3", "4", "unknown"])
    await bound.adelete(["3", "4", "unknown"])
    bound.delete_where(F("t") == "b")
    await bound.adelete_where((F("t") == "b") | (F("n") == 1))
    assert left(everything) == {"2", "3", "4"}
    bound.delete(["2", "3"])
    assert left(everything) == {"3", "4"}
    bound.clear()
    await bound.aclear()
    assert left(everything) == {"3", "4"}


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_everything_within_is_cleared(
    bound: BoundStore, everything: LazyStore, asynchronous: bool
) -> None:
    if asynchronous:
        await bound.aclear()
    else:
        bound.clear()
    assert left(everything) == {"3", "4"}


async def test_one_string_is_no_list_of_ids(bound: BoundStore, everything: LazyStore) -> None:
    query, search = HashEncoder().encode_query("whale"), Search(k=1)
    for call in (
        lambda: bound.delete("12"),
        lambda: bound.get("12"),
        lambda: bound.search_among(query, search, "12"),
    ):
        with pytest.raises(InvalidOptionError, match="ids='12' is one string"):
            call()
    for waited in (bound.adelete("12"), bound.aget("12"), bound.asearch_among(query, search, "12")):
        with pytest.raises(InvalidOptionError, match="ids='12' is one string"):
            await waited
    assert len(left(everything)) == 4


async def test_what_compares_nothing_deletes_nothing(
    bound: BoundStore, everything: LazyStore
) -> None:
    for condition in (And(()), F("n").not_in([]), F("n").all([])):
        with pytest.raises(InvalidFilterError):
            bound.delete_where(condition)
        with pytest.raises(InvalidFilterError):
            await bound.adelete_where(condition)
    assert len(left(everything)) == 4


async def test_a_bound_has_the_types_of_the_declared_fields(store: Store) -> None:
    encoder = HashEncoder()
    bound = BoundStore(store, bound=lambda: F("day") == "2026-01-31", fields={"day": datetime})
    within = Document("in", "whale", {"day": "2026-01-31T00:00:00Z"})
    bound.write([within], encoder.encode_documents(["whale"]))
    store.upsert([Document("out", "whale", {"day": "2026-02-01"})], encoder.encode_documents(["a"]))
    query, search = encoder.encode_query("whale"), Search(k=9, mode="dense")
    assert [hit.document.id for hit in bound.search_many([query], search)[0]] == ["in"]
    assert bound.get(["in", "out"]).documents == [within]
    assert [hit.document.id for hit in bound.search_among(query, search, ["in", "out"])] == ["in"]
    on_day = replace(search, filter=F("day") == "2026-01-31T00:00:00+00:00")
    for some in (LazyStore(store), bound):
        for hits in (
            some.search_among(query, on_day, ["in", "out"]),
            await some.asearch_among(query, on_day, ["in", "out"]),
            some.search_many([query], on_day)[0],
        ):
            assert [hit.document.id for hit in hits] == ["in"]


@pytest.mark.parametrize(
    "condition",
    [F("n").exists() | ~F("n").exists(), (F("n") == 1) | F("n").not_in([])],
    ids=["either", "no values"],
)
async def test_what_is_true_of_everything_deletes_nothing(
    bound: BoundStore, everything: LazyStore, condition: Filter
) -> None:
    with pytest.raises(InvalidFilterError, match="every document that this store is bound to"):
        bound.delete_where(condition)
    with pytest.raises(InvalidFilterError, match="every document that this store is bound to"):
        await bound.adelete_where(condition)
    assert left(everything) == set("1234")


async def test_nothing_outside_is_written(bound: BoundStore, everything: LazyStore) -> None:
    foreign, overwriting = documents("56", "b"), documents("93", "a")
    for wrong, message in (
        (documents("5", "a") + foreign, "document '5' does not satisfy the filter"),
        (overwriting, "document '3': the collection holds a document of this id outside"),
    ):
        match = message.replace("'5'", "'[56]'")
        with pytest.raises(InvalidDocumentError, match=match):
            bound.write(wrong, vectors(wrong))
        with pytest.raises(InvalidDocumentError, match=match):
            await bound.awrite(wrong, vectors(wrong))
    assert left(everything) == {"1", "2", "3", "4"}
    assert everything.get(["3"]).documents == documents("3")
    own = documents("15", "a")
    bound.write(own, vectors(own))
    await bound.awrite(own, vectors(own))
    assert left(everything) == {"1", "2", "3", "4", "5"}


async def test_without_a_bound_it_is_a_lazy_store(store: Store, everything: LazyStore) -> None:
    free = BoundStore(store, bound=lambda: None)
    assert len((await free.aget(list("1234"))).documents) == 4
    free.delete(["1"])
    await free.adelete_where(F("n") == 2)
    own = documents("3", "c")
    free.write(own, vectors(own))
    assert left(everything) == {"3", "4"}
    free.clear()
    assert left(everything) == set()


def test_a_collection_that_does_not_exist_is_empty_and_created(store: Store) -> None:
    fresh = BoundStore(store, bound=lambda: OURS)
    assert fresh.get(["1"]).documents == []
    fresh.delete(["1"])
    fresh.clear()
    fresh.write(documents("1"), vectors(documents("1")))
    assert left(fresh) == {"1"}


# --- another model -------------------------------------------------------------------------------


@pytest.fixture
def other(everything: LazyStore, store: Store) -> LazyStore:
    store.drop()
    schema = HashEncoder().schema
    store.create(type(schema)(schema.dense, schema.sparse, schema.colbert, model="other"))
    LazyStore(store).write(documents("12"), vectors(documents("12")))
    return LazyStore(store, model="hash")


async def test_vectors_of_another_model_are_not_compared(other: LazyStore, store: Store) -> None:
    query, search = HashEncoder().encode_query("whale"), Search(k=1)
    match = "the collection holds the vectors of 'other', and 'hash' makes others"
    for call in (
        lambda: other.search_many([query], search),
        lambda: other.search_among(query, search, ["1"]),
        lambda: other.get(["1"], with_vectors=True),
    ):
        with pytest.raises(SchemaMismatchError, match=match):
            call()
    for waited in (
        other.asearch_many([query], search),
        other.asearch_among(query, search, ["1"]),
        other.aget(["1"], with_vectors=True),
    ):
        with pytest.raises(SchemaMismatchError, match=match):
            await waited
    assert len(other.get(["1"]).documents) == 1
    for model in ("", "other"):
        assert LazyStore(store, model=model).search_many([query], search) != [[]]
