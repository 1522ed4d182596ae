"""From one store to another without encoding again, and proof that the same arrived."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from trivec.arguments import at_least_one, expect
from trivec.checks import check_callback, check_journal, check_store
from trivec.document import Document, Json
from trivec.errors import InvalidOptionError, StoreError
from trivec.fields import FieldType
from trivec.filters import Filter
from trivec.ingestion.identity import Maker, identity
from trivec.ingestion.ingest import check_files, reconcile
from trivec.ingestion.journal import Journal
from trivec.ingestion.pipeline import OnError, Part, Pipeline, Rejects, check_on_error
from trivec.ingestion.reading import PART_BYTES
from trivec.ingestion.report import IngestReport, Progress, Tally
from trivec.ingestion.stopping import Stop
from trivec.ingestion.verification import Verification, verify
from trivec.stores.store import Store
from trivec.vectors import Vectors

__all__ = ["CopyReport", "copy"]

PAGE_BYTES = 32 * 1024 * 1024
PAGE_DOCUMENTS = 256
FIRST_DOCUMENTS = 8
"""How many documents are read first, to learn how large their vectors are."""


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What one `copy` did.

    Args:
        written: What was written, and what was there already.
        verification: How the two collections compare now.
    """

    written: IngestReport
    verification: Verification


def copy(
    source: Store,
    destination: Store,
    *,
    journal: str | Path | None = None,
    filter: Filter | None = None,
    set_fields: Mapping[str, Json] | None = None,
    fields: Mapping[str, type | FieldType] | None = None,
    on_error: OnError = "raise",
    rejected: Rejects | None = None,
    sample: int = 100,
    progress: Progress | None = None,
) -> CopyReport:
    """Copy a collection, with its vectors as they are, into another store.

    With a journal, the next call goes on where this one ended, and reads the vectors of only
    those documents that are new or have changed.

    Args:
        source: The collection to read.
        destination: The collection to write; created like the source if it does not exist.
        journal: The file that remembers what the destination acknowledged.
        filter: Copy only what satisfies this condition.
        set_fields: Metadata that every copied document gets, over what it has.
        fields: What the destination declares for filters; as the source by default.
        on_error: "raise" ends at a document that the destination refuses, "skip" goes on.
        rejected: Called with each document that is skipped.
        sample: How many documents are compared at the end.
        progress: Called after each part; without it a terminal shows a progress bar.

    Returns:
        What was written, and how the collections compare.

    Raises:
        InvalidOptionError: If source and destination are the same collection.
        SchemaMismatchError: If the destination exists and does not fit.
        StoreError: If a database failed; the same call may be made again.
        IngestInterrupted: After Ctrl-C, when what was in flight is written.

    Example:
        >>> from trivec import Document, F, open_store
        >>> from trivec.testing import HashEncoder
        >>> encoder = HashEncoder()
        >>> source, destination = open_store("memory:/copy-from"), open_store("memory:/copy-to")
        >>> source.create(encoder.schema)
        >>> _ = source.upsert(
        ...     [Document("a", "whale", {"year": 2020}), Document("b", "fox", {"year": 2024})],
        ...     encoder.encode_documents(["whale", "fox"]),
        ... )
        >>> report = copy(source, destination, filter=F("year") > 2021, set_fields={"lang": "en"})
        >>> report.written.documents, report.verification.problems
        (1, ())
        >>> destination.get(["b"]).documents[0].metadata
        {'year': 2024, 'lang': 'en'}
    """
    check_store(source, "copy: source")
    check_store(destination, "copy: destination")
    check_journal(journal)
    check_callback(rejected, "rejected")
    check_callback(progress, "progress")
    check_on_error(on_error)
    sample = at_least_one(sample, "sample")
    if set_fields is not None:
        expect(set_fields, Mapping, "set_fields", "a mapping of names to values")
    if source is destination or source.address == destination.address:
        raise InvalidOptionError(f"source and destination are the same: {source.address}")
    check_files(journal, rejected, stores=[source, destination])
    schema = source.schema
    destination.create(schema, fields=source.fields if fields is None else fields, exist_ok=True)
    total = source.count(filter)
    reading = _Reading(source, filter, dict(set_fields or {}), sample)
    tally = Tally(lambda: reading.read / total if total else None)
    who = {**identity(destination, Maker(schema, {})), "source": source.address}
    with Journal(journal, who) as book:
        tally.add(IngestReport(missing=reconcile(book, destination)))
        pipeline = Pipeline(destination, book, tally, on_error=on_error, rejected=rejected)
        pipeline.run(
            reading.parts(book, tally),
            _not_encoded,
            title="copy",
            progress=progress,
            stop=Stop(),
        )
    verification = verify(
        source, destination, reading.sample, filter=filter, expected=reading.changed
    )
    return CopyReport(tally.report(), verification)


def _not_encoded(texts: Sequence[str]) -> Vectors:
    raise StoreError("the source gave documents without vectors")


@dataclass(slots=True)
class _Reading:
    """Reads a source page by page, and draws a sample of its ids, the same every time."""

    source: Store
    filter: Filter | None
    set_fields: dict[str, Json]
    sample_size: int
    read: int = 0
    sample: list[str] = field(default_factory=list)
    _row_bytes: int | None = None
    _random: random.Random = field(default_factory=lambda: random.Random(0))

    def changed(self, document: Document) -> Document:
        """Return a document as it is to be written."""
        if not self.set_fields:
            return document
        return replace(document, metadata={**document.metadata, **self.set_fields})

    def parts(self, journal: Journal, tally: Tally) -> Iterator[Part]:
        """Yield what is new or has changed, with its vectors, in parts bounded in bytes.

        The scan goes without vectors, which are nearly all of the bytes. Those of a text are
        about as large as the text is long.
        """
        for plan in journal.plans(self._pages()):
            tally.add(IngestReport(unchanged=plan.unchanged, replaced=plan.replaced))
            wanted = [*plan.encode, *plan.touch]
            while wanted:
                count = self._fitting(wanted)
                ids, wanted = [document.id for document in wanted[:count]], wanted[count:]
                found = self.source.get(ids, with_vectors=True)
                if found.vectors is not None and found.documents:
                    self._row_bytes = int(found.vectors.row_bytes().max())
                yield Part([self.changed(document) for document in found.documents], found.vectors)

    def _pages(self) -> Iterator[list[Document]]:
        for page in self.source.scan(batch_size=PAGE_DOCUMENTS, filter=self.filter):
            self._note(page.documents)
            yield [self.changed(document) for document in page.documents]

    def _fitting(self, documents: Sequence[Document]) -> int:
        """Return how many of the next documents make a part: at least one, and not too much text.

        What the text does not tell, the last part does.
        """
        most = FIRST_DOCUMENTS
        if self._row_bytes is not None:
            most = int(np.clip(PAGE_BYTES // max(1, self._row_bytes), 1, PAGE_DOCUMENTS))
        size = 0
        for count, document in enumerate(documents[:most]):
            size += len(document.text.encode())
            if count and size > PART_BYTES:
                return count
        return min(most, len(documents))

    def _note(self, documents: Sequence[Document]) -> None:
        """Draw from what was read, each document with the same chance (Vitter's algorithm R)."""
        for document in documents:
            self.read += 1
            if len(self.sample) < self.sample_size:
                self.sample.append(document.id)
            elif (place := self._random.randrange(self.read)) < self.sample_size:
                self.sample[place] = document.id
