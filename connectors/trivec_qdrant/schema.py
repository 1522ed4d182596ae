"""What a Qdrant collection is called, holds and costs: names, storage options, its description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from trivec.collection import Collection
from trivec.errors import InvalidFilterError, InvalidOptionError, SchemaMismatchError
from trivec.fields import FieldType
from trivec.filters import split_path
from trivec.schema import Schema
from trivec.search import Part

__all__ = [
    "INSTANTS",
    "MAX_MULTIVECTOR_FLOATS",
    "Description",
    "Names",
    "Precision",
    "Quantization",
    "Storage",
    "VectorColumn",
    "max_colbert_rows",
    "own_metadata",
    "payload_indexes",
    "read_metadata",
]

MAX_MULTIVECTOR_FLOATS = 2**20 - 1
"""The most numbers of one document's token vectors; the server refuses 2**20 (Qdrant,
lib/common/common/src/validation.rs), the embedded engine does not look."""

METADATA = "trivec"  # our entry in a collection's own metadata

INSTANTS = "trivec_instants"
"""The payload key, on every point that trivec writes, of the metadata's instants in UTC: an object
of lists, in the shape of the metadata. Qdrant would read dates with a parser of its own. Where the
metadata lies beside the text, a point without instants has no such key."""

Precision = Literal["float32", "float16", "turbo16", "turbo8", "turbo4"]
"""The numbers of token vectors; the digits are bits per number."""
Quantization = Literal["int8", "binary", "turbo4", "turbo2", "turbo1"]
"""The numbers of a compressed copy of dense vectors; "binary" and "turbo1" take one bit each."""

_INDEXES = {
    "keyword": FieldType.STR,
    "integer": FieldType.INT,
    "float": FieldType.FLOAT,
    "bool": FieldType.BOOL,
    "datetime": FieldType.DATETIME,
}
_LISTS = {FieldType.STR: FieldType.LIST_STR, FieldType.INT: FieldType.LIST_INT}
INDEX_OF: Mapping[FieldType, str] = {kind: name for name, kind in _INDEXES.items()}
"""The payload index of a field, by the type of one value."""


@dataclass(frozen=True, slots=True)
class Names:
    """What vectors and payload keys are called, to fit a collection that is there already.

    Args:
        dense: The dense vector; "" is Qdrant's unnamed vector.
        sparse: The lexical weights.
        colbert: The token vectors.
        id: The payload key of the document's id; "" where the point's own id, a UUID or an
            integer, is the document's.
        text: The payload key of the text.
        metadata: The payload key of the metadata; "" where all other keys are the metadata.

    Raises:
        InvalidOptionError: If two share a name, or a payload key could not be filtered on.

    Example:
        >>> Names(text="page_content").key("lang")
        'metadata.lang'
    """

    dense: str = "dense"
    sparse: str = "sparse"
    colbert: str = "colbert"
    id: str = "id"
    text: str = "text"
    metadata: str = "metadata"

    def __post_init__(self) -> None:
        vectors = (self.dense, self.sparse, self.colbert)
        keys = [key for key in (self.id, self.text, self.metadata) if key]
        if len(set(vectors)) < 3 or len(set(keys)) < len(keys) or not self.text:
            raise InvalidOptionError(f"{self!r}: names must differ, and the text needs one")
        for key in keys:
            try:
                segments = split_path(key)
            except InvalidFilterError as error:
                raise InvalidOptionError(f"{self!r}: {error}") from error
            if len(segments) > 1:
                raise InvalidOptionError(f"{self!r}: payload keys have no dots")
            if key == INSTANTS:
                raise InvalidOptionError(f"{self!r}: the payload key {key!r} is trivec's own")

    def vector(self, part: Part) -> str:
        """Return the name of the vector of a part."""
        return {"dense": self.dense, "sparse": self.sparse, "colbert": self.colbert}[part]

    def key(self, path: str) -> str:
        """Return the payload key of a metadata path."""
        return f"{self.metadata}.{path}" if self.metadata else path


@dataclass(frozen=True, slots=True)
class Storage:
    """How a new collection keeps its vectors.

    Args:
        precision: Of the token vectors. The sparse index has float32 with "float32", else
            float16; dense vectors always are float32. Largest relative error of a ColBERT score,
            for unit vectors of 1,024 dimensions: float32 2e-7, turbo16 4e-6, float16 5e-5,
            turbo8 1e-3, turbo4 1e-2. turbo4 needs a server of version 1.19, the other two 1.20.
        quantization: A compressed copy of the dense vectors, for finding candidates in less
            memory; scores always are those of the vectors themselves.

    Raises:
        InvalidOptionError: If one is unknown.
    """

    precision: Precision = "float16"
    quantization: Quantization | None = None

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            why = "; uint8 cannot hold BGE-M3's vectors" if str(self.precision) == "uint8" else ""
            raise InvalidOptionError(
                f"precision={self.precision!r}; expected one of {get_args(Precision)}{why}"
            )
        if self.quantization is not None and self.quantization not in get_args(Quantization):
            raise InvalidOptionError(
                f"quantization={self.quantization!r}; "
                f"expected None or one of {get_args(Quantization)}"
            )

    @property
    def sparse_precision(self) -> Literal["float32", "float16"]:
        """The datatype of the sparse index."""
        return "float32" if self.precision == "float32" else "float16"


def max_colbert_rows(dimension: int) -> int:
    """Return the most token vectors of one document.

    >>> max_colbert_rows(1024)
    1023
    """
    return MAX_MULTIVECTOR_FLOATS // dimension


@dataclass(frozen=True, slots=True)
class VectorColumn:
    """A vector of a collection that exists."""

    size: int
    distance: str
    multivector: bool
    datatype: str


@dataclass(frozen=True, slots=True)
class Description:
    """What Qdrant says of a collection, before it is understood.

    Args:
        vectors: The dense and multivectors by name; "" is the unnamed one.
        sparse: The sparse vectors by name, with their modifier ("idf") or None.
        indexes: The payload indexes, key to type.
        metadata: The collection's own metadata.
    """

    vectors: Mapping[str, VectorColumn]
    sparse: Mapping[str, str | None]
    indexes: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def collection(self, names: Names, lists: Mapping[str, FieldType]) -> Collection:
        """Understand it.

        Args:
            names: What the parts are called.
            lists: Fields that are lists, for collections that do not say: a payload index is the
                same for a value and for a list of values.

        Raises:
            SchemaMismatchError: If a vector is not what its part needs.
        """
        problems = [
            *self._problems(names.dense, multivector=False),
            *self._problems(names.colbert, multivector=True),
        ]
        if self.sparse.get(names.sparse) == "idf":
            problems.append(f"the sparse vector {names.sparse!r} has the modifier idf")
        dense = self.vectors.get(names.dense)
        colbert = self.vectors.get(names.colbert)
        if dense is None and colbert is None and names.sparse not in self.sparse:
            problems.append(
                f"it has the vectors {sorted([*self.vectors, *self.sparse])}, "
                f"none of {names.dense!r}, {names.sparse!r} and {names.colbert!r}"
            )
        if problems:
            raise SchemaMismatchError(
                f"the collection does not fit: {'; '.join(problems)}. "
                "Name other vectors with `names`, or use another collection"
            )
        try:
            model, fields = read_metadata(self.metadata)
        except ValueError as error:
            raise SchemaMismatchError(
                f"the collection's own metadata is not what trivec writes: {error}. Use another "
                "collection, or make this one anew"
            ) from error
        schema = Schema(
            dense=None if dense is None else dense.size,
            sparse=names.sparse in self.sparse,
            colbert=None if colbert is None else colbert.size,
            model=model,
        )
        return Collection(schema, self._fields(names, lists) if fields is None else fields)

    def _problems(self, name: str, *, multivector: bool) -> list[str]:
        column = self.vectors.get(name)
        if column is None:
            return []
        found = []
        if column.multivector != multivector:
            found.append(f"{name!r} is {'no ' if multivector else 'a '}multivector")
        if column.distance.lower() not in ("dot", "cosine"):
            found.append(f"{name!r} has the distance {column.distance}, expected Dot or Cosine")
        if column.datatype == "uint8":
            found.append(f"{name!r} is stored as uint8, which cannot hold BGE-M3's vectors")
        return found

    def _fields(self, names: Names, lists: Mapping[str, FieldType]) -> dict[str, FieldType]:
        """Return the fields that the payload indexes amount to."""
        prefix = names.key("")
        fields = {}
        for key, index in self.indexes.items():
            path = key.removeprefix(prefix)
            if index not in _INDEXES or not key.startswith(prefix) or key in (names.id, names.text):
                continue
            if key.partition(".")[0] == INSTANTS:
                continue
            try:
                split_path(path)
            except InvalidFilterError:  # an index on a path that filters cannot name
                continue
            kind = _INDEXES[index]
            wanted = lists.get(path)
            fields[path] = wanted if wanted and _LISTS.get(kind) is wanted else kind
        return fields


def payload_indexes(collection: Collection, names: Names) -> dict[str, str]:
    """Return the payload indexes of a new collection, key to type.

    >>> fields = {"day": FieldType.DATETIME}
    >>> payload_indexes(Collection(Schema(dense=4, sparse=False, colbert=None), fields), Names())
    {'trivec_instants': 'keyword', 'metadata.day': 'datetime', 'trivec_instants.day': 'datetime'}
    """
    indexes = {INSTANTS: "keyword"}  # holds no keyword, and tells quickly which points lack the key
    for path, kind in collection.fields.items():
        indexes[names.key(path)] = INDEX_OF[kind.item]
        if kind is FieldType.DATETIME:
            indexes[f"{INSTANTS}.{path}"] = INDEX_OF[kind]
    return indexes


def read_metadata(metadata: Mapping[str, Any]) -> tuple[str, dict[str, FieldType] | None]:
    """Return the model and the declared fields that `own_metadata` wrote; None if it did not.

    Raises:
        ValueError: If it is damaged.

    Example:
        >>> read_metadata({"trivec": {"model": "m", "fields": {"n": "int"}}, "other": 1})
        ('m', {'n': <FieldType.INT: 'int'>})
    """
    ours = metadata.get(METADATA) or {}
    if not isinstance(ours, Mapping):
        raise ValueError(f"{METADATA!r} is {str(ours)[:80]!r}")
    model, fields = str(ours.get("model", "")), ours.get("fields")
    if fields is None:
        return model, None
    if not isinstance(fields, Mapping):
        raise ValueError(f"fields are {str(fields)[:80]!r}")
    for path in fields:
        split_path(path)
    return model, {path: FieldType(kind) for path, kind in fields.items()}


def own_metadata(collection: Collection) -> dict[str, Any]:
    """Return what a collection keeps of itself beyond Qdrant's description.

    >>> own_metadata(Collection(Schema(dense=4, sparse=False, colbert=None, model="m")))
    {'trivec': {'model': 'm', 'fields': {}}}
    """
    fields = {path: str(kind) for path, kind in collection.fields.items()}
    return {METADATA: {"model": collection.schema.model, "fields": fields}}
