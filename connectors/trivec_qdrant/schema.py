"""How a collection lies in Qdrant: names, number formats, indexes and its description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from trivec.colbert_storage import ColbertStorage
from trivec.collection import Collection
from trivec.errors import InvalidFilterError, InvalidOptionError, SchemaMismatchError
from trivec.fields import FieldType
from trivec.filters import split_path
from trivec.schema import Schema
from trivec.search import Part

METADATA = "trivec"  # the key of trivec's entry in a collection's own metadata

INSTANTS = "trivec_instants"
"""The payload key, on every point that trivec writes, of the metadata's instants in UTC: an object
of lists, in the shape of the metadata. Qdrant would read dates with a parser of its own. Where the
metadata lies beside the text, a point without instants has no such key."""

Quantization = Literal["int8", "binary", "turbo4", "turbo2", "turbo1"]
"""The numbers of a compressed copy of dense vectors; "binary" and "turbo1" take one bit each."""

DATATYPES: Mapping[int, str] = {32: "float32", 16: "float16", 8: "turbo8", 4: "turbo4"}
"""The number format of token vectors by its bits; see `trivec_qdrant.precision`."""

_BITS = {name: bits for bits, name in DATATYPES.items()} | {"turbo16": 16}

_INDEXES = {
    "keyword": FieldType.STR,
    "integer": FieldType.INT,
    "float": FieldType.FLOAT,
    "bool": FieldType.BOOL,
    "datetime": FieldType.DATETIME,
}
_LISTS = {FieldType.STR: FieldType.LIST_STR, FieldType.INT: FieldType.LIST_INT}
_INDEX_OF = {type: name for name, type in _INDEXES.items()}


@dataclass(frozen=True, slots=True)
class Names:
    """The names of vectors and payload keys, to fit an existing collection.

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


def colbert_bits(collection: Collection) -> int:
    """Return the bits of one number of a new collection's token vectors."""
    return (collection.colbert or ColbertStorage()).bits


def sparse_datatype(collection: Collection) -> str:
    """Return the number format of a new collection's sparse index."""
    return DATATYPES[32 if colbert_bits(collection) == 32 else 16]


def as_described(collection: Collection) -> Collection:
    """Return a new collection as its description will read."""
    if collection.schema.colbert is not None:
        return replace(collection, colbert=collection.colbert or ColbertStorage())
    exact = collection.schema.sparse and colbert_bits(collection) == 32
    return replace(collection, colbert=ColbertStorage(32) if exact else None)


@dataclass(frozen=True, slots=True)
class VectorColumn:
    """A dense vector or a multivector of a collection that exists."""

    size: int
    distance: str
    multivector: bool
    datatype: str


@dataclass(frozen=True, slots=True)
class SparseColumn:
    """A sparse vector of a collection that exists.

    Args:
        modifier: How the database changes the weights, such as "idf"; None for not at all.
        datatype: The number format of its index, or None where Qdrant does not say.
    """

    modifier: str | None
    datatype: str | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """Qdrant's own description of a collection.

    Args:
        vectors: The dense and multivectors by name; "" is the unnamed one.
        sparse: The sparse vectors by name.
        indexes: The payload indexes, key to type.
        metadata: The collection's own metadata.
    """

    vectors: Mapping[str, VectorColumn]
    sparse: Mapping[str, SparseColumn]
    indexes: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def collection(self, names: Names, lists: Mapping[str, FieldType]) -> Collection:
        """Return trivec's description of the same collection.

        `lists` are the fields that are lists, for collections that do not say: a payload index is
        the same for a value and for a list of values.

        Raises:
            SchemaMismatchError: If a vector is not what its part needs.
        """
        problems = [
            *self._problems(names.dense, multivector=False),
            *self._problems(names.colbert, multivector=True),
        ]
        sparse = self.sparse.get(names.sparse)
        if sparse is not None and sparse.modifier == "idf":
            problems.append(f"the sparse vector {names.sparse!r} has the modifier idf")
        dense = self.vectors.get(names.dense)
        colbert = self.vectors.get(names.colbert)
        if dense is None and colbert is None and sparse is None:
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
            recorded = read_metadata(self.metadata)
        except ValueError as error:
            raise SchemaMismatchError(
                f"the collection's own metadata is not what trivec writes: {error}. Use another "
                "collection, or make this one anew"
            ) from error
        schema = Schema(
            dense=None if dense is None else dense.size,
            sparse=sparse is not None,
            colbert=None if colbert is None else colbert.size,
            model=recorded.model,
        )
        bits = None if colbert is None else _BITS.get(colbert.datatype)
        if colbert is None and sparse is not None and sparse.datatype == DATATYPES[32]:
            bits = 32
        return Collection(
            schema,
            self._fields(names, lists) if recorded.fields is None else recorded.fields,
            None if bits is None else replace(recorded.colbert, bits=bits),
        )

    def _problems(self, name: str, *, multivector: bool) -> list[str]:
        column = self.vectors.get(name)
        if column is None:
            return []
        problems = []
        if column.multivector != multivector:
            problems.append(f"{name!r} is {'no ' if multivector else 'a '}multivector")
        if column.distance.lower() not in ("dot", "cosine"):
            problems.append(f"{name!r} has the distance {column.distance}, expected Dot or Cosine")
        if column.datatype == "uint8":
            problems.append(f"{name!r} is stored as uint8, which cannot hold BGE-M3's vectors")
        return problems

    def _fields(self, names: Names, lists: Mapping[str, FieldType]) -> dict[str, FieldType]:
        """Return the fields that have a payload index."""
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
            type = _INDEXES[index]
            declared = lists.get(path)
            fields[path] = declared if declared and _LISTS.get(type) is declared else type
        return fields


