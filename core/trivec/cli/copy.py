"""`trivec copy`: copy a collection to another store, without encoding."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from trivec.cli.options import (
    AsJson,
    Colbert,
    FilterText,
    Journal,
    OnError,
    fields_of,
    filter_of,
    inputs_of,
    notes,
    print_json,
)
from trivec.cli.rejects import print_report
from trivec.errors import InvalidOptionError
from trivec.ingestion.copying import copy as run
from trivec.ingestion.options import check_on_error
from trivec.ingestion.report import IngestInterrupted
from trivec.ingestion.sources import RejectFile
from trivec.ingestion.verification import Verification
from trivec.outputs import check_outputs
from trivec.plain import Json, not_json
from trivec.stores.registry import open_store

REJECTS = "copy.rejects.jsonl"


def copy(
    source: Annotated[str, typer.Argument(help="URL of the collection to read.")],
    destination: Annotated[
        str, typer.Argument(help="URL to write, such as archive:./backup/articles.")
    ],
    filter: FilterText = None,
    where: Annotated[str | None, typer.Option(hidden=True)] = None,
    set_fields: Annotated[
        list[str] | None,
        typer.Option(help="Metadata to set, as name=value with a value in JSON; repeat for more."),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(help="A declared field, as name:type; by default those of the source."),
    ] = None,
    colbert: Colbert = None,
    journal: Journal = None,
    on_error: OnError = "raise",
    rejects: Annotated[
        Path | None, typer.Option(help=f"The file for rejected documents; {REJECTS} by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy a collection with its vectors and compare the two; exit with 1 if they differ."""
    if where is not None:
        raise InvalidOptionError("copy: --where has another name now: --filter")
    condition = filter_of(filter)
    policy = check_on_error(on_error)
    values = _values(set_fields or [])
    check_outputs(
        {"--journal": journal, "--rejects": rejects},
        inputs=inputs_of(stores=[source, destination]),
    )
    with (
        RejectFile(rejects or REJECTS, follow_links=rejects is not None) as rejected,
        open_store(source) as old,
        open_store(destination, colbert=colbert) as new,
    ):
        try:
            report = run(
                old,
                new,
                journal=journal,
                filter=condition,
                set_fields=values,
                fields=fields_of(field) or None,
                on_error=policy,
                rejected=rejected,
            )
        except IngestInterrupted as error:
            print_report(error.report, as_json=as_json, rejects=rejected.path)
            raise
    checked = report.verification
    if as_json:
        print_json({**asdict(report), "problems": checked.problems})
    else:
        print_report(report.written, as_json=False, rejects=rejected.path)
        notes.print(_sentence(checked))
        for problem in checked.problems:
            notes.print(f"[red]{escape(problem)}[/red]")
    if checked.problems:
        raise typer.Exit(1)


def _values(settings: Iterable[str]) -> dict[str, Json]:
    """Parse each `name=value`; a value that is not JSON is a string."""
    values: dict[str, Json] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not name or not equals:
            raise InvalidOptionError(f"set-fields {setting!r}: expected name=value")
        try:
            values[name] = json.loads(text)
        except json.JSONDecodeError:
            values[name] = text
        except (ValueError, RecursionError) as error:
            raise InvalidOptionError(f"set-fields {name}: {not_json(error)}") from error
    return values


def _sentence(checked: Verification) -> str:
    top = (
        "not compared" if checked.top10_overlap is None else f"{checked.top10_overlap:.1%} the same"
    )
    return (
        f"{checked.source_count} documents in the source, {checked.destination_count} in the "
        f"destination; of {checked.sampled} compared: lowest dense cosine "
        f"{checked.dense_cosine:.6f}, largest difference of a lexical weight "
        f"{checked.sparse_difference:.1e} and of a ColBERT score {checked.colbert_drift:.1e}, "
        f"{checked.shortened} shortened; best ten of {checked.queries} searches: {top}"
    )
