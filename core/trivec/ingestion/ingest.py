"""From documents to a collection: read, encode and write at the same time, resumably."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import suppress
from pathlib import Path
from typing import Protocol, Unpack, runtime_checkable

from trivec.checks import check_documents, check_encoder, check_store
from trivec.document import Document
from trivec.encoders.known import remember
from trivec.encoders.protocol import TextEncoder
from trivec.errors import InvalidOptionError, TrivecError
from trivec.ingestion.dividing import passage_encoder
from trivec.ingestion.form import Form, WholeDocuments
from trivec.ingestion.identity import EncoderIdentity, identity
from trivec.ingestion.journal import Journal
from trivec.ingestion.options import Ingestion, IngestOptions, Rejects
from trivec.ingestion.passages import PassageForm
from trivec.ingestion.pipeline import Pipeline
from trivec.ingestion.reading import Reading
from trivec.ingestion.report import IngestInterrupted, IngestReport, Rejected, Tally
from trivec.ingestion.sources import RejectFile, Source
from trivec.ingestion.stopping import Stop
from trivec.outputs import check_outputs
from trivec.stores.registry import local_files
from trivec.stores.store import Store

LOOKUP_DOCUMENTS = 64  # in one request of `reconcile`; texts may be long

_log = logging.getLogger("trivec")


@runtime_checkable
class Measured(Protocol):
    """A source that knows how much of it has been read."""

    def fraction(self) -> float | None:
        """Return how much has been read, from 0 to 1; None if that is unknown."""


def ingest(
    documents: Iterable[Document | Rejected],
    encoder: TextEncoder,
    store: Store,
    **options: Unpack[IngestOptions],
) -> IngestReport:
    """Encode documents and write them in batches, a few of which are in memory at any time.

    With a journal, the next call with the same source resumes where this one ended, however it
    ended: documents that are written and unchanged are skipped, those with a changed text are
    encoded again, and those with changed metadata are written with the vectors in the store.

    Args:
        documents: Any iterable, read once in another thread; may be endless. Of documents with
            the same id the last one is kept.
        encoder: Turns the texts into vectors.
        store: A collection that exists; it gets those of the three parts that it holds.
        options: See `IngestOptions`.

    Returns:
        What was written.

    Raises:
        InvalidDocumentError: If the source yields something that is not a document.
        DocumentRefusedError: If the database refuses a document.
        TooManyRejectsError: If more records were rejected than `max_rejects`.
        StoreError: If the database failed. Acknowledged documents stay, and the same call can be
            repeated.
        SchemaMismatchError: If the collection belongs to another model or has other dimensions.
        JournalError: If the journal belongs to another store, schema, model or other options.
        IngestInterrupted: After Ctrl-C, when the writes in flight are done; it is a
            KeyboardInterrupt with the report. A second Ctrl-C raises it at once.

    Example:
        >>> from trivec import Document, open_store
        >>> from trivec.testing import HashEncoder
        >>> encoder, store = HashEncoder(), open_store("memory:/ingest-example")
        >>> store.create(encoder.schema)
        >>> ingest((Document(f"d{i}", f"text {i}") for i in range(100)), encoder, store).documents
        100
    """
    return _ingest(documents, encoder, store, Ingestion(**options), Stop())


async def aingest(
    documents: Iterable[Document | Rejected],
    encoder: TextEncoder,
    store: Store,
    **options: Unpack[IngestOptions],
) -> IngestReport:
    """Run `ingest` in a thread; see there for the arguments, the report and the errors.

    When it is cancelled, it finishes the writes in flight first. When it is cancelled again, it
    ends at once.
    """
    run_options = Ingestion(**options)
    stop = Stop()

    def run() -> IngestReport:
        try:
            return _ingest(documents, encoder, store, run_options, stop)
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
        work.exception()  # retrieved, so that asyncio does not log it; the cancellation is raised
        raise


def _ingest(
    documents: Iterable[Document | Rejected],
    encoder: TextEncoder,
    store: Store,
    options: Ingestion,
    stop: Stop,
) -> IngestReport:
    check_documents(documents, "ingest: documents")
    check_encoder(encoder, "ingest: encoder")
    remember(encoder)
    check_store(store, "ingest: store")
    counted, fraction = _measured(documents)
    tally = Tally(fraction)
    check_files(options.journal, options.rejected, stores=[store], documents=documents)
    held = encoder.schema.held_by(store.schema)
    splitting = options.splitting
    if splitting is not None:
        passage_encoder(encoder, splitting)  # before the journal is made
    whole = identity(store, EncoderIdentity.from_encoder(encoder), splitting)
    with Journal(options.journal, whole) as book:
        form: Form = WholeDocuments(store)
        if splitting is not None:
            form = PassageForm(encoder, store, book, splitting, options.part_bytes)
        tally.add(IngestReport(missing=reconcile(book, store, form)))
        pipeline = Pipeline(store, book, tally, options)
        reading = Reading(counted, form, book, tally, pipeline, options.part_bytes)
        pipeline.run(
            reading.batches(),
            lambda texts: encoder.encode_documents(texts).only(held),
            title="ingest",
            stop=stop,
        )
        pipeline.rejecter.check(ended=True)
        if options.prune:
            pruned = _prune(book, form, tally.report(), reading.unnamed)
            tally.add(IngestReport(pruned=pruned))
    return tally.report()


def check_files(
    journal: str | Path | None,
    rejected: Rejects | None,
    *,
    stores: Iterable[Store],
    documents: Iterable[object] = (),
) -> None:
    """Check that the journal and a `RejectFile` are neither the source nor in a collection."""
    inputs: list[str | Path] = list(documents.paths) if isinstance(documents, Source) else []
    for store in stores:
        with suppress(TrivecError):  # a store that was not opened by its URL
            inputs += local_files(store.address)
    rejects = rejected.path if isinstance(rejected, RejectFile) else None
    check_outputs({"journal": journal, "rejected": rejects}, inputs=inputs)


def reconcile(journal: Journal, store: Store, form: Form | None = None) -> int:
    """Forget documents that the store acknowledged and no longer has; return their number.

    Args:
        journal: The documents.
        store: The collection.
        form: How they are stored; whole by default.

    A database may have lost its last writes when its machine failed, or all of them with its disk.
    The newest documents are looked up, and all of them if the store has fewer than the journal.
    """
    known = len(journal)
    if not known:
        return 0
    missing = 0
    form = form or WholeDocuments(store)
    is_complete = store.count() >= known
    for ids in journal.newest():
        lost = [
            id
            for start in range(0, len(ids), LOOKUP_DOCUMENTS)
            for id in form.missing(ids[start : start + LOOKUP_DOCUMENTS])
        ]
        journal.forget(lost)
        missing += len(lost)
        if is_complete and not lost:
            break
    if missing:
        _log.warning("%d documents that were written are not in the store any more", missing)
    return missing


def _prune(journal: Journal, form: Form, done: IngestReport, unnamed: int) -> int:
    """Delete the documents that vanished from the source; return their number."""
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
        form.delete(ids)
        journal.forget(ids)
        pruned += len(ids)
    return pruned


def _measured(
    documents: Iterable[Document | Rejected],
) -> tuple[Iterable[Document | Rejected], Callable[[], float | None]]:
    """Return the documents, and a function that returns how much of them has been read."""
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
