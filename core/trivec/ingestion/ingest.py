"""From documents to a collection: read, encode and write at the same time, and go on later."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Protocol, runtime_checkable

from trivec.document import Document
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.ingestion.journal import Journal
from trivec.ingestion.pipeline import OnError, Part, Pipeline, Rejects, check_on_error
from trivec.ingestion.report import IngestInterrupted, IngestReport, Progress, Rejected, Tally
from trivec.schema import Schema
from trivec.stores.store import Store
from trivec.text_encoder import TextEncoder

__all__ = [
    "Configured",
    "Measured",
    "aingest",
    "identity",
    "ingest",
    "reconcile",
    "with_stored_vectors",
]

# A token is about 4 bytes of text and becomes 4 KiB of ColBERT vectors at 1,024 dimensions, so
# this much text becomes about 64 MiB.
PART_BYTES = 64 * 1024
PART_DOCUMENTS = 1024
LOOKUP_DOCUMENTS = 64  # whose texts may be long

_log = logging.getLogger("trivec")


@runtime_checkable
class Measured(Protocol):
    """Documents that know how far they have been read."""

    def fraction(self) -> float | None:
        """Return how much has been read, from 0 to 1; None if nobody knows."""


@runtime_checkable
class Configured(Protocol):
    """Encoders with options that change the vectors; the journal belongs to these options too."""

    options: Mapping[str, str]


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
            with the report.

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
        stop=threading.Event(),
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

    The arguments, the report and the errors are those of `ingest`.
    """
    stop = threading.Event()

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
        stop.set()
        await asyncio.wait([work])
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
    stop: threading.Event,
) -> IngestReport:
    if part_bytes < 1:
        raise InvalidOptionError(f"part_bytes={part_bytes} must be at least 1")
    if prune and journal is None:
        raise InvalidOptionError(
            "prune=True deletes what a journal knows and the source lacks; give a journal"
        )
    check_on_error(on_error)
    read, fraction = _measured(documents)
    tally = Tally(fraction)
    options = encoder.options if isinstance(encoder, Configured) else {}
    held = encoder.schema.held_by(store.schema)
    with Journal(journal, identity(store, held, options)) as book:
        tally.add(IngestReport(missing=reconcile(book, store)))
        pipeline = Pipeline(store, book, tally, on_error=on_error, rejected=rejected)
        source = _Source(read, store, book, tally, pipeline, part_bytes)
        pipeline.run(
            source.parts(),
            lambda texts: encoder.encode_documents(texts).only(held),
            title="ingest",
            progress=progress,
            stop=stop,
        )
        if prune:
            tally.add(IngestReport(pruned=_prune(book, store, tally.report())))
    return tally.report()


def identity(
    store: Store, schema: Schema, options: Mapping[str, str] | None = None
) -> Mapping[str, str]:
    """Return what the rows of a journal are valid for: the store, the model and its options."""
    return {
        "store": store.address,
        "model": schema.model,
        "dense": str(schema.dense),
        "sparse": str(schema.sparse),
        "colbert": str(schema.colbert),
        "colbert_overflow": store.overflow,
        **(options or {}),
    }


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


def with_stored_vectors(store: Store, documents: Sequence[Document]) -> tuple[Part, list[Document]]:
    """Return documents with the vectors that the store has for their texts, and the others."""
    if not documents:
        return Part([]), []
    page = store.get([document.id for document in documents], with_vectors=True)
    row = {document.id: i for i, document in enumerate(page.documents)}
    texts = {document.id: document.text for document in page.documents}
    there = [document for document in documents if texts.get(document.id) == document.text]
    gone = [document for document in documents if texts.get(document.id) != document.text]
    vectors = None if page.vectors is None else page.vectors.take([row[d.id] for d in there])
    return Part(there, vectors), gone


class _Source:
    """Makes parts of what is new, in a thread of its own."""

    def __init__(
        self,
        documents: Iterable[Document | Rejected],
        store: Store,
        journal: Journal,
        tally: Tally,
        pipeline: Pipeline,
        part_bytes: int,
    ) -> None:
        self._documents = documents
        self._store = store
        self._journal = journal
        self._tally = tally
        self._pipeline = pipeline
        self._part_bytes = part_bytes

    def parts(self) -> Iterator[Part]:
        """Yield documents of different ids, at most so much text, and what is only rewritten."""
        part: dict[str, Document] = {}
        size = 0
        try:
            for chunk in self._chunks():
                plan = self._journal.plan(chunk)
                touched, gone = with_stored_vectors(self._store, plan.touch)
                self._tally.add(
                    IngestReport(
                        touched=len(touched.documents),
                        unchanged=plan.unchanged,
                        replaced=plan.replaced,
                    )
                )
                if touched.documents:
                    yield touched
                for document in [*plan.encode, *gone]:
                    length = len(document.text.encode())
                    if part and (size + length > self._part_bytes or len(part) >= PART_DOCUMENTS):
                        yield Part(list(part.values()))
                        part, size = {}, 0
                    part[document.id] = document
                    size += length
        except Exception:
            if part:  # what was read before the error is written
                yield Part(list(part.values()))
            raise
        if part:
            yield Part(list(part.values()))

    def _chunks(self) -> Iterator[list[Document]]:
        """Yield documents as they come, in lists of at most so much text."""
        chunk: list[Document] = []
        size = 0
        try:
            for document in self._documents:
                if isinstance(document, Rejected):
                    message = f"{document.where}: {document.problem}"
                    self._pipeline.reject(document, InvalidDocumentError(message))
                    continue
                if not isinstance(document, Document):
                    raise InvalidDocumentError(
                        f"ingest takes documents, got {type(document).__name__} "
                        f"after {len(chunk)} others"
                    )
                length = len(document.text.encode())
                if chunk and (size + length > self._part_bytes or len(chunk) >= PART_DOCUMENTS):
                    yield chunk
                    chunk, size = [], 0
                chunk.append(document)
                size += length
        except Exception:
            if chunk:  # what was read before the error is written
                yield chunk
            raise
        if chunk:
            yield chunk


def _prune(journal: Journal, store: Store, done: IngestReport) -> int:
    """Delete what vanished from the source, and return how many documents that were."""
    if done.unreadable:
        _log.warning("nothing is pruned: %d lines could not be read", done.unreadable)
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
