"""Documents and vectors as Vespa's JSON, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from trivec.colbert_storage import ColbertStorage
from trivec.collection import Collection, Page
from trivec.document import Document, metadata_json
from trivec.errors import InvalidDocumentError, SchemaMismatchError
from trivec.fields import FieldType
from trivec.filters import metadata_values, parse_datetime
from trivec.rows import Float, SparseRows, TokenRows
from trivec.schema import Schema
from trivec.vectors import Vectors
from trivec_vespa.hexadecimal import bfloat16_hex, bfloat16_rows
from trivec_vespa.replies import Fields, finite, json_of, reading
from trivec_vespa.schema import SPARSE_SCALE, attribute_name
from trivec_vespa.token_layout import TokenLayout

PART_DENSE, PART_SPARSE, PART_COLBERT = 1, 2, 4
"""The bits of the attribute `parts`."""

TextErrors = Literal["error", "replace"]
"""The policy for texts with characters that Vespa refuses: "error" refuses the text, "replace" puts
U+FFFD in their place."""

# com.yahoo.text.Text: control characters except tab, line feed and carriage return, and the
# code points that Unicode reserves.
_REFUSED = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\ufdd0-\ufddf"
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)
_DOTS = re.compile(r"\.{1,2}~*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# --- numbers -----------------------------------------------------------------------------------


def signed_ids(indices: NDArray[np.uint32]) -> NDArray[np.int32]:
    """Return vocabulary ids as the int32 keys of a weighted set; from 2**31 they are negative."""
    return indices.view(np.int32)


def wand_weights(values: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return lexical weights as the integers of `wand`, at least 1 so that none is lost."""
    scaled = np.rint(values.astype(np.float64) * SPARSE_SCALE)
    return np.clip(scaled, 1, 2**31 - 1).astype(np.int64)


def microseconds(moment: datetime) -> int:
    """Return an instant as microseconds since 1970.

    >>> microseconds(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


# --- documents ---------------------------------------------------------------------------------


def document_path(name: str, id: str) -> str:
    """Return the path of a document in `/document/v1`.

    Servers remove the path segments "." and "..", encoded or not, so these two ids get a "~".

    >>> document_path("articles", "a/b?")
    '/document/v1/articles/articles/docid/a%2Fb%3F'
    """
    return f"/document/v1/{name}/{name}/docid/{quote(document_key(id), safe='')}"


def document_key(id: str) -> str:
    """Return the last part of the id that a document has in Vespa."""
    return id + "~" if _DOTS.fullmatch(id) else id


def refused_text(text: str) -> str | None:
    """Return the first character that Vespa refuses in a string, as U+ and its number."""
    match = _REFUSED.search(text)
    return None if match is None else f"U+{ord(match[0]):04X}"


def cleaned_text(text: str) -> str:
    """Return a text with U+FFFD instead of each character that Vespa refuses."""
    return _REFUSED.sub("\ufffd", text)


def storable_ids(ids: Iterable[str]) -> list[str]:
    """Return the ids that a document can have; Vespa answers 400 to a request for any other."""
    return [id for id in ids if refused_text(id) is None]


def check_text(
    document: Document, fields: Mapping[str, FieldType], text_errors: TextErrors
) -> None:
    """Check that Vespa takes a document's strings."""
    strings = {"id": document.id}
    if text_errors == "error":
        strings["text"] = document.text
    for path, type_ in fields.items():
        if type_.item is FieldType.STR:
            strings[f"field {path!r}"] = "".join(map(str, metadata_values(document.metadata, path)))
    for what, value in strings.items():
        bad = refused_text(value)
        if bad is not None:
            advice = "remove it" + (", or set text_errors='replace'" if what == "text" else "")
            raise InvalidDocumentError(
                f"document {document.id!r}: its {what} holds {bad}, which Vespa refuses; {advice}"
            )


def check_numbers(document: Document, fields: Mapping[str, FieldType]) -> None:
    """Refuse integers in fields declared float that are no float64.

    Vespa would round them, and filters could not tell them from their neighbours.
    """
    for path, type_ in fields.items():
        if type_ is FieldType.FLOAT:
            for value in metadata_values(document.metadata, path):
                if isinstance(value, int) and int(float(value)) != value:
                    raise InvalidDocumentError(
                        f"document {document.id!r}: field {path!r} is declared float, and Vespa "
                        f"would round {value} to {int(float(value))}; declare the field int"
                    )


