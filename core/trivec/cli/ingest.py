"""`trivec ingest`: documents from a file into a collection."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from trivec.cli.options import (
    AsJson,
    Device,
    Model,
    Precision,
    StoreArgument,
    fields_of,
    load_encoder,
    notes,
    print_json,
)
from trivec.ingest import ingest as run
from trivec.registry import open_store
from trivec.sources import read_jsonl

__all__ = ["ingest"]


def ingest(
    source: Annotated[str, typer.Argument(help="JSON Lines with id and text; - for stdin.")],
    store: StoreArgument,
    model: Model = "BAAI/bge-m3",
    device: Device = "auto",
    precision: Precision = "auto",
    field: Annotated[
        list[str] | None,
        typer.Option(help="Metadata that filters will use, as name:type; repeat for more."),
    ] = None,
    id_field: Annotated[str, typer.Option(help="The member that holds the id.")] = "id",
    text_field: Annotated[str, typer.Option(help="The member that holds the text.")] = "text",
    as_json: AsJson = False,
) -> None:
    """Encode documents once and write all three vectors; creates the collection if needed."""
    fields = fields_of(field or [])
    with open_store(store) as collection:
        encoder = load_encoder(model, device, precision)
        collection.create(encoder.schema, fields=fields, exist_ok=True)
        documents = read_jsonl(source, id_field=id_field, text_field=text_field)
        report = run(documents, encoder, collection)
    if as_json:
        print_json(asdict(report))
        return
    notes.print(
        f"{report.documents} documents, {report.bytes / 1e6:.1f} MB "
        f"in {report.requests} writes, {report.seconds:.1f} s"
    )
    if report.overflowed:
        notes.print(
            f"[yellow]{report.overflowed} had more ColBERT vectors than the database holds; "
            "neighbouring tokens were merged[/yellow]"
        )
