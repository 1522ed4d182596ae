"""Metadata filters as the few conditions that Qdrant has, with exactly the meaning of `matches`.

`lower` does all the thinking; what it returns is written down once for the client's models and
once for the embedded engine's.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from trivec.errors import InvalidFilterError
from trivec.fields import FieldType
from trivec.filters import And, Comparison, Filter, Not, Op, Or, Scalar

__all__ = [
    "AllOf",
    "AnyOf",
    "Between",
    "Condition",
    "Contains",
    "Empty",
    "Instants",
    "IsBool",
    "Leaf",
    "Match",
    "NoneOf",
    "lower",
]

MIN_INT, MAX_INT = -(2**63), 2**63 - 1
EXACT = 2**53  # below it every integer is a float64 of its own


@dataclass(frozen=True, slots=True)
class AllOf:
    """True where all parts are."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True where any part is; without parts, nowhere."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class NoneOf:
    """True where the part is not."""

    part: Condition


@dataclass(frozen=True, slots=True)
class Match:
    """A value is one of these strings or one of these integers."""

    key: str
    values: list[str] | list[int]


@dataclass(frozen=True, slots=True)
class IsBool:
    """A value is this boolean."""

    key: str
    value: bool


@dataclass(frozen=True, slots=True)
class Between:
    """A number lies in a range of float64."""

    key: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None


@dataclass(frozen=True, slots=True)
class Instants:
    """A date and time lies in a range."""

    key: str
    gt: datetime | None = None
    gte: datetime | None = None
    lt: datetime | None = None
    lte: datetime | None = None


