"""Views of a store: one that the first write creates, and one that is bound to a filter."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from trivec import (
    Document,
    F,
    Filter,
    Hit,
    Schema,
    Store,
    Vector,
    Vectors,
    Weights,
    open_store,
)
from trivec.errors import (
    InvalidDocumentError,
    InvalidFilterError,
    InvalidOptionError,
    SchemaMismatchError,
)
from trivec.filters import And
from trivec.reranking.among import search_ids
from trivec.reranking.mmr import diverse_hits
from trivec.search import Search
from trivec.testing import HashEncoder
from trivec.twins import arun, run

TEXTS = ["blue whale", "grey seal", "red fox", "whale song", "fox den"]
DOCUMENTS = [Document(str(i), text, {"n": i}) for i, text in enumerate(TEXTS)]


def creating(store: Store, **options: Any) -> Store:
    return store.view(creates=True, **options)


def search_among(store: Store, query: Vector, search: Search, ids: Iterable[str]) -> list[Hit]:
    return run(search_ids(store, query, ids, search))


async def asearch_among(
    store: Store, query: Vector, search: Search, ids: Iterable[str]
) -> list[Hit]:
    return await arun(search_ids(store, query, ids, search))


def diverse(store: Store, query: Vector, hits: list[Hit], **options: Any) -> list[Hit]:
    page = store.get([hit.document.id for hit in hits], with_vectors=True)
    return diverse_hits(query, hits, page, **options)


async def adiverse(store: Store, query: Vector, hits: list[Hit], **options: Any) -> list[Hit]:
    page = await store.aget([hit.document.id for hit in hits], with_vectors=True)
    return diverse_hits(query, hits, page, **options)


@pytest.fixture
def empty() -> Iterator[Store]:
    with open_store(f"memory:/view_{uuid4().hex}") as store:
        yield store
        store.drop()


def test_before_the_first_write_there_is_nothing(empty: Store, encoder: HashEncoder) -> None:
    view = creating(empty)
    query = encoder.encode_query("whale")
    assert view.search_many([query, query]) == [[], []]
    assert search_among(view, query, Search(), ["a"]) == []
    assert diverse(view, query, [], k=2, relevance=0.5) == []
    assert view.get(["a"]).documents == []
    assert list(view.scan()) == []
    view.delete(["a"])
    view.delete_where(F("n") == 1)
    view.clear()


async def test_before_the_first_write_there_is_nothing_to_await(
    empty: Store, encoder: HashEncoder
) -> None:
    view = creating(empty)
    query = encoder.encode_query("whale")
    assert await view.asearch_many([query]) == [[]]
    assert await asearch_among(view, query, Search(), ["a"]) == []
    assert await adiverse(view, query, [], k=2, relevance=0.5) == []
    assert (await view.aget(["a"])).documents == []
    assert [page async for page in view.ascan()] == []
    await view.adelete(["a"])
    await view.adelete_where(F("n") == 1)
    await view.aclear()


def test_the_first_write_makes_the_collection_of_its_vectors(
    empty: Store, encoder: HashEncoder
) -> None:
    view = creating(empty, model="hash", fields={"n": int})
    view.upsert(DOCUMENTS, encoder.encode_documents(TEXTS))
    assert empty.schema == encoder.schema
    assert list(empty.fields) == ["n"]


async def test_first_writes_at_the_same_time_make_one_collection(
    empty: Store, encoder: HashEncoder
) -> None:
    opened = [open_store(f"memory:/{empty.name}") for _ in range(5)]
    stores = [creating(store) for store in opened]
    vectors = encoder.encode_documents(TEXTS)
    await asyncio.gather(
        *(
            stores[i].aupsert([document], vectors.slice(i, i + 1))
            for i, document in enumerate(DOCUMENTS)
        )
    )
    assert empty.count() == len(DOCUMENTS)
    for store in opened:
        store.close()


def test_parts_that_the_collection_lacks_are_left_out(empty: Store, encoder: HashEncoder) -> None:
    empty.create(Schema(dense=32, sparse=True, colbert=None))
    creating(empty).upsert(DOCUMENTS, encoder.encode_documents(TEXTS))
    vectors = empty.get(["0"], with_vectors=True).vectors
    assert vectors is not None
    assert vectors.colbert is None


def test_the_vectors_of_another_model_are_refused(empty: Store, encoder: HashEncoder) -> None:
    empty.create(Schema(dense=32, sparse=True, colbert=16, model="other"))
    with pytest.raises(SchemaMismatchError, match="of 'hash', the collection's of 'other'"):
        creating(empty, model="hash").upsert(DOCUMENTS, encoder.encode_documents(TEXTS))


def test_vectors_without_a_common_part_are_refused(empty: Store) -> None:
    empty.create(Schema(dense=None, sparse=True, colbert=None))
    with pytest.raises(SchemaMismatchError, match="sparse vectors only"):
        creating(empty).upsert(DOCUMENTS[:1], Vectors(dense=np.ones((1, 4))))


def test_clearing_keeps_the_collection(empty: Store, encoder: HashEncoder) -> None:
    view = creating(empty, fields={"n": int})
    view.upsert(DOCUMENTS, encoder.encode_documents(TEXTS))
    view.clear()
    assert empty.count() == 0
    assert list(empty.fields) == ["n"]
    assert empty.schema.parts == ("dense", "sparse", "colbert")


@pytest.mark.parametrize("mode", ["dense", "sparse", "colbert", "hybrid"])
def test_a_search_among_some_documents_is_that_of_a_store_without_the_others(
    empty: Store, encoder: HashEncoder, mode: str
) -> None:
    view = creating(empty)
    view.upsert(DOCUMENTS, encoder.encode_documents(TEXTS))
    query = encoder.encode_query("whale fox")
    search = Search(mode=mode, k=2, weights=Weights.GENERAL, filter=F("n") != 4)  # type: ignore[arg-type]
    found = search_among(view, query, search, ["4", "3", "1", "0", "missing"])
    condition = F("n").in_([0, 1, 3])
    expected = empty.search(query, k=2, mode=search.mode, filter=condition)
    assert found == expected


async def test_a_search_among_some_documents_finds_each_once(
    empty: Store, encoder: HashEncoder
) -> None:
    view = creating(empty)
    view.upsert(DOCUMENTS, encoder.encode_documents(TEXTS))
    query, ids = encoder.encode_query("whale"), [str(i % 5) for i in range(600)]
    found = search_among(view, query, Search(mode="dense"), ids)
    assert sorted(hit.document.id for hit in found) == ["0", "1", "2", "3", "4"]
    assert await asearch_among(view, query, Search(mode="dense"), ids) == found


def test_ranks_cannot_be_had_of_some_documents(empty: Store, encoder: HashEncoder) -> None:
    view = creating(empty)
    view.upsert(DOCUMENTS, encoder.encode_documents(TEXTS))
    with pytest.raises(InvalidOptionError, match="rrf"):
        search_among(view, encoder.encode_query("whale"), Search(mode="rrf"), ["0"])


def test_a_filter_that_compares_nothing_deletes_nothing(empty: Store, encoder: HashEncoder) -> None:
    view = creating(empty)
    view.upsert(DOCUMENTS, encoder.encode_documents(TEXTS))
    with pytest.raises(InvalidFilterError):
        view.delete_where(And(()))
    assert empty.count() == len(DOCUMENTS)


# --- bound to a filter ----------------------------------------------------------------------------

OWNED = {"1": "blue whale", "2": "red fox", "3": "grey seal", "4": "whale song"}
OWNERS = {"1": "a", "2": "a", "3": "b", "4": "b"}
OURS = F("t") == "a"


def documents(ids: str, owner: str | None = None) -> list[Document]:
    return [Document(i, OWNED.get(i, "new"), {"t": owner or OWNERS[i], "n": int(i)}) for i in ids]


def vectors(found: list[Document]) -> Vectors:
    return HashEncoder().encode_documents([document.text for document in found])


@pytest.fixture
def everything(store: Store) -> Store:
    view = creating(store)
    view.upsert(documents("1234"), vectors(documents("1234")))
    return view


@pytest.fixture
def bound(everything: Store, store: Store) -> Store:
    return creating(store, bound=lambda: OURS, model="hash")


def left(everything: Store) -> set[str]:
    return {document.id for page in everything.scan() for document in page.documents}


async def pages(store: Store, condition: Filter | None = None) -> list[str]:
    found = [d.id async for page in store.ascan(filter=condition) for d in page.documents]
    assert sorted(found) == sorted(
        d.id for page in store.scan(filter=condition) for d in page.documents
    )
    return sorted(found)


async def test_nothing_outside_is_read(bound: Store) -> None:
    query = HashEncoder().encode_query("whale song")
    for options, expected in (
        (Search(k=9, mode="dense"), ["1", "2"]),
        (Search(k=9, mode="sparse"), ["1"]),
        (Search(k=9, filter=F("n") > 1), ["2"]),
        (Search(k=9, filter=F("t") == "b"), []),
        (Search(k=9, filter=(F("n") == 4) | (F("n") == 2)), ["2"]),
    ):
        found = [
            bound.search_many([query], **options.options)[0],
            (await bound.asearch_many([query], **options.options))[0],
            search_among(bound, query, options, ["1", "2", "3", "4"]),
            await asearch_among(bound, query, options, ["1", "2", "3", "4"]),
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


async def test_nothing_outside_is_deleted(bound: Store, everything: Store) -> None:
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
    bound: Store, everything: Store, asynchronous: bool
) -> None:
    if asynchronous:
        await bound.aclear()
    else:
        bound.clear()
    assert left(everything) == {"3", "4"}


async def test_one_string_is_no_list_of_ids(bound: Store, everything: Store) -> None:
    query, search = HashEncoder().encode_query("whale"), Search(k=1)
    for call in (
        lambda: bound.delete("12"),
        lambda: bound.get("12"),
        lambda: search_among(bound, query, search, "12"),
    ):
        with pytest.raises(InvalidOptionError, match="ids='12' is one string"):
            call()
    for waited in (
        bound.adelete("12"),
        bound.aget("12"),
        asearch_among(bound, query, search, "12"),
    ):
        with pytest.raises(InvalidOptionError, match="ids='12' is one string"):
            await waited
    assert len(left(everything)) == 4


async def test_what_compares_nothing_deletes_nothing(bound: Store, everything: Store) -> None:
    for condition in (And(()), F("n").not_in([]), F("n").all([])):
        with pytest.raises(InvalidFilterError):
            bound.delete_where(condition)
        with pytest.raises(InvalidFilterError):
            await bound.adelete_where(condition)
    assert len(left(everything)) == 4


async def test_a_bound_has_the_types_of_the_declared_fields(store: Store) -> None:
    encoder = HashEncoder()
    bound = creating(store, bound=lambda: F("day") == "2026-01-31", fields={"day": datetime})
    within = Document("in", "whale", {"day": "2026-01-31T00:00:00Z"})
    bound.upsert([within], encoder.encode_documents(["whale"]))
    store.upsert([Document("out", "whale", {"day": "2026-02-01"})], encoder.encode_documents(["a"]))
    query, search = encoder.encode_query("whale"), Search(k=9, mode="dense")
    assert [hit.document.id for hit in bound.search_many([query], **search.options)[0]] == ["in"]
    assert bound.get(["in", "out"]).documents == [within]
    assert [hit.document.id for hit in search_among(bound, query, search, ["in", "out"])] == ["in"]
    on_day = replace(search, filter=F("day") == "2026-01-31T00:00:00+00:00")
    for some in (creating(store), bound):
        for hits in (
            search_among(some, query, on_day, ["in", "out"]),
            await asearch_among(some, query, on_day, ["in", "out"]),
            some.search_many([query], **on_day.options)[0],
        ):
            assert [hit.document.id for hit in hits] == ["in"]


@pytest.mark.parametrize(
    "condition",
    [F("n").exists() | ~F("n").exists(), (F("n") == 1) | F("n").not_in([])],
    ids=["either", "no values"],
)
async def test_what_is_true_of_everything_deletes_nothing(
    bound: Store, everything: Store, condition: Filter
) -> None:
    with pytest.raises(InvalidFilterError, match="every document that this store is bound to"):
        bound.delete_where(condition)
    with pytest.raises(InvalidFilterError, match="every document that this store is bound to"):
        await bound.adelete_where(condition)
    assert left(everything) == set("1234")


async def test_nothing_outside_is_written(bound: Store, everything: Store) -> None:
    foreign, overwriting = documents("56", "b"), documents("93", "a")
    for wrong, message in (
        (documents("5", "a") + foreign, "document '5' does not satisfy the filter"),
        (overwriting, "document '3': the collection holds a document of this id outside"),
    ):
        match = message.replace("'5'", "'[56]'")
        with pytest.raises(InvalidDocumentError, match=match):
            bound.upsert(wrong, vectors(wrong))
        with pytest.raises(InvalidDocumentError, match=match):
            await bound.aupsert(wrong, vectors(wrong))
    assert left(everything) == {"1", "2", "3", "4"}
    assert everything.get(["3"]).documents == documents("3")
    own = documents("15", "a")
    bound.upsert(own, vectors(own))
    await bound.aupsert(own, vectors(own))
    assert left(everything) == {"1", "2", "3", "4", "5"}


async def test_without_a_bound_the_view_shows_everything(store: Store, everything: Store) -> None:
    free = creating(store, bound=lambda: None)
    assert len((await free.aget(list("1234"))).documents) == 4
    free.delete(["1"])
    await free.adelete_where(F("n") == 2)
    own = documents("3", "c")
    free.upsert(own, vectors(own))
    assert left(everything) == {"3", "4"}
    free.clear()
    assert left(everything) == set()


def test_a_collection_that_does_not_exist_is_empty_and_created(store: Store) -> None:
    fresh = creating(store, bound=lambda: OURS)
    assert fresh.get(["1"]).documents == []
    fresh.delete(["1"])
    fresh.clear()
    fresh.upsert(documents("1"), vectors(documents("1")))
    assert left(fresh) == {"1"}


# --- another model -------------------------------------------------------------------------------


@pytest.fixture
def other(everything: Store, store: Store) -> Store:
    store.drop()
    schema = HashEncoder().schema
    store.create(type(schema)(schema.dense, schema.sparse, schema.colbert, model="other"))
    creating(store).upsert(documents("12"), vectors(documents("12")))
    return creating(store, model="hash")


async def test_vectors_of_another_model_are_not_compared(other: Store, store: Store) -> None:
    query, search = HashEncoder().encode_query("whale"), Search(k=1)
    match = "the collection holds the vectors of 'other', and 'hash' makes others"
    for call in (
        lambda: other.search_many([query], **search.options),
        lambda: search_among(other, query, search, ["1"]),
        lambda: other.get(["1"], with_vectors=True),
    ):
        with pytest.raises(SchemaMismatchError, match=match):
            call()
    for waited in (
        other.asearch_many([query], **search.options),
        asearch_among(other, query, search, ["1"]),
        other.aget(["1"], with_vectors=True),
    ):
        with pytest.raises(SchemaMismatchError, match=match):
            await waited
    assert len(other.get(["1"]).documents) == 1
    for model in ("", "other"):
        assert creating(store, model=model).search_many([query], **search.options) != [[]]
