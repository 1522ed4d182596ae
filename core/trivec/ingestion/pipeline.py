"""The three stages of ingestion, which overlap: read ahead, encode, write."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Protocol

from trivec.deadline import stopped_by
from trivec.document import Document
from trivec.errors import (
    AuthenticationError,
    CollectionNotFoundError,
    DocumentRefusedError,
    InvalidDocumentError,
    InvalidInputError,
    InvalidOptionError,
    InvalidVectorsError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from trivec.ingestion.contents import document_json
from trivec.ingestion.options import Ingestion
from trivec.ingestion.positions import Positions
from trivec.ingestion.prefetcher import POLL_SECONDS, prefetched
from trivec.ingestion.progress import shown
from trivec.ingestion.rejecting import Rejecter
from trivec.ingestion.report import IngestInterrupted, IngestReport, Rejected, Tally
from trivec.ingestion.stopping import Stop
from trivec.stores.store import Store
from trivec.vectors import Vectors

MAX_REFUSALS = 32
"""If more documents than this are refused in a row, the database is at fault, not the documents."""

GRACE_SECONDS = 2.0
"""How long a run that must end at once waits for the write in flight."""

RUN_ENDING_ERRORS = (
    AuthenticationError,
    CollectionNotFoundError,
    StoreFullError,
    StoreUnavailableError,
)
"""Failures that no document causes. They end a run, whatever `on_error` is."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents with distinct ids that are written together, with vectors if these are known."""

    documents: list[Document]
    vectors: Vectors | None = None


class Record(Protocol):
    """A record of the fate of documents: a journal, or a client of one."""

    def acknowledge(self, documents: Sequence[Document]) -> None:
        """Record what the store has acknowledged."""

    def fail(self, document: Document, problem: str) -> None:
        """Record that the store refused a document."""


@dataclass(slots=True)
class Pipeline:
    """Writes batches into a store while later batches are encoded and read.

    At any time at most one batch is being written, one or two are encoded, one is read ahead.
    """

    store: Store
    record: Record
    tally: Tally
    options: Ingestion
    positions: Positions = field(default_factory=Positions)
    _refusals: int = 0

    def run(
        self,
        batches: Iterable[Batch],
        encode: Callable[[Sequence[str]], Vectors],
        *,
        title: str,
        stop: Stop,
    ) -> None:
        """Encode the batches without vectors, and write all; `batches` runs in its own thread.

        Raises:
            IngestInterrupted: After Ctrl-C or `stop`, when the writes in flight are done.
        """
        shows = shown(self.options.progress, title, self.tally.report)
        with stop.by_signal(), shows as show:
            writing: Future[None] | None = None
            try:
                for batch in prefetched(batches, stop):
                    for documents, vectors in self._encoded(encode, batch):
                        if writing is not None:
                            self._finish(writing, stop)
                            show(self.tally.report())
                        writing = self._start(documents, vectors, stop)
                if writing is not None:
                    self._finish(writing, stop)
                    show(self.tally.report())
            finally:
                if writing is not None:
                    wait([writing], GRACE_SECONDS if stop.now.is_set() else None)
        if stop.soon.is_set():
            raise IngestInterrupted(self.tally.report())

    def write(self, documents: Sequence[Document], vectors: Vectors) -> None:
        """Write documents in the caller's thread, except those that cannot be stored."""
        started = time.perf_counter()
        self._deliver(documents, vectors)
        self.tally.add(IngestReport(write_seconds=time.perf_counter() - started))

    @property
    def rejecter(self) -> Rejecter:
        """What happens to rejects, also to those of the source."""
        return Rejecter(self.options, self.tally)

    def _start(self, documents: Sequence[Document], vectors: Vectors, stop: Stop) -> Future[None]:
        """Write documents in a daemon thread, which does not keep the process alive."""
        writing: Future[None] = Future()

        def write() -> None:
            try:
                with stopped_by(stop.now):
                    self.write(documents, vectors)
            except BaseException as error:  # raised again in `_finish`
                writing.set_exception(error)
            else:
                writing.set_result(None)

        threading.Thread(target=write, name="trivec-write", daemon=True).start()
        return writing

    def _finish(self, writing: Future[None], stop: Stop) -> None:
        """Wait for a write, unless the run must end at once."""
        while not writing.done() and not stop.now.is_set():
            wait([writing], POLL_SECONDS)
        if not writing.done():
            raise IngestInterrupted(self.tally.report())
        try:
            writing.result()
        except StoreUnavailableError as error:
            if not stop.now.is_set():
                raise
            raise IngestInterrupted(self.tally.report()) from error

    def _encoded(
        self, encode: Callable[[Sequence[str]], Vectors], batch: Batch
    ) -> Iterator[tuple[list[Document], Vectors]]:
        """Yield documents with vectors; if texts are refused, halve until they are alone."""
        documents = batch.documents
        if batch.vectors is not None:
            yield documents, batch.vectors
            return
        started = time.perf_counter()
        try:
            vectors = encode([document.text for document in documents])
        except InvalidInputError as error:
            if isinstance(error, InvalidOptionError | InvalidVectorsError):
                raise
            if len(documents) == 1:
                self._refuse(documents[0], error)
                return
        else:
            self.tally.add(IngestReport(encode_seconds=time.perf_counter() - started))
            yield documents, vectors
            return
        half = len(documents) // 2
        yield from self._encoded(encode, Batch(documents[:half]))
        yield from self._encoded(encode, Batch(documents[half:]))

    def _deliver(self, documents: Sequence[Document], vectors: Vectors) -> None:
        """Write documents; after a refusal, halve the batch until the culprit is alone."""
        try:
            written = self.store.upsert(documents, vectors)
        except RUN_ENDING_ERRORS:
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
            self.record.acknowledge(documents)
            self.positions.forget([document.id for document in documents])
            tokens = 0 if vectors.colbert is None else int(vectors.colbert.indptr[-1])
            self.tally.add(
                IngestReport(
                    documents=written.documents,
                    requests=written.requests,
                    bytes=written.bytes,
                    tokens=tokens,
                    overflowed=len(written.overflowed),
                )
            )

    def _refuse(self, document: Document, error: InvalidInputError | StoreError) -> None:
        where = self.positions.find(document.id)
        named = f"document {document.id!r}" + (f" ({where})" if where else "")
        if isinstance(error, StoreError):
            self._refusals += 1
            if self._refusals > MAX_REFUSALS:
                raise StoreError(
                    f"{self._refusals} documents were refused one after the other, the last one "
                    f"{named}: {error}"
                ) from error
        self.record.fail(document, str(error))
        self.positions.forget([document.id])
        refused: Exception = error
        if isinstance(error, StoreError):
            refused = DocumentRefusedError(f"{named} was refused: {error}")
            refused.__cause__ = error
        elif where or not isinstance(error, InvalidDocumentError):
            refused = InvalidDocumentError(f"{named}: {error}")
            refused.__cause__ = error
        rejected = Rejected(
            where or document.id, str(error), document_json(document), id=where and document.id
        )
        self.rejecter.reject(rejected, refused)
