"""The values that filters compare with: checked, compared with metadata, and written as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from trivec.arguments import named, shown
from trivec.errors import InvalidFilterError
from trivec.fields import Scalar
from trivec.filters.instants import Written, in_utc, instant, parse_datetime, written
from trivec.filters.operators import ORDERING, Op
from trivec.plain import Json, plain_scalar


def checked_scalar(path: str, op: Op, value: object) -> Scalar:
    """Return one value of a comparison in the form in which it is compared, or raise.

    A date and a datetime become an instant in UTC, and so does an ISO 8601 string that is compared
    by order.
    """
    what = named(path, value, between=f" {op} ") if isinstance(value, int) else None
    what = what or f"{path} {op} {shown(value)}"
    value = instant(value)
    if not isinstance(value, Written):
        value = plain_scalar(value)
    if op in ORDERING and isinstance(value, str):
        value = written(value) or value
    if isinstance(value, datetime):
        try:
            value = in_utc(value)
        except OverflowError as error:
            raise InvalidFilterError(f"{what}: in UTC it is in no year from 1 to 9999") from error
    if not isinstance(value, str | int | float | datetime):
        raise InvalidFilterError(f"{what}: expected a str, int, float, bool or datetime")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidFilterError(f"{what}: the number is not finite")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InvalidFilterError(f"{what}: the number needs more than 64 bits")
    if op in ORDERING and (isinstance(value, bool | str)):
        raise InvalidFilterError(f"{what}: only numbers and datetimes have an order here")
    if op is Op.TEXT and not (isinstance(value, str) and value):
        raise InvalidFilterError(f"{what}: expected a str that is not empty")
    return value


def _comparable(stored: Scalar, wanted: Scalar) -> Scalar | None:
    """Return `stored` in the type of `wanted`, or None if the two cannot be compared."""
    if isinstance(wanted, datetime):
        return parse_datetime(stored) if isinstance(stored, str) else None
    if isinstance(wanted, bool) or isinstance(stored, bool):
        return stored if isinstance(wanted, bool) and isinstance(stored, bool) else None
    return stored if isinstance(stored, str) == isinstance(wanted, str) else None


def equal(stored: Scalar, wanted: Scalar) -> bool:
    """Return whether a value of the metadata equals a value of a filter."""
    value = _comparable(stored, wanted)
    return value is not None and value == wanted


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Scalar, Scalar], bool]:
    def compare(stored: Scalar, wanted: Scalar) -> bool:
        value = _comparable(stored, wanted)
        return value is not None and test(value, wanted)

    return compare


TESTS: dict[Op, Callable[[Scalar, Scalar], bool]] = {
    Op.GT: _ordered(lambda a, b: a > b),
    Op.GTE: _ordered(lambda a, b: a >= b),
    Op.LT: _ordered(lambda a, b: a < b),
    Op.LTE: _ordered(lambda a, b: a <= b),
    Op.TEXT: lambda stored, wanted: isinstance(stored, str) and str(wanted) in stored,
}
"""The tests of operators that compare a value of the metadata by something else than `equal`."""


def scalar_to_json(value: Scalar) -> Json:
    """Return a value of a filter as JSON; an instant becomes an object."""
    if not isinstance(value, datetime):
        return value
    plain: dict[str, Json] = {"datetime": value.isoformat()}
    if isinstance(value, Written) and value.text is not None:
        plain["written"] = value.text
    return plain


def value_from_json(value: object) -> Scalar | tuple[Scalar, ...] | None:
    """Read what `scalar_to_json` wrote, or a list of it."""
    if isinstance(value, list | tuple):
        return tuple(map(_scalar_from_json, value))
    return _scalar_from_json(value)


def _scalar_from_json(value: object) -> Scalar:
    if isinstance(value, Mapping):
        moment, text = _moment(value.get("datetime")), value.get("written")
        if moment is None or (text is not None and _moment(text) != moment):
            raise InvalidFilterError(f"unknown filter value {shown(value)}")
        return moment if text is None else Written.of(moment, text)
    return value  # type: ignore[return-value]  # checked where it is compared


def _moment(value: object) -> datetime | None:
    return parse_datetime(value) if isinstance(value, str) else None
