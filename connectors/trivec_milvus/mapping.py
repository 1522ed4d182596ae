"""Documents and vectors as rows of Milvus, and back; without a client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trivec.document import PRIVATE_KEY, Document, metadata_json, public_metadata
from trivec.errors import InvalidDocumentError, InvalidVectorsError, StoreError
from trivec.filters import metadata_values
from trivec.plain import MALFORMED
from trivec.rows import SparseRows, TokenRows, Tokens
from trivec.token_codes import TokenCodes
from trivec.vectors import Vector, Vectors
from trivec_milvus.packing import (
    Codes,
    pack_codes,
    pack_tokens,
    packed_bytes,
    unpack_codes,
    unpack_tokens,
)
from trivec_milvus.schema import MAX_JSON_BYTES, MAX_VARCHAR_BYTES, TOKEN, FilterColumn, Layout
from trivec_milvus.sort_keys import metadata_keys, sort_keys, type_of_field

Row = dict[str, Any]
Stored = TypeVar("Stored")

# Servers and milvus-lite refuse a sparse vector without a weight ("empty sparse float vector row").
# So an empty one is written with this index, the last that they accept; no vocabulary reaches it.
SENTINEL = 2**32 - 2
EMPTY_SPARSE = {SENTINEL: 1e-6}

_NO_TOKENS = np.zeros((0, 1), np.float32)


def rows_of(documents: Sequence[Document], vectors: Vectors, layout: Layout) -> list[Row]:
    """Return the rows of documents with their vectors."""
    rows, columns = [], layout.columns
    token_fields = _token_fields(vectors, layout)
    for i, document in enumerate(documents):
        row = _document_row(document, layout, columns)
        _add_vectors(row, document.id, vectors, i, layout)
        if layout.schema.colbert is not None:
            row.update(token_fields(i))
        rows.append(row)
    return rows


def check_rows(documents: Sequence[Document], vectors: Vectors, layout: Layout) -> None:
    """Raise what `rows_of` would raise, before anything is written."""
    columns = layout.columns
    for i, document in enumerate(documents):
        _document_row(document, layout, columns)
        _sparse_row(document.id, vectors, i)


def document_of(row: Mapping[str, Any], layout: Layout) -> Document:
    """Return the document of a row that holds its id, text and metadata."""
    names = layout.names
    text = row[names.text] + "".join(row[names.text_more])
    metadata = row[names.metadata]
    if layout.private and row[names.private]:
        metadata = {**metadata, PRIVATE_KEY: json.loads("".join(row[names.private]))}
    return Document(row[names.id], text, metadata)


def vectors_of(
    rows: Sequence[Mapping[str, Any]], layout: Layout, parts: Sequence[str] | None = None
) -> Vectors:
    """Return the vectors of rows that hold the fields of these parts, by default of all parts."""
    names, schema = layout.names, layout.schema
    wanted = [part for part in schema.parts if parts is None or part in parts]
    dense = sparse = colbert = None
    if "dense" in wanted:
        dense = np.array([row[names.dense] for row in rows], np.float32)
        dense = dense.reshape(len(rows), schema.dense or 0)
    if "sparse" in wanted:
        sparse = SparseRows.from_dicts([_weights(row[names.sparse]) for row in rows])
    if "colbert" in wanted:
        colbert = token_rows_of(rows, layout)
    return Vectors(dense=dense, sparse=sparse, colbert=colbert)


def token_rows_of(rows: Sequence[Mapping[str, Any]], layout: Layout) -> TokenRows:
    """Return the token vectors of rows that hold this field, decoded if they are codes.

    Raises:
        StoreError: If those of a document cannot be read.
    """
    if layout.code_bits is not None:
        return codes_of(rows, layout).decoded()
    dimension = layout.schema.colbert or 0
    type = np.float16 if layout.half else np.float32

    def read(stored: Sequence[Any]) -> Tokens:
        if not stored:
            return np.zeros((0, dimension), type)
        if layout.native:
            return np.array([token[TOKEN] for token in stored], type)
        return unpack_tokens(stored, dimension)

    return TokenRows.from_arrays(_read_tokens(rows, layout, read), dim=dimension)


def codes_of(rows: Sequence[Mapping[str, Any]], layout: Layout) -> TokenCodes:
    """Return the codes of the token vectors of rows that hold this field.

    Raises:
        StoreError: If those of a document cannot be read.
    """
    bits, dimension = layout.code_bits or 0, layout.schema.colbert or 0
    none = np.zeros((0, dimension * bits // 8), np.uint8), np.zeros(0, np.float16)

    def read(stored: Sequence[Any]) -> Codes:
        return unpack_codes(stored, bits, dimension) if stored else none

    return TokenCodes.from_texts(_read_tokens(rows, layout, read), bits, dimension)


def token_bytes(layout: Layout) -> float:
    """Return the bytes of one token vector in a request or an answer."""
    dimension = layout.schema.colbert or 0
    if layout.native:
        return dimension * (2 if layout.half else 4)
    return packed_bytes(layout.code_bits or 16, dimension)


def row_bytes(vectors: Vectors, layout: Layout) -> NDArray[np.int64]:
    """Return the bytes of each row of vectors in a request, int64 (n,)."""
    total = np.zeros(len(vectors), np.int64)
    if vectors.dense is not None:
        total += vectors.dense.shape[1] * 4
    if vectors.sparse is not None:
        total += np.diff(vectors.sparse.indptr) * 8
    if vectors.colbert is not None:
        lengths = np.diff(vectors.colbert.indptr)
        total += np.ceil(lengths * token_bytes(layout)).astype(np.int64)
    return total


def without_reserved_index(query: Vector) -> Vector:
    """Return a query without a weight of the reserved index, which no document has.

    >>> dict(without_reserved_index(Vector(sparse={7: 0.5, SENTINEL: 1.0})).sparse)
    {7: 0.5}
    """
    if query.sparse is None or SENTINEL not in query.sparse:
        return query
    return replace(query, sparse={i: w for i, w in query.sparse.items() if i != SENTINEL})


def _document_row(document: Document, layout: Layout, columns: Mapping[str, FilterColumn]) -> Row:
    names = layout.names
    text, *more = _pieces(document.text)
    row: Row = {names.id: document.id, names.text: text, names.text_more: more}
    row.update(_metadata_fields(document, layout))
    for path, column in columns.items():
        row.update(_column_values(document, path, column))
    keys = metadata_keys(_filterable(document.metadata), layout.fields)
    size = len(metadata_json(keys).encode())
    if size > MAX_JSON_BYTES:
        raise InvalidDocumentError(
            f"document {document.id!r}: filters on its metadata need {size:,} bytes of JSON, and "
            f"Milvus holds {MAX_JSON_BYTES:,}; declare its long fields in `fields` of create, or "
            "store less"
        )
    return row | keys


def _metadata_fields(document: Document, layout: Layout) -> Row:
    """Return the user's metadata, and that of frameworks, which may be longer."""
    names, metadata = layout.names, document.metadata
    if layout.private:
        private = _pieces(metadata_json(metadata[PRIVATE_KEY])) if PRIVATE_KEY in metadata else []
        return {names.metadata: public_metadata(document), names.private: private}
    if document.metadata_bytes > MAX_JSON_BYTES:
        raise InvalidDocumentError(
            f"document {document.id!r}: its metadata takes {document.metadata_bytes:,} bytes with "
            f"what frameworks keep under {PRIVATE_KEY!r} (LlamaIndex: the rest of a node), "
            f"and Milvus holds at most {MAX_JSON_BYTES:,} bytes of both in this collection, which "
            "an older trivec made; copy it into a new collection, which holds them apart"
        )
    return {names.metadata: metadata}


