"""From documents to a collection: encode a part while the one before it is written."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

from trivec.document import Document
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.store import Store
from trivec.text_encoder import TextEncoder
from trivec.vectors import Vectors

__all__ = ["IngestReport", "Progress", "aingest", "ingest"]

# A token is about 4 bytes of text and becomes 4 KiB of ColBERT vectors at 1,024 dimensions, so
# this much text becomes about 64 MiB.
PART_BYTES = 64 * 1024
PART_DOCUMENTS = 1024


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What one `ingest` did, also while it runs.

    Args:
        documents: How many documents the store acknowledged.
        replaced: How many came again in the same part; the last one was written.
        requests: In how many writes.
        bytes: The bytes of text, metadata and vectors written.
        overflowed: How many had more ColBERT vectors than the database can hold.
        seconds: The time since the start.
        encode_seconds: The time spent encoding; writing goes on meanwhile.
        write_seconds: The time spent writing.
    """

    documents: int = 0
    replaced: int = 0
    requests: int = 0
    bytes: int = 0
    overflowed: int = 0
    seconds: float = 0.0
    encode_seconds: float = 0.0
    write_seconds: float = 0.0


Progress = Callable[[IngestReport], None]


def ingest(
    documents: Iterable[Document],
    encoder: TextEncoder,
    store: Store,
    *,
    part_bytes: int = PART_BYTES,
    progress: Progress | None = None,
) -> IngestReport:
    """Encode documents and write them, in parts of which two are in memory at any time.

    Args:
        documents: Any iterable, read once; may be endless. Of documents with the same id the
            last one stays.
        encoder: Turns the texts into vectors.
        store: A collection that exists and fits the encoder's schema.
        part_bytes: The most bytes of text that are encoded at once.
        progress: Called after each part; without it a terminal shows a progress bar.

    Returns:
        What was written.

    Raises:
        InvalidDocumentError: If something else than a document comes.
        StoreError: If the database failed. What was acknowledged stays, and the same call may be
            made again.

    Example:
        >>> from trivec import Document, open_store
        >>> from trivec.testing import HashEncoder
        >>> encoder, store = HashEncoder(), open_store("memory:/ingest-example")
        >>> store.create(encoder.schema)
        >>> ingest((Document(f"d{i}", f"text {i}") for i in range(100)), encoder, store).documents
        100
    """
    if part_bytes < 1:
        raise InvalidOptionError(f"part_bytes={part_bytes} must be at least 1")
    with _shown(progress) as show, ThreadPoolExecutor(1, "trivec-ingest") as writer:
        tally = _Tally(store)
        writing: Future[None] | None = None
        for part, replaced in _parts(documents, part_bytes):
            vectors = tally.encode(encoder, part, replaced)
            if writing is not None:
                writing.result()
                show(tally.report())
            writing = writer.submit(tally.write, part, vectors)
        if writing is not None:
            writing.result()
            show(tally.report())
        return tally.report()


async def aingest(
    documents: Iterable[Document],
    encoder: TextEncoder,
    store: Store,
    *,
    part_bytes: int = PART_BYTES,
    progress: Progress | None = None,
) -> IngestReport:
    """Do as `ingest` does, in a thread, and leave the event loop free."""
    return await asyncio.to_thread(
        ingest, documents, encoder, store, part_bytes=part_bytes, progress=progress
    )


class _Tally:
    """Does the two halves of the work and counts; one thread encodes, another one writes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._started = time.perf_counter()
        self._report = IngestReport()
        self._encode_seconds = 0.0
        self._replaced = 0

    def encode(self, encoder: TextEncoder, part: list[Document], replaced: int) -> Vectors:
        started = time.perf_counter()
        vectors = encoder.encode_documents([document.text for document in part])
        self._encode_seconds += time.perf_counter() - started
        self._replaced += replaced
        return vectors

    def write(self, part: list[Document], vectors: Vectors) -> None:
        started = time.perf_counter()
        written = self._store.upsert(part, vectors)
        before = self._report
        self._report = IngestReport(
            documents=before.documents + written.documents,
            requests=before.requests + written.requests,
            bytes=before.bytes + written.bytes,
            overflowed=before.overflowed + len(written.overflowed),
            write_seconds=before.write_seconds + time.perf_counter() - started,
        )

    def report(self) -> IngestReport:
        return replace(
            self._report,
            replaced=self._replaced,
            encode_seconds=self._encode_seconds,
            seconds=time.perf_counter() - self._started,
        )


def _parts(documents: Iterable[Document], part_bytes: int) -> Iterator[tuple[list[Document], int]]:
    """Yield documents of different ids, at most so much text, and how many were replaced."""
    part: dict[str, Document] = {}
    size = replaced = 0
    for document in documents:
        if not isinstance(document, Document):
            raise InvalidDocumentError(
                f"ingest takes documents, got {type(document).__name__} after {len(part)} others"
            )
        length = len(document.text.encode())
        if part and (size + length > part_bytes or len(part) >= PART_DOCUMENTS):
            yield list(part.values()), replaced
            part, size, replaced = {}, 0, 0
        replaced += document.id in part
        part[document.id] = document
        size += length
    if part:
        yield list(part.values()), replaced


@contextmanager
def _shown(progress: Progress | None) -> Iterator[Progress]:
    """Yield what to call after each part: the caller's function, a bar, or nothing."""
    if progress is not None:
        yield progress
    elif not sys.stderr.isatty():
        yield lambda report: None
    else:
        from rich.console import Console
        from rich.progress import Progress as Bar
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        text = TextColumn(
            "{task.completed} documents, {task.fields[rate]:.0f}/s, "
            "{task.fields[megabytes]:.1f} MB written"
        )
        console = Console(stderr=True)
        with Bar(SpinnerColumn(), text, TimeElapsedColumn(), console=console) as bar:
            task = bar.add_task("ingest", total=None, rate=0.0, megabytes=0.0)

            def show(report: IngestReport) -> None:
                rate = report.documents / max(report.seconds, 1e-9)
                megabytes = report.bytes / 1e6
                bar.update(task, completed=report.documents, rate=rate, megabytes=megabytes)

            yield show
