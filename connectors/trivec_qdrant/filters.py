"""Metadata filters as the few conditions that Qdrant has, with exactly the meaning of `matches`.

`lower` translates a filter. Each engine then writes the conditions in its own classes.

Qdrant parses dates by rules of its own, so conditions on dates do not compare the metadata. They
compare `INSTANTS`, where the instants of the metadata lie in one spelling. Points that another
program wrote lack it. They are *strangers*, whose dates trivec reads itself.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import eq, ge, gt, le, lt
from typing import Any, Generic, NamedTuple, TypeVar

from trivec.errors import InvalidFilterError
from trivec.fields import FieldType
from trivec.filters import And, Comparison, Filter, Not, Op, Or, Scalar
from trivec.filters.integers import at_least, at_most
from trivec.plain import Json
from trivec_qdrant.schema import INSTANTS, Names

G = TypeVar("G")
B = TypeVar("B", float, datetime)

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
    """True where the part is false."""

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
class _Range(Generic[B]):
    key: str
    gt: B | None = None
    gte: B | None = None
    lt: B | None = None
    lte: B | None = None


class Between(_Range[float]):
    """A number lies in a range of float64."""


class Instants(_Range[datetime]):
    """A date and time lies in a range."""


@dataclass(frozen=True, slots=True)
class Points:
    """The point is one of these; without any, nowhere."""

    ids: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """A string holds this one."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Empty:
    """The value is missing, null or an empty list."""

    key: str


Leaf = Match | IsBool | Between | Instants | Points | Contains | Empty
Condition = AllOf | AnyOf | NoneOf | Leaf

_BOUNDS = {Op.GT: "gt", Op.GTE: "gte", Op.LT: "lt", Op.LTE: "lte"}
_COMPARE = {Op.EQ: eq, Op.GT: gt, Op.GTE: ge, Op.LT: lt, Op.LTE: le}
_NOWHERE = AnyOf(())


class Stranger(NamedTuple):
    """A point that was written without `INSTANTS`."""

    id: str | int
    metadata: Mapping[str, Json]


def dated(condition: Filter) -> list[str]:
    """Return the paths that a filter compares with instants.

    >>> from trivec import F
    >>> dated((F("day") == datetime(2026, 1, 31)) & (F("year") == 2026))
    ['day']
    """
    paths = [
        comparison.path
        for comparison in condition.comparisons()
        if any(isinstance(value, datetime) for value in comparison.values)
    ]
    return list(dict.fromkeys(paths))


def has_text(condition: Condition) -> bool:
    """Return whether a condition compares substrings."""
    match condition:
        case AllOf(parts) | AnyOf(parts):
            return any(map(has_text, parts))
        case NoneOf(part):
            return has_text(part)
    return isinstance(condition, Contains)


def rendered(condition: Condition, group: type[G], leaf: Callable[[Leaf], object]) -> G:
    """Return a condition in the classes of a client.

    Args:
        condition: The result of `lower`.
        group: The class of filters, with `must`, `should` and `must_not`; the result is one.
        leaf: Returns a leaf in the classes of the client.
    """
    make: Any = group

    def inner(condition: Condition) -> object:
        match condition:
            case AllOf(parts):
                return make(must=list(map(inner, parts)))
            case AnyOf(()):
                return leaf(Points(()))  # an empty `should` would match everything
            case AnyOf(parts):
                return make(should=list(map(inner, parts)))
            case NoneOf(part):
                return make(must_not=[inner(part)])
        return leaf(condition)

    result = inner(condition)
    whole: G = result if isinstance(result, group) else make(must=[result])
    return whole


def strange(paths: Iterable[str], names: Names) -> Condition:
    """Return the condition of strangers that have a value at one of these paths."""
    any_value = AnyOf(tuple(NoneOf(Empty(names.key(path))) for path in paths))
    return AllOf((Empty(INSTANTS), any_value))


def lower(
    condition: Filter,
    fields: Mapping[str, FieldType],
    names: Names,
    strangers: Sequence[Stranger] = (),
) -> Condition:
    """Return a filter as Qdrant's conditions.

    Args:
        condition: Any filter.
        fields: The declared fields, which are indexed and whose values were checked.
        names: Where the metadata lies.
        strangers: All points that satisfy `strange(dated(condition), names)`.

    Example:
        >>> from trivec import F
        >>> lower(F("year") > 2019.5, {"year": FieldType.INT}, Names())
        Between(key='metadata.year', gt=None, gte=2020.0, lt=None, lte=None)
    """
    return _Lowering(fields, names, strangers).lower(condition.simplified())