def feed_fields(
    document: Document, vectors: Vectors, row: int, collection: Collection
) -> dict[str, object]:
    """Return a document's fields as Vespa's feed takes them.

    Tensors are hex, which Vespa reads 20 times as fast as numbers: 2.2 instead of 46.6 ms for
    200 x 1,024 values.
    """
    present: list[str] = []
    fields: dict[str, object] = {
        "id": document.id,
        "text": cleaned_text(document.text),
        "metadata": _REFUSED.sub(
            lambda match: json.dumps(match[0])[1:-1], metadata_json(document.metadata)
        ),
        "present": present,
    }
    for path, type_ in collection.fields.items():
        values = metadata_values(document.metadata, path)
        if values:
            present.append(path)
            if "" in values:  # no query can ask for an empty string
                present.append(path + "=")
            fields[attribute_name(path)] = _attribute(values, type_)
    parts = 0
    if vectors.dense is not None and vectors.dense[row].any():
        parts |= PART_DENSE
        fields["dense_rep"] = {"values": bfloat16_hex(vectors.dense[row])}
    if vectors.sparse is not None:
        start, stop = vectors.sparse.indptr[row], vectors.sparse.indptr[row + 1]
        if stop > start:
            parts |= PART_SPARSE
            indices, weights = vectors.sparse.indices[start:stop], vectors.sparse.values[start:stop]
            fields["lexical_rep"] = _cells(indices, weights)
            fields["lexical_ws"] = _cells(signed_ids(indices), wand_weights(weights))
    layout = TokenLayout.of(collection.schema, collection.colbert)
    if vectors.colbert is not None and layout is not None:
        tokens = vectors.colbert.row(row)
        if len(tokens):
            parts |= PART_COLBERT
            fields |= layout.feed(tokens)
    fields["parts"] = parts
    return fields


def _attribute(values: Sequence[Any], type_: FieldType) -> object:
    if type_ is FieldType.DATETIME:
        moment = parse_datetime(values[0])
        return None if moment is None else microseconds(moment)
    return list(values) if type_.is_list else values[0]


def _cells(labels: NDArray[np.integer], values: NDArray[Any]) -> dict[str, object]:
    return dict(zip(map(str, labels.tolist()), values.tolist(), strict=True))


# --- stored documents ----------------------------------------------------------------------------


def document_from(fields: Fields) -> Document:
    """Return the document of a hit or of a stored document; Vespa leaves empty strings out."""
    with reading(f"the document {str(fields.get('id'))[:300]!r}"):
        metadata = fields.get("metadata")
        parsed: Any = json_of("{}" if metadata in (None, "") else metadata)
        return Document(fields["id"], fields.get("text", ""), parsed)


def read_page(stored: Sequence[Fields], collection: Collection, *, with_vectors: bool) -> Page:
    """Return stored documents, read as `format.tensors=hex`, with their vectors."""
    schema, layout = collection.schema, TokenLayout.of(collection.schema, collection.colbert)
    documents = [document_from(fields) for fields in stored]
    if not with_vectors:
        return Page(documents, None)
    dense = np.zeros((len(stored), schema.dense or 0), np.float32)
    weights: list[dict[int, float]] = []
    tokens: list[Float] = []
    for row, fields in enumerate(stored):
        with reading(f"the document {documents[row].id!r}"):
            if schema.dense is not None and "dense_rep" in fields:
                dense[row] = bfloat16_rows([fields["dense_rep"]["values"]], schema.dense)[0]
            if schema.sparse:
                weights.append(_weights(fields["lexical_rep"]) if "lexical_rep" in fields else {})
            if layout is not None:
                tokens.append(layout.read(fields))
    vectors = Vectors(
        dense=None if schema.dense is None else dense,
        sparse=SparseRows.from_dicts(weights) if schema.sparse else None,
        colbert=None
        if schema.colbert is None
        else TokenRows.from_arrays(tokens, dim=schema.colbert),
    )
    return Page(documents, vectors)


def _weights(tensor: Mapping[str, Any]) -> dict[int, float]:
    """Return lexical weights by vocabulary id, checked."""
    weights = {int(label): finite(weight) for label, weight in tensor["cells"].items()}
    SparseRows.from_dicts([weights])
    return weights


# --- the description of the collection -----------------------------------------------------------


def description_fields(collection: Collection) -> dict[str, object]:
    """Return the fields of the document that describes the collection.

    Vespa has no interface that tells a client what a schema holds. This document is in its own
    namespace and lacks `parts`, so counts leave it out; without vectors no search finds it.
    """
    schema = collection.schema
    about = {
        "dense": schema.dense,
        "sparse": schema.sparse,
        "colbert": schema.colbert,
        "model": schema.model,
        "colbert_storage": str(collection.colbert or ColbertStorage()),
        "fields": collection.fields,
    }
    return {"metadata": json.dumps(about)}


def read_description(fields: Fields) -> Collection:
    """Return the collection from the fields of its description.

    Raises:
        SchemaMismatchError: If it keeps the signs of token vectors beside them, as `bits=1` once
            meant.
        LookupError, TypeError, ValueError: If it is no description.
    """
    about: Any = json_of(fields["metadata"])
    schema = Schema(
        dense=about["dense"], sparse=about["sparse"], colbert=about["colbert"], model=about["model"]
    )
    types = {path: FieldType(type_) for path, type_ in about["fields"].items()}
    if about.get("binary_colbert") is True:
        raise SchemaMismatchError(
            "the collection keeps bfloat16 token vectors and their signs beside them, which this "
            "version does not read; drop() it, create it with colbert='bits=1' and ingest again"
        )
    storage = ColbertStorage.parse(about["colbert_storage"])
    storage.check_dimension(schema.colbert)
    return Collection(schema, types, storage)
