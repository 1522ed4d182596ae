"""`trivec ingest`: documents from files into a collection."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from trivec.cli.models import ModelFlags
from trivec.cli.options import (
    AsJson,
    Colbert,
    Fields,
    Journal,
    OnError,
    StoreArgument,
    fields_of,
    inputs_of,
    notes,
    print_json,
)
from trivec.cli.sources import SourceFlags, SourcesArgument
from trivec.ingestion.ingest import ingest as run
from trivec.ingestion.options import BATCH_BYTES, check_on_error
from trivec.ingestion.report import IngestInterrupted, IngestReport
from trivec.ingestion.sources import RejectFile
from trivec.ingestion.sources.files import REJECTS_SUFFIX
from trivec.outputs import check_outputs
from trivec.stores.registry import open_store


def ingest(
    sources: SourcesArgument,
    store: StoreArgument,
    model: ModelFlags,
    reading: SourceFlags,
    field: Fields = None,
    colbert: Colbert = None,
    journal: Journal = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", help="Delete documents that are in the journal but not in the source."
        ),
    ] = False,
    on_error: OnError = "raise",
    rejects: Annotated[
        Path | None,
        typer.Option(
            help="The file for rejected lines; SOURCE.rejects.jsonl by default, or that of the "
            "folder of several files."
        ),
    ] = None,
    part_bytes: Annotated[
        int, typer.Option(help="The most bytes of text to encode and write at once.")
    ] = BATCH_BYTES,
    as_json: AsJson = False,
) -> None:
    """Encode documents once and write all three vectors; creates the collection if needed."""
    declared = fields_of(field)
    policy = check_on_error(on_error)
    documents = reading.open(sources, declared)
    check_outputs(
        {"--journal": journal, "--rejects": rejects},
        inputs=inputs_of(*documents.paths, model.folder, stores=[store]),
    )
    with (
        _reject_file(rejects, sources, documents.paths) as rejected,
        open_store(store, colbert=colbert) as target,
    ):
        documents.check()
        encoder = model.load_for(target)
        target.create(encoder.schema, fields=declared, exist_ok=True)
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


def _reject_file(path: Path | None, sources: list[str], files: Sequence[str]) -> RejectFile:
    """Return the file for rejected lines.

    By default it is next to the source, or next to the folder that several files are in.

    Args:
        path: The file that was given, if any.
        sources: The sources as they were given.
        files: The files and folders that they are.
    """
    if path is not None:
        return RejectFile(path)
    base = Path("stdin" if files[0] == "-" else files[0])
    if len(files) > 1 or sources != list(files):  # several files, or a pattern
        base = Path(os.path.commonpath([str(Path(file).absolute().parent) for file in files]))
    if base.name in ("", ".."):  # such as ".", which has no name to append to
        base = base.resolve()
    return RejectFile(f"{base}{REJECTS_SUFFIX}", follow_links=False)


def print_report(report: IngestReport, *, as_json: bool, rejects: Path | None = None) -> None:
    """Print the report of an ingestion or a copy.

    JSON is printed on standard output, sentences on standard error.
    """
    if as_json:
        print_json(asdict(report))
        return
    notes.print(
        f"{report.documents} documents, {report.bytes / 1e6:.1f} MB "
        f"in {report.requests} writes, {report.seconds:.1f} s"
    )
    for count, sentence in (
        (report.unchanged, "were written before and have not changed"),
        (report.touched, "were written without encoding: only their metadata changed"),
        (report.replaced, "had an id that came before; the last document was kept"),
        (report.missing, "had been written and were lost; they were written again"),
        (report.pruned, "are no longer in the source and were deleted"),
    ):
        if count:
            notes.print(f"{count} {sentence}")
    if report.overflowed:
        notes.print(
            f"[yellow]{report.overflowed} had more ColBERT vectors than the database holds; "
            "similar vectors were merged[/yellow]"
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
