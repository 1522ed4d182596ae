"""From documents to a collection: read, encode and write at the same time, and go on later."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

from trivec.arguments import at_least_one, expect
from trivec.checks import (
    check_callback,
    check_documents,
    check_encoder,
    check_journal,
    check_store,
)
from trivec.document import Document
from trivec.encoders.protocol import TextEncoder
from trivec.errors import InvalidOptionError, TrivecError
from trivec.ingestion.identity import Maker, identity
from trivec.ingestion.journal import Journal
from trivec.ingestion.pipeline import OnError, Pipeline, Rejects, check_on_error
from trivec.ingestion.reading import PART_BYTES, Reading
from trivec.ingestion.report import IngestInterrupted, IngestReport, Progress, Rejected, Tally
from trivec.ingestion.sources import RejectFile, Source
from trivec.ingestion.stopping import Stop
from trivec.outputs import check_outputs
from trivec.stores.registry import local_files
from trivec.stores.store import Store

__all__ = ["Measured", "aingest", "check_files", "ingest", "reconcile"]

LOOKUP_DOCUMENTS = 64  # whose texts may be long

_log = logging.getLogger("trivec")


@runtime_checkable
class Measured(Protocol):
    """Documents that know how far they have been read."""

    def fraction(self) -> float | None:
        """Return how much has been read, from 0 to 1; None if nobody knows."""


def ingest(
    documents: Iterable[Document | Rejected],
    encoder: TextEncoder,
    store: Store,
    *,
    journal: str | Path | None = None,
    on_error: OnError = "raise",
    rejected: Rejects | None = None,
    prune: bool = False,
    part_bytes: int = PART_BYTES,
    progress: Progress | None = None,
) -> IngestReport:
    """Encode documents and write them, in parts of which a few are in memory at any time.

    With a journal, the next call with the same source goes on where this one ended, however it
    ended: what is written and unchanged is skipped, changed text is encoded again, changed
    metadata is written with the vectors that the store has.

    Args:
        documents: Any iterable, read once in another thread; may be endless. Of documents with
            the same id the last one stays.
        encoder: Turns the texts into vectors.
        store: A collection that exists; of the three parts it gets those that it holds.
        journal: The file that remembers what the store acknowledged; made if it is not there.
        on_error: "raise" ends the run at the first document that cannot be stored, named, with
            all before it kept; "skip" goes on without it.
        rejected: Called with each document that is skipped.
        prune: Whether to delete from the store what the journal knows and the source no longer
            has. Nothing is deleted unless the source was read to its end without a bad line.
        part_bytes: The most bytes of text that are encoded at once; 64 KiB by default.
        progress: Called after each part; without it a terminal shows a progress bar.

    Returns:
        What was written.

    Raises:
        InvalidDocumentError: If something else than a document comes.
        DocumentRefusedError: If the database refuses a document.
        StoreError: If the database failed. What was acknowledged stays, and the same call may be
            made again.
        SchemaMismatchError: If the collection is of another model or other dimensions.
        JournalError: If the journal is of another store, schema or model, or of other options.
        IngestInterrupted: After Ctrl-C, when what was in flight is written; a KeyboardInterrupt
            with the report. After a second one at once.

    Example:
        >>> from trivec import Document, open_store
        >>> from trivec.testing import HashEncoder
        >>> encoder, store = HashEncoder(), open_store("memory:/ingest-example")
        >>> store.create(encoder.schema)
        >>> ingest((Document(f"d{i}", f"text {i}") for i in range(100)), encoder, store).documents
        100
    """
    return _ingest(
        documents,
        encoder,
        store,
        journal=journal,
        on_error=on_error,
        rejected=rejected,
        prune=prune,
        part_bytes=part_bytes,
        progress=progress,
        stop=Stop(),
    )


async def aingest(
    documents: Iterable[Document | Rejected],
    encoder: TextEncoder,
    store: Store,
    *,
    journal: str | Path | None = None,
    on_error: OnError = "raise",
    rejected: Rejects | None = None,
    prune: bool = False,
    part_bytes: int = PART_BYTES,
    progress: Progress | None = None,
) -> IngestReport:
    """Do as `ingest` does, in a thread; when cancelled, finish what is in flight first.

    Cancelled again, it ends at once.

    The arguments, the report and the errors are those of `ingest`.
    """
    stop = Stop()

    def run() -> IngestReport:
        try:
            return _ingest(
                documents,
                encoder,
                store,
                journal=journal,
                on_error=on_error,
                rejected=rejected,
                prune=prune,
                part_bytes=part_bytes,
                progress=progress,
                stop=stop,
            )
        except IngestInterrupted as error:  # a KeyboardInterrupt would end the event loop
            return error.report

    work = asyncio.ensure_future(asyncio.to_thread(run))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop.ask()
        try:
            await asyncio.wait([work])
        finally:  # cancelled again, it does not wait
            if not work.done():
                stop.ask()
        work.exception()  # seen: the cancellation says enough
        raise


def _ingest(
    documents: Iterable[Document | Rejected],
    encoder: TextEncoder,
    store: Store,
    *,
    journal: str | Path | None,
    on_error: OnError,
    rejected: Rejects | None,
    prune: bool,
    part_bytes: int,
    progress: Progress | None,
    stop: Stop,
) -> IngestReport:
    check_documents(documents, "ingest: documents")
    check_encoder(encoder, "ingest: encoder")
    check_store(store, "ingest: store")
    check_journal(journal)
    check_callback(rejected, "rejected")
    check_callback(progress, "progress")
    expect(prune, bool, "prune", "True or False")
    part_bytes = at_least_one(part_bytes, "part_bytes")
    if prune and journal is None:
        raise InvalidOptionError(
            "prune=True deletes what a journal knows and the source lacks; give a journal"
        )
    check_on_error(on_error)
    read, fraction = _measured(documents)
    tally = Tally(fraction)
    check_files(journal, rejected, stores=[store], documents=documents)
    held = encoder.schema.held_by(store.schema)
    with Journal(journal, identity(store, Maker.of(encoder))) as book:
        tally.add(IngestReport(missing=reconcile(book, store)))
        pipeline = Pipeline(store, book, tally, on_error=on_error, rejected=rejected)
        reading = Reading(read, store, book, tally, pipeline, part_bytes)
        pipeline.run(
            reading.parts(),
            lambda texts: encoder.encode_documents(texts).only(held),
            title="ingest",
            progress=progress,
            stop=stop,
        )
        if prune:
            done = _prune(book, store, tally.report(), reading.unnamed)
            tally.add(IngestReport(pruned=done))
    return tally.report()


def check_files(
    journal: str | Path | None,
    rejected: Rejects | None,
    *,
    stores: Iterable[Store],
    documents: Iterable[object] = (),
) -> None:
    """Refuse a journal or a file of rejects that is the source, or a file of a collection.

    Raises:
        InvalidOptionError: If one is, or cannot be written; see `check_output`.
    """
    inputs: list[str | Path] = [documents.path] if isinstance(documents, Source) else []
    for store in stores:
        with suppress(TrivecError):  # a store that no URL opened
            inputs += local_files(store.address)
    rejects = rejected.path if isinstance(rejected, RejectFile) else None
    check_outputs({"journal": journal, "rejected": rejects}, inputs=inputs)


def reconcile(journal: Journal, store: Store) -> int:
    """Forget what the store lacks though it acknowledged it, and return how many that are.

    A database may have lost its last writes with its machine, or all of them with its disk: the
    newest are looked up, and all of them if the store counts less than the journal.
    """
    known = len(journal)
    if not known:
        return 0
    missing = 0
    all_there = store.count() >= known
    for ids in journal.newest():
        there = {
            document.id
            for start in range(0, len(ids), LOOKUP_DOCUMENTS)
            for document in store.get(ids[start : start + LOOKUP_DOCUMENTS]).documents
        }
        lost = [one for one in ids if one not in there]
        journal.forget(lost)
        missing += len(lost)
        if all_there and not lost:
            break
    if missing:
        _log.warning("%d documents that were written are not in the store any more", missing)
    return missing


def _prune(journal: Journal, store: Store, done: IngestReport, unnamed: int) -> int:
    """Delete what vanished from the source, and return how many documents that were."""
    if unnamed:
        _log.warning(
            "nothing is pruned: %d lines could not be read, or were rejected without the id of a "
            "document that the journal knows; they may be documents of the collection",
            unnamed,
        )
        return 0
    if not done.documents + done.unchanged + done.failed and len(journal):
        raise InvalidOptionError(
            "the source is empty, so prune would delete everything; use drop() for that"
        )
    pruned = 0
    for ids in journal.vanished():
        store.delete(ids)
        journal.forget(ids)
        pruned += len(ids)
    return pruned


def _measured(
    documents: Iterable[Document | Rejected],
) -> tuple[Iterable[Document | Rejected], Callable[[], float | None]]:
    """Return the documents, and what says how much of them has been read."""
    if isinstance(documents, Measured):
        return documents, documents.fraction
    if not isinstance(documents, Sized):
        return documents, lambda: None
    total, position = len(documents), 0

    def counted() -> Iterator[Document | Rejected]:
        nonlocal position
        for document in documents:
            position += 1
            yield document

    return counted(), lambda: position / total if total else None
