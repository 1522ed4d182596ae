"""Conditions on metadata: one small tree that every store translates, and its exact meaning.

Every metadata value counts as a list of values: missing, null and an empty list hold none, a
scalar holds one, a list holds its elements (those that are null count for nothing). A
comparison is true if any of the values satisfies it, so the negative ones (`!=`, `not in`,
`is null`) are true where there is no value, and `~` is the plain complement. Numbers compare
as numbers (2 == 2.0), booleans only with booleans, strings only with strings, a datetime with
ISO 8601 strings as instants (UTC where no zone is given). Paths go through objects, not
through lists of objects.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from trivec.document import Json
from trivec.errors import InvalidFilterError
from trivec.filters.values import (
    Scalar,
    comparable,
    equal,
    in_utc,
    metadata_values,
    parse_datetime,
    split_path,
)
from trivec.plain import plain_scalar

__all__ = [
    "And",
    "Comparison",
    "Filter",
    "Not",
    "Op",
    "Or",
]


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
_LISTS = frozenset({Op.IN, Op.NIN, Op.ANY, Op.ALL})
_PRESENCE = frozenset({Op.IS_NULL, Op.EXISTS})


class Filter(ABC):
    """A condition on metadata; combine with `&`, `|` and `~`.

    Example:
        >>> from trivec import F
        >>> recent = (F("year") >= 2020) & ~(F("lang") == "de")
        >>> recent.matches({"year": 2024, "lang": "en"}), recent.matches({"lang": "en"})
        (True, False)
        >>> Filter.from_dict(recent.to_dict()) == recent
        True
    """

    @abstractmethod
    def matches(self, metadata: Mapping[str, Json]) -> bool:
        """Return whether this metadata satisfies the condition: the definition for all stores."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the condition as JSON, in the shape of Haystack's filters."""

    @abstractmethod
    def simplified(self) -> Filter:
        """Return an equal condition made of And, Or, Not and the operators that stores translate.

        Those are `==`, `in`, the four orderings, `text` and `exists`.
        """

    @abstractmethod
    def comparisons(self) -> Iterable[Comparison]:
        """Yield every comparison in the tree."""

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Filter:
        """Read what `to_dict` wrote.

        Raises:
            InvalidFilterError: If the shape or an operator is unknown.
        """
        if not isinstance(data, Mapping) or "operator" not in data:
            raise InvalidFilterError(f"a filter is an object with an 'operator', got {data!r}")
        if "conditions" in data:
            if not isinstance(data["conditions"], list | tuple):
                raise InvalidFilterError(f"'conditions' takes a list, got {data['conditions']!r}")
            parts = tuple(Filter.from_dict(part) for part in data["conditions"])
            match data["operator"]:
                case "AND":
                    return And(parts)
                case "OR":
                    return Or(parts)
                case "NOT" if len(parts) == 1:
                    return Not(parts[0])
        if "field" not in data or data["operator"] not in list(Op):
            raise InvalidFilterError(
                f"unknown filter {dict(data)!r}; expected AND, OR, NOT with 'conditions', or a "
                f"'field' with one of {', '.join(Op)}"
            )
        return Comparison(data["field"], Op(data["operator"]), _from_json(data.get("value")))

    def __and__(self, other: Filter) -> Filter:
        return And((self, other))

    def __or__(self, other: Filter) -> Filter:
        return Or((self, other))

    def __invert__(self) -> Filter:
        return Not(self)

    def __bool__(self) -> bool:
        raise InvalidFilterError("a filter has no truth value; combine with &, | and ~ in brackets")


@dataclass(frozen=True, slots=True)
class And(Filter):
    """True where all filters are; without any, true everywhere."""

    filters: tuple[Filter, ...]

    def __and__(self, other: Filter) -> Filter:
        return And((*self.filters, other))  # a loop of `&` stays flat

    def matches(self, metadata: Mapping[str, Json]) -> bool:
        """Return whether this metadata satisfies the condition."""
        return all(f.matches(metadata) for f in self.filters)

    def to_dict(self) -> dict[str, Any]:
        """Return the condition as JSON."""
        return {"operator": "AND", "conditions": [f.to_dict() for f in self.filters]}

    def simplified(self) -> Filter:
        """Return an equal condition of fewer kinds."""
        return And(tuple(f.simplified() for f in self.filters))

    def comparisons(self) -> Iterable[Comparison]:
        """Yield every comparison in the tree."""
        return (c for f in self.filters for c in f.comparisons())


@dataclass(frozen=True, slots=True)
class Or(Filter):
    """True where any filter is; without any, true nowhere."""

    filters: tuple[Filter, ...]

    def __or__(self, other: Filter) -> Filter:
        return Or((*self.filters, other))  # a loop of `|` stays flat

    def matches(self, metadata: Mapping[str, Json]) -> bool:
        """Return whether this metadata satisfies the condition."""
        return any(f.matches(metadata) for f in self.filters)

    def to_dict(self) -> dict[str, Any]:
        """Return the condition as JSON."""
        return {"operator": "OR", "conditions": [f.to_dict() for f in self.filters]}

    def simplified(self) -> Filter:
        """Return an equal condition of fewer kinds."""
        return Or(tuple(f.simplified() for f in self.filters))

    def comparisons(self) -> Iterable[Comparison]:
        """Yield every comparison in the tree."""
        return (c for f in self.filters for c in f.comparisons())


