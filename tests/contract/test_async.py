"""The asynchronous twins."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from trivec import F, Store


async def test_async_equals_sync(store: Store, corpus: Any) -> None:
    report = await store.aupsert(corpus.documents, corpus.vectors)
    assert report.documents == await store.acount() == len(corpus.documents)
    assert (await store.aget(["doc-003"])).documents == [corpus.documents[3]]
    queries = list(corpus.queries)[:4]
    hits = await store.asearch_many(queries, k=5)
    assert [[h.document.id for h in found] for found in hits] == [
        [h.document.id for h in store.search(query, k=5)] for query in queries
    ]
    assert (await store.asearch(queries[0]))[0].document == hits[0][0].document
    seen = [d.id async for page in store.ascan(batch_size=40) for d in page.documents]
    assert sorted(seen) == [d.id for d in corpus.documents]
    await store.adelete(["doc-000"])
    await store.adelete_where(F("lang") == "en")
    assert store.count() == sum(d.metadata.get("lang") != "en" for d in corpus.documents[1:])


async def test_fifty_concurrent_searches_leave_the_loop_free(
    filled: Store, corpus: Any, loop_gap: Any
) -> None:
    queries = list(corpus.queries)
    expected = [[h.document.id for h in filled.search(query)] for query in queries]

    async def work() -> None:
        answers = await asyncio.gather(
            *(filled.asearch(queries[i % len(queries)]) for i in range(50))
        )
        for i, hits in enumerate(answers):
            assert [h.document.id for h in hits] == expected[i % len(queries)]

    await work()
    assert await loop_gap(work) < 0.05


async def test_errors_reach_the_caller(store: Store) -> None:
    with pytest.raises(ValueError, match="ids"):
        await store.aget("doc-000")