def payload_indexes(collection: Collection, names: Names) -> dict[str, str]:
    """Return the payload indexes of a new collection, key to index type.

    >>> fields = {"day": FieldType.DATETIME}
    >>> payload_indexes(Collection(Schema(dense=4, sparse=False, colbert=None), fields), Names())
    {'trivec_instants': 'keyword', 'metadata.day': 'datetime', 'trivec_instants.day': 'datetime'}
    """
    indexes = {INSTANTS: "keyword"}  # holds no keyword, and tells quickly which points lack the key
    for path, type in collection.fields.items():
        indexes[names.key(path)] = _INDEX_OF[type.item]
        if type is FieldType.DATETIME:
            indexes[f"{INSTANTS}.{path}"] = _INDEX_OF[type]
    return indexes


@dataclass(frozen=True, slots=True)
class Recorded:
    """The part of a collection's description that lies in its metadata.

    Args:
        model: The name of the model; "" where it is not recorded.
        fields: The declared fields; None where they are not recorded.
        colbert: How token vectors are kept; the number format tells the bits of those collections
            that do not record it, which keep a vector for each token.
    """

    model: str = ""
    fields: dict[str, FieldType] | None = None
    colbert: ColbertStorage = field(default_factory=ColbertStorage)


def read_metadata(metadata: Mapping[str, Any]) -> Recorded:
    """Return what `own_metadata` wrote, or the defaults where it did not.

    Raises:
        ValueError: If it is damaged.

    Example:
        >>> read_metadata({"trivec": {"model": "m", "colbert": "bits=4,pool=2"}, "other": 1})
        Recorded(model='m', fields=None, colbert=ColbertStorage(bits=4, pool=2, prune=0.0))
    """
    entry = metadata.get(METADATA) or {}
    if not isinstance(entry, Mapping):
        raise ValueError(f"{METADATA!r} is {str(entry)[:80]!r}")
    fields, colbert = entry.get("fields"), entry.get("colbert")
    types = None
    if fields is not None:
        if not isinstance(fields, Mapping):
            raise ValueError(f"fields are {str(fields)[:80]!r}")
        for path in fields:
            split_path(path)
        types = {path: FieldType(type) for path, type in fields.items()}
    try:
        storage = ColbertStorage() if colbert is None else ColbertStorage.parse(colbert)
    except InvalidOptionError as error:
        raise ValueError(str(error)[:200]) from error
    return Recorded(str(entry.get("model", "")), types, storage)


def own_metadata(collection: Collection) -> dict[str, Any]:
    """Return what a collection records in its metadata, for `read_metadata`.

    >>> schema = Schema(dense=4, sparse=False, colbert=4, model="m")
    >>> own_metadata(Collection(schema, {}, ColbertStorage(bits=4, pool=2)))
    {'trivec': {'model': 'm', 'fields': {}, 'colbert': 'bits=4,pool=2'}}
    """
    fields = {path: str(type) for path, type in collection.fields.items()}
    entry: dict[str, Any] = {"model": collection.schema.model, "fields": fields}
    if collection.schema.colbert is not None:
        entry["colbert"] = str(collection.colbert or ColbertStorage())
    return {METADATA: entry}