@dataclass(frozen=True, slots=True)
class Contains:
    """A string holds this one."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Empty:
    """The value is missing, null or an empty list."""

    key: str


Leaf = Match | IsBool | Between | Instants | Contains | Empty
Condition = AllOf | AnyOf | NoneOf | Leaf

_BOUNDS = {Op.GT: "gt", Op.GTE: "gte", Op.LT: "lt", Op.LTE: "lte"}
_NOWHERE = AnyOf(())


def lower(condition: Filter, fields: Mapping[str, FieldType], prefix: str) -> Condition:
    """Write a filter down in Qdrant's conditions.

    Args:
        condition: Any filter.
        fields: The declared fields; they are indexed, and what they hold was checked.
        prefix: The payload key that holds the metadata; "" where the metadata is the payload.

    Example:
        >>> from trivec import F
        >>> lower(F("year") > 2019.5, {"year": FieldType.INT}, "metadata")
        Between(key='metadata.year', gt=None, gte=2020.0, lt=None, lte=None)
    """
    return _lower(condition.simplified(), fields, f"{prefix}." if prefix else "")


def _lower(node: Filter, fields: Mapping[str, FieldType], prefix: str) -> Condition:
    match node:
        case And():
            return AllOf(tuple(_lower(part, fields, prefix) for part in node.filters))
        case Or():
            return AnyOf(tuple(_lower(part, fields, prefix) for part in node.filters))
        case Not():
            return NoneOf(_lower(node.filter, fields, prefix))
        case Comparison():
            kind = fields.get(node.path)
            return _comparison(node, prefix + node.path, None if kind is None else kind.item)
    raise InvalidFilterError(f"{node!r} is not a filter that trivec knows")


def _comparison(node: Comparison, key: str, kind: FieldType | None) -> Condition:
    value = node.value
    if node.op is Op.EXISTS:
        return _exists(key, kind)
    if isinstance(value, tuple):
        return _one_of(key, value, kind)
    if isinstance(value, bool):
        return IsBool(key, value)
    if isinstance(value, str):
        return Contains(key, value) if node.op is Op.TEXT else Match(key, [value])
    if isinstance(value, datetime):
        if node.op is Op.EQ:
            return Instants(key, gte=value, lte=value)
        return Instants(key, **{_BOUNDS[node.op]: value})
    if isinstance(value, int | float):
        return (_integers if kind is FieldType.INT else _numbers)(key, node.op, value)
    raise InvalidFilterError(f"{node!r} cannot be translated for Qdrant")


def _exists(key: str, kind: FieldType | None) -> Condition:
    if kind is not None:
        return NoneOf(Empty(key))
    # "Not empty" would also be true of objects, of nested lists and of [null].
    every_number = Between(key, gte=-sys.float_info.max)
    return AnyOf((every_number, IsBool(key, True), IsBool(key, False), Contains(key, "")))


def _one_of(key: str, values: Sequence[Scalar], kind: FieldType | None) -> Condition:
    strings = [value for value in values if isinstance(value, str)]
    others = (
        _comparison(Comparison(key, Op.EQ, value), key, kind)
        for value in values
        if not isinstance(value, str)
    )
    return AnyOf((*((Match(key, strings),) if strings else ()), *others))


def _integers(key: str, op: Op, value: float) -> Condition:
    """Compare a field of integers, whose index compares 64-bit integers exactly."""
    if op is Op.EQ:
        fits = value == int(value) and MIN_INT <= value <= MAX_INT
        return Match(key, [int(value)]) if fits else _NOWHERE
    if op is Op.GT or op is Op.GTE:
        low = math.floor(value) + 1 if op is Op.GT else math.ceil(value)
        if low <= MIN_INT:
            return NoneOf(Empty(key))
        return _at_least(key, low)
    high = math.ceil(value) - 1 if op is Op.LT else math.floor(value)
    if high >= MAX_INT:
        return NoneOf(Empty(key))
    return _at_most(key, high)


def _at_least(key: str, low: int) -> Condition:
    # The range's bounds are float64: those that are not are rounded up, and what lies between is
    # listed, at most 1,023 integers.
    bound = float(low)
    if bound < low:
        bound = math.nextafter(bound, math.inf)
    listed = list(range(low, min(int(bound), MAX_INT + 1)))
    between = (Between(key, gte=bound),) if bound <= MAX_INT else ()
    return _any(*between, *((Match(key, listed),) if listed else ()))


def _at_most(key: str, high: int) -> Condition:
    bound = float(high)
    if bound > high:
        bound = math.nextafter(bound, -math.inf)
    listed = list(range(max(int(bound) + 1, MIN_INT), high + 1))
    between = (Between(key, lte=bound),) if bound >= MIN_INT else ()
    return _any(*between, *((Match(key, listed),) if listed else ()))


def _numbers(key: str, op: Op, value: float) -> Condition:
    """Compare a field that may hold integers and floats."""
    near = float(value)
    if abs(near) < EXACT:
        if op is Op.EQ:
            return Between(key, gte=near, lte=near)
        return Between(key, **{_BOUNDS[op]: near})
    # Qdrant rounds stored integers to float64 here, so that neighbours of the value become equal
    # to it. They are listed, and ranges begin at the next float64, which no neighbour reaches.
    below, above = math.nextafter(near, -math.inf), math.nextafter(near, math.inf)
    parts: list[Condition] = []
    if op in (Op.GT, Op.GTE) and above < math.inf:
        parts.append(Between(key, gte=above))
    if op in (Op.LT, Op.LTE) and below > -math.inf:
        parts.append(Between(key, lte=below))
    low = MIN_INT if below < MIN_INT else int(below) + 1
    high = MAX_INT if above > MAX_INT else int(above) - 1
    passing = [one for one in range(low, high + 1) if _passes(one, op, value)]
    if passing:
        parts.append(Match(key, passing))
    if _passes(near, op, value):
        equal: Condition = Between(key, gte=near, lte=near)
        failing = [
            one
            for one in range(low, high + 1)
            if float(one) == near and not _passes(one, op, value)
        ]
        parts.append(AllOf((equal, NoneOf(Match(key, failing)))) if failing else equal)
    return _any(*parts)


def _passes(number: float, op: Op, value: float) -> bool:
    return {
        Op.EQ: number == value,
        Op.GT: number > value,
        Op.GTE: number >= value,
        Op.LT: number < value,
        Op.LTE: number <= value,
    }[op]


def _any(*parts: Condition) -> Condition:
    return parts[0] if len(parts) == 1 else AnyOf(parts)
