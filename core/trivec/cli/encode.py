"""`trivec encode`: vectors of a file of texts, without a database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from trivec.cli.options import (
    AsJson,
    Device,
    Model,
    Precision,
    SourceArgument,
    check_file,
    load_encoder,
    notes,
    print_json,
)
from trivec.ingestion.sources import Source

__all__ = ["encode"]


def encode(
    source: SourceArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="A .safetensors file.")],
    model: Model = "BAAI/bge-m3",
    device: Device = "auto",
    precision: Precision = "auto",
    queries: Annotated[bool, typer.Option(help="Encode as questions.")] = False,
    as_json: AsJson = False,
) -> None:
    """Encode texts into a safetensors file of dense, sparse and ColBERT columns."""
    check_file(output)
    texts = [document.text for document in Source(source).documents()]
    encoder = load_encoder(model, device, precision)
    vectors = encoder.encode_queries(texts) if queries else encoder.encode_documents(texts)
    vectors.save(output)
    size = output.stat().st_size
    if as_json:
        print_json({"texts": len(texts), "bytes": size, "output": str(output)})
    else:
        notes.print(f"{len(texts)} texts, {size / 1e6:.1f} MB in {escape(str(output))}")
