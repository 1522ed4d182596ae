"""`trivec vespa-app` and `trivec vespa-feed`: files for the Vespa CLI."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from trivec.cli.models import ModelFlags
from trivec.cli.options import (
    AsJson,
    Fields,
    SourceFlags,
    fields_of,
    inputs_of,
    notes,
    print_json,
)
from trivec.colbert_storage import ColbertStorage
from trivec.collection import Collection, Page
from trivec.document import Document
from trivec.encoders import TextEncoder
from trivec.errors import InvalidOptionError
from trivec.outputs import check_output
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
    field: Fields = None,
    colbert: Storage = "bits=16",
    as_json: AsJson = False,
) -> None:
    """Write documents with their vectors as a feed: of a collection, or of files to encode."""
    from trivec_vespa.files import write_feed

    storage = _storage(colbert)
    source = sources[0]
    if len(sources) == 1 and source.partition(":")[0] in store_schemes():
        check_output(output, inputs=inputs_of(stores=[source]), what="OUTPUT")
        if reading != SourceFlags():
            raise InvalidOptionError(
                f"{source!r} is a collection; {', '.join(vars(reading))} are options for files"
            )
        with open_store(source) as store:
            declared = fields_of(field) or store.fields
            collection = Collection(store.schema, declared, storage)
            count = write_feed(
                store.scan(with_vectors=True), output, name=name, collection=collection
            )
    else:
        fields = fields_of(field)
        documents = reading.open(sources, fields)
        check_output(output, inputs=inputs_of(*documents.paths, model.folder), what="OUTPUT")
        documents.check()
        encoder = model.load()
        count = write_feed(
            _encoded(documents.documents(), encoder),
            output,
            name=name,
            collection=Collection(encoder.schema, fields, storage),
        )
    if as_json:
        print_json({"documents": count, "output": str(output)})
    else:
        notes.print(f"{count} documents in {output}")


def _encoded(documents: Iterator[Document], encoder: TextEncoder) -> Iterator[Page]:
    while batch := list(islice(documents, BATCH)):
        yield Page(batch, encoder.encode_documents([document.text for document in batch]))


def _storage(text: str) -> ColbertStorage:
    """Return how Vespa keeps token vectors, or raise `InvalidOptionError` if it cannot."""
    from trivec_vespa.store import VespaBackend

    storage = ColbertStorage.parse(text)
    VespaBackend.limits.check_colbert(storage)
    return storage
