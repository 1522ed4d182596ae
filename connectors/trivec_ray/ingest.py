"""Ingestion of a Ray dataset, on all machines of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Unpack, cast

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, Dataset, from_items
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError, WorkerCrashedError

from trivec.arguments import at_least_one, type_name
from trivec.encoders.protocol import TextEncoder
from trivec.errors import CheckpointError, InvalidOptionError, StoreError
from trivec.ingestion.identity import EncoderIdentity
from trivec.ingestion.options import (
    BATCH_BYTES,
    BATCH_DOCUMENTS,
    Ingestion,
    OnError,
    RunOptions,
)
from trivec.ingestion.rejecting import Rejecter
from trivec.ingestion.report import IngestReport, Tally
from trivec.ingestion.sources import SourceOptions
from trivec.ingestion.sources.options import MappingOptions
from trivec.outputs import check_output
from trivec.stores.registry import local_files
from trivec.stores.store import Store
from trivec_ray.actors import Encoding, Maker, Writing, make_encoder, plan_rows
from trivec_ray.journal import SharedJournal
from trivec_ray.rows import ROW_COLUMNS, Columns, as_rows, unpack
from trivec_ray.target import Target


class RayOptions(RunOptions, MappingOptions, total=False):
    """The keyword options of `ingest`: how a run goes, and what of a row becomes a document."""


def ingest(
    dataset: Dataset,
    *,
    encoder: str | Path | Callable[[], TextEncoder],
    store: str | Callable[[], Store],
    store_options: Mapping[str, object] | None = None,
    metadata_field: str | None = None,
    concurrency: int | tuple[int, int] = 1,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    writers: int = 1,
    part_bytes: int = BATCH_BYTES,
    **options: Unpack[RayOptions],
) -> IngestReport:
    """Encode the rows of a dataset and write them, as `trivec.ingest` does on one machine.

    Rows go through tasks that ask the journal which documents are new, through encoder actors, and
    through writer actors. An embedded store belongs to one process, so the driver writes it. The
    journal records the documents that the store acknowledged, so the next call with the same
    dataset continues where this one ended, however it ended. If a worker dies, Ray repeats its
    unfinished work. Documents keep their ids, so none is stored twice.

    Args:
        dataset: One row for each document.
        encoder: The name or folder of a model, the URL of an encoder as `open_encoder` takes it, or
            a callable without arguments that makes the encoder, such as
            `partial(Encoder.load, "BAAI/bge-m3", precision="float16")`. Each encoder actor loads
            its own.
        store: The URL of a collection that exists, or a callable without arguments that opens it.
            Each writer opens its own. It is given those of the three parts that it holds.
        store_options: The keyword options of `open_store`. They are sent to the writers and not
            shown. Environment variables must be set on every machine.
        metadata_field: The one column of metadata, a struct or JSON text, with the title if the
            text has one. None: all other columns, or the only other one if it is a struct named
            "metadata".
        concurrency: How many encoder actors: a number, or (least, most).
        num_cpus: The CPUs of one encoder; 1 unless it has a GPU. Reading needs one more.
        num_gpus: The GPUs of one encoder.
        writers: How many writers; 1 for an embedded store.
        part_bytes: The most bytes of text that are encoded at once.
        options: See `trivec.ingestion.options.RunOptions` and
            `trivec.ingestion.sources.options.MappingOptions`, whose members are columns here. The
            journal is a file on the driver's machine; with one, an encoder is made before anything
            is read, to check that its vectors are those of the journal. `rejected` is called on the
            driver, and `progress` after each block; Ray shows its own bars on a terminal.

    Returns:
        The sum over all writers. The times of encoders and writers are summed, too.

    Raises:
        InvalidDocumentError: If a row is no document, the collection cannot hold it, or encoding
            it ends the encoder's process each time.
        DocumentRefusedError: If the database refuses a document.
        StoreError: If the database failed. The acknowledged documents stay, and the same call may
            be made again.
        SchemaMismatchError: If the collection does not fit the encoder.
        JournalError: If the journal is of another store or model, of other options of the
            encoder, or in use.
        CheckpointError: If the model cannot be loaded, or the encoders' processes end whatever
            they encode.
        InvalidOptionError: If an option is out of range, or the store cannot be shared.

    Example:
        Needs a server:

            dataset = ray.data.read_parquet("s3://bucket/articles/")
            report = trivec_ray.ingest(
                dataset,
                encoder="BAAI/bge-m3",
                store="qdrant://qdrant:6333/articles",
                journal="articles.journal",
                concurrency=(1, 8),
                num_gpus=1,
                writers=4,
            )
    """
    target = Target.of(store, store_options)
    _check(dataset, encoder, target, writers)
    given: dict[str, Any] = dict(options)
    mapping = {name: given.pop(name) for name in MappingOptions.__annotations__ if name in given}
    columns = Columns(SourceOptions(**mapping), metadata_field)
    run_options = _options(part_bytes, given)
    journal, on_error = run_options.journal, run_options.on_error
    if journal is not None and isinstance(store, str):
        check_output(journal, inputs=local_files(store), what="journal")
    encoders = _pool(concurrency)
    shared = SharedJournal.start(target, journal)
    tally = Tally()
    rejecter = Rejecter(run_options, tally)

    def run(rows: Dataset, columns: Columns, *, wait: bool) -> None:
        plan = partial(plan_rows, journal=shared, columns=columns, on_error=on_error, wait=wait)
        planned = rows.map_batches(plan, batch_format="pyarrow", batch_size=BATCH_DOCUMENTS)
        # Small blocks however large the dataset's are: Ray hands them to the encoders one by one,
        # and repeats one if its encoder dies.
        small = planned.repartition(target_num_rows_per_block=BATCH_DOCUMENTS)
        encoded = small.map_batches(
            Encoding,
            fn_constructor_args=(encoder, schema, run_options.part_bytes),
            fn_constructor_kwargs={"maker": maker, "journal": shared, "on_error": on_error},
            batch_format="pyarrow",
            batch_size=BATCH_DOCUMENTS,
            compute=encoders,
            num_cpus=num_cpus,
            num_gpus=num_gpus,
        )
        # Closing it ends Ray's actors, also when the caller's functions raise.
        with closing(_written(encoded, target, shared, on_error, writers)) as reports:
            for report in reports:
                tally.add(report)
                if run_options.rejected is not None:
                    for failure in report.failures:
                        run_options.rejected(failure)
                rejecter.check()
                if run_options.progress is not None:
                    run_options.progress(tally.report())

    try:
        schema = shared.schema()
        # A journal must know the encoder before it can say which documents are written.
        maker = None if journal is None else _maker(encoder, num_cpus, num_gpus)
        missing = shared.open(EncoderIdentity(schema, {}) if maker is None else maker)
        tally.add(IngestReport(missing=missing))
        run(dataset, columns, wait=True)
        while late := shared.waiting():
            run(from_items(as_rows(late)), ROW_COLUMNS, wait=False)
        rejecter.check(ended=True)
        shared.finish()
    except (RayActorError, OutOfMemoryError, WorkerCrashedError) as error:
        raise StoreError(
            f"Ray gave up the run, since one of its processes ended again and again: {error}. The "
            "acknowledged documents stay, and the same call may be made again"
        ) from error
    finally:
        shared.close()
    report = tally.report()
    if report.missing > missing:
        raise StoreError(
            f"{report.missing - missing} documents whose metadata changed are not in the store as "
            "the journal says, and were not written; run the same again, which encodes them"
        )
    return report


def _options(part_bytes: int, given: Mapping[str, Any]) -> Ingestion:
    """Return the options of a run, which stores whole documents."""
    options = Ingestion(part_bytes=part_bytes, **given)
    if options.passages is not None:
        raise InvalidOptionError(
            "passages: Ray stores whole documents; split texts with trivec.ingest, or in the "
            "dataset"
        )
    return options


def _check(dataset: Dataset, encoder: Maker, target: Target, writers: int) -> None:
    if not isinstance(dataset, Dataset):
        raise InvalidOptionError(
            f"ingest takes a ray.data.Dataset, got {type_name(dataset)}; "
            "see ray.data.read_parquet and ray.data.from_items"
        )
    if not isinstance(encoder, str | Path) and not callable(encoder):
        raise InvalidOptionError(
            f"encoder={encoder!r}; expected the name or folder of a model, or a callable that "
            "makes an encoder: a loaded one cannot be sent to other processes"
        )
    at_least_one(writers, "writers")
    if target.embedded and writers > 1:
        raise InvalidOptionError(
            f"{target.name} belongs to one process, so writers={writers} cannot be; "
            "use writers=1, or a server"
        )


def _pool(concurrency: int | tuple[int, int]) -> ActorPoolStrategy:
    wanted = concurrency if isinstance(concurrency, tuple) else (concurrency, concurrency)
    try:
        least, most = (at_least_one(number, "concurrency") for number in wanted)
    except ValueError:
        least, most = 1, 0
    if least > most:
        raise InvalidOptionError(
            f"concurrency={concurrency!r}; expected a number from 1, or (least, most)"
        )
    return ActorPoolStrategy(min_size=least, max_size=most)


def _maker(encoder: Maker, num_cpus: float | None, num_gpus: float | None) -> EncoderIdentity:
    """Make an encoder on a machine for encoders, and return its identity."""
    cpus = num_cpus if num_cpus is not None else 0 if num_gpus else 1
    task: Any = ray.remote(_made).options(num_cpus=cpus, num_gpus=num_gpus or 0, max_retries=0)
    try:
        return cast("EncoderIdentity", ray.get(task.remote(encoder)))
    except RayTaskError as error:
        raise error.cause from None
    except (OutOfMemoryError, WorkerCrashedError) as error:
        raise CheckpointError(
            f"the process that made the encoder ended: {error}; memory is the likely reason"
        ) from error


def _made(encoder: Maker) -> EncoderIdentity:
    return EncoderIdentity.from_encoder(make_encoder(encoder))


def _written(
    encoded: Dataset, target: Target, journal: SharedJournal, on_error: OnError, writers: int
) -> Generator[IngestReport]:
    """Run all stages, and yield the report of each block that is written."""
    if target.embedded:
        with target.open() as opened:
            writing = Writing(lambda: opened, journal, on_error)
            for block in encoded.iter_batches(batch_size=None, batch_format="pyarrow"):
                for table in writing(block):
                    yield from _reports(table)
        return
    written = encoded.map_batches(
        Writing,
        fn_constructor_args=(target.open, journal, on_error),
        batch_format="pyarrow",
        batch_size=None,  # a block as it comes
        compute=ActorPoolStrategy(size=writers),
        num_cpus=0,  # a writer waits for the database, so encoders can have all CPUs but one
    )
    for block in written.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from _reports(block)


def _reports(table: pa.Table) -> Iterator[IngestReport]:
    for parcel in unpack(table):
        yield from parcel.reports
