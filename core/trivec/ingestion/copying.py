"""Copy a collection into another store without encoding again, and verify the copy."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Unpack

import numpy as np

from trivec.arguments import at_least_one, expect
from trivec.checks import check_store
from trivec.colbert_storage import ColbertStorage
from trivec.document import Document
from trivec.errors import InvalidOptionError, StoreError
from trivec.fields import FieldType
from trivec.filters import Filter
from trivec.ingestion.batches import Batch
from trivec.ingestion.identity import EncoderIdentity, identity
from trivec.ingestion.ingest import check_files, reconcile
from trivec.ingestion.journal import Journal
from trivec.ingestion.options import BATCH_BYTES, Ingestion, RunOptions
from trivec.ingestion.pipeline import Pipeline
from trivec.ingestion.report import IngestReport, Tally
from trivec.ingestion.stopping import Stop
from trivec.ingestion.storage import destination_storage
from trivec.ingestion.verification import Verification, verify
from trivec.plain import Json
from trivec.stores.store import Store
from trivec.vectors import Vectors

PAGE_BYTES = 32 * 1024 * 1024
PAGE_DOCUMENTS = 256
FIRST_DOCUMENTS = 8
"""The number of documents that are read first, to learn how large their vectors are."""


@dataclass(frozen=True, slots=True)
class CopyReport:
    """The report of one `copy`.

    Args:
        written: The documents that were written, and those that existed already.
        verification: The comparison of the two collections after the copy.
    """

    written: IngestReport
    verification: Verification


def copy(
    source: Store,
    destination: Store,
    *,
    filter: Filter | None = None,
    set_fields: Mapping[str, Json] | None = None,
    fields: Mapping[str, type | FieldType] | None = None,
    colbert: ColbertStorage | None = None,
    sample: int = 100,
    **options: Unpack[RunOptions],
) -> CopyReport:
    """Copy a collection into another store, with its vectors as they are or smaller.

    With a journal, the next call resumes where this one ended, and reads the vectors only of
    documents that are new or have changed.

    Args:
        source: The collection to read.
        destination: The collection to write; created like the source if it does not exist.
        filter: Copies only documents that satisfy this condition.
        set_fields: Metadata that is set in every copied document, in addition to its own.
        fields: The fields that the destination declares for filters; by default the source's.
        colbert: How the destination keeps token vectors, such as `ColbertStorage(bits=1, pool=2)`:
            as the source does, or less of them. By default the option of the destination's store,
            else what an existing destination does, else what the source does.
        sample: The number of documents that are compared at the end.
        options: See `RunOptions`.

    Returns:
        What was written, and how the collections compare.

    Raises:
        InvalidOptionError: If source and destination are the same collection, or the destination
            cannot keep token vectors so.
        InvalidVectorsError: If the source keeps less of its token vectors than the destination,
            or lacks the lexical weights that pruning needs. Nothing was created or written.
        SchemaMismatchError: If the destination exists and does not match.
        StoreError: If a database failed; the same call can be repeated.
        IngestInterrupted: After Ctrl-C, when the writes in flight are done.

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
    run = Ingestion(**options)
    if run.passages is not None:
        raise InvalidOptionError(
            "copy: passages: texts are split when they are encoded; a copy has the documents of "
            "its source, also its passages"
        )
    sample = at_least_one(sample, "sample")
    if set_fields is not None:
        expect(set_fields, Mapping, "set_fields", "a mapping of names to values")
    if source is destination or source.address == destination.address:
        raise InvalidOptionError(f"source and destination are the same: {source.address}")
    check_files(run.journal, run.rejected, stores=[source, destination])
    storage = destination_storage(source, destination, colbert, filter=filter)
    schema = source.schema
    destination.create(
        schema,
        fields=source.fields if fields is None else fields,
        colbert=storage,
        exist_ok=True,
    )
    total = source.count(filter)
    reading = _Reading(source, filter, dict(set_fields or {}), sample)
    tally = Tally(lambda: reading.read / total if total else None)
    pair = {**identity(destination, EncoderIdentity(schema, {})), "source": source.address}
    with Journal(run.journal, pair) as book:
        tally.add(IngestReport(missing=reconcile(book, destination)))
        pipeline = Pipeline(destination, book, tally, run)
        pipeline.run(reading.batches(book, tally), _not_encoded, title="copy", stop=Stop())
        pipeline.rejecter.check(ended=True)
    verification = verify(
        source, destination, reading.sample, filter=filter, expected=reading.changed
    )
    return CopyReport(tally.report(), verification)


def _not_encoded(texts: Sequence[str]) -> Vectors:
    raise StoreError("the source gave documents without vectors")


@dataclass(slots=True)
class _Reading:
    """Reads a source page by page, and draws a sample of its ids, the same in every run."""

    source: Store
    filter: Filter | None
    set_fields: dict[str, Json]
    sample_size: int
    read: int = 0
    sample: list[str] = field(default_factory=list)
    _row_bytes: int | None = None
    _random: random.Random = field(default_factory=lambda: random.Random(0))

    def changed(self, document: Document) -> Document:
        """Return a document with the metadata that the copy sets."""
        if not self.set_fields:
            return document
        return replace(document, metadata={**document.metadata, **self.set_fields})

    def batches(self, journal: Journal, tally: Tally) -> Iterator[Batch]:
        """Yield documents that are new or have changed, with their vectors, in limited batches.

        The scan reads no vectors, which are nearly all of the bytes. The size of a document's
        vectors is about proportional to the length of its text.
        """
        for work in journal.worklists(self._pages()):
            tally.records = self.read
            tally.add(IngestReport(unchanged=work.unchanged, replaced=work.replaced))
            wanted = [*work.encode, *work.touch]
            while wanted:
                count = self._fitting(wanted)
                ids, wanted = [document.id for document in wanted[:count]], wanted[count:]
                page = self.source.get(ids, with_vectors=True)
                if page.vectors is not None and page.documents:
                    self._row_bytes = int(page.vectors.row_bytes().max())
                yield Batch([self.changed(document) for document in page.documents], page.vectors)

    def _pages(self) -> Iterator[list[Document]]:
        for page in self.source.scan(batch_size=PAGE_DOCUMENTS, filter=self.filter):
            self._draw(page.documents)
            yield [self.changed(document) for document in page.documents]

    def _fitting(self, documents: Sequence[Document]) -> int:
        """Return how many of the next documents make a batch: at least one, limited in bytes.

        The limits are the bytes of text, and the bytes of vectors as the last batch had them.
        """
        most = FIRST_DOCUMENTS
        if self._row_bytes is not None:
            most = int(np.clip(PAGE_BYTES // max(1, self._row_bytes), 1, PAGE_DOCUMENTS))
        size = 0
        for count, document in enumerate(documents[:most]):
            size += len(document.text.encode())
            if count and size > BATCH_BYTES:
                return count
        return min(most, len(documents))

    def _draw(self, documents: Sequence[Document]) -> None:
        """Sample the documents read so far uniformly (Vitter's algorithm R)."""
        for document in documents:
            self.read += 1
            if len(self.sample) < self.sample_size:
                self.sample.append(document.id)
            elif (index := self._random.randrange(self.read)) < self.sample_size:
                self.sample[index] = document.id
