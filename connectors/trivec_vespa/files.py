"""Files for the Vespa CLI: application packages and feeds."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from trivec.colbert_storage import ColbertStorage
from trivec.collection import Collection, Page
from trivec.errors import InvalidOptionError, OutputError
from trivec.fields import FieldType
from trivec.outputs import make_folder, written_beside
from trivec.schema import Schema
from trivec.stores.reduction import reduced
from trivec_vespa.mapping import TextErrors, check_numbers, check_text, document_key, feed_fields
from trivec_vespa.schema import application_package, check_name


def write_application(
    schema: Schema,
    fields: Mapping[str, type | FieldType],
    name: str,
    directory: str | Path,
    *,
    colbert: ColbertStorage | None = None,
) -> None:
    """Write the application package into a folder, for `vespa deploy` of the Vespa CLI.

    Args:
        schema: Which vectors the collection holds.
        fields: The metadata that filters use.
        name: The collection.
        directory: A folder that is empty or does not exist.
        colbert: As for `application_package`.

    Raises:
        InvalidOptionError: If the folder is not empty; and as `application_package`.
        OutputError: If the folder cannot be written.
    """
    folder = Path(directory)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidOptionError(f"{str(directory)!r} is not an empty folder; give a new one")
    package = application_package(schema, fields, name, colbert=colbert)
    new = Path(os.path.realpath(folder))
    try:
        make_folder(new.parent)
        # Written beside the folder first, so that a run that fails leaves nothing in it.
        with tempfile.TemporaryDirectory(dir=new.parent, prefix=".trivec-") as scratch:
            package.to_files(Path(scratch))
            make_folder(new)
            for file in Path(scratch).iterdir():
                file.replace(new / file.name)
    except OSError as error:
        raise OutputError(f"{str(directory)!r} cannot be written: {error}") from error


def write_feed(
    pages: Iterable[Page],
    path: str | Path,
    *,
    name: str,
    collection: Collection,
    colbert: ColbertStorage | None = None,
    text_errors: TextErrors = "error",
) -> int:
    """Write documents as JSON lines, for `vespa feed` of the Vespa CLI.

    Args:
        pages: Documents with their vectors, such as `store.scan(with_vectors=True)`.
        path: The file, which is replaced when everything is written.
        name: The collection.
        collection: Its schema and declared fields.
        colbert: How it keeps token vectors, by default as `collection` says; see
            `application_package`.
        text_errors: What happens to a text with characters that Vespa refuses; see `VespaOptions`.

    Returns:
        How many documents were written.

    Raises:
        InvalidDocumentError: If Vespa would refuse a document's strings, or round its numbers.
        InvalidOptionError: If a page has no vectors, or token vectors of this dimension do not
            fill whole bytes.
        InvalidVectorsError: If token vectors hold less than the storage keeps.
        OutputError: If the file cannot be written; an older one is kept.
    """
    check_name(name)
    storage = colbert or collection.colbert or ColbertStorage()
    storage.check_dimension(collection.schema.colbert)
    kept = replace(collection, colbert=storage)
    count = 0
    with written_beside(path) as file:
        for documents, vectors in pages:
            if vectors is None:
                raise InvalidOptionError("the pages hold no vectors; scan(with_vectors=True)")
            if vectors.colbert is not None:
                vectors = replace(vectors, colbert=reduced(vectors.colbert, storage))
            for row, document in enumerate(documents):
                check_text(document, collection.fields, text_errors)
                check_numbers(document, collection.fields)
                fields = feed_fields(document, vectors, row, kept)
                put = {"put": f"id:{name}:{name}::{document_key(document.id)}", "fields": fields}
                file.write(f"{json.dumps(put, ensure_ascii=False)}\n".encode())
                count += 1
    return count
