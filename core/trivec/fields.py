"""The metadata fields that a collection declares: their types, and the paths to their values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import get_args, get_origin

from trivec.arguments import described, expect, shown
from trivec.errors import InvalidFilterError, InvalidOptionError
from trivec.plain import Json

Scalar = str | int | float | bool | datetime
"""One value of a field; only filters hold datetimes, metadata holds them as strings."""

_SEGMENT = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class FieldType(StrEnum):
    """The type of a declared metadata field."""

    STR = "str"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    DATETIME = "datetime"
    LIST_STR = "list[str]"
    LIST_INT = "list[int]"

    @property
    def is_list(self) -> bool:
        """Whether the field may hold several values."""
        return self in (FieldType.LIST_STR, FieldType.LIST_INT)

    @property
    def item(self) -> FieldType:
        """The type of one value."""
        return _ITEMS.get(self, self)


_ITEMS = {FieldType.LIST_STR: FieldType.STR, FieldType.LIST_INT: FieldType.INT}
_TYPES: dict[object, FieldType] = {
    str: FieldType.STR,
    int: FieldType.INT,
    float: FieldType.FLOAT,
    bool: FieldType.BOOL,
    datetime: FieldType.DATETIME,
}


def field_types(fields: Mapping[str, type | FieldType]) -> dict[str, FieldType]:
    """Return the declared fields after checking their paths and types.

    A path has dots between its segments. Its type is str, int, float, bool, datetime, list[str],
    list[int], or a `FieldType`.

    >>> field_types({"lang": str, "tags": list[str]})["tags"]
    <FieldType.LIST_STR: 'list[str]'>
    """
    expect(fields, Mapping, "fields", "a dict of paths and types, such as {'lang': str}")
    declared = {}
    for path, type_ in fields.items():
        try:
            split_path(path)
        except InvalidFilterError as error:
            raise InvalidOptionError(str(error)) from error
        if isinstance(type_, FieldType):
            declared[path] = type_
        elif get_origin(type_) is list and get_args(type_) in ((str,), (int,)):
            declared[path] = FieldType(f"list[{get_args(type_)[0].__name__}]")
        elif isinstance(type_, type) and type_ in _TYPES:
            declared[path] = _TYPES[type_]
        else:
            given = described(type_) if get_origin(type_) is None else shown(type_)
            raise InvalidOptionError(
                f"field {path!r}: expected the type itself, one of str, int, float, bool, "
                f"datetime, list[str] and list[int], got {given}"
            )
    return declared


def split_path(path: str) -> list[str]:
    """Return the segments of a metadata path.

    Raises:
        InvalidFilterError: If a segment is not a letter or `_` followed by letters, digits and `_`.
    """
    if not isinstance(path, str):
        raise InvalidFilterError(f"the path of a field is a str, got {shown(path)}")
    segments = path.split(".")
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise InvalidFilterError(
            f"{shown(path)} cannot be the path of a field; each segment is a letter or '_' "
            "followed by letters, digits and '_', with dots between them"
        )
    return segments


def value_at(metadata: Mapping[str, Json], path: str) -> Json:
    """Return the value at a path as it is; None where there is none.

    >>> value_at({"a": {"b": [1]}}, "a.b"), value_at({"a": "x"}, "a.b")
    ([1], None)
    """
    value: Json = metadata
    for segment in split_path(path):
        if not isinstance(value, Mapping):
            return None
        value = value.get(segment)
    return value


def metadata_values(metadata: Mapping[str, Json], path: str) -> list[Scalar]:
    """Return the values at a path: none, one, or the elements of a list."""
    return values_of(value_at(metadata, path))


def values_of(value: Json) -> list[Scalar]:
    """Return the values of one member of an object: none, one, or the elements of a list.

    >>> values_of(["x", None, 3]), values_of("x"), values_of({"x": 1})
    (['x', 3], ['x'], [])
    """
    items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return [item for item in items if isinstance(item, str | int | float)]
