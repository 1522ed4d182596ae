"""Creating, describing, closing and dropping a collection."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from trivec.colbert_storage import ColbertStorage
from trivec.document import Document
from trivec.errors import (
    CollectionNotFoundError,
    InvalidOptionError,
    SchemaMismatchError,
    StoreError,
)
from trivec.filters import F
from trivec.schema import Schema
from trivec.search import Mode
from trivec.stores.store import Store
from trivec.testing.contract.base import ContractBase, needs
from trivec.testing.contract.corpus import SMALL
from trivec.testing.contract.library import Library
from trivec.vectors import Vector, Vectors


class CollectionRules(ContractBase):
    """Creating, describing, closing and dropping a collection."""

    def test_nothing_works_before_create(self, fresh: Store) -> None:
        with pytest.raises(CollectionNotFoundError, match="create"):
            fresh.search(Vector(dense=np.ones(4, np.float32)), mode="dense")
        with pytest.raises(CollectionNotFoundError):
            fresh.upsert([Document("a", "")], Vectors(dense=np.ones((1, 4))))
        with pytest.raises(CollectionNotFoundError):
            fresh.count()

    def test_create_is_refused_for_what_exists_and_differs(self, fresh: Store) -> None:
        fresh.create(SMALL, fields={"lang": str})
        assert fresh.schema == SMALL
        assert dict(fresh.fields) == {"lang": "str"}
        with pytest.raises(SchemaMismatchError, match="exist_ok"):
            fresh.create(SMALL)
        fresh.create(SMALL, fields={"lang": str}, exist_ok=True)
        with pytest.raises(SchemaMismatchError, match="dense is 4, expected 8"):
            fresh.create(Schema(dense=8, sparse=True, colbert=4), exist_ok=True)
        with pytest.raises(SchemaMismatchError, match="model"):
            fresh.create(Schema(dense=4, sparse=True, colbert=4, model="other"), exist_ok=True)
        with pytest.raises(SchemaMismatchError, match="'lang' is str, expected int"):
            fresh.create(SMALL, fields={"lang": int}, exist_ok=True)
        with pytest.raises(SchemaMismatchError, match="'year' is not declared"):
            fresh.create(SMALL, fields={"year": int}, exist_ok=True)

    @pytest.mark.parametrize(
        "schema",
        [
            Schema(dense=4, sparse=False, colbert=None),
            Schema(dense=None, sparse=True, colbert=None),
            Schema(dense=4, sparse=True, colbert=None),
            Schema(dense=4, sparse=False, colbert=4),
        ],
        ids=lambda schema: "+".join(schema.parts),
    )
    def test_a_collection_may_hold_only_some_parts(self, fresh: Store, schema: Schema) -> None:
        fresh.create(schema)
        vectors = Vectors.from_rows(
            [Vector(dense=np.eye(4)[0], sparse={3: 0.5}, colbert=np.eye(4)[:2])],
            dense=schema.dense,
            sparse=schema.sparse,
            colbert=schema.colbert,
        )
        fresh.upsert([Document("a", "text")], vectors)
        mode: Mode = "dense" if schema.dense else "sparse"
        query = Vector(dense=np.eye(4)[0], sparse={3: 1.0}, colbert=np.eye(4)[:1])
        assert [hit.document.id for hit in fresh.search(query, mode=mode)] == ["a"]
        hit = fresh.search(query, mode="hybrid")[0]
        assert hit.scores.dense == pytest.approx(1.0 if schema.dense else 0.0, abs=2e-3)
        assert hit.scores.sparse == pytest.approx(0.5 if schema.sparse else 0.0, abs=2e-3)
        assert hit.scores.colbert == pytest.approx(1.0 if schema.colbert else 0.0, abs=2e-3)

    def test_how_token_vectors_are_kept_belongs_to_the_collection(self, fresh: Store) -> None:
        with pytest.raises(InvalidOptionError, match="bits=7"):
            fresh.create(SMALL, colbert=ColbertStorage(bits=7))
        schema = replace(SMALL, colbert=16)
        fresh.create(schema)
        fresh.create(schema, exist_ok=True)
        kept = fresh.describe().colbert
        for bits in fresh.limits.colbert_bits:
            if kept is None or kept.bits == bits:
                fresh.create(schema, colbert=ColbertStorage(bits=bits), exist_ok=True)
            else:
                with pytest.raises(SchemaMismatchError, match="keeps token vectors"):
                    fresh.create(schema, colbert=ColbertStorage(bits=bits), exist_ok=True)

    def test_an_unknown_field_type_is_refused(self, fresh: Store) -> None:
        with pytest.raises(InvalidOptionError, match="complex"):
            fresh.create(SMALL, fields={"z": complex})

    def test_drop_removes_everything_and_may_be_repeated(self, fresh: Store) -> None:
        fresh.create(SMALL)
        fresh.upsert([Document("a", "")], Vectors(dense=np.ones((1, 4))))
        fresh.drop()
        fresh.drop()
        with pytest.raises(CollectionNotFoundError):
            fresh.count()
        fresh.create(SMALL)
        assert fresh.count() == 0

    @needs("persistent")
    def test_closed_and_reopened_everything_is_found(self, library: Library) -> None:
        name = library.name("again")
        documents = [Document(f"d{i}", f"text {i}", {"lang": "en", "n": i}) for i in range(5)]
        with self.open(library.folder, name) as store:
            store.create(SMALL, fields={"lang": str})
            store.upsert(documents, Vectors(dense=np.eye(5, 4, dtype=np.float32)))
        with self.open(library.folder, name) as store:
            try:
                assert store.schema == SMALL
                assert dict(store.fields) == {"lang": "str"}
                assert store.get([d.id for d in documents]).documents == documents
                hits = store.search(Vector(dense=np.eye(4, dtype=np.float32)[2]), mode="dense", k=1)
                assert [hit.document for hit in hits] == [documents[2]]
            finally:
                store.drop()

    def test_every_call_of_a_closed_store_is_refused(self, library: Library) -> None:
        name = library.name("closed")
        store = self.open(library.folder, name)
        store.create(SMALL)
        vectors = Vectors(dense=np.ones((2, 4), np.float32))
        store.upsert([Document("a", ""), Document("b", "")], vectors)
        query = Vector(dense=np.ones(4, np.float32))
        begun, unread = store.scan(batch_size=1), store.scan()

        async def search_and_close() -> None:
            assert len(await store.asearch(query, mode="dense")) == 2
            next(begun)
            await store.aclose()

        asyncio.run(search_and_close())
        calls: list[Callable[[], object]] = [
            lambda: store.create(SMALL, exist_ok=True),
            lambda: store.schema,
            lambda: store.upsert([Document("c", "")], vectors.slice(0, 1)),
            lambda: store.get(["a"]),
            lambda: store.delete(["a"]),
            lambda: store.delete_where(F("lang") == "en"),
            lambda: store.count(),
            lambda: store.scan(),
            lambda: next(begun),
            lambda: next(unread),
            lambda: store.search(query, mode="dense"),
            lambda: asyncio.run(store.asearch(query, mode="dense")),
            lambda: store.drop(),
        ]
        for call in calls:
            with pytest.raises(StoreError, match="closed; open it again with open_store"):
                call()
        assert _threads_end(f"trivec-{store.name}")
        asyncio.run(store.aclose())
        store.close()
        with self.open(library.folder, name) as again:
            again.drop()

    @needs("persistent")
    def test_the_next_store_finds_what_a_closed_one_wrote(self, library: Library) -> None:
        name = library.name("next")
        with self.open(library.folder, name) as store:
            store.create(SMALL)
            vectors = Vectors(dense=np.ones((2, 4), np.float32))
            asyncio.run(store.aupsert([Document("a", ""), Document("b", "")], vectors))
        with self.open(library.folder, name) as again:
            try:
                assert again.count() == 2
            finally:
                again.drop()

    @needs("concurrent")
    def test_two_handles_see_the_same_collection(self, library: Library) -> None:
        with self.handles(library) as (one, two):
            vectors = Vectors(dense=np.ones((1, 4)))
            one.upsert([Document("a", "from one")], vectors)
            assert two.get(["a"]).documents[0].text == "from one"
            two.upsert([Document("a", "from two")], vectors)
            assert one.get(["a"]).documents[0].text == "from two"


def _threads_end(name: str) -> bool:
    """Wait a moment for the threads of this name; return whether they have ended."""
    until = time.monotonic() + 5
    while any(thread.name.startswith(name) for thread in threading.enumerate()):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True
