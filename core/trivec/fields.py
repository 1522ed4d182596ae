"""Metadata fields that are declared, so that databases index them and filters fit them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import get_args, get_origin

from trivec.arguments import described, expect
from trivec.document import Document
from trivec.errors import InvalidDocumentError, InvalidFilterError, InvalidOptionError
from trivec.filters import Filter, Op, Scalar, metadata_values, parse_datetime, split_path

__all__ = ["FieldType", "check_filter", "check_values", "field_types"]


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
    """Return the declared fields with their types checked.

    Args:
        fields: Metadata path (dots between the segments) to str, int, float, bool, datetime,
            list[str], list[int], or the `FieldType` itself.

    Raises:
        InvalidOptionError: If a path or a type is not among those.

    Example:
        >>> field_types({"lang": str, "tags": list[str]})["tags"]
        <FieldType.LIST_STR: 'list[str]'>
    """
    expect(fields, Mapping, "fields", "a dict of paths and types, such as {'lang': str}")
    declared = {}
    for path, kind in fields.items():
        try:
            split_path(path)
        except InvalidFilterError as error:
            raise InvalidOptionError(str(error)) from error
        if isinstance(kind, FieldType):
            declared[path] = kind
        elif get_origin(kind) is list and get_args(kind) in ((str,), (int,)):
            declared[path] = FieldType(f"list[{get_args(kind)[0].__name__}]")
        elif isinstance(kind, type) and kind in _TYPES:
            declared[path] = _TYPES[kind]
        else:
            given = described(kind) if get_origin(kind) is None else repr(kind)
            raise InvalidOptionError(
                f"field {path!r}: expected the type itself, one of str, int, float, bool, "
                f"datetime, list[str] and list[int], got {given}"
            )
    return declared


def check_values(document: Document, fields: Mapping[str, FieldType]) -> None:
    """Check that a document's metadata fits the declared fields; null and missing always fit.

    Raises:
        InvalidDocumentError: If a value has another type; the message names the document.
    """
    for path, kind in fields.items():
        values = metadata_values(document.metadata, path)
        raw: object = document.metadata
        for segment in split_path(path):
            raw = raw.get(segment) if isinstance(raw, Mapping) else None
        several = isinstance(raw, list | tuple)
        count = len(raw) if isinstance(raw, list | tuple) else int(raw is not None)
        fits = several == kind.is_list or raw is None
        if not fits or count != len(values) or not all(_fits(v, kind.item) for v in values):
            raise InvalidDocumentError(
                f"document {document.id!r}: metadata field {path!r} is declared {kind}, got {raw!r}"
            )


def check_filter(
    condition: Filter, fields: Mapping[str, FieldType], *, declared_only: bool = False
) -> None:
    """Check that a filter compares declared fields with values of their type.

    Args:
        condition: The filter.
        fields: The declared fields.
        declared_only: Whether the store can filter on nothing else.

    Raises:
        InvalidFilterError: If a value has another type, or a field would have to be declared.
    """
    for comparison in condition.comparisons():
        kind = fields.get(comparison.path)
        if kind is None:
            if declared_only:
                raise InvalidFilterError(
                    f"this store filters on declared fields only, and {comparison.path!r} is not "
                    f"one of {sorted(fields)}; pass it in `fields` to `create`"
                )
            continue
        value = comparison.value
        wanted = value if isinstance(value, tuple) else () if value is None else (value,)
        if not all(_compares(v, kind.item, comparison.op) for v in wanted):
            raise InvalidFilterError(
                f"field {comparison.path!r} is declared {kind}, which {comparison.op} "
                f"{value!r} cannot be compared with"
            )


def _compares(value: Scalar, kind: FieldType, op: Op) -> bool:
    """Return whether a filter may compare a field of this kind with this value."""
    if kind is FieldType.DATETIME:
        return isinstance(value, datetime)
    if op is Op.TEXT:
        return kind is FieldType.STR
    return _fits(value, FieldType.FLOAT if kind is FieldType.INT else kind)


def _fits(value: Scalar, kind: FieldType) -> bool:
    match kind:
        case FieldType.STR:
            return isinstance(value, str)
        case FieldType.BOOL:
            return isinstance(value, bool)
        case FieldType.INT:
            return isinstance(value, int) and not isinstance(value, bool)
        case FieldType.FLOAT:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            return isinstance(value, str) and parse_datetime(value) is not None
