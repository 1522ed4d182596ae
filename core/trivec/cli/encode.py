"""`trivec encode`: the vectors of files of texts, without a database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from trivec.cli.models import ModelFlags
from trivec.cli.options import AsJson, inputs_of, notes, print_json
from trivec.cli.rejects import RejectFlags, print_records
from trivec.cli.sources import SourceFlags, SourcesArgument
from trivec.ingestion.report import IngestReport, Tally
from trivec.outputs import check_outputs, is_stream


def encode(
    sources: SourcesArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="A .safetensors file.")],
    model: ModelFlags,
    reading: SourceFlags,
    rejecting: RejectFlags,
    queries: Annotated[bool, typer.Option(help="Encode the texts as questions.")] = False,
    as_json: AsJson = False,
) -> None:
    """Encode texts into a safetensors file of dense, sparse and ColBERT vectors."""
    source = reading.open(sources)
    check_outputs(
        {"--output": output, "--rejects": rejecting.rejects},
        inputs=inputs_of(*source.paths, model.folder),
    )
    tally = Tally(source.fraction)
    with rejecting.accepting(source, sources, tally) as documents:
        texts = [document.text for document in documents]
    encoder = model.load()
    vectors = encoder.encode_queries(texts) if queries else encoder.encode_documents(texts)
    vectors.save(output)
    tally.add(IngestReport(documents=len(texts)))
    report = tally.report()
    size = None if is_stream(output) else output.stat().st_size
    if as_json:
        counts = {"records": report.records, "texts": len(texts), "failed": report.failed}
        print_json({**counts, "bytes": size, "output": str(output)})
    else:
        megabytes = "" if size is None else f", {size / 1e6:.1f} MB"
        notes.print(f"{len(texts)} texts{megabytes} in {escape(str(output))}")
        print_records(report, "encoded")
    rejecting.end(report)
