"""One collection in one database: the blocking calls and their asynchronous twins."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from trivec.collection import Collection, OptimizeReport, Page, UpsertReport
from trivec.document import Document
from trivec.fields import FieldType
from trivec.filters import NEVER, Filter
from trivec.hit import Hit
from trivec.schema import Schema
from trivec.scores import Weights
from trivec.search import Mode, Search
from trivec.stores.blocking import BlockingStore, listed_queries
from trivec.stores.deadline import DEADLINE_SECONDS, unless_limited
from trivec.stores.handle import BATCH_BYTES, REFUSALS
from trivec.stores.overflow import Overflow
from trivec.stores.url import StoreUrl
from trivec.vectors import Vector, Vectors

__all__ = ["BATCH_BYTES", "Store"]

P = ParamSpec("P")
T = TypeVar("T")

ASYNC_THREADS = 4


class Store(BlockingStore):
    """One collection in one database.

    Made by `open_store`, or by a connector's class from a ready client; a context manager that
    closes it. Every call has an asynchronous twin with the prefix `a`, which does not block the
    event loop. Any number of threads can use one store.

    A connector writes the methods with a leading underscore. They receive checked values, may be
    called from several threads, and raise the classes below `StoreError`:
    `StoreUnavailableError` is retried with the same ids, `RequestTooLargeError` on a write is
    answered by halves.

    Args:
        name: The collection's name.
        colbert_overflow: What to do with ColBERT rows longer than the database can hold.
        batch_bytes: The most bytes of one write; 32 MiB by default.
        deadline: Seconds that one call may take with its repetitions and the waits between them;
            120 by default. Each batch of a write and each page of a scan has this time for itself.

    Example:
        >>> from trivec import Document, open_store
        >>> from trivec.testing import HashEncoder
        >>> encoder = HashEncoder()
        >>> with open_store("memory:/store-example") as store:
        ...     store.create(encoder.schema, fields={"lang": str})
        ...     _ = store.upsert(
        ...         [Document("a", "blue whale", {"lang": "en"})],
        ...         encoder.encode_documents(["blue whale"]),
        ...     )
        ...     [hit.document.id for hit in store.search(encoder.encode_query("whale"))]
        ['a']
    """

    def __init__(
        self,
        name: str,
        *,
        colbert_overflow: Overflow = "pool",
        batch_bytes: int = BATCH_BYTES,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        super().__init__(
            name, colbert_overflow=colbert_overflow, batch_bytes=batch_bytes, deadline=deadline
        )
        self._threads: ThreadPoolExecutor | None = None

    @classmethod
    def local_files(cls, url: StoreUrl) -> tuple[Path, ...]:
        """Return the files and folders of this machine that an embedded collection takes.

        They are what no command writes its outputs to; `PATH/name` unless a connector says more.
        """
        return () if url.path is None else (url.path / url.name,)

    def close(self) -> None:
        """Release connections and threads; a client that was handed in stays open.

        Whatever is asked of the store afterwards is a `StoreError`; closing it again is no error.
        """
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
        super().close()

    async def _asearch(self, queries: Sequence[Vector], search: Search) -> list[list[Hit]]:
        """Answer as `_search` does, for connectors whose client is asynchronous."""
        return await self._in_thread(self._retrying, self._search, queries, search)

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call in one of the store's own threads, with the caller's context."""
        self._check_open()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(ASYNC_THREADS, f"trivec-{self.name}")
        call = partial(contextvars.copy_context().run, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def adescribe(self) -> Collection:
        """Read what the collection holds; see `describe`."""
        return await self._in_thread(self.describe)

    async def acreate(
        self,
        schema: Schema,
        *,
        fields: Mapping[str, type | FieldType] | None = None,
        exist_ok: bool = False,
    ) -> None:
        """Create the collection; see `create`."""
        await self._in_thread(partial(self.create, schema, fields=fields, exist_ok=exist_ok))

    async def adrop(self) -> None:
        """Delete the collection; see `drop`."""
        await self._in_thread(self.drop)

    async def aoptimize(self) -> OptimizeReport:
        """Build indexes and give back disk; see `optimize`."""
        return await self._in_thread(self.optimize)

    async def aclose(self) -> None:
        """Release connections and threads; see `close`."""
        await asyncio.to_thread(self.close)

    async def aupsert(self, documents: Sequence[Document], vectors: Vectors) -> UpsertReport:
        """Write documents; see `upsert`."""
        return await self._in_thread(self.upsert, documents, vectors)

    async def aget(self, ids: Iterable[str], *, with_vectors: bool = False) -> Page:
        """Return documents; see `get`."""
        return await self._in_thread(partial(self.get, ids, with_vectors=with_vectors))

    async def adelete(self, ids: Iterable[str]) -> None:
        """Delete documents; see `delete`."""
        await self._in_thread(self.delete, ids)

    async def adelete_where(self, filter: Filter) -> None:
        """Delete documents; see `delete_where`."""
        await self._in_thread(self.delete_where, filter)

    async def acount(self, filter: Filter | None = None) -> int:
        """Count documents; see `count`."""
        return await self._in_thread(self.count, filter)

    async def ascan(
        self, *, batch_size: int = 256, with_vectors: bool = False, filter: Filter | None = None
    ) -> AsyncIterator[Page]:
        """Yield every document once; see `scan`."""
        pages = self.scan(batch_size=batch_size, with_vectors=with_vectors, filter=filter)
        while (page := await self._in_thread(next, pages, None)) is not None:
            yield page

    async def asearch(
        self,
        query: Vector,
        *,
        k: int = 10,
        mode: Mode = "hybrid",
        weights: Weights = Weights.GENERAL,
        candidates: int = 100,
        filter: Filter | None = None,
    ) -> list[Hit]:
        """Return the best documents for one query; see `search`."""
        found = await self.asearch_many(
            [query], k=k, mode=mode, weights=weights, candidates=candidates, filter=filter
        )
        return found[0]

    async def asearch_many(
        self,
        queries: Iterable[Vector],
        *,
        k: int = 10,
        mode: Mode = "hybrid",
        weights: Weights = Weights.GENERAL,
        candidates: int = 100,
        filter: Filter | None = None,
    ) -> list[list[Hit]]:
        """Answer many queries; see `search_many`."""
        with unless_limited(self.deadline):
            listed = await self._in_thread(listed_queries, queries)
            search = Search(mode, k, weights, candidates, filter)
            known = self._collection
            try:
                return await self._aanswered(listed, search)
            except REFUSALS as error:
                if not await self._in_thread(self._has_changed, known, error):
                    raise
            return await self._aanswered(listed, search)

    async def _aanswered(self, queries: Sequence[Vector], search: Search) -> list[list[Hit]]:
        search, checked = await self._in_thread(self._prepared, queries, search)
        if not checked or search.filter == NEVER:
            return [[] for _ in checked]
        with self._forgetting():
            found = await self._asearch(checked, search)
        return await self._in_thread(self._best_hits, found, search)
