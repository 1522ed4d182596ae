"""The stages of a run on Ray: planning, encoding, writing.

Encoding and writing are separate stages. In one actor, vectors would not pass through the object
store, but an encoder would wait for the database, there would be as many connections as encoders,
and an embedded store, which takes one writer, could have only one encoder. The object store costs
one copy, and Ray prefers a writer on the machine that holds the block. docs/ray.md has the costs.

An error of a stage travels on as a row. It is raised again where that row is read, which is in the
driver in the end. Ray would wrap the error in an exception of its own, and repeat some tasks.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property, wraps
from pathlib import Path
from typing import ParamSpec

import numpy as np
import pyarrow as pa
import ray

from trivec import open_encoder
from trivec.checks import check_encoder
from trivec.document import Document
from trivec.encoders import TextEncoder
from trivec.errors import JournalError
from trivec.ingestion.batches import Batch
from trivec.ingestion.contents import document_json
from trivec.ingestion.form import with_stored_vectors
from trivec.ingestion.identity import EncoderIdentity
from trivec.ingestion.options import Ingestion, OnError
from trivec.ingestion.pipeline import Pipeline
from trivec.ingestion.report import IngestReport, Rejected, Tally
from trivec.rows import spans
from trivec.schema import Schema
from trivec.stores.store import Store
from trivec_ray.attempts import check_block, check_load, check_writing, deadly, is_enough
from trivec_ray.journal import SharedJournal
from trivec_ray.rows import Columns, Parcel, pack, pack_error, read_rows, unpack

P = ParamSpec("P")

Maker = str | Path | Callable[[], TextEncoder]
"""A model's name or folder, or a callable that makes an encoder."""


def _yields_errors(stage: Callable[P, Iterator[pa.Table]]) -> Callable[P, Iterator[pa.Table]]:
    """Make a stage yield its error as the last table."""

    @wraps(stage)
    def tables(*args: P.args, **options: P.kwargs) -> Iterator[pa.Table]:
        try:
            yield from stage(*args, **options)
        except Exception as error:
            yield pack_error(error)

    return tables


@_yields_errors
def plan_rows(
    table: pa.Table,
    *,
    journal: SharedJournal,
    columns: Columns,
    on_error: OnError,
    wait: bool = True,
) -> Iterator[pa.Table]:
    """Turn rows into documents, and leave out those that are written already.

    `wait` is whether documents may wait for others with their ids; see `Journal.claim`.
    """
    documents: list[Document] = []
    rejected: list[Rejected] = []
    for row in read_rows(table, columns):
        if isinstance(row, Document):
            documents.append(row)
        elif on_error == "raise":
            raise row.error
        else:
            rejected.append(row)
    work = journal.claim(documents, wait=wait)
    report = IngestReport(
        records=table.num_rows if wait else 0,
        unchanged=work.unchanged,
        replaced=work.replaced,
        failed=len(rejected),
        unreadable=len(rejected),
        failures=tuple(rejected),
    )
    yield pack(
        Parcel(
            [documents[position] for position in work.encode],
            stored=[documents[position] for position in work.touch],
            reports=[report],
        )
    )


