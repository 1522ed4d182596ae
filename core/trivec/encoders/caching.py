"""An encoder that remembers vectors, so that all users of a text share one forward pass."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypedDict, Unpack

import numpy as np

from trivec.encoders.known import remember
from trivec.encoders.processes import after_fork
from trivec.encoders.protocol import TextEncoder
from trivec.encoders.spool import SPOOL_BYTES, Spool
from trivec.encoders.tokenizer import check_texts
from trivec.errors import InvalidOptionError
from trivec.schema import Schema
from trivec.vectors import Vector, Vectors

CACHE_BYTES = 256 * 1024 * 1024
# Python and numpy take 760 bytes (by tracemalloc) for one remembered text besides its numbers.
_ENTRY_BYTES = 1024

# What some encoders have, and others do not.
_PASSED_ON = frozenset({"tokens", "whole_tokens", "encode_passages"})

Role = Literal["documents", "queries"]
Key = tuple[Role, str]


class _AbandonedError(Exception):
    """The call that was encoding a text failed or was cancelled."""


class CachingOptions(TypedDict, total=False):
    """The keyword options of `CachingEncoder.encode_documents` and its async twin."""

    keep: bool
    """Whether to remember the vectors, True by default. If not, remembered vectors of these texts
    are used and then forgotten, which suits a caller that stores them for good."""
    colbert: bool
    """Whether the ColBERT vectors are wanted, True by default. Without them, 150 times as many
    texts of 512 tokens are remembered."""
    for_store: bool
    """Whether a store will ask for these texts next, False by default. If so, a temporary file
    keeps what does not fit in memory."""


@dataclass(slots=True)
class _Call:
    """One call, and where the vectors of each of its texts come from.

    Args:
        role: Whether the texts are documents or queries.
        texts: The texts to encode.
        keep: As in `CachingOptions`; so are `colbert` and `for_store`.

    Attributes:
        rows: The vectors known so far, by text.
        awaited: Texts that another call is encoding: the future of its vectors, and the row.
        spooled: Texts whose vectors are on disk.
        missing: Texts that this call encodes.
        encoded: The vectors of `missing`, for which other calls may wait.
    """

    role: Role
    texts: list[str]
    keep: bool = True
    colbert: bool = True
    for_store: bool = False
    rows: dict[str, Vectors] = field(default_factory=dict, init=False)
    awaited: dict[str, tuple[Future[Vectors], int]] = field(default_factory=dict, init=False)
    spooled: list[str] = field(default_factory=list, init=False)
    missing: list[str] = field(default_factory=list, init=False)
    encoded: Future[Vectors] = field(default_factory=Future, init=False)

    def only(self, text: str) -> _Call:
        """Return a new call with the same options for one text."""
        return _Call(self.role, [text], self.keep, self.colbert, self.for_store)

    def wanted(self, vectors: Vectors) -> Vectors:
        """Return the vectors that the call asks for; ColBERT vectors that are alone stay."""
        if self.colbert or (vectors.dense is None and vectors.sparse is None):
            return vectors
        return Vectors(dense=vectors.dense, sparse=vectors.sparse)

    def assembled(self, fresh: Vectors | None) -> Vectors:
        """Return one row per text, in order, of the known rows and the freshly encoded ones."""
        if fresh is not None and len(self.missing) == len(self.texts):
            return self.wanted(fresh)
        batches = [*self.rows.values(), *([fresh] if self.missing and fresh is not None else [])]
        rows = {text: row for row, text in enumerate([*self.rows, *self.missing])}
        order = np.fromiter((rows[text] for text in self.texts), np.int64, len(self.texts))
        return Vectors.concatenate([self.wanted(batch) for batch in batches]).take(order)


class _Entry(NamedTuple):
    """The remembered vectors of one text."""

    vectors: Vectors
    size: int
    for_store: bool


class CachingEncoder:
    """Encodes each text once, even if several callers ask for it, in turn or at the same time.

    Thus a dense and a sparse interface to one model, or an index and its store, need one forward
    pass. The least recently used texts are forgotten first. Copies are the same cache; a pickle
    holds the encoder and an empty cache.

    Args:
        encoder: The encoder that makes the vectors.
        max_bytes: The most bytes of all remembered vectors together. The ColBERT vectors of
            512 tokens take 1 MiB in float16, dense and sparse vectors together about 6 kB.
        spool_bytes: The most bytes on disk, for texts that a store will ask for.

    Raises:
        InvalidOptionError: If a number of bytes is negative.

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
        self._rows: OrderedDict[Key, _Entry] = OrderedDict()
        self._spool_bytes = spool_bytes
        self._spool = Spool(spool_bytes)
        self._pending: dict[Key, tuple[Future[Vectors], int]] = {}
        self._lock = threading.Lock()
        _caches.add(self)
        remember(encoder)

    @classmethod
    def sharing(cls, encoder: TextEncoder) -> CachingEncoder:
        """Return the cache that all users of this encoder share; a cache is returned as it is."""
        remember(encoder)
        if isinstance(encoder, CachingEncoder):
            return encoder
        # A cache keeps its encoder alive, so no other encoder has this id while the entry exists.
        with cls._sharing:
            cache = cls._shared.get(id(encoder))
            if cache is None:
                cache = cls._shared[id(encoder)] = cls(encoder)
            return cache

    @property
    def schema(self) -> Schema:
        """The vectors that the encoder makes."""
        return self._encoder.schema

    @property
    def options(self) -> Mapping[str, str]:
        """The encoder's options that change the vectors, for the journal of `ingest`."""
        options: Mapping[str, str] = getattr(self._encoder, "options", {})
        return options

    @property
    def encoder(self) -> TextEncoder:
        """The encoder that makes the vectors."""
        return self._encoder

    def __repr__(self) -> str:
        return f"CachingEncoder({self._encoder!r}, max_bytes={self._max_bytes})"

    if not TYPE_CHECKING:  # so that unknown attributes are errors of types still

        def __getattr__(self, name: str) -> object:
            """Return the methods of the encoder for tokens and passages, which remember nothing."""
            if name in _PASSED_ON:
                return getattr(self._encoder, name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __copy__(self) -> CachingEncoder:
        """Return the same cache, so that copies of its users share it."""
        return self

    def __deepcopy__(self, memo: Mapping[int, object]) -> CachingEncoder:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        make = partial(CachingEncoder, max_bytes=self._max_bytes, spool_bytes=self._spool_bytes)
        return make, (self._encoder,)

    def encode_documents(self, texts: Sequence[str], **options: Unpack[CachingOptions]) -> Vectors:
        """Encode texts to be stored.

        Args:
            texts: Any number of strings; a repeated text is encoded once.
            **options: What to remember and to return; see `CachingOptions`.
        """
        return self._encode(_Call("documents", check_texts(texts), **options))

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode questions."""
        return self._encode(_Call("queries", check_texts(texts)))

    def encode_query(self, text: str) -> Vector:
        """Encode one question."""
        return self.encode_queries([text])[0]

    async def aencode_documents(
        self, texts: Sequence[str], **options: Unpack[CachingOptions]
    ) -> Vectors:
        """Encode texts to be stored; see `encode_documents`."""
        return await self._aencode(_Call("documents", check_texts(texts), **options))

    async def aencode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode questions."""
        return await self._aencode(_Call("queries", check_texts(texts)))

    async def aencode_query(self, text: str) -> Vector:
        """Encode one question."""
        return (await self.aencode_queries([text]))[0]

    def _encode(self, call: _Call) -> Vectors:
        fresh = None
        # Waiting would block this thread's event loop, which the other call may need to finish.
        with self._claimed(call, wait=not _runs_event_loop()):
            if call.missing or not call.texts:
                documents, encoder = call.role == "documents", self._encoder
                encode = encoder.encode_documents if documents else encoder.encode_queries
                fresh = encode(call.missing)
                call.encoded.set_result(fresh)
            self._remember(call, fresh)
        for text, (encoded, row) in call.awaited.items():
            try:
                call.rows[text] = encoded.result().take([row])
            except _AbandonedError:
                call.rows[text] = self._encode(call.only(text))
        for text in self._read_spool(call):
            call.rows[text] = self._encode(call.only(text))
        return call.assembled(fresh)

    async def _aencode(self, call: _Call) -> Vectors:
        fresh = None
        with self._claimed(call, wait=True):
            if call.missing or not call.texts:
                documents, encoder = call.role == "documents", self._encoder
                encode = encoder.aencode_documents if documents else encoder.aencode_queries
                fresh = await encode(call.missing)
                call.encoded.set_result(fresh)
            # Copying rows of many token vectors would block the event loop for too long.
            await asyncio.to_thread(self._remember, call, fresh)
        for text, (encoded, row) in call.awaited.items():
            try:
                call.rows[text] = (await asyncio.wrap_future(encoded)).take([row])
            except _AbandonedError:
                call.rows[text] = await self._aencode(call.only(text))
        for text in await asyncio.to_thread(self._read_spool, call) if call.spooled else ():
            call.rows[text] = await self._aencode(call.only(text))
        return await asyncio.to_thread(call.assembled, fresh)

    @contextmanager
    def _claimed(self, call: _Call, *, wait: bool) -> Iterator[None]:
        """Sort the texts of a call; claim those to encode, and release them however it ends.

        Without `wait`, a text that another call has not encoded yet counts as missing.
        """
        call.encoded.set_running_or_notify_cancel()  # so that no waiting call can cancel it
        with self._lock:
            for text in dict.fromkeys(call.texts):
                key = call.role, text
                entry = self._rows.get(key)
                if entry is not None and self._suffices(entry, call):
                    self._rows.move_to_end(key)
                    call.rows[text] = entry.vectors
                elif key in self._pending and (wait or self._pending[key][0].done()):
                    call.awaited[text] = self._pending[key]
                elif key in self._spool:
                    call.spooled.append(text)
                else:
                    self._pending[key] = call.encoded, len(call.missing)
                    call.missing.append(text)
        try:
            yield
        finally:
            with self._lock:
                for text in call.missing:
                    self._pending.pop((call.role, text), None)
            if not call.encoded.done():
                call.encoded.set_exception(_AbandonedError())

    def _suffices(self, entry: _Entry, call: _Call) -> bool:
        """Return whether an entry holds ColBERT vectors, unless the call or encoder has none."""
        return entry.vectors.colbert is not None or not call.colbert or self.schema.colbert is None

    def _remember(self, call: _Call, fresh: Vectors | None) -> None:
        """Remember the fresh vectors, or forget the texts of a call that keeps nothing."""
        entries: list[tuple[Key, _Entry]] = []
        if fresh is not None and call.keep:
            wanted = call.wanted(fresh)
            sizes = (wanted.row_bytes() + _ENTRY_BYTES).tolist()
            for row, text in enumerate(call.missing):
                if sizes[row] <= self._max_bytes or call.for_store:
                    # A copy, which does not keep its batch alive.
                    vectors = Vectors.concatenate([wanted.take([row])])
                    entry = _Entry(vectors, sizes[row], call.for_store)
                    entries.append(((call.role, text), entry))
        surplus: list[tuple[Key, Vectors]] = []
        with self._lock:
            for key, entry in entries:
                self._forget(key)
                self._rows[key] = entry
                self._bytes += entry.size
            if not call.keep:
                for text in call.rows:
                    self._forget((call.role, text))
            while self._bytes > self._max_bytes:
                key, entry = next(iter(self._rows.items()))
                self._forget(key)
                if entry.for_store:
                    surplus.append((key, entry.vectors))
        for key, vectors in surplus:
            self._spool.put(key, vectors)

    def _read_spool(self, call: _Call) -> list[str]:
        """Read the texts on disk; return those that the spool has dropped meanwhile."""
        dropped = []
        for text in call.spooled:
            key = call.role, text
            row = self._spool.get(key)
            if row is None:
                dropped.append(text)
            else:
                call.rows[text] = row
            if row is None or not call.keep:  # a row that cannot be read is not tried again
                self._spool.forget(key)
        return dropped

    def _forget(self, key: Key) -> None:
        entry = self._rows.pop(key, None)
        self._bytes -= 0 if entry is None else entry.size


def _runs_event_loop() -> bool:
    """Return whether the calling thread is running an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


_caches: weakref.WeakSet[CachingEncoder] = weakref.WeakSet()


@after_fork
def _reset_all() -> None:
    """Reset locks and pending texts: a fork copies no thread that would release or encode them."""
    CachingEncoder._sharing = threading.Lock()
    for cache in _caches:
        cache._lock = threading.Lock()
        cache._pending = {}
        # The parent process uses the old file and its position too.
        cache._spool = Spool(cache._spool_bytes)
        cache._bytes = sum(entry.size for entry in cache._rows.values())
