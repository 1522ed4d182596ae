"""Many searches in one event loop wait for the server together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from loads import scaled
from milvus_server import milvus_server

from trivec import Document, open_store
from trivec.testing import HashEncoder

SECONDS = 0.2  # of each search in the server


@pytest.fixture(scope="module")
def slow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with milvus_server(tmp_path_factory.mktemp("slow"), str(SECONDS)) as url:
        yield url


async def test_64_searches_take_hardly_longer_than_one(
    slow_url: str, encoder: HashEncoder, loop_gap: Any
) -> None:
    texts = [f"whale {i}" for i in range(64)]
    async with open_store(f"{slow_url}/t_{uuid4().hex[:12]}") as store:
        await store.acreate(encoder.schema)
        documents = [Document(f"d{i}", text) for i, text in enumerate(texts)]
        await store.aupsert(documents, encoder.encode_documents(texts))
        queries = list(encoder.encode_queries(texts))
        taken: list[float] = []

        async def search() -> None:
            start = time.monotonic()
            answers = await asyncio.gather(*(store.asearch(q, mode="dense") for q in queries))
            taken.append(time.monotonic() - start)
            assert [hits[0].document for hits in answers] == documents

        for _ in range(5):  # the first time, the server computes the answers
            await search()
            if min(taken) < scaled(0.5):
                break
        assert min(taken) < scaled(0.5)
        assert await loop_gap(search) < scaled(0.05)
        await store.adrop()
