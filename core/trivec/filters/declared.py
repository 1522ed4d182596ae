"""Checks that documents and filters match the declared fields."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from trivec.arguments import shown
from trivec.document import Document
from trivec.errors import InvalidDocumentError, InvalidFilterError
from trivec.fields import FieldType, Scalar, value_at, values_of
from trivec.filters.instants import Written, parse_datetime, written
from trivec.filters.operators import ORDERING, Op
from trivec.filters.tree import And, Comparison, Filter, Not, Or


def check_values(document: Document, fields: Mapping[str, FieldType]) -> None:
    """Raise `InvalidDocumentError` if a value has another type; it may be null or missing."""
    for path, type_ in fields.items():
        raw = value_at(document.metadata, path)
        values = values_of(raw)
        is_list = isinstance(raw, list | tuple)
        count = len(raw) if isinstance(raw, list | tuple) else int(raw is not None)
        fits = is_list == type_.is_list or raw is None
        if not fits or count != len(values) or not all(fits_type(v, type_.item) for v in values):
            raise InvalidDocumentError(
                f"document {document.id!r}: metadata field {path!r} is declared {type_}, "
                f"got {shown(raw)}"
            )


def fit_filter(
    condition: Filter, fields: Mapping[str, FieldType], *, declared_only: bool = False
) -> Filter:
    """Return a filter with its values converted to the types of the declared fields.

    A field of strings is compared with the spelling of a date, and a field of datetimes with the
    instant that a string spells. In a field that is not declared, strings and dates stay what they
    are, except that comparisons by order take strings as instants. A value of another type raises
    `InvalidFilterError`, and so does a field that is not declared, with `declared_only`.

    >>> from trivec import F
    >>> fit_filter(F("day") == "2026-01-31", {"day": FieldType.DATETIME}).value.isoformat()
    '2026-01-31T00:00:00+00:00'
    """

    def fit(node: Filter) -> Filter:
        match node:
            case And(members):
                return And(tuple(map(fit, members)))
            case Or(members):
                return Or(tuple(map(fit, members)))
            case Not(inner):
                return Not(fit(inner))
            case Comparison(path):
                return _fit_comparison(node, fields.get(path))
        for comparison in node.comparisons():
            _fit_comparison(comparison, fields.get(comparison.path))
        return node

    if declared_only:
        for comparison in condition.comparisons():
            if comparison.path not in fields:
                raise InvalidFilterError(
                    f"this store filters on declared fields only, and {comparison.path!r} is not "
                    f"one of {sorted(fields)}; pass it in `fields` to `create`"
                )
    return fit(condition)


def _fit_comparison(given: Comparison, type_: FieldType | None) -> Comparison:
    value = given.value
    if type_ is None or value is None:
        return given
    fitted = tuple(_converted(scalar, type_.item, given.op) for scalar in given.values)
    for scalar in fitted:
        if not _is_comparable(scalar, type_.item, given.op):
            raise InvalidFilterError(
                f"field {given.path!r} is declared {type_}, which {given.op} {shown(scalar)} "
                f"cannot be compared with{_advice(scalar, type_.item, given.op)}"
            )
    return Comparison(given.path, given.op, fitted if isinstance(value, tuple) else fitted[0])


def _converted(value: Scalar, type_: FieldType, op: Op) -> Scalar:
    """Return a filter's value in the type of the field, or unchanged if it has no such form."""
    if type_ is FieldType.STR and isinstance(value, Written) and op not in ORDERING:
        return value if value.text is None else value.text
    if type_ is FieldType.DATETIME and isinstance(value, str) and op is not Op.TEXT:
        return written(value) or value
    return value


def _is_comparable(value: Scalar, type_: FieldType, op: Op) -> bool:
    """Return whether an operator can compare a field of this type with this value."""
    if op is Op.TEXT:
        return type_ is FieldType.STR
    if type_ is FieldType.DATETIME:
        return isinstance(value, datetime)
    if type_ is FieldType.STR and op in ORDERING:
        return False
    return fits_type(value, FieldType.FLOAT if type_ is FieldType.INT else type_)


def _advice(value: Scalar, type_: FieldType, op: Op) -> str:
    if type_ is FieldType.STR and isinstance(value, datetime):
        if op in ORDERING:
            return "; strings have no order: declare the field datetime, or compare with =="
        return "; compare it with a str, or declare the field datetime"
    if type_ is FieldType.DATETIME and isinstance(value, str) and op is not Op.TEXT:
        return "; a date is written as 2026-01-31 or 2026-01-31T12:00:00Z"
    return ""


def fits_type(value: Scalar, type_: FieldType) -> bool:
    """Return whether a value of metadata has this type, which is not a list."""
    match type_:
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
