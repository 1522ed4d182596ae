"""`trivec ingest`: documents from a file into a collection."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from trivec.cli.models import CollectionModel, ModelName, model_of
from trivec.cli.options import (
    AllowEmpty,
    AsJson,
    Delimiter,
    Device,
    Format,
    IdField,
    Journal,
    Layout,
    OnErrorOption,
    Precision,
    Quoting,
    SourceArgument,
    StoreArgument,
    TextField,
    fields_of,
    inputs_of,
    load_encoder,
    notes,
    print_json,
)
from trivec.ingestion.ingest import ingest as run
from trivec.ingestion.options import BATCH_BYTES, check_on_error
from trivec.ingestion.report import IngestInterrupted, IngestReport
from trivec.ingestion.sources import RejectFile, Source
from trivec.outputs import check_outputs
from trivec.stores.registry import open_store

__all__ = ["ingest", "print_report"]


def ingest(
    source: SourceArgument,
    store: StoreArgument,
    model: CollectionModel = None,
    model_name: ModelName = None,
    device: Device = "auto",
    precision: Precision = "auto",
    field: Annotated[
        list[str] | None,
        typer.Option(help="Metadata that filters will use, as name:type; repeat for more."),
    ] = None,
    id_field: IdField = "id",
    text_field: TextField = "text",
    format: Format = None,
    delimiter: Delimiter = None,
    quoting: Quoting = None,
    metadata: Layout = None,
    allow_empty: AllowEmpty = False,
    journal: Journal = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete what the journal knows and the source lacks.")
    ] = False,
    on_error: OnErrorOption = "raise",
    rejects: Annotated[
        Path | None, typer.Option(help="Where skipped lines go; SOURCE.rejects.jsonl by default.")
    ] = None,
    part_bytes: Annotated[
        int, typer.Option(help="The most bytes of text that are encoded and written at once.")
    ] = BATCH_BYTES,
    as_json: AsJson = False,
) -> None:
    """Encode documents once and write all three vectors; creates the collection if needed."""
    fields = fields_of(field or [])
    policy = check_on_error(on_error)
    documents = Source(
        source,
        id_field=id_field,
        text_field=text_field,
        format=format,
        fields=fields,
        delimiter=delimiter,
        quoting=quoting,
        metadata=metadata,
        allow_empty=allow_empty,
    )
    check_outputs(
        {"--journal": journal, "--rejects": rejects},
        inputs=inputs_of(source, stores=[store], model=model),
    )
    with _reject_file(rejects, source) as rejected, open_store(store) as target:
        documents.check()
        model = model_of(target, model, model_name)
        encoder = load_encoder(model, device, precision, model_name)
        target.create(encoder.schema, fields=fields, exist_ok=True)
        try:
            report = run(
                documents,
                encoder,
                target,
                journal=journal,
                on_error=policy,
                rejected=rejected,
                prune=prune,
                part_bytes=part_bytes,
            )
        except IngestInterrupted as error:
            print_report(error.report, as_json=as_json, rejects=rejected.path)
            raise
    print_report(report, as_json=as_json, rejects=rejected.path)


def _reject_file(path: Path | None, source: str) -> RejectFile:
    """Return the file for rejects, by default beside the source."""
    if path is not None:
        return RejectFile(path)
    beside = Path("stdin" if source == "-" else source)
    if beside.name in ("", ".."):  # "." and the like, beside which there is nothing by that name
        beside = beside.resolve()
    return RejectFile(f"{beside}.rejects.jsonl", follow_links=False)


def print_report(report: IngestReport, *, as_json: bool, rejects: Path | None = None) -> None:
    """Print what was done: JSON on standard output, or sentences on standard error."""
    if as_json:
        print_json(asdict(report))
        return
    notes.print(
        f"{report.documents} documents, {report.bytes / 1e6:.1f} MB "
        f"in {report.requests} writes, {report.seconds:.1f} s"
    )
    for count, what in (
        (report.unchanged, "were written before and have not changed"),
        (report.touched, "were written without encoding: only their metadata changed"),
        (report.replaced, "had an id that came before; the last one was kept"),
        (report.missing, "had been written and were lost; they were written again"),
        (report.pruned, "vanished from the source and were deleted"),
    ):
        if count:
            notes.print(f"{count} {what}")
    if report.overflowed:
        notes.print(
            f"[yellow]{report.overflowed} had more ColBERT vectors than the database holds; "
            "neighbouring tokens were merged[/yellow]"
        )
    if report.failed:
        notes.print(
            f"[red]{report.failed} could not be stored"
            + ("" if rejects is None else f" and are in {escape(str(rejects))}")
            + "[/red]",
            soft_wrap=True,
        )
        for failure in report.failures[:10]:
            notes.print(f"  {failure.where}: {failure.problem}", markup=False, soft_wrap=True)
