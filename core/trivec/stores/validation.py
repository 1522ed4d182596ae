"""Checks that documents and queries fit a collection, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trivec.arguments import described, expect
from trivec.colbert_storage import ColbertStorage
from trivec.collection import Collection
from trivec.document import Document, check_id
from trivec.errors import (
    InvalidDocumentError,
    InvalidOptionError,
    InvalidVectorsError,
    SchemaMismatchError,
)
from trivec.filters.declared import check_values
from trivec.schema import Schema
from trivec.scores import Weights
from trivec.search import PARTS, Mode, Search
from trivec.stores.limits import Limits
from trivec.vectors import Vector, Vectors, expect_vector


def check_ids(ids: Iterable[str]) -> list[str]:
    """Return ids, each once.

    Raises:
        InvalidOptionError: If they are one id alone, or no ids at all.
        InvalidDocumentError: If no document can have one of them.
    """
    if isinstance(ids, str):
        raise InvalidOptionError(f"ids={ids!r} is one string; pass a list of ids")
    if isinstance(ids, bytes | Document) or not isinstance(ids, Iterable):
        raise InvalidOptionError(f"ids: expected a list of str, got {described(ids)}")
    return list(dict.fromkeys(map(check_id, ids)))


def check_documents(
    name: str,
    collection: Collection,
    documents: Sequence[Document],
    vectors: Vectors,
    limits: Limits,
) -> None:
    """Check that documents and their vectors can be written.

    Args:
        name: The collection, for messages.
        collection: Its description.
        documents: What is to be written.
        vectors: One row for each document.
        limits: How much of a document the database holds.

    Raises:
        InvalidDocumentError: If something is no document, an id comes twice, metadata does not
            fit a declared field, or a document is larger than the database holds.
        InvalidVectorsError: If the vectors have other dimensions, or parts that the collection
            lacks.
    """
    expect(documents, Sequence, "documents", "a list of Document", error=InvalidDocumentError)
    check_vectors(vectors)
    for document in documents:
        expect(document, Document, "documents: each", "a Document", error=InvalidDocumentError)
    if len(documents) != len(vectors):
        raise InvalidVectorsError(
            f"{len(documents)} documents came with {len(vectors)} rows of vectors"
        )
    seen: set[str] = set()
    for document in documents:
        if document.id in seen:
            raise InvalidDocumentError(f"document {document.id!r} is there twice")
        seen.add(document.id)
        check_values(document, collection.fields)
        limits.check(document)
    if vectors.sparse is not None and not collection.schema.sparse:
        raise InvalidVectorsError(f"collection {name!r} holds no sparse vectors")
    dense = None if vectors.dense is None else vectors.dense.shape[1]
    colbert = None if vectors.colbert is None else vectors.colbert.dim
    _check_dims(name, collection.schema, dense, colbert, "the documents have")


def storage_differences(existing: Collection, wanted: ColbertStorage | None) -> list[str]:
    """Return how a collection keeps token vectors, if not as wanted.

    Args:
        existing: The collection. One that does not record it keeps the vectors themselves.
        wanted: What it should be; None for any.
    """
    if existing.schema.colbert is None or wanted in (None, existing.colbert):
        return []
    if existing.colbert is None and not (wanted and wanted.reduces):
        return []
    recorded = "they are" if existing.colbert is None else f"{str(existing.colbert)!r}"
    return [f"it keeps token vectors as {recorded}, expected {str(wanted)!r}"]


def check_storage(name: str, existing: Collection, wanted: ColbertStorage | None) -> None:
    """Check that a collection keeps token vectors as wanted.

    Raises:
        SchemaMismatchError: If it does not.
    """
    for problem in storage_differences(existing, wanted):
        raise SchemaMismatchError(
            f"collection {name!r}: {problem}; leave it out, or copy to a new collection"
        )


def check_mode(name: str, schema: Schema, mode: Mode) -> None:
    """Check that a collection can be searched in a mode.

    Args:
        name: The collection, for messages.
        schema: Which vectors it holds.
        mode: The mode.

    Raises:
        InvalidVectorsError: If it lacks the part of the mode.
    """
    if mode not in ("hybrid", "rrf", *schema.parts):
        raise InvalidVectorsError(f"mode {mode!r}: collection {name!r} lacks this part")


def check_query(name: str, schema: Schema, query: Vector, search: Search) -> Vector:
    """Return a query with only the parts that the collection holds; its weights may be none.

    Args:
        name: The collection, for messages.
        schema: Which vectors it holds.
        query: The encoded question.
        search: How it is searched.

    Raises:
        InvalidVectorsError: If the query is no `Vector`, it or the collection lacks the part of
            the mode or every part with a weight above 0, or the dimensions differ.
    """
    expect_vector(query, "query")
    check_mode(name, schema, search.mode)
    if search.mode not in ("hybrid", "rrf") and getattr(query, search.mode) is None:
        raise InvalidVectorsError(f"mode {search.mode!r}: the query lacks this part")
    if search.mode == "hybrid":
        _check_weights(name, schema, query, search.weights)
    dense = None if schema.dense is None else query.dense
    colbert = None if schema.colbert is None else query.colbert
    sparse = (query.sparse if schema.sparse else None) or {}
    dense_dim = None if dense is None else dense.shape[0]
    colbert_dim = None if colbert is None else colbert.shape[1]
    _check_dims(name, schema, dense_dim, colbert_dim, "the query has")
    if dense is query.dense and sparse is query.sparse and colbert is query.colbert:
        return query
    return Vector(dense, sparse, colbert)


def _check_weights(name: str, schema: Schema, query: Vector, weights: Weights) -> None:
    """Raise `InvalidVectorsError` if the weights leave no part of the query and the collection."""
    weighted = [part for part in PARTS if getattr(weights, part) > 0]
    held = [part for part in schema.parts if getattr(query, part) is not None]
    if held and not set(weighted) & set(held):
        raise InvalidVectorsError(
            f"mode 'hybrid': only {' and '.join(weighted)} has a weight above 0; the query and the "
            f"collection {name!r} both hold {' and '.join(held)} vectors alone"
        )


def check_vectors(vectors: Vectors) -> None:
    """Raise `InvalidVectorsError` for an argument that is no `Vectors`."""
    expect(
        vectors,
        Vectors,
        "vectors",
        "Vectors, such as encoder.encode_documents(texts)",
        error=InvalidVectorsError,
    )


def _check_dims(
    name: str, schema: Schema, dense: int | None, colbert: int | None, whose: str
) -> None:
    for part, got, expected in (
        ("dense", dense, schema.dense),
        ("ColBERT", colbert, schema.colbert),
    ):
        if got is not None and got != expected:
            raise InvalidVectorsError(
                f"{whose} {part} vectors of dimension {got}; "
                f"collection {name!r} holds {expected or 'none'}"
            )
