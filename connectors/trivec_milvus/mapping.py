"""Documents and vectors to rows of Milvus and back, without a client."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivec.document import PRIVATE_KEY, Document, metadata_json, public_metadata
from trivec.errors import InvalidDocumentError, InvalidVectorsError, StoreError
from trivec.filters import metadata_values
from trivec.rows import SparseRows, TokenRows, Tokens
from trivec.vectors import Vectors
from trivec_milvus.schema import MAX_JSON_BYTES, MAX_VARCHAR_BYTES, TOKEN, FilterColumn, Layout
from trivec_milvus.terms import kind_of_field, metadata_terms, terms

__all__ = [
    "EMPTY_SPARSE",
    "check_rows",
    "document",
    "pack_tokens",
    "row_bytes",
    "rows",
    "sparse_query",
    "split_rows",
    "unpack_tokens",
    "vectors_of",
]

Row = dict[str, Any]

# Servers refuse a sparse vector without a weight ("empty sparse float vector row"), and milvus-lite
# too. This index is the last that they accept; no vocabulary reaches it.
SENTINEL = 2**32 - 2
EMPTY_SPARSE = {SENTINEL: 1e-6}

_NO_TOKENS = np.zeros((0, 1), np.float32)

# The most bytes whose base64 form fits one string: 4 characters for every 3 bytes.
_CHUNK_BYTES = MAX_VARCHAR_BYTES // 4 * 3


def rows(documents: Sequence[Document], vectors: Vectors, layout: Layout) -> list[Row]:
    """Return what Milvus stores of these documents.

    Raises:
        InvalidDocumentError: If one does not fit; the message names it.
        InvalidVectorsError: If a sparse row uses the one index that is reserved here.
    """
    made, columns = [], layout.columns
    for i, one in enumerate(documents):
        row = _document_row(one, layout, columns)
        _add_vectors(row, one.id, vectors, i, layout)
        made.append(row)
    return made


def check_rows(documents: Sequence[Document], vectors: Vectors, layout: Layout) -> None:
    """Raise what `rows` would raise, so that no document is written if one of them is at fault."""
    columns = layout.columns
    for i, one in enumerate(documents):
        _document_row(one, layout, columns)
        _sparse_row(one.id, vectors, i)


def document(row: Mapping[str, Any], layout: Layout) -> Document:
    """Return the document of a row that holds its id, text and metadata."""
    names = layout.names
    text = row[names.text] + "".join(row[names.text_more])
    metadata = row[names.metadata]
    if layout.private and row[names.private]:
        metadata = {**metadata, PRIVATE_KEY: json.loads("".join(row[names.private]))}
    return Document(row[names.id], text, metadata)


def vectors_of(
    found: Sequence[Mapping[str, Any]], layout: Layout, parts: Sequence[str] | None = None
) -> Vectors:
    """Return the vectors of rows.

    Args:
        found: Rows that hold the fields of these parts.
        layout: The layout of the collection.
        parts: Which parts to return; all that the collection holds by default.
    """
    names, schema = layout.names, layout.schema
    wanted = [part for part in schema.parts if parts is None or part in parts]
    dense = sparse = colbert = None
    if "dense" in wanted:
        dense = np.array([row[names.dense] for row in found], np.float32)
        dense = dense.reshape(len(found), schema.dense or 0)
    if "sparse" in wanted:
        sparse = SparseRows.from_dicts([_weights(row[names.sparse]) for row in found])
    if "colbert" in wanted:
        tokens = [_tokens(row[names.colbert], layout) for row in found]
        colbert = TokenRows.from_arrays(tokens, dim=schema.colbert)
    return Vectors(dense=dense, sparse=sparse, colbert=colbert)


def row_bytes(vectors: Vectors, layout: Layout) -> NDArray[np.int64]:
    """Return the bytes of each row of vectors in a request, int64 (n,)."""
    total = np.zeros(len(vectors), np.int64)
    if vectors.dense is not None:
        total += vectors.dense.shape[1] * 4
    if vectors.sparse is not None:
        total += np.diff(vectors.sparse.indptr) * 8
    if vectors.colbert is not None:
        per_value = 4.0 if layout.native and not layout.half else 2.0 if layout.half else 8 / 3
        total += np.ceil(np.diff(vectors.colbert.indptr) * vectors.colbert.dim * per_value).astype(
            np.int64
        )
    return total


def sparse_query(weights: Mapping[int, float] | None) -> dict[int, float]:
    """Return the lexical weights of a query without the reserved index, which would find nothing.

    >>> sparse_query({7: 0.5, 2**32 - 2: 1.0})
    {7: 0.5}
    """
    return {index: weight for index, weight in (weights or {}).items() if index != SENTINEL}


def pack_tokens(tokens: Tokens) -> list[str]:
    """Return token vectors as strings: a header, then float16 values in base64.

    Args:
        tokens: (t, dimension).

    Returns:
        Nothing for no token; else "float16 t dimension" and strings of at most 65,535 bytes
        that hold whole vectors.

    Example:
        >>> packed = pack_tokens(np.eye(2, 4))
        >>> packed[0], unpack_tokens(packed).dtype.name, unpack_tokens(packed).shape
        ('float16 2 4', 'float16', (2, 4))
    """
    if not len(tokens):
        return []
    values = np.ascontiguousarray(tokens, np.float16)
    step = max(1, _CHUNK_BYTES // (values.shape[1] * values.itemsize))
    return [
        f"float16 {values.shape[0]} {values.shape[1]}",
        *(
            base64.b64encode(values[start : start + step].data).decode("ascii")
            for start in range(0, len(values), step)
        ),
    ]


def unpack_tokens(packed: Sequence[str]) -> Tokens:
    """Return what `pack_tokens` packed, float16 (t, dimension)."""
    kind, count, dim = packed[0].split()
    if kind != "float16":
        raise StoreError(f"ColBERT vectors of the unknown kind {kind!r}; a newer trivec wrote them")
    data = b"".join(map(base64.b64decode, packed[1:]))
    return np.frombuffer(data, np.float16).reshape(int(count), int(dim))


def _document_row(one: Document, layout: Layout, columns: Mapping[str, FilterColumn]) -> Row:
    names = layout.names
    text, *more = _pieces(one.text)
    row: Row = {names.id: one.id, names.text: text, names.text_more: more}
    row.update(_metadata_fields(one, layout))
    for path, column in columns.items():
        row.update(_column_values(one, path, column))
    found = metadata_terms(_filterable(one.metadata), layout.collection.fields)
    size = len(metadata_json(found).encode())
    if size > MAX_JSON_BYTES:
        raise InvalidDocumentError(
            f"document {one.id!r}: filters on its metadata need {size:,} bytes of JSON, and Milvus "
            f"holds {MAX_JSON_BYTES:,}; declare its long fields in `fields` of create, or store "
            "less"
        )
    return row | found


def _metadata_fields(one: Document, layout: Layout) -> Row:
    """Return the user's metadata, and apart from it what programs keep, which may be longer."""
    names, metadata = layout.names, one.metadata
    if layout.private:
        kept = _pieces(metadata_json(metadata[PRIVATE_KEY])) if PRIVATE_KEY in metadata else []
        return {names.metadata: public_metadata(one), names.private: kept}
    if one.metadata_bytes > MAX_JSON_BYTES:
        raise InvalidDocumentError(
            f"document {one.id!r}: its metadata takes {one.metadata_bytes:,} bytes with what "
            f"programs over the store keep under {PRIVATE_KEY!r} (LlamaIndex: the rest of a node), "
            f"and Milvus holds at most {MAX_JSON_BYTES:,} bytes of both in this collection, which "
            "an older trivec made; copy it into a new collection, which holds them apart"
        )
    return {names.metadata: metadata}


