"""How a collection lies in Milvus: its fields, its indexes, and where the ColBERT vectors are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import count
from typing import Any, Literal

from pymilvus import DataType, MilvusClient

from trivec.collection import Collection
from trivec.errors import InvalidOptionError, SchemaMismatchError
from trivec.fields import FieldType
from trivec.schema import Schema
from trivec.stores.limits import Limits

__all__ = [
    "LIMITS",
    "MAX_JSON_BYTES",
    "MAX_TOKENS",
    "MAX_VARCHAR_BYTES",
    "TOKEN",
    "FieldNames",
    "FilterColumn",
    "Layout",
    "Storage",
    "is_lite",
    "supports_struct_arrays",
]

Storage = Literal["native", "payload"]
"""Where ColBERT vectors are: one native vector per token, or packed into strings."""

MAX_TOKENS = 4096  # elements of an array field; the server's validateMaxCapacityPerRow
MAX_VARCHAR_BYTES = 65_535
MAX_JSON_BYTES = 65_536  # of one JSON value, and so of the dynamic field of one row
MAX_ID_BYTES = 512
# A text is a string and an array of strings. Cut between characters, each holds at least 65,532.
LIMITS = Limits(
    "Milvus",
    text_bytes=(MAX_TOKENS + 1) * (MAX_VARCHAR_BYTES - 3),
    metadata_bytes=MAX_JSON_BYTES,
)
TOKEN = "vec"  # the vector in a struct of the ColBERT field
PROPERTY = "trivec"
# 2.6.19 fixed wrong dimensions being accepted and the nested index on too few rows.
NATIVE_SINCE = (2, 6, 19)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_HNSW = {"M": 16, "efConstruction": 200}


@dataclass(frozen=True, slots=True)
class FieldNames:
    """The names of the fields in Milvus.

    Args:
        id: VARCHAR, the primary key.
        text: VARCHAR, the first 65,535 bytes of the text.
        text_more: ARRAY of VARCHAR, the rest of the text.
        metadata: JSON, of at most 65,536 bytes.
        private: ARRAY of VARCHAR, what programs over the store keep with a document (LlamaIndex:
            the rest of a node) as JSON in pieces; collections made before it have it in the
            metadata.
        dense: FLOAT_VECTOR.
        has_dense: BOOL, false where the dense vector is only zeros, for Milvus knows no row
            without one.
        sparse: SPARSE_FLOAT_VECTOR.
        colbert: ARRAY of STRUCT with a vector per token, or ARRAY of VARCHAR.
        tokens: INT32, how many ColBERT vectors there are.

    Raises:
        InvalidOptionError: If a name is no identifier, or there twice.
    """

    id: str = "id"
    text: str = "text"
    text_more: str = "text_more"
    metadata: str = "metadata"
    private: str = "private"
    dense: str = "dense"
    has_dense: str = "has_dense"
    sparse: str = "sparse"
    colbert: str = "colbert"
    tokens: str = "tokens"

    def __post_init__(self) -> None:
        names = [getattr(self, f.name) for f in fields(self)]
        for name in names:
            if not _NAME.fullmatch(name):
                raise InvalidOptionError(
                    f"field name {name!r}: expected a letter or '_', then letters, digits and '_'"
                )
        if len(set(names)) < len(names):
            raise InvalidOptionError(f"field names must differ, got {names}")


@dataclass(frozen=True, slots=True)
class FilterColumn:
    """Where the terms of a declared field are (see `terms`)."""

    field: FieldType
    name: str
    descending: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its one or two fields."""
        return (self.name,) if self.descending is None else (self.name, self.descending)


