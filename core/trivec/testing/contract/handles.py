"""Two stores of one collection: what one drops or creates anew, the other notices."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from trivec.document import Document
from trivec.errors import (
    CollectionNotFoundError,
    InvalidFilterError,
    InvalidVectorsError,
    SchemaMismatchError,
)
from trivec.filters import F
from trivec.schema import Schema
from trivec.stores.store import Store
from trivec.testing.contract.base import ContractBase, needs
from trivec.testing.contract.corpus import SMALL, small_vectors
from trivec.testing.contract.library import Library
from trivec.vectors import Vector, Vectors

WIDE = Schema(dense=8, sparse=True, colbert=4, model="wide")
ONE = Vectors(dense=np.eye(1, 4, dtype=np.float32))
WIDE_ONE = Vectors(dense=np.eye(1, 8, dtype=np.float32))
QUERY = Vector(dense=np.eye(1, 4, dtype=np.float32)[0])
WIDE_QUERY = Vector(dense=np.eye(1, 8, dtype=np.float32)[0])

CALLS: Mapping[str, Callable[[Store], object]] = {
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


def _dense_width(store: Store) -> int:
    page = store.get(["y"], with_vectors=True)
    assert page.vectors is not None
    assert page.vectors.dense is not None
    return int(page.vectors.dense.shape[1])


WIDE_CALLS: Mapping[str, tuple[Callable[[Store], object], object]] = {
    "search": (lambda s: [h.document.id for h in s.search(WIDE_QUERY, mode="dense")], ["y"]),
    "filter": (
        lambda s: [h.document.id for h in s.search(WIDE_QUERY, filter=F("year") > 2000)],
        ["y"],
    ),
    "get": (lambda s: [d.id for d in s.get(["y"]).documents], ["y"]),
    "get vectors": (_dense_width, 8),
    "scan": (lambda s: [d.id for p in s.scan(with_vectors=True) for d in p.documents], ["y"]),
    "count": (lambda s: s.count(F("year") == 2020), 1),
}
"""Calls of a collection of `WIDE` that holds "y", and what they return."""


class HandleRules(ContractBase):
    """Two stores of one collection."""

    @needs("concurrent")
    def test_a_store_notices_that_another_dropped_the_collection(self, library: Library) -> None:
        with self.handles(library) as (one, two):
            for name, call in CALLS.items():
                one.drop()
                with pytest.raises(CollectionNotFoundError, match="does not exist"):
                    call(two)
                with pytest.raises(CollectionNotFoundError):  # and it is forgotten
                    _ = two.schema
                with pytest.raises(CollectionNotFoundError):
                    one.describe()
                two.create(SMALL, fields={"lang": str})
                assert two.count() == 0, name
                one.upsert([Document("a", "", {"lang": "en"})], ONE)
                assert two.get(["a"]).documents[0].metadata == {"lang": "en"}
                assert [hit.document.id for hit in two.search(QUERY, mode="dense")] == ["a"]

    @needs("concurrent")
    def test_an_awaited_search_notices_a_drop(self, library: Library) -> None:
        async def work(two: Store) -> None:
            with pytest.raises(CollectionNotFoundError, match="does not exist"):
                await two.asearch(QUERY, mode="dense")
            await two.acreate(SMALL, fields={"lang": str})
            assert await two.asearch(QUERY, mode="dense") == []

        with self.handles(library) as (one, two):
            one.drop()
            asyncio.run(work(two))

    @needs("concurrent")
    def test_both_stores_can_drop_a_collection(self, library: Library) -> None:
        with self.handles(library) as (one, two):
            one.drop()
            two.drop()
            two.create(SMALL, fields={"lang": str})
            assert one.count() == 0

    @needs("concurrent")
    def test_a_collection_that_was_created_anew_is_described_anew(self, library: Library) -> None:
        with self.handles(library) as (one, two):
            one.drop()
            one.create(WIDE, fields={"year": int})
            with pytest.raises(InvalidVectorsError, match="8"):
                two.upsert([Document("x", "")], ONE)
            assert one.count() == 0
            two.upsert([Document("y", "", {"year": 2020})], WIDE_ONE)
            assert [hit.document.id for hit in one.search(WIDE_QUERY, mode="dense")] == ["y"]
            assert two.schema == WIDE
            assert dict(two.fields) == {"year": "int"}

    @needs("concurrent")
    @pytest.mark.parametrize("name", WIDE_CALLS)
    def test_each_call_goes_by_the_new_description(self, library: Library, name: str) -> None:
        call, expected = WIDE_CALLS[name]
        with self.handles(library) as (one, two):
            self._create_wide(one, {"year": 2020})
            assert call(two) == expected
            with pytest.raises(InvalidVectorsError, match="dimension 4"):
                two.search(QUERY, mode="dense")

    @needs("concurrent")
    def test_a_filter_goes_by_the_new_fields(self, library: Library) -> None:
        with self.handles(library) as (one, two):
            self._create_wide(one, {"year": 2020, "lang": "en"})
            condition = F("lang") == "en"  # which was declared before
            if two.limits.declared_fields_only:
                with pytest.raises(InvalidFilterError, match="'lang'"):
                    two.search(WIDE_QUERY, filter=condition)
            else:
                hits = two.search(WIDE_QUERY, filter=condition)
                assert [hit.document.id for hit in hits] == ["y"]

    @needs("concurrent")
    def test_an_awaited_search_goes_by_the_new_description(self, library: Library) -> None:
        with self.handles(library) as (one, two):
            self._create_wide(one, {"year": 2020})
            hits = asyncio.run(two.asearch(WIDE_QUERY, filter=F("year") == 2020))
            assert [hit.document.id for hit in hits] == ["y"]

    @needs("concurrent")
    def test_a_write_of_a_view_creates_the_collection_again(self, library: Library) -> None:
        with self.handles(library) as (one, two):
            view = _creating(two)
            one.drop()
            assert view.get(["a"]).documents == []
            view.upsert([Document("b", "", {"lang": "de"})], small_vectors())
            assert one.get(["b"]).documents[0].metadata == {"lang": "de"}
            one.drop()
            view.clear()
            with pytest.raises(CollectionNotFoundError):
                one.describe()
            view.upsert([Document("c", "")], small_vectors())
            assert one.count() == 1

    @needs("concurrent")
    def test_an_awaited_write_of_a_view_creates_the_collection_again(
        self, library: Library
    ) -> None:
        with self.handles(library) as (one, two):
            one.drop()
            asyncio.run(_creating(two).aupsert([Document("b", "")], small_vectors()))
            assert one.count() == 1

    @needs("concurrent")
    def test_a_view_does_not_write_into_another_models_collection(self, library: Library) -> None:
        with self.handles(library) as (one, two):
            view = _creating(two)
            one.drop()
            other = Schema(dense=4, sparse=True, colbert=4, model="other")
            one.create(other, fields={"lang": str})
            with pytest.raises(SchemaMismatchError, match="other"):
                view.upsert([Document("b", "")], small_vectors())
            assert one.count() == 0

    @needs("concurrent")
    def test_a_store_can_be_closed_after_another_dropped_what_it_wrote(
        self, library: Library
    ) -> None:
        with (
            self.handles(library) as (one, _),
            self.open(library.folder, one.name) as third,
        ):
            vectors = Vectors(dense=np.tile(np.eye(1, 4, dtype=np.float32), (200, 1)))
            third.upsert([Document(f"d{i}", "") for i in range(200)], vectors)
            one.drop()

    @needs("concurrent")
    def test_two_that_create_at_once_make_one_collection(self, library: Library) -> None:
        with self.handles(library) as (one, two):
            one.drop()
            errors: list[Exception] = []

            def write(store: Store, id: str) -> None:
                try:
                    _creating(store).upsert([Document(id, "")], small_vectors())
                except Exception as error:
                    errors.append(error)

            threads = [threading.Thread(target=write, args=a) for a in ((one, "x"), (two, "y"))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert errors == []
            assert one.count() == 2

    def _create_wide(self, store: Store, metadata: Mapping[str, object]) -> None:
        """Drop the collection and create another one under its name, with the document "y"."""
        store.drop()
        store.create(WIDE, fields={"year": int})
        store.upsert([Document("y", "", metadata)], WIDE_ONE)


def _creating(store: Store) -> Store:
    return store.view(creates=True, model="small", fields={"lang": str})
