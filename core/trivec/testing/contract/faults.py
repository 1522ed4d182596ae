"""Faults of the database: unavailable for a while, too large, refused, full.

A backend in front of the one under test raises them before a hook or a request reaches it, or
after it did its work, as when an answer is lost on the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from trivec.errors import (
    AuthenticationError,
    CollectionNotFoundError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from trivec.filters import F
from trivec.stores.store import Store
from trivec.testing.contract.base import ContractBase, scanned_ids
from trivec.testing.contract.corpus import SMALL, Corpus
from trivec.testing.contract.faulty import Moment, with_faults

FIRST = 5  # documents that are there before a call

Call = Callable[[Store, Corpus], object]


CALLS: Mapping[str, Call] = {
    "write": lambda store, c: store.upsert(c.documents[3:8], c.vectors.slice(3, 8)).documents,
    "get": lambda store, c: store.get(["doc-001", "doc-004"], with_vectors=True).documents,
    "scan_page": lambda store, c: sorted(
        d.id for page in store.scan(batch_size=2, with_vectors=True) for d in page.documents
    ),
    "delete": lambda store, c: store.delete(["doc-000", "doc-001"]),
    "delete_where": lambda store, c: store.delete_where(F("year") >= 2018),
    "count": lambda store, c: store.count(F("year") >= 2018),
    "search": lambda store, c: [
        [hit.document.id for hit in hits] for hits in store.search_many(c.queries.slice(0, 2), k=3)
    ],
    "describe": lambda store, c: store.describe().schema,
}
"""One call for each hook of a backend that is asked for documents."""


def _unavailable() -> StoreUnavailableError:
    return StoreUnavailableError("busy", retry_after=0)


class FaultRules(ContractBase):
    """Calls when the database fails."""

    @pytest.mark.parametrize("hook", CALLS)
    def test_a_call_is_repeated_while_the_database_is_unavailable(
        self, store: Store, corpus: Corpus, hook: str
    ) -> None:
        faulty, faults = with_faults(store)

        def run() -> tuple[object, list[str]]:
            """Return the result of the call, and what it left."""
            store.delete(scanned_ids(store))
            store.upsert(corpus.documents[:FIRST], corpus.vectors.slice(0, FIRST))
            faults.count_anew()
            return CALLS[hook](faulty, corpus), scanned_ids(store)

        run()  # of the first call, some requests may be about the database itself
        expected = run()
        calls, requests = faults.calls.count(hook), faults.requests
        moments: tuple[Moment, ...] = ("before", "after")
        for moment in moments:
            for number in range(calls):
                faults.fail(hook, moment, *[None] * number, _unavailable(), _unavailable())
                assert run() == expected, (moment, number)
                assert faults.pending == 0
            for number in range(requests):
                faults.fail_request(number, moment, _unavailable())
                assert run() == expected, (moment, number)
                assert faults.pending == 0

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_create_and_drop_are_repeated_while_the_database_is_unavailable(
        self, fresh: Store, moment: Moment
    ) -> None:
        faulty, faults = with_faults(fresh)
        faults.fail("create", moment, _unavailable())
        faulty.create(SMALL, fields={"lang": str})
        assert fresh.describe().schema == SMALL
        assert dict(fresh.describe().fields) == {"lang": "str"}
        faults.fail("drop", moment, _unavailable())
        faulty.drop()
        with pytest.raises(CollectionNotFoundError, match="does not exist"):
            fresh.describe()
        assert faults.pending == 0

    def test_awaited_calls_are_repeated_while_the_database_is_unavailable(
        self, store: Store, corpus: Corpus
    ) -> None:
        faulty, faults = with_faults(store)

        async def work() -> None:
            faults.fail("write", "after", _unavailable())
            await faulty.aupsert(corpus.documents[:8], corpus.vectors.slice(0, 8))
            faults.fail("search", "before", _unavailable())
            hits = await faulty.asearch(corpus.vectors[0], k=1)
            assert [hit.document.id for hit in hits] == ["doc-000"]
            assert faults.pending == 0

        asyncio.run(work())
        assert store.count() == 8

    def test_repetitions_end(self, store: Store, corpus: Corpus) -> None:
        faulty, faults = with_faults(store)
        faults.fail("write", "before", *(_unavailable() for _ in range(50)))
        with pytest.raises(StoreUnavailableError, match="busy"):
            faulty.upsert(corpus.documents[:1], corpus.vectors.slice(0, 1))
        assert faults.calls.count("write") == 6

    @pytest.mark.parametrize("error", [AuthenticationError, StoreFullError, StoreError])
    def test_lasting_errors_are_raised_at_once(
        self, store: Store, corpus: Corpus, error: type[StoreError]
    ) -> None:
        store.upsert(corpus.documents[:FIRST], corpus.vectors.slice(0, FIRST))
        faulty, faults = with_faults(store)
        faults.fail("write", "before", error("no more"))
        with pytest.raises(error, match="no more"):
            faulty.upsert(corpus.documents[:8], corpus.vectors.slice(0, 8))
        assert faults.calls.count("write") == 1
        assert faulty.count() == FIRST  # it can be read
        assert len(faulty.search(corpus.queries[0], k=FIRST)) > 0
        faulty.upsert(corpus.documents[:8], corpus.vectors.slice(0, 8))
        assert store.count() == 8

    def test_writes_that_are_too_large_are_halved(self, store: Store, corpus: Corpus) -> None:
        faulty, faults = with_faults(store)
        faults.most_documents = 3
        report = faulty.upsert(corpus.documents[:8], corpus.vectors.slice(0, 8))
        assert report.requests == 4
        page = store.get([d.id for d in corpus.documents[:8]], with_vectors=True)
        assert page.documents == corpus.documents[:8]
        self.assert_same_vectors(page.vectors, corpus.vectors.slice(0, 8))
        faults.most_documents = 0
        with pytest.raises(StoreError, match="'doc-000' alone is too large"):
            faulty.upsert(corpus.documents[:2], corpus.vectors.slice(0, 2))

    def test_an_interrupted_write_can_be_made_again(self, store: Store, corpus: Corpus) -> None:
        documents, vectors = corpus.documents[:40], corpus.vectors.slice(0, 40)
        faulty, faults = with_faults(store)
        faults.most_documents = 10
        faults.fail("write", "after", StoreError("interrupted"))
        with pytest.raises(StoreError, match="interrupted"):
            faulty.upsert(documents, vectors)
        assert 0 < store.count() < 40
        faulty.upsert(documents, vectors)
        assert scanned_ids(store) == [document.id for document in documents]

    def test_attributes_of_a_backend_may_have_any_name(self, store: Store, corpus: Corpus) -> None:
        faulty, _ = with_faults(store)
        for name in ("collection", "known", "closed", "handle", "operations", "options", "view"):
            setattr(faulty._handle.backend, f"_{name}", object())
        faulty.upsert(corpus.documents[:8], corpus.vectors.slice(0, 8))
        assert faulty.count() == 8
        assert faulty.describe() == store.describe()
        assert faulty.search(corpus.vectors[0], k=1)[0].document == corpus.documents[0]
        assert faulty.view(bound=lambda: F("year") >= 0).get(["doc-000"]).documents
