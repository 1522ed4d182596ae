"""The asynchronous twins."""

from __future__ import annotations

import asyncio

import pytest

from trivec.errors import InvalidOptionError
from trivec.filters import F
from trivec.stores.store import Store
from trivec.testing.contract.base import ContractBase
from trivec.testing.contract.corpus import Corpus
from trivec.testing.contract.event_loop import longest_gap

BLOCKED_SECONDS = 0.05
"""Work that keeps the event loop from its turn for longer than this blocks it."""


class AsyncRules(ContractBase):
    """The asynchronous twins do the same, and leave the event loop free."""

    def test_async_equals_sync(self, store: Store, corpus: Corpus) -> None:
        async def work() -> None:
            report = await store.aupsert(corpus.documents, corpus.vectors)
            assert report.documents == await store.acount() == len(corpus.documents)
            assert (await store.aget(["doc-003"])).documents == [corpus.documents[3]]
            queries = list(corpus.queries)[:4]
            answers = await store.asearch_many(queries, k=5)
            assert [[h.document.id for h in hits] for hits in answers] == [
                [h.document.id for h in store.search(query, k=5)] for query in queries
            ]
            assert (await store.asearch(queries[0]))[0].document == answers[0][0].document
            seen = [d.id async for page in store.ascan(batch_size=40) for d in page.documents]
            assert sorted(seen) == [d.id for d in corpus.documents]
            await store.adelete(["doc-000"])
            await store.adelete_where(F("lang") == "en")
            left = sum(d.metadata.get("lang") != "en" for d in corpus.documents[1:])
            assert store.count() == left

        asyncio.run(work())

    def test_concurrent_searches_leave_the_loop_free(self, filled: Store, corpus: Corpus) -> None:
        queries = list(corpus.queries)
        expected = [[h.document.id for h in filled.search(query)] for query in queries]

        async def work() -> None:
            answers = await asyncio.gather(
                *(filled.asearch(queries[i % len(queries)]) for i in range(50))
            )
            for i, hits in enumerate(answers):
                assert [h.document.id for h in hits] == expected[i % len(queries)]

        async def measured() -> float:
            await work()
            return await longest_gap(work)

        assert asyncio.run(measured()) < BLOCKED_SECONDS

    def test_one_event_loop_after_another(self, filled: Store, corpus: Corpus) -> None:
        query = corpus.queries[0]
        expected = [hit.document.id for hit in filled.search(query)]

        async def work() -> None:
            for hits in await asyncio.gather(*(filled.asearch(query) for _ in range(8))):
                assert [hit.document.id for hit in hits] == expected

        for _ in range(2):
            asyncio.run(work())

    def test_errors_reach_the_caller(self, store: Store) -> None:
        with pytest.raises(InvalidOptionError, match="ids"):
            asyncio.run(store.aget("doc-000"))
