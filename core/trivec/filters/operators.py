"""The comparisons of filters, and what each can be asked of."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any

from trivec.arguments import named, shown
from trivec.errors import InvalidFilterError
from trivec.fields import Scalar
from trivec.filters.instants import Written, in_utc, instant, parse_datetime, written
from trivec.plain import plain_scalar


class Op(StrEnum):
    """A comparison; the value is how `to_dict` writes it."""

    EQ = "=="
    NE = "!="
    GT = ">"
    GTE = ">="
    LT = "<"
    LTE = "<="
    IN = "in"
    NIN = "not in"
    CONTAINS = "contains"
    ANY = "any"
    ALL = "all"
    TEXT = "text"
    IS_NULL = "is null"
    EXISTS = "exists"


ORDERING = frozenset({Op.GT, Op.GTE, Op.LT, Op.LTE})
LISTS = frozenset({Op.IN, Op.NIN, Op.ANY, Op.ALL})
PRESENCE = frozenset({Op.IS_NULL, Op.EXISTS})


def checked_scalar(path: str, op: Op, value: object) -> Scalar:
    """Return one value of a comparison, an instant in UTC; an ordering takes strings that are some.

    Raises:
        InvalidFilterError: If it cannot be compared so; the message names the path.
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


def comparable(found: Scalar, wanted: Scalar) -> Scalar | None:
    """Return `found` in the kind of `wanted`, or None where the two cannot be compared."""
    if isinstance(wanted, datetime):
        return parse_datetime(found) if isinstance(found, str) else None
    if isinstance(wanted, bool) or isinstance(found, bool):
        return found if isinstance(wanted, bool) and isinstance(found, bool) else None
    return found if isinstance(found, str) == isinstance(wanted, str) else None


def equal(found: Scalar, wanted: Scalar) -> bool:
    """Return whether a value of the metadata equals what a filter wants."""
    value = comparable(found, wanted)
    return value is not None and value == wanted


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Scalar, Scalar], bool]:
    def compare(found: Scalar, wanted: Scalar) -> bool:
        value = comparable(found, wanted)
        return value is not None and test(value, wanted)

    return compare


TESTS: dict[Op, Callable[[Scalar, Scalar], bool]] = {
    Op.EQ: equal,
    Op.CONTAINS: equal,
    Op.GT: _ordered(lambda a, b: a > b),
    Op.GTE: _ordered(lambda a, b: a >= b),
    Op.LT: _ordered(lambda a, b: a < b),
    Op.LTE: _ordered(lambda a, b: a <= b),
    Op.TEXT: lambda found, wanted: isinstance(found, str) and str(wanted) in found,
}
"""Whether a value of the metadata satisfies a comparison with one value."""
