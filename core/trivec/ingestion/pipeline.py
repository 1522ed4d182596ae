"""The three stages of ingestion, which overlap: read ahead, encode, write."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
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
from trivec.ingestion.batches import Batch, Encode
from trivec.ingestion.contents import document_json
from trivec.ingestion.options import Ingestion
from trivec.ingestion.positions import Positions
from trivec.ingestion.prefetcher import POLL_SECONDS, prefetched
from trivec.ingestion.progress import shown
from trivec.ingestion.rejecting import Rejecter
from trivec.ingestion.report import IngestInterrupted, IngestReport, Rejected, Tally
from trivec.ingestion.stopping import Stop
from trivec.stores.store import Store

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
        encode: Encode,
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
                    for encoded in self._encoded(encode, batch):
                        if writing is not None:
                            self._finish(writing, stop)
                            show(self.tally.report())
                        writing = self._start(encoded, stop)
                if writing is not None:
                    self._finish(writing, stop)
                    show(self.tally.report())
            finally:
                if writing is not None:
                    wait([writing], GRACE_SECONDS if stop.now.is_set() else None)
        if stop.soon.is_set():
            raise IngestInterrupted(self.tally.report())

    def write(self, batch: Batch) -> None:
        """Write a batch in the caller's thread, except documents that cannot be stored."""
        started = time.perf_counter()
        self._deliver(batch)
        self.tally.add(IngestReport(write_seconds=time.perf_counter() - started))

    @property
    def rejecter(self) -> Rejecter:
        """What happens to rejects, also to those of the source."""
        return Rejecter(self.options, self.tally)

    def _start(self, batch: Batch, stop: Stop) -> Future[None]:
        """Write a batch in a daemon thread, which does not keep the process alive."""
        writing: Future[None] = Future()

        def write() -> None:
            try:
                with stopped_by(stop.now):
                    self.write(batch)
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

    def _encoded(self, encode: Encode, batch: Batch) -> Iterator[Batch]:
        """Yield batches with vectors; if texts are refused, halve until they are alone."""
        if batch.vectors is not None:
            yield batch
            return
        started = time.perf_counter()
        try:
            encoded = batch.encoded(encode)
        except InvalidInputError as error:
            if isinstance(error, InvalidOptionError | InvalidVectorsError):
                raise
            if len(batch.documents) == 1:
                yield replace(batch, refusal=error)
                return
        else:
            self.tally.add(IngestReport(encode_seconds=time.perf_counter() - started))
            yield encoded
            return
        for half in batch.halves():
            yield from self._encoded(encode, half)

    def _deliver(self, batch: Batch) -> None:
        """Write a batch; after a refusal, halve it until the culprit is alone."""
        if batch.refusal is not None:
            self._discard(batch, batch.refusal)
            return
        try:
            written = batch.write(self.store)
        except RUN_ENDING_ERRORS:
            raise
        except (InvalidDocumentError, StoreError) as error:
            if len(batch.documents) == 1:
                self._discard(batch, error)
                return
            for half in batch.halves():
                self._deliver(half)
        else:
            if written.report.documents:
                self._refusals = 0
            self.record.acknowledge(written.completed)
            self.positions.forget([document.id for document in written.completed])
            colbert = None if batch.vectors is None else batch.vectors.colbert
            self.tally.add(
                IngestReport(
                    documents=len(written.completed),
                    passages=written.passages,
                    requests=written.report.requests,
                    bytes=written.report.bytes,
                    tokens=0 if colbert is None else int(colbert.indptr[-1]),
                    overflowed=len(written.report.overflowed),
                )
            )

    def _discard(self, batch: Batch, error: InvalidInputError | StoreError) -> None:
        """Refuse the only document of a batch, and leave nothing half-written of it."""
        batch.discard(self.store)
        self.refuse(batch.documents[0], error)

    def refuse(self, document: Document, error: InvalidInputError | StoreError) -> None:
        """Record that a document cannot be stored, and skip it.

        Args:
            document: A document of the source.
            error: Why it cannot be stored.

        Raises:
            InvalidDocumentError: If `on_error` is "raise" and the document is at fault.
            DocumentRefusedError: If `on_error` is "raise" and the database refused the document.
            StoreError: If the database refused too many documents one after the other.
            TooManyRejectsError: If more were rejected than `max_rejects`.
        """
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
