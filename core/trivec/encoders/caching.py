"""An encoder that remembers what it encoded, so that all users of a text share one pass."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from trivec.encoders.protocol import TextEncoder
from trivec.encoders.spool import SPOOL_BYTES, Spool
from trivec.encoders.tokenizer import check_texts
from trivec.errors import InvalidOptionError
from trivec.rows import SparseRows, TokenRows
from trivec.schema import Schema
from trivec.vectors import Vector, Vectors

__all__ = ["CACHE_BYTES", "CachingEncoder"]

CACHE_BYTES = 256 * 1024 * 1024
# What Python and numpy take for one remembered text besides its numbers: 760 bytes by tracemalloc.
_ENTRY_BYTES = 1024

Role = Literal["documents", "queries"]
Key = tuple[Role, str]


class _AbandonedError(Exception):
    """Whoever was encoding a text has failed or was cancelled."""


@dataclass(slots=True)
class _Plan:
    """How one call gets its texts."""

    role: Role
    texts: list[str]
    keep: bool
    colbert: bool
    for_store: bool
    found: dict[str, Vectors] = field(default_factory=dict)
    waiting: dict[str, tuple[Future[Vectors], int]] = field(default_factory=dict)
    spooled: list[str] = field(default_factory=list)
    mine: list[str] = field(default_factory=list)
    promise: Future[Vectors] = field(default_factory=Future)


class _Row(NamedTuple):
    """What is remembered of one text."""

    vectors: Vectors
    size: int
    for_store: bool


class CachingEncoder:
    """Encodes each text once, however many ask for it, one after another or at the same time.

    A dense and a sparse interface to one model, or an index and its store, so cost one forward
    pass. The least recently used texts are forgotten first. Copies are the same cache; a pickle
    holds the encoder and an empty cache.

    Args:
        encoder: What encodes.
        max_bytes: The most bytes to remember, of all vectors together. The ColBERT vectors of
            512 tokens take 1 MiB in float16, dense and sparse together about 6 kB.
        spool_bytes: The most bytes on disk, for texts that a store will ask for.

    Example:
        >>> from trivec.testing import HashEncoder
        >>> encoder = HashEncoder()
        >>> cached = CachingEncoder(encoder)
        >>> for _ in range(3):
        ...     vectors = cached.encode_documents(["blue whale", "grey seal"])
        >>> encoder.encoded
        2
    """

    _shared: ClassVar[weakref.WeakValueDictionary[int, CachingEncoder]] = (
        weakref.WeakValueDictionary()
    )
    _sharing: ClassVar[threading.Lock] = threading.Lock()

    def __init__(
        self,
        encoder: TextEncoder,
        *,
        max_bytes: int = CACHE_BYTES,
        spool_bytes: int = SPOOL_BYTES,
    ) -> None:
        for name, value in (("max_bytes", max_bytes), ("spool_bytes", spool_bytes)):
            if value < 0:
                raise InvalidOptionError(f"{name}={value} must be at least 0")
        self._encoder = encoder
        self._max_bytes = max_bytes
        self._bytes = 0
        self._rows: OrderedDict[Key, _Row] = OrderedDict()
        self._spool_bytes = spool_bytes
        self._spool = Spool(spool_bytes)
        self._pending: dict[Key, tuple[Future[Vectors], int]] = {}
        self._lock = threading.Lock()
        _living.add(self)

    @classmethod
    def sharing(cls, encoder: TextEncoder) -> CachingEncoder:
        """Return the cache that all callers with this encoder share; a cache is returned as is."""
        if isinstance(encoder, CachingEncoder):
            return encoder
        # The cache holds its encoder, so the id stays this encoder's as long as the entry lives.
        with cls._sharing:
            cache = cls._shared.get(id(encoder))
            if cache is None:
                cache = cls._shared[id(encoder)] = cls(encoder)
            return cache

    @property
    def schema(self) -> Schema:
        """Which vectors the encoder makes."""
        return self._encoder.schema

    @property
    def options(self) -> Mapping[str, str]:
        """The encoder's options that change the vectors, for the journal of `ingest`."""
        options: Mapping[str, str] = getattr(self._encoder, "options", {})
        return options

    @property
    def encoder(self) -> TextEncoder:
        """What encodes."""
        return self._encoder

    def __repr__(self) -> str:
        return f"CachingEncoder({self._encoder!r}, max_bytes={self._max_bytes})"

    def __copy__(self) -> CachingEncoder:
        """Return the same cache, which copies of its users share."""
        return self

    def __deepcopy__(self, memo: Mapping[int, object]) -> CachingEncoder:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _empty, (self._encoder, self._max_bytes, self._spool_bytes)

    def encode_documents(
        self,
        texts: Sequence[str],
        *,
        keep: bool = True,
        colbert: bool = True,
        for_store: bool = False,
    ) -> Vectors:
        """Encode texts to be stored.

        Args:
            texts: Any number; one that occurs twice is encoded once.
            keep: Whether to remember them; if not, what is known of them is used and forgotten,
                which suits whoever stores them for good.
            colbert: Whether the ColBERT vectors are wanted; without them 150 times as many texts
                of 512 tokens are remembered.
            for_store: Whether a store will ask for them next; then a temporary file keeps what
                does not fit in memory.
        """
        return self._encode("documents", texts, keep, colbert, for_store)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode questions."""
        return self._encode("queries", texts)

    def encode_query(self, text: str) -> Vector:
        """Encode one question."""
        return self.encode_queries([text])[0]

    async def aencode_documents(
        self,
        texts: Sequence[str],
        *,
        keep: bool = True,
        colbert: bool = True,
        for_store: bool = False,
    ) -> Vectors:
        """Encode texts to be stored; see `encode_documents`."""
        return await self._aencode("documents", texts, keep, colbert, for_store)

    async def aencode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode questions."""
        return await self._aencode("queries", texts)

    async def aencode_query(self, text: str) -> Vector:
        """Encode one question."""
        return (await self.aencode_queries([text]))[0]

    def _encode(
        self,
        role: Role,
        texts: Sequence[str],
        keep: bool = True,
        colbert: bool = True,
        for_store: bool = False,
    ) -> Vectors:
        plan = _Plan(role, check_texts(texts), keep, colbert, for_store)
        fresh = None
        # Whoever is encoding a text may need the event loop that waiting would block.
        with self._claimed(plan, wait=not _runs_event_loop()):
            if plan.mine or not plan.texts:
                encoder = self._encoder
                if role == "documents":
                    fresh = encoder.encode_documents(plan.mine)
                else:
                    fresh = encoder.encode_queries(plan.mine)
                plan.promise.set_result(fresh)
            self._settle(plan, fresh)
        for text, (promise, row) in plan.waiting.items():
            try:
                plan.found[text] = promise.result().take([row])
            except _AbandonedError:
                plan.found[text] = self._encode(role, [text], keep, colbert, for_store)
        for text in self._fetch(plan):
            plan.found[text] = self._encode(role, [text], keep, colbert, for_store)
        return _assemble(plan, fresh)

    async def _aencode(
        self,
        role: Role,
        texts: Sequence[str],
        keep: bool = True,
        colbert: bool = True,
        for_store: bool = False,
    ) -> Vectors:
        plan = _Plan(role, check_texts(texts), keep, colbert, for_store)
        fresh = None
        with self._claimed(plan, wait=True):
            if plan.mine or not plan.texts:
                encoder = self._encoder
                if role == "documents":
                    fresh = await encoder.aencode_documents(plan.mine)
                else:
                    fresh = await encoder.aencode_queries(plan.mine)
                plan.promise.set_result(fresh)
            # Copying rows of many token vectors takes longer than an event loop should wait.
            await asyncio.to_thread(self._settle, plan, fresh)
        for text, (promise, row) in plan.waiting.items():
            try:
                plan.found[text] = (await asyncio.wrap_future(promise)).take([row])
            except _AbandonedError:
                plan.found[text] = await self._aencode(role, [text], keep, colbert, for_store)
        for text in await asyncio.to_thread(self._fetch, plan) if plan.spooled else ():
            plan.found[text] = await self._aencode(role, [text], keep, colbert, for_store)
        return await asyncio.to_thread(_assemble, plan, fresh)

    @contextmanager
    def _claimed(self, plan: _Plan, *, wait: bool) -> Iterator[None]:
        """Claim the texts that a call has to encode, and let go of them however it ends."""
        self._claim(plan, wait)
        try:
            yield
        finally:
            with self._lock:
                for text in plan.mine:
                    self._pending.pop((plan.role, text), None)
            if not plan.promise.done():
                plan.promise.set_exception(_AbandonedError())

    def _claim(self, plan: _Plan, wait: bool) -> None:
        """Sort the texts into those remembered, those that another call encodes, and the rest.

        Without `wait`, those that another call has not encoded yet belong to the rest.
        """
        plan.promise.set_running_or_notify_cancel()  # so that no one who waits can cancel it
        with self._lock:
            for text in dict.fromkeys(plan.texts):
                key = plan.role, text
                row = self._rows.get(key)
                if row is not None and (row.vectors.colbert is not None or not self._lacks(plan)):
                    self._rows.move_to_end(key)
                    plan.found[text] = row.vectors
                elif key in self._pending and (wait or self._pending[key][0].done()):
                    plan.waiting[text] = self._pending[key]
                elif key in self._spool:
                    plan.spooled.append(text)
                else:
                    self._pending[key] = plan.promise, len(plan.mine)
                    plan.mine.append(text)

    def _lacks(self, plan: _Plan) -> bool:
        """Return whether a row without ColBERT vectors lacks what a call wants."""
        return plan.colbert and self.schema.colbert is not None

    def _settle(self, plan: _Plan, fresh: Vectors | None) -> None:
        """Remember the fresh vectors, or forget the texts."""
        rows: list[tuple[Key, _Row]] = []
        if fresh is not None and plan.keep:
            wanted = _wanted(fresh, plan)
            sizes = (wanted.row_bytes() + _ENTRY_BYTES).tolist()
            for i, text in enumerate(plan.mine):
                if sizes[i] <= self._max_bytes or plan.for_store:
                    row = _Row(_copy(wanted.take([i])), sizes[i], plan.for_store)
                    rows.append(((plan.role, text), row))
        surplus: list[tuple[Key, Vectors]] = []
        with self._lock:
            for key, row in rows:
                self._forget(key)
                self._rows[key] = row
                self._bytes += row.size
            if not plan.keep:
                for text in plan.found:
                    self._forget((plan.role, text))
            while self._bytes > self._max_bytes:
                key, row = next(iter(self._rows.items()))
                self._forget(key)
                if row.for_store:
                    surplus.append((key, row.vectors))
        for key, vectors in surplus:
            self._spool.put(key, vectors)

    def _fetch(self, plan: _Plan) -> list[str]:
        """Read the texts on disk; return those that had to give way since they were found."""
        lost = []
        for text in plan.spooled:
            key = plan.role, text
            row = self._spool.get(key)
            if row is None:
                lost.append(text)
            else:
                plan.found[text] = row
            if row is None or not plan.keep:  # where the disk fails, it is not asked again
                self._spool.forget(key)
        return lost

    def _forget(self, key: Key) -> None:
        row = self._rows.pop(key, None)
        self._bytes -= 0 if row is None else row.size


