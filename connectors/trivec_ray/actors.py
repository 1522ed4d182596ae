"""The stages of a run on Ray: what is new, encoding, writing.

Encoding and writing are stages of their own. Were they one actor, vectors would stay out of the
object store; but an encoder would wait for the database, there would be as many connections as
encoders, and an embedded store, which takes one writer, could have one encoder. The way through
the object store is one copy, and Ray gives a block to a writer on the machine where it is, if there
is one. docs/ray.md says what it costs.

What a stage raises goes on as a row, and is raised again where that row is read, at last by the
driver. Ray would put it into an exception of its own, and repeat tasks that it takes for unlucky.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from trivec.document import Document
from trivec.encoding.encoder import Encoder
from trivec.errors import InvalidDocumentError
from trivec.ingestion.pipeline import OnError, Pipeline
from trivec.ingestion.reading import with_stored_vectors
from trivec.ingestion.report import IngestReport, Rejected, Tally
from trivec.rows import spans
from trivec.schema import Schema
from trivec.stores.store import Store
from trivec.text_encoder import TextEncoder
from trivec_ray.ledger import SharedJournal
from trivec_ray.rows import Columns, Parcel, pack, pack_error, read_rows, unpack

__all__ = ["Encoding", "Writing", "plan_rows"]


def plan_rows(
    table: pa.Table, *, journal: SharedJournal, columns: Columns, on_error: OnError
) -> Iterator[pa.Table]:
    """Turn rows into documents, and leave out those that need nothing done."""
    return _handing_on(_plan(table, journal, columns, on_error))


def _plan(
    table: pa.Table, journal: SharedJournal, columns: Columns, on_error: OnError
) -> Iterator[pa.Table]:
    documents: dict[str, Document] = {}
    count = 0
    rejected: list[Rejected] = []
    for one in read_rows(table, columns):
        if isinstance(one, Document):
            documents.setdefault(one.id, one)
            count += 1
        elif on_error == "raise":
            raise InvalidDocumentError(f"{one.where}: {one.problem}")
        else:
            rejected.append(one)
    claim = journal.claim(list(documents.values()))
    report = IngestReport(
        unchanged=claim.unchanged,
        replaced=claim.replaced + count - len(documents),
        failed=len(rejected),
        unreadable=len(rejected),
        failures=tuple(rejected),
    )
    yield pack(
        Parcel(
            [document for one, document in documents.items() if one in claim.encode],
            stored=[document for one, document in documents.items() if one in claim.touch],
            reports=[report],
        )
    )


class Encoding:
    """Encodes the documents of a block in parts, each of which goes on when it is done.

    The model is loaded when there is something to encode.

    Args:
        encoder: A model's name or folder, or what makes the encoder.
        schema: What the collection holds.
        part_bytes: The most bytes of text that are encoded at once.
    """

    def __init__(
        self, encoder: str | Path | Callable[[], TextEncoder], schema: Schema, part_bytes: int
    ) -> None:
        self._make = encoder
        self._schema = schema
        self._part_bytes = part_bytes

    @cached_property
    def _encoder(self) -> TextEncoder:
        make = self._make
        encoder = make() if callable(make) else Encoder.load(make)
        encoder.schema.held_by(self._schema)
        return encoder

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Yield each part with its vectors, and at last what needs none."""
        return _handing_on(self._encode(table))

    def _encode(self, table: pa.Table) -> Iterator[pa.Table]:
        for parcel in unpack(table.combine_chunks()):  # to have full parts
            seconds = 0.0
            sizes = [len(document.text.encode()) for document in parcel.documents]
            for start, stop in spans(np.array(sizes, np.int64), self._part_bytes):
                part = parcel.documents[start:stop]
                encoder = self._encoder
                started = time.perf_counter()
                vectors = encoder.encode_documents([document.text for document in part])
                vectors = vectors.only(self._schema)
                seconds += time.perf_counter() - started
                yield pack(Parcel(part, vectors))
            spent = IngestReport(encode_seconds=seconds)
            yield pack(Parcel(stored=parcel.stored, reports=[*parcel.reports, spent]))


class Writing:
    """Writes blocks of encoded documents, and records what the store acknowledged.

    Args:
        store: Opens the collection, for the first block.
        journal: Where what the store acknowledges is recorded.
        on_error: Whether a document that cannot be stored ends the run.
    """

    def __init__(
        self, store: Callable[[], Store], journal: SharedJournal, on_error: OnError
    ) -> None:
        self._open = store
        self._journal = journal
        self._tally = Tally(lambda: None)
        self._on_error: OnError = on_error
        self._rejected: list[Rejected] = []

    @cached_property
    def _store(self) -> Store:
        return self._open()

    @cached_property
    def _pipeline(self) -> Pipeline:
        return Pipeline(
            self._store,
            self._journal,
            self._tally,
            on_error=self._on_error,
            rejected=self._rejected.append,
        )

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Write a block and yield one row: the report of it, with every failure."""
        return _handing_on(self._write(table))

    def _write(self, table: pa.Table) -> Iterator[pa.Table]:
        for parcel in unpack(table):
            if parcel.vectors is not None:
                self._pipeline.write(parcel.documents, parcel.vectors)
            if parcel.stored:
                self._touch(parcel.stored)
            for report in parcel.reports:
                self._tally.add(report)
                self._rejected += report.failures
        report = replace(self._tally.take(), failures=tuple(self._rejected))
        self._rejected.clear()
        yield pack(Parcel(reports=[report]))

    def _touch(self, documents: Sequence[Document]) -> None:
        """Write documents with the vectors that the store has."""
        there, gone = with_stored_vectors(self._store, documents)
        if there.vectors is not None:
            self._pipeline.write(there.documents, there.vectors)
        if gone:
            self._journal.forget([document.id for document in gone])
        self._tally.add(IngestReport(touched=len(there.documents), missing=len(gone)))


def _handing_on(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    try:
        yield from tables
    except Exception as error:
        yield pack_error(error)