@dataclass(frozen=True, slots=True)
class Layout:
    """The fields of one collection.

    Args:
        collection: Its vectors and its declared fields.
        names: The names of the fields in Milvus.
        storage: Where the ColBERT vectors are.
        half: Whether native ColBERT vectors are float16.
        private: Whether what programs keep with a document has a field of its own.
    """

    collection: Collection
    names: FieldNames = field(default_factory=FieldNames)
    storage: Storage = "payload"
    half: bool = False
    private: bool = True

    @property
    def schema(self) -> Schema:
        """The vectors of the collection."""
        return self.collection.schema

    @property
    def native(self) -> bool:
        """Whether Milvus computes the ColBERT scores."""
        return self.storage == "native" and self.schema.colbert is not None

    @property
    def token_field(self) -> str:
        """What Milvus calls the vectors of a native ColBERT field."""
        return f"{self.names.colbert}[{TOKEN}]"

    @property
    def columns(self) -> Mapping[str, FilterColumn]:
        """The declared paths with their columns."""
        taken = {getattr(self.names, f.name) for f in fields(self.names)}

        def free(base: str) -> str:
            name = next(n for n in _numbered(base) if n not in taken)
            taken.add(name)
            return name

        columns = {}
        for path, kind in sorted(self.collection.fields.items()):
            name = free("f_" + path.replace(".", "_")[:200])
            several = kind is FieldType.LIST_INT  # the only lists that have an order
            columns[path] = FilterColumn(kind, name, free(f"{name}_desc") if several else None)
        return columns

    @property
    def properties(self) -> dict[str, str]:
        """What Milvus keeps for us, so that the collection can be opened again."""
        about = {
            "model": self.schema.model,
            "colbert": self.schema.colbert,
            "fields": {**self.collection.fields},
        }
        return {PROPERTY: json.dumps(about, ensure_ascii=False)}

    def milvus_schema(self) -> Any:  # noqa: ANN401 - pymilvus has no types
        """Return the schema as pymilvus wants it."""
        # The description says the same as the properties, of which milvus-lite keeps only these.
        made = MilvusClient.create_schema(
            auto_id=False, enable_dynamic_field=True, description=self.properties[PROPERTY]
        )
        for name, kind, options in self._fields():
            made.add_field(name, kind, **options)
        return made

    def _fields(self) -> Iterator[tuple[str, DataType, dict[str, Any]]]:
        """Yield the name, the type and the options of every field."""
        names, schema = self.names, self.schema
        string = {"max_length": MAX_VARCHAR_BYTES}
        strings = {**string, "element_type": DataType.VARCHAR, "max_capacity": MAX_TOKENS}
        yield names.id, DataType.VARCHAR, {"is_primary": True, "max_length": MAX_ID_BYTES}
        yield names.text, DataType.VARCHAR, string
        yield names.text_more, DataType.ARRAY, strings
        yield names.metadata, DataType.JSON, {}
        if self.private:
            yield names.private, DataType.ARRAY, strings
        for column in self.columns.values():
            for name in column.names:
                yield name, DataType.VARCHAR, string
        if schema.dense is not None:
            yield names.dense, DataType.FLOAT_VECTOR, {"dim": schema.dense}
            yield names.has_dense, DataType.BOOL, {}
        if schema.sparse:
            yield names.sparse, DataType.SPARSE_FLOAT_VECTOR, {}
        if schema.colbert is not None:
            yield names.tokens, DataType.INT32, {}
        if self.native:
            token = MilvusClient.create_struct_field_schema()
            kind = DataType.FLOAT16_VECTOR if self.half else DataType.FLOAT_VECTOR
            token.add_field(TOKEN, kind, dim=schema.colbert)
            struct = {"element_type": DataType.STRUCT, "struct_schema": token}
            yield names.colbert, DataType.ARRAY, {**struct, "max_capacity": MAX_TOKENS}
        elif schema.colbert is not None:
            yield names.colbert, DataType.ARRAY, strings

    def index_params(self, *, lite: bool) -> Any:  # noqa: ANN401 - pymilvus has no types
        """Return the indexes: one of every vector field, and on servers of every column.

        milvus-lite compares all dense vectors, which is exact; its scalar indexes serve no
        expression with `like` or `not`.
        """
        made = MilvusClient.prepare_index_params()
        dense = ("FLAT", {}) if lite else ("HNSW", _HNSW)
        if self.schema.dense is not None:
            made.add_index(self.names.dense, index_type=dense[0], metric_type="IP", params=dense[1])
        if self.schema.sparse:
            made.add_index(self.names.sparse, index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
        if self.native:
            made.add_index(
                self.token_field, index_type="HNSW", metric_type="MAX_SIM_IP", params=_HNSW
            )
        if not lite:
            for column in self.columns.values():
                for name in column.names:
                    made.add_index(name, index_type="INVERTED")
        return made

    @classmethod
    def read(cls, description: Mapping[str, Any], names: FieldNames) -> Layout:
        """Return the layout of a collection that exists.

        Args:
            description: What `describe_collection` returned.
            names: The names that its fields should have.

        Raises:
            SchemaMismatchError: If its fields are not those that this store writes.
        """
        there = {f["name"]: f for f in description["fields"]}
        about = _about(description)
        dense, colbert = there.get(names.dense), there.get(names.colbert)
        vector = _token_vector(colbert)
        width = _dim(vector) or (about.get("colbert") if colbert else None)
        problems = []
        if not (dense or names.sparse in there or width):
            problems = [f"there is no {names.dense!r}, {names.sparse!r} or {names.colbert!r}"]
        else:
            layout = cls(
                Collection(
                    Schema(_dim(dense), names.sparse in there, width, str(about.get("model", ""))),
                    {path: FieldType(kind) for path, kind in about.get("fields", {}).items()},
                ),
                names,
                "native" if vector else "payload",
                bool(vector and vector["type"] == DataType.FLOAT16_VECTOR),
                names.private in there,
            )
            problems = list(layout._differences(there))
            if not description.get("enable_dynamic_field"):
                problems.append("the dynamic field is not enabled")
            if not problems:
                return layout
        raise SchemaMismatchError(
            f"collection {description['collection_name']!r} does not have the fields of this "
            f"store: {'; '.join(problems)}. Give the names of its fields as "
            "`field_names=FieldNames(...)`, or use another collection"
        )

    def _differences(self, there: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
        for name, kind, options in self._fields():
            got = there.get(name)
            if got is None:
                yield f"field {name!r} is missing, expected {kind.name}"
                continue
            if got["type"] != kind:
                yield f"field {name!r} is {DataType(got['type']).name}, expected {kind.name}"
            elif options.get("is_primary") and not got.get("is_primary"):
                yield f"field {name!r} is not the primary key"
            for limit in ("max_length", "max_capacity"):
                holds = got["params"].get(limit)  # which milvus-lite leaves out for arrays
                if holds is not None and int(holds) < options.get(limit, 0):
                    yield f"field {name!r} has {limit} {holds}, expected {options[limit]}"


def supports_struct_arrays(version: str) -> bool:
    """Return whether a server of this version holds and searches a vector per token.

    >>> supports_struct_arrays("v2.6.18"), supports_struct_arrays("3.0.0")
    (False, True)
    """
    found = _VERSION.search(version)
    return found is not None and tuple(int(part or 0) for part in found.groups()) >= NATIVE_SINCE


def is_lite(version: str) -> bool:
    """Return whether this is milvus-lite, which says so in place of a version."""
    return "lite" in version


def _about(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `Layout.properties` wrote, or nothing for a collection of another program."""
    for text in (description.get("properties", {}).get(PROPERTY), description.get("description")):
        try:
            about = json.loads(text or "")
        except ValueError:
            continue
        if isinstance(about, dict):
            return about
    return {}


def _token_vector(colbert: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the description of the vector per token; None where there is no struct array."""
    inner = (colbert or {}).get("struct_fields") or ()
    return next((f for f in inner if f["name"] == TOKEN), None)


def _dim(described: Mapping[str, Any] | None) -> int | None:
    return int(described["params"]["dim"]) if described else None


def _numbered(base: str) -> Iterator[str]:
    yield base
    yield from (f"{base}_{n}" for n in count(2))
