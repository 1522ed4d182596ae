"""`trivec encode`: the vectors of files of texts, without a database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from trivec.cli.models import ModelFlags
from trivec.cli.options import AsJson, inputs_of, notes, print_json
from trivec.cli.sources import SourceFlags, SourcesArgument
from trivec.outputs import check_output, is_stream


def encode(
    sources: SourcesArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="A .safetensors file.")],
    model: ModelFlags,
    reading: SourceFlags,
    queries: Annotated[bool, typer.Option(help="Encode the texts as questions.")] = False,
    as_json: AsJson = False,
) -> None:
    """Encode texts into a safetensors file of dense, sparse and ColBERT vectors."""
    source = reading.open(sources)
    check_output(output, inputs=inputs_of(*source.paths, model.folder), what="--output")
    texts = [document.text for document in source.documents()]
    encoder = model.load()
    vectors = encoder.encode_queries(texts) if queries else encoder.encode_documents(texts)
    vectors.save(output)
    size = None if is_stream(output) else output.stat().st_size
    if as_json:
        print_json({"texts": len(texts), "bytes": size, "output": str(output)})
    else:
        megabytes = "" if size is None else f", {size / 1e6:.1f} MB"
        notes.print(f"{len(texts)} texts{megabytes} in {escape(str(output))}")
