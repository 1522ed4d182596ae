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

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray

from trivec import Encoder
from trivec.checks import check_encoder
from trivec.document import Document
from trivec.encoders import TextEncoder
from trivec.errors import InvalidDocumentError, JournalError
from trivec.ingestion.contents import document_json
from trivec.ingestion.identity import EncoderIdentity
from trivec.ingestion.options import OnError
from trivec.ingestion.pipeline import Pipeline
from trivec.ingestion.reading import with_stored_vectors
from trivec.ingestion.report import IngestReport, Rejected, Tally
from trivec.rows import spans
from trivec.schema import Schema
from trivec.stores.store import Store
from trivec_ray.attempts import check_block, check_load, check_writing, deadly, is_enough
from trivec_ray.ledger import SharedJournal
from trivec_ray.rows import Columns, Parcel, pack, pack_error, read_rows, unpack

__all__ = ["Encoding", "Writing", "make_encoder", "plan_rows"]


def plan_rows(
    table: pa.Table,
    *,
    journal: SharedJournal,
    columns: Columns,
    on_error: OnError,
    wait: bool = True,
) -> Iterator[pa.Table]:
    """Turn rows into documents, and leave out those that need nothing done.

    Args:
        table: The rows.
        journal: Says what needs something done.
        columns: Which columns make a document.
        on_error: Whether a row that is no document ends the run.
        wait: Whether documents may wait for others of their ids; see `Journal.claim`.
    """
    return _handing_on(_plan(table, journal, columns, on_error, wait))


def _plan(
    table: pa.Table, journal: SharedJournal, columns: Columns, on_error: OnError, wait: bool
) -> Iterator[pa.Table]:
    documents: list[Document] = []
    rejected: list[Rejected] = []
    for one in read_rows(table, columns):
        if isinstance(one, Document):
            documents.append(one)
        elif on_error == "raise":
            raise InvalidDocumentError(f"{one.where}: {one.problem}")
        else:
            rejected.append(one)
    claim = journal.claim(documents, wait=wait)
    report = IngestReport(
        unchanged=claim.unchanged,
        replaced=claim.replaced,
        failed=len(rejected),
        unreadable=len(rejected),
        failures=tuple(rejected),
    )
    yield pack(
        Parcel(
            [documents[place] for place in claim.encode],
            stored=[documents[place] for place in claim.touch],
            reports=[report],
        )
    )


class Encoding:
    """Encodes the documents of a block in parts, each of which goes on when it is done.

    The model is loaded when there is something to encode. A part with which the process dies again
    and again is tried by halves, down to the one document that is at fault.

    Args:
        encoder: A model's name or folder, or what makes the encoder.
        schema: What the collection holds.
        part_bytes: The most bytes of text that are encoded at once.
        maker: What the encoder must say of itself, since the journal goes by it; None for any.
        journal: Remembers what was begun when a process died; None for nothing that does.
        on_error: Whether a document that cannot be encoded ends the run.
    """

    def __init__(
        self,
        encoder: str | Path | Callable[[], TextEncoder],
        schema: Schema,
        part_bytes: int,
        *,
        maker: EncoderIdentity | None = None,
        journal: SharedJournal | None = None,
        on_error: OnError = "raise",
    ) -> None:
        self._make = encoder
        self._schema = schema
        self._part_bytes = part_bytes
        self._maker = maker
        self._journal = journal
        self._on_error: OnError = on_error
        self._encoder: TextEncoder | None = None
        self._seconds = 0.0

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Yield each part with its vectors, and at last what needs none."""
        return _handing_on(self._encode(table))

    def _encode(self, table: pa.Table) -> Iterator[pa.Table]:
        ids = table["id"].drop_null().to_pylist()
        block = f"encoding {_name_of(ids)}"
        check_block(self._begin(block), ids)
        for parcel in unpack(table.combine_chunks()):  # to have full parts
            self._seconds = 0.0
            sizes = [len(document.text.encode()) for document in parcel.documents]
            for start, stop in spans(np.array(sizes, np.int64), self._part_bytes):
                for done in self._encoded(parcel.documents[start:stop]):
                    yield pack(done)
            spent = IngestReport(encode_seconds=self._seconds)
            yield pack(Parcel(stored=parcel.stored, reports=[*parcel.reports, spent]))
        self._end(block)

    def _encoded(self, part: Sequence[Document], *, half: bool = False) -> Iterator[Parcel]:
        """Yield documents with their vectors, together or by halves, or why there are none."""
        name = _name_of([document.id for document in part])
        encoder = self._loaded(name)
        deaths = self._begin(name)
        if not is_enough(deaths, part, half=half):
            started = time.perf_counter()
            vectors = encoder.encode_documents([document.text for document in part])
            self._seconds += time.perf_counter() - started
            yield Parcel(part, vectors.only(self._schema))
            self._end(name, succeeded=True)
        elif len(part) == 1:
            yield Parcel(reports=[self._without(part[0])])
        else:
            middle = len(part) // 2
            yield from self._encoded(part[:middle], half=True)
            yield from self._encoded(part[middle:], half=True)

    def _loaded(self, part: str) -> TextEncoder:
        """Return the encoder, made for a part at first."""
        if self._encoder is None:
            name = f"the encoder for {part}"
            check_load(self._begin(name))
            encoder = make_encoder(self._make)
            encoder.schema.held_by(self._schema)
            maker = EncoderIdentity.from_encoder(encoder)
            if self._maker not in (None, maker):
                raise JournalError(
                    f"the encoders of this run differ: one says {self._maker}, another {maker}; "
                    "give the device and the precision"
                )
            self._encoder = encoder
            self._end(name)
        return self._encoder

    def _begin(self, what: str) -> int:
        return 0 if self._journal is None else self._journal.begin(what)

    def _end(self, what: str, *, succeeded: bool = False) -> None:
        if self._journal is not None:
            self._journal.end(what, succeeded=succeeded)

    def _without(self, document: Document) -> IngestReport:
        """Leave out a document that ends the process, or end the run."""
        assert self._journal is not None
        error = deadly(document, self._journal.deadly(document.id))
        if self._on_error == "raise":
            raise error
        self._journal.fail(document, str(error))
        rejected = Rejected(document.id, str(error), document_json(document))
        return IngestReport(failed=1, failures=(rejected,))


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
        ids = table["id"].drop_null().to_pylist()
        name = f"writing {_name_of(ids)}"
        check_writing(self._journal.begin(name), ids)
        for parcel in unpack(table):
            if parcel.vectors is not None:
                self._pipeline.write(parcel.documents, parcel.vectors)
            if parcel.stored:
                self._touch(parcel.stored)
            for report in parcel.reports:
                self._tally.add(report)
                self._rejected += report.failures
        self._journal.end(name, succeeded=False)
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


def make_encoder(make: str | Path | Callable[[], TextEncoder]) -> TextEncoder:
    """Load a model by its name or folder, or call what makes an encoder."""
    encoder = make() if callable(make) else Encoder.load(make)
    check_encoder(encoder, "what `encoder` returned")
    return encoder


def _name_of(ids: Sequence[str]) -> str:
    """Return a name of what this actor does with some documents, the same when it is repeated.

    Another actor may do the same at the same time, with equal documents of the dataset; one that
    Ray starts again keeps its id.
    """
    actor = ray.get_runtime_context().get_actor_id() if ray.is_initialized() else None
    return f"{actor} {hashlib.blake2b(chr(0).join(ids).encode(), digest_size=16).hexdigest()}"


def _handing_on(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    try:
        yield from tables
    except Exception as error:
        yield pack_error(error)