def _filterable(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the metadata without the objects of frameworks, which are large and not filtered."""
    private = metadata.get(PRIVATE_KEY)
    if not isinstance(private, Mapping):
        return metadata
    scalars = {name: value for name, value in private.items() if not isinstance(value, Mapping)}
    return {**metadata, PRIVATE_KEY: scalars}


def _column_values(
    document: Document, path: str, column: FilterColumn
) -> Iterator[tuple[str, str]]:
    values, type = metadata_values(document.metadata, path), type_of_field(column.field)
    for name, descending in zip(column.names, (False, True), strict=False):
        value = sort_keys(values, type, descending=descending)
        size = len(value.encode())
        if size > MAX_VARCHAR_BYTES:
            raise InvalidDocumentError(
                f"document {document.id!r}: metadata field {path!r} takes {size} bytes in its "
                f"field {name!r}, Milvus holds {MAX_VARCHAR_BYTES}; shorten it or do not declare it"
            )
        yield name, value


def _add_vectors(row: Row, id: str, vectors: Vectors, i: int, layout: Layout) -> None:
    names, schema = layout.names, layout.schema
    if schema.dense is not None:
        dense = np.zeros(schema.dense, np.float32) if vectors.dense is None else vectors.dense[i]
        row[names.dense] = dense
        row[names.has_dense] = bool(dense.any())
    if schema.sparse:
        row[names.sparse] = _sparse_row(id, vectors, i) or EMPTY_SPARSE


def _sparse_row(id: str, vectors: Vectors, i: int) -> Mapping[int, float]:
    weights = {} if vectors.sparse is None else vectors.sparse.row(i)
    if SENTINEL in weights:
        raise InvalidVectorsError(
            f"document {id!r}: the sparse index {SENTINEL} is reserved in Milvus for "
            "documents without weights"
        )
    return weights


def _pieces(text: str) -> list[str]:
    """Split a text into one or more strings of at most 65,535 bytes of UTF-8."""
    data = text.encode()
    if len(data) <= MAX_VARCHAR_BYTES:
        return [text]
    pieces = []
    while data:
        end = MAX_VARCHAR_BYTES
        while end < len(data) and data[end] & 0xC0 == 0x80:  # inside a character
            end -= 1
        pieces.append(data[:end].decode())
        data = data[end:]
    return pieces


def _weights(stored: Mapping[int, float]) -> Mapping[int, float]:
    return {} if SENTINEL in stored else stored


def _token_fields(vectors: Vectors, layout: Layout) -> Callable[[int], Row]:
    """Return what gives the fields of the token vectors of document i."""
    names, tokens, bits = layout.names, vectors.colbert, layout.code_bits
    codes = None if tokens is None or bits is None else TokenCodes.encode(tokens, bits)
    type = np.float16 if layout.half else np.float32

    def fields(i: int) -> Row:
        if codes is not None:
            of_document = codes.row(i)
            packed = pack_codes(of_document, codes.bits)
            return {names.tokens: len(of_document[1]), names.colbert: packed}
        values = _NO_TOKENS if tokens is None else tokens.row(i)
        if layout.native:
            structs = [{TOKEN: vector} for vector in values.astype(type, copy=False)]
            return {names.tokens: len(values), names.colbert: structs}
        return {names.tokens: len(values), names.colbert: pack_tokens(values)}

    return fields


def _read_tokens(
    rows: Sequence[Mapping[str, Any]], layout: Layout, read: Callable[[Sequence[Any]], Stored]
) -> list[Stored]:
    """Read the token vectors of each row."""
    names, of_rows = layout.names, []
    for row in rows:
        try:
            of_rows.append(read(row[names.colbert]))
        except MALFORMED as error:
            raise StoreError(
                f"document {row[names.id]!r}: its ColBERT vectors cannot be read: {error}; write "
                "it again"
            ) from error
    return of_rows