@dataclass(frozen=True, slots=True)
class _Lowering:
    fields: Mapping[str, FieldType]
    names: Names
    strangers: Sequence[Stranger]

    def lower(self, node: Filter) -> Condition:
        match node:
            case And(()):
                return NoneOf(_NOWHERE)  # Qdrant's empty filter would delete everything
            case And():
                return AllOf(tuple(map(self.lower, node.filters)))
            case Or():
                return AnyOf(tuple(map(self.lower, node.filters)))
            case Not():
                return NoneOf(self.lower(node.filter))
            case Comparison(path, op, value):
                declared = self.fields.get(path)
                item = None if declared is None else declared.item
                if op is Op.EXISTS:
                    return _exists(self.names.key(path), item)
                if isinstance(value, tuple):
                    return self._one_of(path, value, item)
                if value is not None:
                    return self._compare(path, op, value, item)
        raise InvalidFilterError(f"{node!r} is not a filter that trivec knows")

    def _compare(self, path: str, op: Op, value: Scalar, type: FieldType | None) -> Condition:
        key = self.names.key(path)
        if isinstance(value, bool):
            return IsBool(key, value)
        if isinstance(value, str):
            return Contains(key, value) if op is Op.TEXT else Match(key, [value])
        if isinstance(value, datetime):
            return self._instants(path, op, value)
        return (_integers if type is FieldType.INT else _numbers)(key, op, value)

    def _instants(self, path: str, op: Op, value: datetime) -> Condition:
        key = f"{INSTANTS}.{path}"
        bounds = {"gte": value, "lte": value} if op is Op.EQ else {_BOUNDS[op]: value}
        test = Comparison(path, op, value)
        ids = tuple(point.id for point in self.strangers if test.matches(point.metadata))
        return _any(Instants(key, **bounds), *((Points(ids),) if ids else ()))

    def _one_of(self, path: str, values: Sequence[Scalar], type: FieldType | None) -> Condition:
        strings = [value for value in values if isinstance(value, str)]
        others = (
            self._compare(path, Op.EQ, value, type)
            for value in values
            if not isinstance(value, str)
        )
        matched = (Match(self.names.key(path), strings),) if strings else ()
        return AnyOf((*matched, *others))


def _exists(key: str, type: FieldType | None) -> Condition:
    if type is not None:
        return NoneOf(Empty(key))
    # "Not empty" would also be true of objects, of nested lists and of [null].
    every_number = Between(key, gte=-sys.float_info.max)
    return AnyOf((every_number, IsBool(key, True), IsBool(key, False), Contains(key, "")))


def _integers(key: str, op: Op, value: float) -> Condition:
    """Compare a field of integers, whose index compares 64-bit integers exactly."""
    if op is Op.EQ:
        fits = value == int(value) and MIN_INT <= value <= MAX_INT
        return Match(key, [int(value)]) if fits else _NOWHERE
    if op is Op.GT or op is Op.GTE:
        low = math.floor(value) + 1 if op is Op.GT else math.ceil(value)
        if low <= MIN_INT:
            return NoneOf(Empty(key))
        return _bounded(key, "gte", at_least(low)) if low <= MAX_INT else _NOWHERE
    high = math.ceil(value) - 1 if op is Op.LT else math.floor(value)
    if high >= MAX_INT:
        return NoneOf(Empty(key))
    return _bounded(key, "lte", at_most(high)) if high >= MIN_INT else _NOWHERE


def _bounded(key: str, side: str, exact: tuple[int | None, Sequence[int]]) -> Condition:
    """Return a range up to a bound that is a float64, and the integers beyond it one by one."""
    bound, listed = exact
    between = () if bound is None else (Between(key, **{side: float(bound)}),)
    return _any(*between, *((Match(key, list(listed)),) if listed else ()))


def _numbers(key: str, op: Op, value: float) -> Condition:
    """Compare a field that may hold integers and floats."""
    near, passes = float(value), _COMPARE[op]
    if abs(near) < EXACT:
        if op is Op.EQ:
            return Between(key, gte=near, lte=near)
        return Between(key, **{_BOUNDS[op]: near})
    # Qdrant rounds stored integers to float64 here, so that neighbours of the value become equal
    # to it. So these are listed, and ranges begin at the next float64, which none of them reaches.
    below, above = math.nextafter(near, -math.inf), math.nextafter(near, math.inf)
    parts: list[Condition] = []
    if op in (Op.GT, Op.GTE) and above < math.inf:
        parts.append(Between(key, gte=above))
    if op in (Op.LT, Op.LTE) and below > -math.inf:
        parts.append(Between(key, lte=below))
    low = MIN_INT if below < MIN_INT else int(below) + 1
    high = MAX_INT if above > MAX_INT else int(above) - 1
    passing = [n for n in range(low, high + 1) if passes(n, value)]
    if passing:
        parts.append(Match(key, passing))
    if passes(near, value):
        equal: Condition = Between(key, gte=near, lte=near)
        failing = [n for n in range(low, high + 1) if float(n) == near and not passes(n, value)]
        parts.append(AllOf((equal, NoneOf(Match(key, failing)))) if failing else equal)
    return _any(*parts)


def _any(*parts: Condition) -> Condition:
    return parts[0] if len(parts) == 1 else AnyOf(parts)