def _runs_event_loop() -> bool:
    """Return whether the calling thread is running an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _wanted(vectors: Vectors, plan: _Plan) -> Vectors:
    """Return the parts that a call asks for; ColBERT alone is never left out."""
    if plan.colbert or (vectors.dense is None and vectors.sparse is None):
        return vectors
    return Vectors(dense=vectors.dense, sparse=vectors.sparse)


def _copy(vectors: Vectors) -> Vectors:
    """Return the same rows in arrays of their own, which keep no batch alive."""
    sparse, colbert = vectors.sparse, vectors.colbert
    return Vectors(
        dense=None if vectors.dense is None else vectors.dense.copy(),
        sparse=sparse and SparseRows(sparse.indptr, sparse.indices.copy(), sparse.values.copy()),
        colbert=colbert and TokenRows(colbert.indptr, colbert.values.copy()),
    )


def _empty(encoder: TextEncoder, max_bytes: int, spool_bytes: int) -> CachingEncoder:
    return CachingEncoder(encoder, max_bytes=max_bytes, spool_bytes=spool_bytes)


_living: weakref.WeakSet[CachingEncoder] = weakref.WeakSet()


def _start_again() -> None:
    """Forget who holds locks and who encodes what: a fork copies none of these threads."""
    CachingEncoder._sharing = threading.Lock()
    for cache in _living:
        cache._lock = threading.Lock()
        cache._pending = {}
        # The file and its position are the parent's too.
        cache._spool = Spool(cache._spool_bytes)
        cache._bytes = sum(row.size for row in cache._rows.values())


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_start_again)


def _assemble(plan: _Plan, fresh: Vectors | None) -> Vectors:
    """Return one row per text, in order."""
    if fresh is not None and len(plan.mine) == len(plan.texts):
        return _wanted(fresh, plan)
    given = [*plan.found.values(), *([fresh] if plan.mine and fresh is not None else [])]
    parts = [_wanted(part, plan) for part in given]
    place = {text: i for i, text in enumerate([*plan.found, *plan.mine])}
    order = np.fromiter((place[text] for text in plan.texts), np.int64, len(plan.texts))
    return Vectors.concatenate(parts).take(order)
