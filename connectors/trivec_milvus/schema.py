"""The layout of a collection in Milvus: its fields, its indexes, the storage of ColBERT vectors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import count
from typing import Any, Literal

from pymilvus import DataType, MilvusClient

from trivec.colbert_storage import ColbertStorage
from trivec.collection import Collection
from trivec.errors import InvalidOptionError, SchemaMismatchError
from trivec.fields import FieldType
from trivec.schema import Schema
from trivec.stores.limits import Limits

Storage = Literal["native", "payload"]
"""How ColBERT vectors are stored: one native vector per token, or packed into strings."""

MAX_TOKENS = 4096  # elements of an array field; the server's validateMaxCapacityPerRow
MAX_LIMIT = 16_384  # hits of one search and rows of one query; quotaAndLimits.limits.topK
MAX_VARCHAR_BYTES = 65_535
MAX_JSON_BYTES = 65_536  # of one JSON value, and so of the dynamic field of one row
MAX_ID_BYTES = 512
LIMITS = Limits(
    "Milvus",
    # A text is a string and an array of strings. Cut between characters, each holds at least
    # 65,532 bytes.
    text_bytes=(MAX_TOKENS + 1) * (MAX_VARCHAR_BYTES - 3),
    metadata_bytes=MAX_JSON_BYTES,
    colbert_rows=MAX_TOKENS,
    colbert_bits=(16, 32, 8, 4, 2, 1),
    hits=MAX_LIMIT,
)
TOKEN = "vec"  # the vector in a struct of the ColBERT field
PROPERTY = "trivec"
_STORAGE = "colbert_storage"  # in the description, beside the dimension
# Older servers accept vectors of wrong dimensions, and fail to index a few rows of tokens.
NATIVE_SINCE = (2, 6, 19)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_HNSW = {"M": 16, "efConstruction": 200}


@dataclass(frozen=True, slots=True)
class Names:
    """The names of the fields in Milvus.

    Args:
        id: VARCHAR, the primary key.
        text: VARCHAR, the first 65,535 bytes of the text.
        text_more: ARRAY of VARCHAR, the rest of the text.
        metadata: JSON, of at most 65,536 bytes.
        private: ARRAY of VARCHAR, the metadata that frameworks keep with a document (LlamaIndex:
            the rest of a node) as JSON in pieces; older collections have it in `metadata`.
        dense: FLOAT_VECTOR.
        has_dense: BOOL, false where the dense vector is only zeros, since every row in Milvus has
            a vector.
        sparse: SPARSE_FLOAT_VECTOR.
        colbert: ARRAY of STRUCT with a vector per token, or ARRAY of VARCHAR.
        tokens: INT32, the number of ColBERT vectors.

    Raises:
        InvalidOptionError: If a name is no identifier, or two names are the same.
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
    """The fields that hold the sort keys of a declared field (see `sort_keys`)."""

    field: FieldType
    name: str
    descending: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its one or two fields."""
        return (self.name,) if self.descending is None else (self.name, self.descending)


@dataclass(frozen=True, slots=True)
class Layout(Collection):
    """A collection and how it is stored in Milvus.

    Args:
        schema: Which vectors it holds.
        fields: The declared metadata.
        colbert: How it keeps token vectors, as `create` was asked. None in collections of an older
            trivec where the server did not store them as asked.
        names: The names of the fields in Milvus.
        storage: How ColBERT vectors are stored.
        half: Whether native ones are float16, or float32, which some servers take in its place.
        private: Whether the metadata of frameworks has a field of its own.
        reason: Why the server did not store ColBERT vectors as asked; "" if it did.
    """

    names: Names = field(default_factory=Names)
    storage: Storage = "payload"
    half: bool = True
    private: bool = True
    reason: str = ""

    @property
    def native(self) -> bool:
        """Whether Milvus computes the ColBERT scores."""
        return self.storage == "native" and self.schema.colbert is not None

    @property
    def code_bits(self) -> int | None:
        """The bits of one number, where token vectors are `TokenCodes`; None where floats."""
        return None if self.colbert is None or self.colbert.bits >= 16 else self.colbert.bits

    @property
    def tokens_stored_as(self) -> str:
        """How token vectors are stored, such as "payload, float16" or "payload, bits=1,pool=2"."""
        if self.colbert is None or not self.colbert.reduces:
            return f"{self.storage}, {'float16' if self.half else 'float32'}"
        bits = self.code_bits or (16 if self.half else 32)
        return f"{self.storage}, {replace(self.colbert, bits=bits)}"

    @property
    def token_field(self) -> str:
        """The name in Milvus of the vectors in a native ColBERT field."""
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
        for path, type in sorted(self.fields.items()):
            name = free("f_" + path.replace(".", "_")[:200])
            is_ordered_list = type is FieldType.LIST_INT
            columns[path] = FilterColumn(
                type, name, free(f"{name}_desc") if is_ordered_list else None
            )
        return columns

    @property
    def properties(self) -> dict[str, str]:
        """The description that Milvus keeps with the collection, so that it can be opened again."""
        description: dict[str, Any] = {
            "model": self.schema.model,
            "colbert": self.schema.colbert,
            "fields": {**self.fields},
        }
        if self.schema.colbert is not None and self.colbert is not None:
            description[_STORAGE] = str(self.colbert)
        if self.reason:
            description["reason"] = self.reason
        return {PROPERTY: json.dumps(description, ensure_ascii=False)}

    def milvus_schema(self) -> Any:  # noqa: ANN401 - pymilvus has no types
        """Return the schema as pymilvus takes it."""
        # milvus-lite keeps the description, but not the properties; so both say the same.
        schema = MilvusClient.create_schema(
            auto_id=False, enable_dynamic_field=True, description=self.properties[PROPERTY]
        )
        for name, type, options in self._fields():
            schema.add_field(name, type, **options)
        return schema

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
            type = DataType.FLOAT16_VECTOR if self.half else DataType.FLOAT_VECTOR
            token.add_field(TOKEN, type, dim=schema.colbert)
            struct = {"element_type": DataType.STRUCT, "struct_schema": token}
            yield names.colbert, DataType.ARRAY, {**struct, "max_capacity": MAX_TOKENS}
        elif schema.colbert is not None:
            yield names.colbert, DataType.ARRAY, strings

    def index_params(self, *, lite: bool) -> Any:  # noqa: ANN401 - pymilvus has no types
        """Return the indexes: one of every vector field, and on servers of every column.

        milvus-lite compares all dense vectors, which is exact; its scalar indexes serve no
        expression with `like` or `not`.
        """
        params = MilvusClient.prepare_index_params()
        dense = ("FLAT", {}) if lite else ("HNSW", _HNSW)
        if self.schema.dense is not None:
            params.add_index(
                self.names.dense, index_type=dense[0], metric_type="IP", params=dense[1]
            )
        if self.schema.sparse:
            params.add_index(
                self.names.sparse, index_type="SPARSE_INVERTED_INDEX", metric_type="IP"
            )
        if self.native:
            params.add_index(
                self.token_field, index_type="HNSW", metric_type="MAX_SIM_IP", params=_HNSW
            )
        if not lite:
            for column in self.columns.values():
                for name in column.names:
                    params.add_index(name, index_type="INVERTED")
        return params

    @classmethod
    def read(cls, description: Mapping[str, Any], names: Names) -> Layout:
        """Return the layout of a collection that exists.

        Raises:
            SchemaMismatchError: If its fields are not those that trivec writes.
        """
        existing = {f["name"]: f for f in description["fields"]}
        properties = _properties(description)
        dense, colbert = existing.get(names.dense), existing.get(names.colbert)
        token = _token_vector(colbert)
        dimension = _dimension(token) or (properties.get("colbert") if colbert else None)
        problems: list[str] = []
        if not (dense or names.sparse in existing or dimension):
            problems = [f"there is no {names.dense!r}, {names.sparse!r} or {names.colbert!r}"]
        else:
            half = not (token and token["type"] == DataType.FLOAT_VECTOR)
            reason = str(properties.get("reason", ""))
            storage = ColbertStorage(bits=16 if half else 32) if dimension and not reason else None
            if dimension and _STORAGE in properties:
                storage, problems = _recorded(properties[_STORAGE], dimension, native=bool(token))
            layout = cls(
                Schema(
                    _dimension(dense),
                    names.sparse in existing,
                    dimension,
                    str(properties.get("model", "")),
                ),
                {path: FieldType(type) for path, type in properties.get("fields", {}).items()},
                storage,
                names,
                "native" if token else "payload",
                half,
                names.private in existing,
                reason,
            )
            problems += layout._differences(existing)
            if not description.get("enable_dynamic_field"):
                problems.append("the dynamic field is not enabled")
            if not problems:
                return layout
        raise SchemaMismatchError(
            f"collection {description['collection_name']!r} does not have the fields of this "
            f"store: {'; '.join(problems)}. Give the names of its fields as `names=Names(...)`, "
            "or use another collection"
        )

    def _differences(self, existing: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
        for name, type, options in self._fields():
            stored = existing.get(name)
            if stored is None:
                yield f"field {name!r} is missing, expected {type.name}"
                continue
            if stored["type"] != type:
                yield f"field {name!r} is {DataType(stored['type']).name}, expected {type.name}"
            elif options.get("is_primary") and not stored.get("is_primary"):
                yield f"field {name!r} is not the primary key"
            for limit in ("max_length", "max_capacity"):
                value = stored["params"].get(limit)  # which milvus-lite leaves out for arrays
                if value is not None and int(value) < options.get(limit, 0):
                    yield f"field {name!r} has {limit} {value}, expected {options[limit]}"


def supports_struct_arrays(version: str) -> bool:
    """Return whether a server of this version holds and searches a vector per token.

    >>> supports_struct_arrays("v2.6.18"), supports_struct_arrays("3.0.0")
    (False, True)
    """
    match = _VERSION.search(version)
    return match is not None and tuple(int(part or 0) for part in match.groups()) >= NATIVE_SINCE


def is_lite(version: str) -> bool:
    """Return whether this is the version of milvus-lite."""
    return "lite" in version


def _properties(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return `Layout.properties` as read, or nothing for a collection of another program."""
    for text in (description.get("properties", {}).get(PROPERTY), description.get("description")):
        try:
            properties = json.loads(text or "")
        except ValueError:
            continue
        if isinstance(properties, dict):
            return properties
    return {}


def _recorded(
    text: object, dimension: int, *, native: bool
) -> tuple[ColbertStorage | None, list[str]]:
    """Return how a collection says that it keeps token vectors, and what is wrong about it."""
    try:
        storage = ColbertStorage.of(text)  # type: ignore[arg-type]
        storage.check_dimension(dimension)
    except InvalidOptionError as error:
        return None, [f"its description says how it keeps token vectors, and {error}"]
    if storage.bits < 16 if native else storage.bits > 16:
        stored = "a vector per token" if native else "strings"
        return None, [f"it has {stored}, and says that it keeps token vectors as {storage}"]
    return storage, []


def _token_vector(colbert: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the description of the vector per token; None if the field is no struct array."""
    inner = (colbert or {}).get("struct_fields") or ()
    return next((f for f in inner if f["name"] == TOKEN), None)


def _dimension(described: Mapping[str, Any] | None) -> int | None:
    return int(described["params"]["dim"]) if described else None


def _numbered(base: str) -> Iterator[str]:
    yield base
    yield from (f"{base}_{n}" for n in count(2))
