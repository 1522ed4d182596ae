"""Documents and vectors as points and payloads, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from trivec.collection import Page
from trivec.document import Document, metadata_json
from trivec.errors import InvalidDocumentError, InvalidVectorsError, StoreError
from trivec.fields import values_of
from trivec.filters import parse_datetime
from trivec.plain import Json
from trivec.rows import SparseRows, TokenRows
from trivec.schema import Schema
from trivec.search import Part
from trivec.vectors import Vector, Vectors
from trivec_qdrant.schema import INSTANTS, Names

NAMESPACE = uuid5(NAMESPACE_URL, "https://pypi.org/project/trivec")
"""The namespace of point ids; changing it would orphan every stored point."""

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PointVectors:
    """The vectors of one point; None where the document lacks a part.

    Args:
        dense: float32 (dimension,).
        indices: uint32 (n,), ascending vocabulary ids.
        weights: float32 (n,), those of `indices`.
        colbert: float32 (tokens, dimension).
    """

    dense: NDArray[np.float32] | None = None
    indices: NDArray[np.uint32] | None = None
    weights: NDArray[np.float32] | None = None
    colbert: NDArray[np.float32] | None = None

    @property
    def numbers(self) -> int:
        """How many numbers they have."""
        arrays = (self.dense, self.indices, self.weights, self.colbert)
        return sum(array.size for array in arrays if array is not None)


@dataclass(frozen=True, slots=True)
class Row:
    """A point that was read."""

    id: str
    payload: Mapping[str, Any]
    vectors: PointVectors


def point_id(document_id: str, names: Names) -> str | int:
    """Return the id of a document's point: the same each time, so that writing again replaces.

    Args:
        document_id: Any document id; if `names.id` is "", a UUID or an integer.
        names: What the payload keys are called.

    Raises:
        InvalidDocumentError: If the id must be a UUID or an integer, and is neither.

    Example:
        >>> point_id("a-1", Names())
        '8f4a1cd0-5395-56a9-8185-65374fd10814'
    """
    if names.id:
        return str(uuid5(NAMESPACE, document_id))
    if document_id.isascii() and document_id.isdigit() and int(document_id) < 2**64:
        return int(document_id)
    try:
        return str(UUID(document_id))
    except ValueError as error:
        raise InvalidDocumentError(
            f"document {document_id!r}: with names.id='' an id must be a UUID or an integer from 0 "
            "to 2**64 - 1"
        ) from error


def payload(document: Document, names: Names) -> Payload:
    """Return the payload of a document's point.

    Raises:
        InvalidDocumentError: If metadata beside the text has the key of the text.

    Example:
        >>> payload(Document("a", "text", {"lang": "en"}), Names())
        {'id': 'a', 'text': 'text', 'trivec_instants': {}, 'metadata': {'lang': 'en'}}
    """
    own: Payload = {names.id: document.id} if names.id else {}
    own[names.text] = document.text
    moments = instants(document.metadata)
    if moments or names.metadata:  # another program's layout gets the key only where needed
        own[INSTANTS] = moments
    # Mappings and sequences of other classes become dicts and lists.
    metadata = json.loads(metadata_json(document.metadata))
    if names.metadata:
        return {**own, names.metadata: metadata}
    if taken := {*own, INSTANTS} & metadata.keys():
        raise InvalidDocumentError(
            f"document {document.id!r}: the metadata keys {sorted(taken)} are taken by the id, "
            "the text and trivec; set names.metadata to keep the metadata apart"
        )
    return {**metadata, **own}


def instants(metadata: Mapping[str, Json]) -> Payload:
    """Return the instants of metadata in UTC, in lists under the same keys.

    >>> instants({"day": "2026-01-31", "author": {"born": ["1970-01-01T00:00+0100", "?"], "no": 1}})
    {'day': ['2026-01-31T00:00:00+00:00'], 'author': {'born': ['1969-12-31T23:00:00+00:00']}}
    """
    written: Payload = {}
    for name, value in metadata.items():
        if isinstance(value, Mapping):
            inner: Any = instants(value)
        else:
            moments = (parse_datetime(text) for text in values_of(value) if isinstance(text, str))
            inner = [moment.isoformat() for moment in moments if moment is not None]
        if inner:
            written[name] = inner
    return written


def stored_id(text: str) -> str | int:
    """Return the id of a point that was read as text.

    >>> stored_id("7")
    7
    """
    return int(text) if text.isdigit() else text


def document_id(row: Row, names: Names) -> str:
    """Return the id of the document that a point holds."""
    stored = row.payload.get(names.id) if names.id else None
    return row.id if stored is None else str(stored)


def document(row: Row, names: Names) -> Document:
    """Return the document of a point; a text or metadata that it lacks are empty."""
    stored = row.payload
    text = stored.get(names.text)
    if names.metadata:
        metadata = stored.get(names.metadata) or {}
    else:
        own = (names.id, names.text, INSTANTS)
        metadata = {k: v for k, v in stored.items() if k not in own}
    return Document(document_id(row, names), "" if text is None else str(text), metadata)


def point_vectors(vectors: Vectors) -> Iterator[PointVectors]:
    """Yield each row; a dense row of zeros and rows without values become None."""
    dense = None if vectors.dense is None else np.ascontiguousarray(vectors.dense, np.float32)
    present = set() if dense is None else set(np.flatnonzero(dense.any(axis=-1)).tolist())
    sparse = vectors.sparse
    tokens = vectors.colbert
    for i in range(len(vectors)):
        indices = weights = colbert = None
        if sparse is not None and sparse.indptr[i] < sparse.indptr[i + 1]:
            row = slice(sparse.indptr[i], sparse.indptr[i + 1])
            indices = sparse.indices[row]
            weights = sparse.values[row].astype(np.float32, copy=False)
        if tokens is not None and tokens.indptr[i] < tokens.indptr[i + 1]:
            colbert = tokens.row(i).astype(np.float32, copy=False)
        yield PointVectors(
            dense=dense[i] if dense is not None and i in present else None,
            indices=indices,
            weights=weights,
            colbert=colbert,
        )


def read_row(point: Any, names: Names) -> Row:  # noqa: ANN401 - records and hits of two clients
    """Return a point as a client returns it, with `id`, `payload` and `vector`."""
    return Row(str(point.id), point.payload or {}, read_vectors(point.vector, names))


def read_vectors(stored: object, names: Names) -> PointVectors:
    """Return the vectors of a point as a client returns them: by name, or the unnamed one."""
    if stored is None:
        return PointVectors()
    named: Mapping[str, Any] = stored if isinstance(stored, Mapping) else {"": stored}
    dense, colbert = named.get(names.dense), named.get(names.colbert)
    sparse = named.get(names.sparse)
    return PointVectors(
        dense=None if dense is None else np.asarray(dense, np.float32),
        indices=None if sparse is None else np.asarray(sparse.indices, np.uint32),
        weights=None if sparse is None else np.asarray(sparse.values, np.float32),
        colbert=None if colbert is None else np.asarray(colbert, np.float32),
    )


def query_part(query: Vector, part: Part) -> PointVectors:
    """Return one part of a question as the vectors of a point."""
    if part == "dense":
        return PointVectors(dense=np.asarray(query.dense, np.float32))
    if part == "colbert":
        return PointVectors(colbert=np.asarray(query.colbert, np.float32))
    row = SparseRows.from_dicts([query.sparse or {}])
    return PointVectors(indices=row.indices, weights=row.values.astype(np.float32, copy=False))


def page(rows: Sequence[Row], names: Names, schema: Schema | None) -> Page:
    """Return points as documents, with the vectors of `schema`, or without if it is None."""
    documents = [document(row, names) for row in rows]
    return Page(documents, None if schema is None else columns([r.vectors for r in rows], schema))


def columns(rows: Sequence[PointVectors], schema: Schema) -> Vectors:
    """Return the vectors of points as columns.

    Raises:
        StoreError: If a point has other dimensions than the collection, or malformed vectors.
    """
    try:
        return _columns(rows, schema)
    except (InvalidVectorsError, ValueError, IndexError) as error:
        raise StoreError(f"the database returned malformed vectors: {error}") from error


def _columns(rows: Sequence[PointVectors], schema: Schema) -> Vectors:
    dense = sparse = colbert = None
    if schema.dense is not None:
        dense = np.zeros((len(rows), schema.dense), np.float32)
        for i, row in enumerate(rows):
            if row.dense is not None:
                if row.dense.shape != (schema.dense,):
                    raise ValueError(f"{row.dense.shape} numbers, expected {schema.dense}")
                dense[i] = row.dense
    if schema.sparse:
        sparse = _sparse_columns(rows)
    if schema.colbert is not None:
        none = np.zeros((0, schema.colbert), np.float32)
        for row in rows:
            if row.colbert is not None and row.colbert.shape[1:] != (schema.colbert,):
                raise ValueError(
                    f"{row.colbert.shape} numbers of tokens, not {schema.colbert} each"
                )
        colbert = TokenRows.from_arrays(
            [none if row.colbert is None else row.colbert for row in rows], dim=schema.colbert
        )
    return Vectors(dense=dense, sparse=sparse, colbert=colbert)


def _sparse_columns(rows: Sequence[PointVectors]) -> SparseRows:
    for row in rows:
        arrays = (row.indices, row.weights)
        if len({None if array is None else array.shape for array in arrays}) > 1:
            raise ValueError("lexical weights without an index each")
    indices = _join((row.indices for row in rows), np.uint32)
    weights = _join((row.weights for row in rows), np.float32)
    lengths = [0 if row.indices is None else len(row.indices) for row in rows]
    owner = np.repeat(np.arange(len(rows)), lengths)
    # Other programs write indices in any order, and zeros, which match nothing.
    order = np.lexsort((indices, owner))
    order = order[weights[order] > 0]
    counts = np.bincount(owner[order], minlength=len(rows))
    return SparseRows(np.concatenate([[0], np.cumsum(counts)]), indices[order], weights[order])


def _join(parts: Iterable[NDArray[Any] | None], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *(part for part in parts if part is not None)])
