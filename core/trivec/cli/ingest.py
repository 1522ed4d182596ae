"""`trivec ingest`: documents from files into a collection."""

from __future__ import annotations

from typing import Annotated

import typer

from trivec.cli.models import ModelFlags
from trivec.cli.options import (
    AsJson,
    Colbert,
    Fields,
    Journal,
    StoreArgument,
    fields_of,
    inputs_of,
)
from trivec.cli.rejects import RejectFlags, print_report
from trivec.cli.sources import SourceFlags, SourcesArgument
from trivec.errors import TooManyRejectsError
from trivec.ingestion.ingest import ingest as run
from trivec.ingestion.options import BATCH_BYTES
from trivec.ingestion.report import IngestInterrupted
from trivec.outputs import check_outputs
from trivec.stores.registry import open_store


def ingest(
    sources: SourcesArgument,
    store: StoreArgument,
    model: ModelFlags,
    reading: SourceFlags,
    rejecting: RejectFlags,
    field: Fields = None,
    colbert: Colbert = None,
    journal: Journal = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", help="Delete documents that are in the journal but not in the source."
        ),
    ] = False,
    part_bytes: Annotated[
        int, typer.Option(help="The most bytes of text to encode and write at once.")
    ] = BATCH_BYTES,
    as_json: AsJson = False,
) -> None:
    """Encode documents once and write all three vectors; creates the collection if needed."""
    declared = fields_of(field)
    policy = rejecting.policy
    documents = reading.open(sources, declared)
    check_outputs(
        {"--journal": journal, "--rejects": rejecting.rejects},
        inputs=inputs_of(*documents.paths, model.folder, stores=[store]),
    )
    with (
        rejecting.open(sources, documents.paths) as rejected,
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
                max_rejects=rejecting.max_rejects,
            )
        except (IngestInterrupted, TooManyRejectsError) as error:
            print_report(error.report, as_json=as_json, rejects=rejected.path)
            raise
    print_report(report, as_json=as_json, rejects=rejected.path)
    rejecting.end(report)
