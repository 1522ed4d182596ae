"""The three stages of ingestion, which overlap: read ahead, encode, write."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from trivec.document import Document, metadata_json
from trivec.errors import (
    AuthenticationError,
    CollectionNotFoundError,
    DocumentRefusedError,
    InvalidDocumentError,
    InvalidOptionError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from trivec.ingestion.progress import shown
from trivec.ingestion.report import IngestInterrupted, IngestReport, Progress, Rejected, Tally
from trivec.ingestion.stopping import Stop
from trivec.stores.deadline import stopped_by
from trivec.stores.store import Store
from trivec.vectors import Vectors

__all__ = ["OnError", "Part", "Pipeline", "Record", "Rejects", "as_line", "check_on_error"]

T = TypeVar("T")

OnError = Literal["raise", "skip"]
Rejects = Callable[[Rejected], None]

MAX_REFUSALS = 32
"""So many documents refused one after the other are the database's fault, not the documents'."""

POLL_SECONDS = 0.1
GRACE_SECONDS = 2.0  # for a write in flight when a run is to end at once

_OF_NO_DOCUMENT = (
    AuthenticationError,
    CollectionNotFoundError,
    StoreFullError,
    StoreUnavailableError,
)
"""Failures that no document caused, and that end a run whatever `on_error` says."""


@dataclass(frozen=True, slots=True)
class Part:
    """Documents of different ids that go through together, with vectors where they are known."""

    documents: list[Document]
    vectors: Vectors | None = None


class Record(Protocol):
    """What remembers the fate of documents: a journal, or what speaks to one."""

    def acknowledge(self, documents: Sequence[Document]) -> None:
        """Record what the store has acknowledged."""

    def fail(self, document: Document, problem: str) -> None:
        """Record that the store refused a document."""


def check_on_error(value: str) -> OnError:
    """Return the policy, or raise `InvalidOptionError` for an unknown one."""
    match value:
        case "raise" | "skip":
            return value
    raise InvalidOptionError(f"on_error={value!r}; expected 'raise' or 'skip'")


class Pipeline:
    """Writes parts into a store while later ones are encoded and read.

    At any time at most one part is being written, one or two are encoded, one is read ahead.

    Args:
        store: The collection.
        record: Where what the store acknowledges is recorded.
        tally: Where what is done is added up.
        on_error: Whether a document that cannot be stored ends the run.
        rejected: Called with each one that is skipped.
    """

    def __init__(
        self,
        store: Store,
        record: Record,
        tally: Tally,
        *,
        on_error: OnError,
        rejected: Rejects | None,
    ) -> None:
        self._store = store
        self._record = record
        self._tally = tally
        self._on_error = on_error
        self._rejected = rejected
        self._refusals = 0

    def run(
        self,
        parts: Iterable[Part],
        encode: Callable[[Sequence[str]], Vectors],
        *,
        title: str,
        progress: Progress | None,
        stop: Stop,
    ) -> None:
        """Take all parts through.

        Raises:
            IngestInterrupted: After Ctrl-C or `stop`, when what was in flight is written.
        """
        with stop.by_signal(), shown(progress, title) as show:
            writing: Future[None] | None = None
            try:
                for part in _Ahead(parts, stop):
                    vectors = part.vectors
                    if vectors is None:
                        vectors = self._encode(encode, part.documents)
                    if writing is not None:
                        self._finish(writing, stop)
                        show(self._tally.report())
                    writing = self._start(part.documents, vectors, stop)
                if writing is not None:
                    self._finish(writing, stop)
                    show(self._tally.report())
            finally:
                if writing is not None:
                    wait([writing], GRACE_SECONDS if stop.now.is_set() else None)
        if stop.soon.is_set():
            raise IngestInterrupted(self._tally.report())

    def write(self, documents: Sequence[Document], vectors: Vectors) -> None:
        """Write documents in the caller's thread, without those that cannot be stored."""
        started = time.perf_counter()
        self._deliver(documents, vectors)
        self._tally.add(IngestReport(write_seconds=time.perf_counter() - started))

    def reject(self, rejected: Rejected, error: Exception) -> None:
        """Leave something out, or end the run with this error."""
        if self._on_error == "raise":
            raise error
        if self._rejected is not None:
            self._rejected(rejected)
        unreadable = int(not rejected.readable)
        self._tally.add(IngestReport(failed=1, unreadable=unreadable, failures=(rejected,)))

    def _start(self, documents: Sequence[Document], vectors: Vectors, stop: Stop) -> Future[None]:
        """Write documents in a thread, which is a daemon: the process can end without it."""
        writing: Future[None] = Future()

        def write() -> None:
            try:
                with stopped_by(stop.now):
                    self.write(documents, vectors)
            except BaseException as error:  # raised again by whoever waits for the write
                writing.set_exception(error)
            else:
                writing.set_result(None)

        threading.Thread(target=write, name="trivec-write", daemon=True).start()
        return writing

    def _finish(self, writing: Future[None], stop: Stop) -> None:
        """Wait for a write, unless the run is to end at once."""
        while not writing.done() and not stop.now.is_set():
            wait([writing], POLL_SECONDS)
        if not writing.done():
            raise IngestInterrupted(self._tally.report())
        try:
            writing.result()
        except StoreUnavailableError as error:
            if not stop.now.is_set():
                raise
            raise IngestInterrupted(self._tally.report()) from error

    def _encode(
        self, encode: Callable[[Sequence[str]], Vectors], documents: Sequence[Document]
    ) -> Vectors:
        started = time.perf_counter()
        vectors = encode([document.text for document in documents])
        self._tally.add(IngestReport(encode_seconds=time.perf_counter() - started))
        return vectors

    def _deliver(self, documents: Sequence[Document], vectors: Vectors) -> None:
        """Write documents; find by halves the one that the database refuses."""
        try:
            written = self._store.upsert(documents, vectors)
        except _OF_NO_DOCUMENT:
            raise
        except (InvalidDocumentError, StoreError) as error:
            if len(documents) == 1:
                self._refuse(documents[0], error)
                return
            half = len(documents) // 2
            self._deliver(documents[:half], vectors.slice(0, half))
            self._deliver(documents[half:], vectors.slice(half, len(documents)))
        else:
            self._refusals = 0
            self._record.acknowledge(documents)
            tokens = 0 if vectors.colbert is None else int(vectors.colbert.indptr[-1])
            self._tally.add(
                IngestReport(
                    documents=written.documents,
                    requests=written.requests,
                    bytes=written.bytes,
                    tokens=tokens,
                    overflowed=len(written.overflowed),
                )
            )

    def _refuse(self, document: Document, error: InvalidDocumentError | StoreError) -> None:
        if isinstance(error, StoreError):
            self._refusals += 1
            if self._refusals > MAX_REFUSALS:
                raise StoreError(
                    f"{self._refusals} documents were refused one after the other, the last one "
                    f"{document.id!r}: {error}"
                ) from error
        self._record.fail(document, str(error))
        refused: Exception = error
        if isinstance(error, StoreError):
            refused = DocumentRefusedError(f"document {document.id!r} was refused: {error}")
            refused.__cause__ = error
        self.reject(Rejected(document.id, str(error), as_line(document)), refused)


class _Ahead(Generic[T]):
    """Runs an iterator in a thread of its own, one item ahead of who takes them.

    The thread is a daemon: an interrupted run does not wait for a pipe that nobody fills.
    """

    def __init__(self, items: Iterable[T], stop: Stop) -> None:
        self._items = items
        self._stop = stop
        self._left = threading.Event()
        self._ready: queue.Queue[T | BaseException | None] = queue.Queue(1)

    def __iter__(self) -> Iterator[T]:
        threading.Thread(target=self._read, name="trivec-read", daemon=True).start()
        try:
            while not self._stop.soon.is_set():
                try:
                    item = self._ready.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self._left.set()

    def _read(self) -> None:
        try:
            with stopped_by(self._stop.now):
                for item in self._items:
                    if not self._put(item):
                        return
            self._put(None)
        except BaseException as error:  # raised again where the items are taken
            self._put(error)

    def _put(self, item: T | BaseException | None) -> bool:
        while not self._left.is_set():
            try:
                self._ready.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False


def as_line(document: Document) -> str:
    """Return a document as one line of JSON."""
    return metadata_json({"id": document.id, "text": document.text, "metadata": document.metadata})