def _filterable(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the metadata without the objects of programs, which take room and no filter names."""
    private = metadata.get(PRIVATE_KEY)
    if not isinstance(private, Mapping):
        return metadata
    scalars = {name: value for name, value in private.items() if not isinstance(value, Mapping)}
    return {**metadata, PRIVATE_KEY: scalars}


def _column_values(one: Document, path: str, column: FilterColumn) -> Iterator[tuple[str, str]]:
    values, kind = metadata_values(one.metadata, path), kind_of_field(column.field)
    for name, descending in zip(column.names, (False, True), strict=False):
        value = terms(values, kind, descending=descending)
        size = len(value.encode())
        if size > MAX_VARCHAR_BYTES:
            raise InvalidDocumentError(
                f"document {one.id!r}: metadata field {path!r} takes {size} bytes in its field "
                f"{name!r}, Milvus holds {MAX_VARCHAR_BYTES}; shorten it or do not declare it"
            )
        yield name, value


def _add_vectors(row: Row, one: str, vectors: Vectors, i: int, layout: Layout) -> None:
    names, schema = layout.names, layout.schema
    if schema.dense is not None:
        dense = np.zeros(schema.dense, np.float32) if vectors.dense is None else vectors.dense[i]
        row[names.dense] = dense
        row[names.has_dense] = bool(dense.any())
    if schema.sparse:
        row[names.sparse] = _sparse_row(one, vectors, i) or EMPTY_SPARSE
    if schema.colbert is not None:
        kind = np.float16 if layout.half else np.float32
        tokens = _NO_TOKENS if vectors.colbert is None else vectors.colbert.row(i)
        row[names.tokens] = len(tokens)
        row[names.colbert] = (
            [{TOKEN: vector} for vector in tokens.astype(kind, copy=False)]
            if layout.native
            else pack_tokens(tokens)
        )


def _sparse_row(one: str, vectors: Vectors, i: int) -> Mapping[int, float]:
    weights = {} if vectors.sparse is None else vectors.sparse.row(i)
    if SENTINEL in weights:
        raise InvalidVectorsError(
            f"document {one!r}: the sparse index {SENTINEL} is reserved in Milvus for "
            "documents without weights"
        )
    return weights


def _pieces(text: str) -> list[str]:
    """Split a text into strings of at most 65,535 bytes of UTF-8; one at least."""
    data = text.encode()
    if len(data) <= MAX_VARCHAR_BYTES:
        return [text]
    pieces = []
    while data:
        end = MAX_VARCHAR_BYTES
        while end < len(data) and data[end] & 0xC0 == 0x80:  # inside of a character
            end -= 1
        pieces.append(data[:end].decode())
        data = data[end:]
    return pieces


def _weights(stored: Mapping[int, float]) -> Mapping[int, float]:
    return {} if SENTINEL in stored else stored


def _tokens(stored: Sequence[Any], layout: Layout) -> Tokens:
    kind = np.float32 if layout.native and not layout.half else np.float16
    if not stored:
        return np.zeros((0, layout.schema.colbert or 0), kind)
    return (
        np.array([token[TOKEN] for token in stored], kind)
        if layout.native
        else unpack_tokens(stored)
    )


def split_rows(sizes: Mapping[str, int], limit: int) -> Iterator[list[str]]:
    """Yield the keys in runs whose sizes sum to at most `limit`; a larger one stands alone.

    >>> list(split_rows({"a": 5, "b": 5, "c": 9}, 10))
    [['a', 'b'], ['c']]
    """
    run: list[str] = []
    total = 0
    for name, size in sizes.items():
        if run and total + size > limit:
            yield run
            run, total = [], 0
        run.append(name)
        total += size
    if run:
        yield run
