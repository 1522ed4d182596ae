"""Two handles on one collection: what one drops or makes anew, the other notices."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from trivec.stores.lazy import LazyStore

from trivec import Document, F, Schema, Store, Vector, Vectors
from trivec.errors import (
    CollectionNotFoundError,
    InvalidFilterError,
    InvalidVectorsError,
    SchemaMismatchError,
)

SMALL = Schema(dense=4, sparse=True, colbert=4, model="small")
WIDE = Schema(dense=8, sparse=True, colbert=4, model="wide")
ONE = Vectors(dense=np.eye(1, 4, dtype=np.float32))
WIDE_ONE = Vectors(dense=np.eye(1, 8, dtype=np.float32))
QUERY = Vector(dense=np.eye(1, 4, dtype=np.float32)[0])
WIDE_QUERY = Vector(dense=np.eye(1, 8, dtype=np.float32)[0])

Handles = tuple[Store, Store]


@pytest.fixture
def handles(case: Any, folder: Path) -> Iterator[Handles]:
    """Yield two handles that both know the collection, which holds the document "a"."""
    name = f"handles_{uuid4().hex[:12]}"
    with case.open(folder, name) as one, case.open(folder, name) as two:
        one.create(SMALL, fields={"lang": str}, exist_ok=True)
        one.upsert([Document("a", "", {"lang": "en"})], ONE)
        assert two.count() == 1
        assert [hit.document.id for hit in two.search(QUERY, mode="dense")] == ["a"]
        yield one, two
        two.drop()


CALLS: dict[str, Callable[[Store], object]] = {
    "search": lambda store: store.search(QUERY, mode="dense"),
    "hybrid": lambda store: store.search(QUERY),
    "filtered": lambda store: store.search(QUERY, mode="dense", filter=F("lang") == "en"),
    "search_many": lambda store: store.search_many([QUERY, QUERY], mode="dense"),
    "count": lambda store: store.count(),
    "count where": lambda store: store.count(F("lang") == "en"),
    "get": lambda store: store.get(["a"]),
    "get vectors": lambda store: store.get(["a"], with_vectors=True),
    "scan": lambda store: list(store.scan()),
    "scan vectors": lambda store: list(store.scan(with_vectors=True)),
    "upsert": lambda store: store.upsert([Document("b", "")], ONE),
    "delete": lambda store: store.delete(["a"]),
    "delete_where": lambda store: store.delete_where(F("lang") == "en"),
    "describe": lambda store: store.describe(),
}


def test_what_another_handle_dropped_is_not_there(handles: Handles) -> None:
    one, two = handles
    for name, call in CALLS.items():
        one.drop()
        with pytest.raises(CollectionNotFoundError, match="does not exist"):
            call(two)
        with pytest.raises(CollectionNotFoundError):  # and it is forgotten
            _ = two.schema
        assert one._describe() is None, name
        two.create(SMALL, fields={"lang": str})
        assert two.count() == 0, name
        one.upsert([Document("a", "", {"lang": "en"})], ONE)
        assert two.get(["a"]).documents[0].metadata == {"lang": "en"}
        assert [hit.document.id for hit in two.search(QUERY, mode="dense")] == ["a"]


async def test_what_another_handle_dropped_is_not_there_to_await(handles: Handles) -> None:
    one, two = handles
    one.drop()
    with pytest.raises(CollectionNotFoundError, match="does not exist"):
        await two.asearch(QUERY, mode="dense")
    await two.acreate(SMALL, fields={"lang": str})
    assert await two.asearch(QUERY, mode="dense") == []


def test_a_dropped_collection_can_be_dropped_by_the_other_handle(handles: Handles) -> None:
    one, two = handles
    one.drop()
    two.drop()
    two.create(SMALL, fields={"lang": str})
    assert one.count() == 0


def test_a_collection_that_was_made_anew_is_described_anew(handles: Handles) -> None:
    one, two = handles
    one.drop()
    one.create(WIDE, fields={"year": int})
    with pytest.raises(InvalidVectorsError, match="8"):
        two.upsert([Document("x", "")], ONE)
    assert one.count() == 0
    two.upsert([Document("y", "", {"year": 2020})], WIDE_ONE)
    assert [hit.document.id for hit in one.search(WIDE_QUERY, mode="dense")] == ["y"]
    assert two.schema == WIDE
    assert dict(two.fields) == {"year": "int"}


@pytest.mark.parametrize(
    "call",
    [
        lambda store: [h.document.id for h in store.search(WIDE_QUERY, mode="dense")],
        lambda store: [h.document.id for h in store.search(WIDE_QUERY, filter=F("year") > 2000)],
        lambda store: [d.id for d in store.get(["y"]).documents],
        lambda store: store.get(["y"], with_vectors=True).vectors.dense.shape[1] == 8 and ["y"],
        lambda store: [d.id for page in store.scan(with_vectors=True) for d in page.documents],
        lambda store: store.count(F("year") == 2020) and ["y"],
    ],
    ids=["search", "filter", "get", "get vectors", "scan", "count"],
)
def test_each_call_goes_by_the_new_description(handles: Handles, call: Any) -> None:
    one, two = handles
    one.drop()
    one.create(WIDE, fields={"year": int})
    one.upsert([Document("y", "", {"year": 2020})], WIDE_ONE)
    assert call(two) == ["y"]
    with pytest.raises(InvalidVectorsError, match="dimension 4"):
        two.search(QUERY, mode="dense")


def test_a_filter_goes_by_the_new_fields(handles: Handles) -> None:
    one, two = handles
    one.drop()
    one.create(WIDE, fields={"year": int})
    one.upsert([Document("y", "", {"year": 2020, "lang": "en"})], WIDE_ONE)
    condition = F("lang") == "en"  # which was declared before
    if two.declared_only:
        with pytest.raises(InvalidFilterError, match="'lang'"):
            two.search(WIDE_QUERY, filter=condition)
    else:
        assert [h.document.id for h in two.search(WIDE_QUERY, filter=condition)] == ["y"]


async def test_an_awaited_search_goes_by_the_new_description(handles: Handles) -> None:
    one, two = handles
    one.drop()
    one.create(WIDE, fields={"year": int})
    one.upsert([Document("y", "", {"year": 2020})], WIDE_ONE)
    hits = await two.asearch(WIDE_QUERY, filter=F("year") == 2020)
    assert [hit.document.id for hit in hits] == ["y"]


def test_a_write_through_a_framework_makes_the_collection_again(handles: Handles) -> None:
    one, two = handles
    lazy = LazyStore(two, model="small", fields={"lang": str})
    one.drop()
    assert lazy.get(["a"]).documents == []
    lazy.write([Document("b", "", {"lang": "de"})], _whole())
    assert one.get(["b"]).documents[0].metadata == {"lang": "de"}
    one.drop()
    lazy.clear()
    assert one._describe() is None
    lazy.write([Document("c", "")], _whole())
    assert one.count() == 1


async def test_an_awaited_write_makes_the_collection_again(handles: Handles) -> None:
    one, two = handles
    lazy = LazyStore(two, model="small", fields={"lang": str})
    one.drop()
    await lazy.awrite([Document("b", "")], _whole())
    assert one.count() == 1


def test_a_framework_does_not_write_into_another_models_collection(handles: Handles) -> None:
    one, two = handles
    lazy = LazyStore(two, model="small", fields={"lang": str})
    one.drop()
    one.create(Schema(dense=4, sparse=True, colbert=4, model="other"), fields={"lang": str})
    with pytest.raises(SchemaMismatchError, match="other"):
        lazy.write([Document("b", "")], _whole())
    assert one.count() == 0


def test_a_handle_can_be_closed_after_another_dropped_what_it_wrote(
    case: Any, folder: Path, handles: Handles
) -> None:
    one, _ = handles
    with case.open(folder, one.name) as third:
        vectors = Vectors(dense=np.tile(np.eye(1, 4, dtype=np.float32), (200, 1)))
        third.upsert([Document(f"d{i}", "") for i in range(200)], vectors)
        one.drop()


def test_two_that_create_at_once_make_one_collection(handles: Handles) -> None:
    one, two = handles
    one.drop()
    errors: list[Exception] = []

    def write(store: Store, id: str) -> None:
        try:
            LazyStore(store, model="small", fields={"lang": str}).write(
                [Document(id, "")], _whole()
            )
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=args) for args in ((one, "x"), (two, "y"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert one.count() == 2


def _whole() -> Vectors:
    return Vectors.from_rows(
        [Vector(dense=np.eye(4)[0], sparse={3: 0.5}, colbert=np.eye(4)[:2])],
        dense=4,
        sparse=True,
        colbert=4,
    )
