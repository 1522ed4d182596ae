"""`trivec ingest`: documents from files into a collection."""

from __future__ import annotations

from collections.abc import Mapping
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
from trivec.errors import CollectionNotFoundError, InvalidOptionError, TooManyRejectsError
from trivec.fields import FieldType
from trivec.ingestion.dividing import passage_encoder
from trivec.ingestion.ingest import ingest as run
from trivec.ingestion.options import BATCH_BYTES
from trivec.ingestion.report import IngestInterrupted
from trivec.outputs import check_outputs
from trivec.passages.options import Passages
from trivec.passages.stored import PARENT
from trivec.stores.registry import open_store
from trivec.stores.store import Store


def _passages_of(text: str) -> Passages:
    """Parse `--passages`; a wrong value is an error of usage."""
    try:
        return Passages.parse(text)
    except InvalidOptionError as error:
        raise typer.BadParameter(str(error)) from error


def ingest(
    sources: SourcesArgument,
    store: StoreArgument,
    model: ModelFlags,
    reading: SourceFlags,
    rejecting: RejectFlags,
    field: Fields = None,
    colbert: Colbert = None,
    passages: Annotated[
        Passages | None,
        typer.Option(
            "--passages",
            parser=_passages_of,
            metavar="tokens=…,overlap=…",
            help="Split long texts into passages of at most so many tokens, such as 256 or "
            "tokens=256,overlap=32,late=true; each is stored as a document of its own.",
        ),
    ] = None,
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
        if passages is not None:
            passage_encoder(encoder, passages)  # before the collection is made
            declared = _with_parent(declared, target)
        target.create(encoder.schema, fields=declared, exist_ok=True)
        try:
            report = run(
                documents,
                encoder,
                target,
                journal=journal,
                on_error=policy,
                rejected=rejected,
                passages=passages,
                prune=prune,
                part_bytes=part_bytes,
                max_rejects=rejecting.max_rejects,
            )
        except (IngestInterrupted, TooManyRejectsError) as error:
            print_report(error.report, as_json=as_json, rejects=rejected.path)
            raise
    print_report(report, as_json=as_json, rejects=rejected.path)
    rejecting.end(report)


def _with_parent(declared: Mapping[str, FieldType], target: Store) -> dict[str, FieldType]:
    """Return the declared fields with that of the parents of passages.

    A collection that exists keeps the fields that it has.
    """
    if declared.get(PARENT, FieldType.STR) != FieldType.STR:
        raise InvalidOptionError(
            f"--field {PARENT}:{declared[PARENT]}: passages have the id of their document under "
            f"{PARENT!r}, which is a str; give your field another name (--rename)"
        )
    try:
        existing = target.describe().fields
    except CollectionNotFoundError:
        existing = {PARENT: FieldType.STR}
    return {**declared, PARENT: FieldType.STR} if PARENT in existing else dict(declared)
