"""Searches with groups: which queries are asked again, and when asking ends."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from trivec import Document, F, Hit, Schema, Store, Vector, Vectors, open_store
from trivec.collection import Collection
from trivec.errors import (
    AuthenticationError,
    CollectionNotFoundError,
    IncompleteResultError,
    InvalidOptionError,
    RequestTooLargeError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from trivec.reranking.among import search_among, search_ids
from trivec.rows import SparseRows, TokenRows
from trivec.search import MODES, Mode, Search
from trivec.stores import grouped
from trivec.stores.limits import Limits
from trivec.stores.memory import MemoryBackend
from trivec.twins import arun, run

COUNT = 120
SCHEMA = Schema(dense=2, sparse=True, colbert=2, model="groups")
NEAR = Vector(dense=np.array([1, 0]), sparse={1: 1.0}, colbert=np.array([[1, 0]]))
FAR = Vector(dense=np.array([0, 1]), sparse={2: 1.0}, colbert=np.array([[0, 1]]))


class Recording(MemoryBackend):
    """Keeps what it was asked, and refuses more than so many hits."""

    def __init__(self, name: str, refusal: Exception | None = None, most: int = 10**9) -> None:
        super().__init__(name)
        self.asked: list[tuple[int, Search]] = []
        self.refusal = refusal
        self.most = most

    def search(
        self, collection: Collection, queries: Sequence[Vector], search: Search
    ) -> list[list[Hit]]:
        self.asked.append((len(queries), search))
        if search.candidates > self.most and self.refusal is not None:
            raise self.refusal
        return super().search(collection, queries, search)

    @property
    def candidates(self) -> list[tuple[int, int]]:
        """How many queries were asked for how many candidates."""
        return [(queries, search.candidates) for queries, search in self.asked]


def vectors(rows: Sequence[tuple[float, bool]]) -> Vectors:
    """Return vectors whose first number ranks documents; some without token vectors."""
    dense = np.array([[x, 1 - x] for x, _ in rows], np.float32)
    return Vectors(
        dense=dense,
        sparse=SparseRows.from_dicts([{1: 0.5 + x, 2: 1.5 - x} for x, _ in rows]),
        colbert=TokenRows.from_arrays([dense[i : i + int(t)] for i, (_, t) in enumerate(rows)]),
    )


def documents(parents: Sequence[object]) -> list[Document]:
    return [Document(f"d{i:03d}", "", {"parent": p, "n": i % 3}) for i, p in enumerate(parents)]


@pytest.fixture
def backend() -> Iterator[Recording]:
    """Yield a collection of 100 passages of "a", then 20 documents of their own."""
    backend = Recording(f"groups_{uuid4().hex}")
    with Store(backend) as store:
        rows = [(1 - i / COUNT, i % 5 != 0) for i in range(COUNT)]
        names = ["a"] * 100 + [f"b{i}" for i in range(20)]
        store.create(SCHEMA, fields={"n": int})
        store.upsert(documents(names), vectors(rows))
        yield backend
        store.drop()


@pytest.mark.parametrize("mode", MODES)
def test_only_queries_that_lack_groups_are_asked_again(backend: Recording, mode: Mode) -> None:
    store = Store(backend)
    options: dict[str, Any] = {"mode": mode, "k": 3, "candidates": 8, "group_by": "parent"}
    near, far, again = store.search_many([NEAR, FAR, NEAR], **options)
    assert near == again
    assert [hit.group for hit in near][:1] == ["a"]
    assert len({hit.group for hit in near}) == len({hit.group for hit in far}) == 3
    ranked = [(queries, asked.candidates) for queries, asked in backend.asked if asked.mode == mode]
    assert ranked == [(3, 8), (2, 32), (2, 128)]
    backend.asked.clear()
    assert store.search_many([FAR], **options) == [far]
    assert backend.candidates == [(1, 8)]


def test_all_hits_of_a_small_collection_take_one_request(backend: Recording) -> None:
    for mode in ("dense", "sparse", "hybrid", "rrf"):
        backend.asked.clear()
        hits = Store(backend).search(NEAR, mode=mode, k=50, candidates=121, group_by="parent")
        assert len(hits) == 21
        assert len(backend.asked) == 1
    backend.asked.clear()
    assert Store(backend).search(NEAR, k=50, group_by="parent", filter=F("n") == 7) == []
    assert len(backend.asked) == 1


def test_documents_without_token_vectors_do_not_look_like_the_end(backend: Recording) -> None:
    """In mode "colbert" they are candidates, and no hits."""
    store = Store(backend)
    rows = [(1 - i / COUNT, i >= 90) for i in range(COUNT)]
    store.upsert(documents([f"p{i}" for i in range(COUNT)]), vectors(rows))
    options: dict[str, Any] = {"mode": "colbert", "k": 10, "group_by": "parent"}
    hits = store.search(NEAR, candidates=10, **options)
    assert [hit.group for hit in hits] == [f"p{i}" for i in range(90, 100)]
    options["k"] = 100
    assert len(store.search(NEAR, **options)) == 30
    backend.asked.clear()
    no_tokens = Vector(dense=NEAR.dense, colbert=np.zeros((0, 2)))
    assert store.search(no_tokens, **options) == []
    assert len(backend.asked) == 1


@pytest.mark.parametrize("mode", MODES)
def test_asking_ends_at_the_limit_of_the_database(
    backend: Recording, mode: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    sources = 1 if mode in ("dense", "sparse") else 2
    backend.limits = Limits(database="Small", hits=50 * sources)
    options: dict[str, Any] = {"mode": mode, "k": 3, "candidates": 8, "group_by": "parent"}
    with caplog.at_level(logging.WARNING, "trivec"):
        hits = Store(backend).search(NEAR, **options)
    assert [hit.group for hit in hits] == ["a"]
    assert max(search.candidates for _, search in backend.asked) == 50
    assert len(caplog.messages) == 1
    assert "1 of 1 queries have fewer than k=3 groups by 'parent'" in caplog.messages[0]
    assert "candidates=50" in caplog.messages[0]
    assert "the database returns no more" in caplog.messages[0]
    with pytest.raises(InvalidOptionError, match=r"candidates=51, .* at most 50 with group_by"):
        Store(backend).search(NEAR, mode=mode, candidates=51, group_by="parent")


def test_asking_ends_at_64_times_the_candidates(
    backend: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {"mode": "dense", "k": 2, "candidates": 1, "group_by": "parent"}
    with caplog.at_level(logging.WARNING, "trivec"):
        hits = Store(backend).search(NEAR, filter=F("n") < 3, **options)
    assert backend.candidates == [(1, 2), (1, 8), (1, 32), (1, 128)]
    assert len(hits) == 2
    assert caplog.messages == []


@pytest.mark.parametrize("refusal", [StoreError("no"), RequestTooLargeError("no")], ids=repr)
def test_a_refused_request_for_more_ends_asking(
    backend: Recording, refusal: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    backend.refusal, backend.most = refusal, 40
    options: dict[str, Any] = {"mode": "hybrid", "k": 3, "candidates": 8, "group_by": "parent"}
    with caplog.at_level(logging.WARNING, "trivec"):
        near, far = Store(backend).search_many([NEAR, FAR], **options)
    assert [hit.group for hit in near] == ["a"]
    assert len(far) == 3
    assert [asked for asked in backend.candidates if asked[1] > 8] == [(1, 32), (1, 128)]
    assert len(caplog.messages) == 1
    assert "1 of 2 queries" in caplog.messages[0]
    assert "candidates=32" in caplog.messages[0]
    assert "the database refused to return more: no" in caplog.messages[0]
    backend.most = 7
    with pytest.raises(type(refusal), match="no"):
        Store(backend).search(NEAR, **options)


@pytest.mark.parametrize(
    "error",
    [
        *(AuthenticationError("no"), CollectionNotFoundError("no"), IncompleteResultError("no")),
        *(StoreFullError("no"), StoreUnavailableError("no", unreachable=True)),
    ],
    ids=repr,
)
def test_other_failures_of_a_later_request_are_raised(
    backend: Recording, error: StoreError
) -> None:
    backend.refusal, backend.most = error, 40
    with pytest.raises(type(error)):
        Store(backend).search(NEAR, k=3, candidates=8, group_by="parent")


def test_a_store_that_is_closed_meanwhile_says_so(backend: Recording) -> None:
    store = Store(backend)
    closes = iter([False, True])

    def search(collection: Collection, queries: Sequence[Vector], search: Search) -> Any:
        if next(closes):
            store.close()
        return MemoryBackend.search(backend, collection, queries, search)

    backend.search = search  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="closed"):
        store.search(NEAR, k=3, candidates=2, group_by="parent")


def test_later_requests_are_split_by_their_hits(
    backend: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"mode": "dense", "k": 3, "candidates": 8, "group_by": "parent"}
    expected = Store(backend).search_many([NEAR, FAR] * 5, **options)
    backend.asked.clear()
    monkeypatch.setattr(grouped, "_HITS", 64)
    assert Store(backend).search_many([NEAR, FAR] * 5, **options) == expected
    assert [queries for queries, candidates in backend.candidates if candidates == 32] == [2, 2, 1]
    assert [queries for queries, candidates in backend.candidates if candidates == 128] == [1] * 5


async def test_the_field_is_that_of_the_collection_as_it_is_now(backend: Recording) -> None:
    store, other = Store(backend), Store(MemoryBackend(backend.name))
    with pytest.raises(InvalidOptionError, match="'lang' is not a declared field"):
        store.search(NEAR, group_by="lang")
    for search in (store.search, store.asearch):
        other.drop()
        other.create(SCHEMA, fields={"n": int})
        assert store.describe().fields == {"n": "int"}
        other.drop()
        other.create(SCHEMA, fields={"lang": str})
        other.upsert([Document("x", "", {"lang": "en"})], vectors([(1.0, True)]))
        hits: Any = search(NEAR, group_by="lang")
        assert [hit.group for hit in (hits if isinstance(hits, list) else await hits)] == ["en"]


async def test_a_view_without_a_collection_has_no_groups() -> None:
    with open_store(f"memory:/groups_{uuid4().hex}") as store:
        view = store.view(creates=True, fields={"lang": str})
        assert view.search(NEAR, group_by="lang") == []
        assert await view.asearch_many([NEAR, FAR], group_by="parent") == [[], []]
        with pytest.raises(InvalidOptionError, match="per_group=2 needs group_by"):
            view.search(NEAR, per_group=2)


@pytest.mark.parametrize("mode", ["dense", "sparse", "colbert", "hybrid"])
async def test_groups_among_given_documents(backend: Recording, mode: Mode) -> None:
    store = Store(backend)
    ids = [f"d{i:03d}" for i in (*range(0, 100, 7), 118, 106, 112)]
    options: dict[str, Any] = {"group_by": "parent", "per_group": 2, "filter": F("n") < 2}
    search = Search(mode=mode, k=3, candidates=3, **options)
    hits = run(search_ids(store, NEAR, [*ids, "missing"], search))
    assert [hit.group for hit in hits[:2]] == ["a", "a"]
    assert len({hit.group for hit in hits}) == 3
    assert await arun(search_ids(store, NEAR, ids, search)) == hits
    page = store.get(ids, with_vectors=True)
    assert search_among(NEAR, page, search, store.fields) == hits
    with Store(MemoryBackend(f"groups_{uuid4().hex}")) as few:  # a store without the others
        few.create(SCHEMA, fields={"n": int})
        assert page.vectors is not None
        few.upsert(page.documents, page.vectors)
        all_candidates = replace(search, candidates=100)
        assert few.search(NEAR, **all_candidates.options) == hits
        few.drop()


async def test_groups_among_pages_of_documents(backend: Recording) -> None:
    store = Store(backend)
    more = [Document(f"e{i:03d}", "", {"parent": f"c{i % 7}", "n": 0}) for i in range(600)]
    store.upsert(more, vectors([(0.5 - i / 2000, True) for i in range(600)]))
    ids = [*(document.id for document in reversed(more)), "d000"]
    search = Search(mode="dense", k=9, per_group=3, group_by="parent")
    hits = run(search_ids(store, NEAR, ids, search))
    assert [hit.group for hit in hits] == ["a", *(f"c{i}" for i in range(7) for _ in range(3))]
    assert [hit.document.id for hit in hits][:4] == ["d000", "e000", "e007", "e014"]
    assert await arun(search_ids(store, NEAR, ids, search)) == hits


@pytest.mark.parametrize("ids", [[], ["d000"], ["missing"]], ids=len)
async def test_a_wrong_field_is_refused_among_given_documents(
    backend: Recording, ids: list[str]
) -> None:
    store, search = Store(backend), Search(mode="dense", group_by="lang")
    with pytest.raises(InvalidOptionError, match="'lang' is not a declared field"):
        run(search_ids(store, NEAR, ids, search))
    with pytest.raises(InvalidOptionError, match="'lang' is not a declared field"):
        await arun(search_ids(store, NEAR, ids, search))
    page = store.get(ids, with_vectors=True)
    with pytest.raises(InvalidOptionError, match="'lang' is not a declared field"):
        search_among(NEAR, page, search, store.fields)
