"""Documents, vectors and the description as Vespa gives them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trivec.collection import Collection, Page
from trivec.document import Document
from trivec.fields import FieldType
from trivec.rows import Float, SparseRows, TokenRows
from trivec.schema import Schema
from trivec.vectors import Vectors
from trivec_vespa.replies import Fields, finite, json_of, reading

__all__ = ["document_from", "from_hex", "read_description", "read_page"]


def document_from(fields: Fields) -> Document:
    """Return the document of a hit or of a stored document; empty strings are left out there.

    Raises:
        StoreError: If it is no document of trivec's.
    """
    with reading(f"the document {str(fields.get('id'))[:300]!r}"):
        metadata = fields.get("metadata")
        told: Any = json_of("{}" if metadata in (None, "") else metadata)
        return Document(fields["id"], fields.get("text", ""), told)


def read_page(stored: Sequence[Fields], schema: Schema, *, with_vectors: bool) -> Page:
    """Return stored documents, read as `format.tensors=hex`, with their vectors.

    Args:
        stored: The fields of each document.
        schema: Which vectors there are.
        with_vectors: Whether they were read.

    Raises:
        StoreError: If one of them is no document of trivec's, or has other vectors.
    """
    documents = [document_from(fields) for fields in stored]
    if not with_vectors:
        return Page(documents, None)
    dense = np.zeros((len(stored), schema.dense or 0), np.float32)
    weights: list[dict[int, float]] = []
    tokens: list[Float] = []
    for row, fields in enumerate(stored):
        with reading(f"the document {documents[row].id!r}"):
            if schema.dense is not None and "dense_rep" in fields:
                dense[row] = _rows([fields["dense_rep"]["values"]], schema.dense)[0]
            if schema.sparse:
                weights.append(_weights(fields["lexical_rep"]) if "lexical_rep" in fields else {})
            if schema.colbert is not None:
                blocks = fields["colbert_rep"]["blocks"] if "colbert_rep" in fields else {}
                ordered = [blocks[label] for label in sorted(blocks, key=int)]
                tokens.append(_rows(ordered, schema.colbert))
    vectors = Vectors(
        dense=None if schema.dense is None else dense,
        sparse=SparseRows.from_dicts(weights) if schema.sparse else None,
        colbert=None
        if schema.colbert is None
        else TokenRows.from_arrays(tokens, dim=schema.colbert),
    )
    return Page(documents, vectors)


def _rows(texts: Sequence[object], dim: int) -> Float:
    """Return vectors out of the hex of each, float32 (n, dim); they are of that length, and finite.

    Raises:
        ValueError: If one is not.
    """
    for text in texts:
        if not isinstance(text, str) or len(text) != 4 * dim:
            told = f"{len(text)} digits" if isinstance(text, str) else f"a {type(text).__name__}"
            raise ValueError(
                f"a vector of {dim} bfloat16 takes {4 * dim} digits of hex, got {told}"
            )
    rows = from_hex("".join(map(str, texts))).reshape(len(texts), dim)
    if not np.isfinite(rows).all():
        raise ValueError("a vector holds a number that is not finite")
    return rows


def _weights(tensor: Mapping[str, Any]) -> dict[int, float]:
    """Return lexical weights by vocabulary id, which one of another kind would not pass."""
    weights = {int(label): finite(weight) for label, weight in tensor["cells"].items()}
    SparseRows.from_dicts([weights])
    return weights


def read_description(fields: Fields) -> tuple[Collection, bool]:
    """Return the collection that `describe` wrote, and whether it stores signs."""
    about: Any = json_of(fields["metadata"])
    schema = Schema(
        dense=about["dense"], sparse=about["sparse"], colbert=about["colbert"], model=about["model"]
    )
    kinds = {path: FieldType(kind) for path, kind in about["fields"].items()}
    binary = about["binary_colbert"]
    if not isinstance(binary, bool):
        raise TypeError(f"binary_colbert is {binary!r:.100}")
    return Collection(schema, kinds), binary


def from_hex(text: str) -> Float:
    """Return the float32 values of bfloat16 hex, four digits each."""
    bits = np.frombuffer(bytes.fromhex(text), ">u2").astype(np.uint32) << 16
    return bits.view(np.float32)
