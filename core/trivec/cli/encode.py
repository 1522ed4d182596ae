"""`trivec encode`: vectors of a file of texts, without a database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from trivec.cli.options import (
    AllowEmpty,
    AsJson,
    Delimiter,
    Device,
    Format,
    IdField,
    Layout,
    Model,
    Precision,
    Quoting,
    SourceArgument,
    TextField,
    inputs_of,
    load_encoder,
    notes,
    print_json,
)
from trivec.ingestion.sources import Source
from trivec.outputs import check_output, is_stream

__all__ = ["encode"]


def encode(
    source: SourceArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="A .safetensors file.")],
    model: Model = "BAAI/bge-m3",
    device: Device = "auto",
    precision: Precision = "auto",
    queries: Annotated[bool, typer.Option(help="Encode as questions.")] = False,
    id_field: IdField = "id",
    text_field: TextField = "text",
    format: Format = None,
    delimiter: Delimiter = None,
    quoting: Quoting = None,
    metadata: Layout = None,
    allow_empty: AllowEmpty = False,
    as_json: AsJson = False,
) -> None:
    """Encode texts into a safetensors file of dense, sparse and ColBERT columns."""
    check_output(output, inputs=inputs_of(source, model=model), what="--output")
    documents = Source(
        source,
        id_field=id_field,
        text_field=text_field,
        format=format,
        delimiter=delimiter,
        quoting=quoting,
        metadata=metadata,
        allow_empty=allow_empty,
    ).documents()
    texts = [document.text for document in documents]
    encoder = load_encoder(model, device, precision)
    vectors = encoder.encode_queries(texts) if queries else encoder.encode_documents(texts)
    vectors.save(output)
    size = None if is_stream(output) else output.stat().st_size
    if as_json:
        print_json({"texts": len(texts), "bytes": size, "output": str(output)})
    else:
        said = "" if size is None else f", {size / 1e6:.1f} MB"
        notes.print(f"{len(texts)} texts{said} in {escape(str(output))}")
