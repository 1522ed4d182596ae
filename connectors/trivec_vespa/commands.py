"""`trivec vespa-app` and `trivec vespa-feed`: files for the Vespa CLI."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from trivec.cli.models import ModelFlags
from trivec.cli.options import (
    AsJson,
    Fields,
    fields_of,
    inputs_of,
    notes,
    print_json,
)
from trivec.cli.rejects import RejectFlags, print_records
from trivec.cli.sources import SourceFlags
from trivec.colbert_storage import ColbertStorage
from trivec.collection import Collection, Page
from trivec.document import Document
from trivec.encoders import TextEncoder
from trivec.errors import InvalidOptionError
from trivec.fields import FieldType
from trivec.ingestion.report import Tally
from trivec.outputs import check_output, check_outputs
from trivec.schema import Schema
from trivec.stores.registry import open_store, store_schemes

Name = Annotated[str, typer.Option(help="The collection, which is the name of the schema.")]
Storage = Annotated[
    str,
    typer.Option(
        "--colbert", help="How token vectors are kept, such as 'bits=1,pool=2' or 'prune=1/3'."
    ),
]

BATCH = 256  # documents encoded at once


def vespa_app(
    directory: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    name: Name,
    field: Fields = None,
    dense: Annotated[int, typer.Option(help="The dense dimension; 0 for none.")] = 1024,
    sparse: Annotated[bool, typer.Option(help="Whether there are lexical weights.")] = True,
    colbert_dimension: Annotated[
        int, typer.Option(help="The ColBERT dimension; 0 for none.")
    ] = 1024,
    colbert: Storage = "bits=16",
    as_json: AsJson = False,
) -> None:
    """Write a Vespa application package, for `vespa deploy` or to merge into your own."""
    from trivec_vespa.files import write_application

    schema = Schema(dense=dense or None, sparse=sparse, colbert=colbert_dimension or None)
    write_application(schema, fields_of(field), name, directory, colbert=_storage(colbert))
    if as_json:
        print_json({"directory": str(directory), "schema": name})
    else:
        notes.print(f"application package of schema {name!r} in {directory}")


def vespa_feed(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="A collection's URL (also archive:FOLDER/name), or files of documents, as "
            "`trivec ingest` takes them.",
        ),
    ],
    output: Annotated[Path, typer.Argument(help="The feed, JSON Lines, for `vespa feed`.")],
    name: Name,
    model: ModelFlags,
    reading: SourceFlags,
    rejecting: RejectFlags,
    field: Fields = None,
    colbert: Storage = "bits=16",
    as_json: AsJson = False,
) -> None:
    """Write documents with their vectors as a feed: of a collection, or of files to encode."""
    from trivec_vespa.files import write_feed

    storage = _storage(colbert)
    source, tally = sources[0], Tally()
    if len(sources) == 1 and source.partition(":")[0] in store_schemes():
        check_output(output, inputs=inputs_of(stores=[source]), what="OUTPUT")
        if reading != SourceFlags() or rejecting != RejectFlags():
            names = ", ".join((*vars(reading), *vars(rejecting)))
            raise InvalidOptionError(f"{source!r} is a collection; {names} are options for files")
        with open_store(source) as store:
            declared = fields_of(field) or store.fields
            collection = Collection(store.schema, declared, storage)
            count = write_feed(
                store.scan(with_vectors=True), output, name=name, collection=collection
            )
    else:
        fields = fields_of(field)
        documents = reading.open(sources, fields)
        check_outputs(
            {"OUTPUT": output, "--rejects": rejecting.rejects},
            inputs=inputs_of(*documents.paths, model.folder),
        )
        documents.check()
        with rejecting.accepting(documents, sources, tally, _check(fields)) as readable:
            encoder = model.load()
            count = write_feed(
                _encoded(readable, encoder),
                output,
                name=name,
                collection=Collection(encoder.schema, fields, storage),
            )
    report = tally.report()
    if as_json:
        counts = {"records": report.records or count, "documents": count, "failed": report.failed}
        print_json({**counts, "output": str(output)})
    else:
        notes.print(f"{count} documents in {output}")
        if report.records:
            print_records(replace(report, documents=count), "written")
    rejecting.end(report)


def _encoded(documents: Iterator[Document], encoder: TextEncoder) -> Iterator[Page]:
    while batch := list(islice(documents, BATCH)):
        yield Page(batch, encoder.encode_documents([document.text for document in batch]))


def _check(fields: Mapping[str, FieldType]) -> Callable[[Document], None]:
    """Return what raises `InvalidDocumentError` for a document that Vespa would refuse."""
    from trivec_vespa.mapping import check_numbers, check_text

    def check(document: Document) -> None:
        check_text(document, fields, "error")
        check_numbers(document, fields)

    return check


def _storage(text: str) -> ColbertStorage:
    """Return how Vespa keeps token vectors, or raise `InvalidOptionError` if it cannot."""
    from trivec_vespa.store import VespaBackend

    storage = ColbertStorage.parse(text)
    VespaBackend.limits.check_colbert(storage)
    return storage