@dataclass(frozen=True, slots=True)
class Not(Filter):
    """True where the filter is not."""

    filter: Filter

    def matches(self, metadata: Mapping[str, Json]) -> bool:
        """Return whether this metadata satisfies the condition."""
        return not self.filter.matches(metadata)

    def to_dict(self) -> dict[str, Any]:
        """Return the condition as JSON."""
        return {"operator": "NOT", "conditions": [self.filter.to_dict()]}

    def simplified(self) -> Filter:
        """Return an equal condition of fewer kinds."""
        inner = self.filter.simplified()
        return inner.filter if isinstance(inner, Not) else Not(inner)

    def comparisons(self) -> Iterable[Comparison]:
        """Yield every comparison in the tree."""
        return self.filter.comparisons()


@dataclass(frozen=True, slots=True)
class Comparison(Filter):
    """One field compared with a value; made by `F`.

    Args:
        path: Where the value lies in the metadata, dots between the segments.
        op: The comparison.
        value: A scalar, a tuple of scalars for `in`, `not in`, `any` and `all`, or None for
            `is null` and `exists`.

    Raises:
        InvalidFilterError: If the path or the value cannot be meant.
    """

    path: str
    op: Op
    value: Scalar | tuple[Scalar, ...] | None = None

    def __post_init__(self) -> None:
        split_path(self.path)
        if self.op in _PRESENCE:
            if self.value is not None:
                raise InvalidFilterError(f"{self.path} {self.op}: no value is expected")
        elif self.op in _LISTS:
            if isinstance(self.value, str) or not isinstance(self.value, Iterable):
                raise InvalidFilterError(
                    f"{self.path} {self.op}: expected a list, got {self.value!r}"
                )
            values = tuple(_scalar(self.path, self.op, item) for item in self.value)
            object.__setattr__(self, "value", values)
        else:
            object.__setattr__(self, "value", _scalar(self.path, self.op, self.value))

    def __eq__(self, other: object) -> bool:
        # 1 == True == 1.0 in Python, but not here.
        return isinstance(other, Comparison) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, Op, str]:
        return self.path, self.op, repr(self.value)

    def matches(self, metadata: Mapping[str, Json]) -> bool:
        """Return whether this metadata satisfies the condition."""
        found = metadata_values(metadata, self.path)
        listed = self.value if isinstance(self.value, tuple) else ()
        match self.op:
            case Op.EXISTS:
                return bool(found)
            case Op.IS_NULL:
                return not found
            case Op.IN | Op.ANY:
                return any(equal(v, w) for v in found for w in listed)
            case Op.NIN:
                return not any(equal(v, w) for v in found for w in listed)
            case Op.ALL:
                return all(any(equal(v, w) for v in found) for w in listed)
        assert self.value is not None
        assert not isinstance(self.value, tuple)
        if self.op is Op.NE:
            return not any(equal(v, self.value) for v in found)
        test = _TESTS[self.op]
        return any(test(v, self.value) for v in found)

    def to_dict(self) -> dict[str, Any]:
        """Return the condition as JSON."""
        plain: dict[str, Any] = {"field": self.path, "operator": str(self.op)}
        if isinstance(self.value, tuple):
            plain["value"] = [_to_json(v) for v in self.value]
        elif self.value is not None:
            plain["value"] = _to_json(self.value)
        return plain

    def simplified(self) -> Filter:
        """Return an equal condition of fewer kinds."""
        match self.op:
            case Op.NE:
                return Not(Comparison(self.path, Op.EQ, self.value))
            case Op.NIN:
                return Not(Comparison(self.path, Op.IN, self.value))
            case Op.CONTAINS:
                return Comparison(self.path, Op.EQ, self.value)
            case Op.ANY:
                return Comparison(self.path, Op.IN, self.value)
            case Op.ALL:
                assert isinstance(self.value, tuple)
                return And(tuple(Comparison(self.path, Op.EQ, v) for v in self.value))
            case Op.IS_NULL:
                return Not(Comparison(self.path, Op.EXISTS))
        return self

    def comparisons(self) -> Iterable[Comparison]:
        """Yield every comparison in the tree."""
        yield self


def _scalar(path: str, op: Op, value: object) -> Scalar:
    what = f"{path} {op} {value!r}"
    value = plain_scalar(value)
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


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Scalar, Scalar], bool]:
    def compare(found: Scalar, wanted: Scalar) -> bool:
        value = comparable(found, wanted)
        return value is not None and test(value, wanted)

    return compare


_TESTS: dict[Op, Callable[[Scalar, Scalar], bool]] = {
    Op.EQ: equal,
    Op.CONTAINS: equal,
    Op.GT: _ordered(lambda a, b: a > b),
    Op.GTE: _ordered(lambda a, b: a >= b),
    Op.LT: _ordered(lambda a, b: a < b),
    Op.LTE: _ordered(lambda a, b: a <= b),
    Op.TEXT: lambda found, wanted: isinstance(found, str) and str(wanted) in found,
}


def _to_json(value: Scalar) -> Json:
    return {"datetime": value.isoformat()} if isinstance(value, datetime) else value


def _from_json(value: object) -> Scalar | tuple[Scalar, ...] | None:
    if isinstance(value, Mapping):
        moment = parse_datetime(str(value.get("datetime")))
        if moment is None:
            raise InvalidFilterError(f"unknown filter value {value!r}")
        return moment
    if isinstance(value, list):
        return tuple(_from_json(item) for item in value)  # type: ignore[misc]
    return value  # type: ignore[return-value]