@dataclass
class Encoding:
    """Encodes the documents of a block in batches, each of which is passed on when it is done.

    The model is loaded when there is something to encode. A batch that ends the process repeatedly
    is halved, down to the one document that is at fault. The journal counts the attempts of each
    task; without one, no process is expected to die. `maker` is the identity that the encoder must
    have for the journal, None for any.
    """

    make: Maker
    schema: Schema
    batch_bytes: int
    _: KW_ONLY
    maker: EncoderIdentity | None = None
    journal: SharedJournal | None = None
    on_error: OnError = "raise"
    _encoder: TextEncoder | None = None
    _seconds: float = 0.0

    @_yields_errors
    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Yield each batch with its vectors, and then the documents that need none."""
        ids = table["id"].drop_null().to_pylist()
        block = f"encoding {_task_of(ids)}"
        check_block(self._begin(block), ids)
        for parcel in unpack(table.combine_chunks()):  # to have full batches
            self._seconds = 0.0
            sizes = [len(document.text.encode()) for document in parcel.documents]
            for start, stop in spans(np.array(sizes, np.int64), self.batch_bytes):
                for encoded in self._encoded(parcel.documents[start:stop]):
                    yield pack(encoded)
            spent = IngestReport(encode_seconds=self._seconds)
            yield pack(Parcel(stored=parcel.stored, reports=[*parcel.reports, spent]))
        self._end(block)

    def _encoded(self, batch: Sequence[Document], *, half: bool = False) -> Iterator[Parcel]:
        """Yield documents with their vectors, together or by halves, or why there are none."""
        name = _task_of([document.id for document in batch])
        encoder = self._loaded(name)
        deaths = self._begin(name)
        if not is_enough(deaths, batch, half=half):
            started = time.perf_counter()
            vectors = encoder.encode_documents([document.text for document in batch])
            self._seconds += time.perf_counter() - started
            yield Parcel(batch, vectors.only(self.schema))
            self._end(name, succeeded=True)
        elif len(batch) == 1:
            yield Parcel(reports=[self._without(batch[0])])
        else:
            middle = len(batch) // 2
            yield from self._encoded(batch[:middle], half=True)
            yield from self._encoded(batch[middle:], half=True)

    def _loaded(self, batch: str) -> TextEncoder:
        """Return the encoder, which is made for the first batch."""
        if self._encoder is None:
            name = f"the encoder for {batch}"
            check_load(self._begin(name))
            encoder = make_encoder(self.make)
            encoder.schema.held_by(self.schema)
            maker = EncoderIdentity.from_encoder(encoder)
            if self.maker not in (None, maker):
                raise JournalError(
                    f"the encoders of this run differ: one says {self.maker}, another {maker}; "
                    "give the device and the precision"
                )
            self._encoder = encoder
            self._end(name)
        return self._encoder

    def _begin(self, task: str) -> int:
        return 0 if self.journal is None else self.journal.begin(task)

    def _end(self, task: str, *, succeeded: bool = False) -> None:
        if self.journal is not None:
            self.journal.end(task, succeeded=succeeded)

    def _without(self, document: Document) -> IngestReport:
        """Leave out a document that ends the process, or end the run."""
        assert self.journal is not None
        error = deadly(document, self.journal.deadly(document.id))
        if self.on_error == "raise":
            raise error
        self.journal.fail(document, str(error))
        rejected = Rejected(document.id, str(error), document_json(document))
        return IngestReport(failed=1, failures=(rejected,))


class Writing:
    """Writes blocks of encoded documents, and records those that the store acknowledged."""

    def __init__(
        self, store: Callable[[], Store], journal: SharedJournal, on_error: OnError
    ) -> None:
        self._open = store
        self._journal = journal
        self._tally = Tally()
        self._rejected: list[Rejected] = []
        self._options = Ingestion(on_error=on_error, rejected=self._rejected.append)

    @cached_property
    def _store(self) -> Store:
        return self._open()

    @cached_property
    def _pipeline(self) -> Pipeline:
        return Pipeline(self._store, self._journal, self._tally, self._options)

    @_yields_errors
    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Write a block and yield one row: its report, with every failure."""
        ids = table["id"].drop_null().to_pylist()
        name = f"writing {_task_of(ids)}"
        check_writing(self._journal.begin(name), ids)
        for parcel in unpack(table):
            if parcel.vectors is not None:
                self._pipeline.write(Batch(list(parcel.documents), parcel.vectors))
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
        batch, missing = with_stored_vectors(self._store, documents)
        if batch.vectors is not None:
            self._pipeline.write(batch)
        if missing:
            self._journal.forget([document.id for document in missing])
        self._tally.add(IngestReport(touched=len(batch.documents), missing=len(missing)))


def make_encoder(make: Maker) -> TextEncoder:
    """Open an encoder by name, folder or URL, or call the callable that makes one."""
    encoder = make() if callable(make) else open_encoder(make)
    check_encoder(encoder, "what `encoder` returned")
    return encoder


def _task_of(ids: Sequence[str]) -> str:
    """Return the name of this actor's task for some documents, the same in every repetition.

    It has the id of the actor, since the dataset may hold equal documents that another actor works
    on at the same time. An actor that Ray restarts keeps its id.
    """
    actor = ray.get_runtime_context().get_actor_id() if ray.is_initialized() else None
    return f"{actor} {hashlib.blake2b(chr(0).join(ids).encode(), digest_size=16).hexdigest()}"
