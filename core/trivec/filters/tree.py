"""Conditions on metadata: a small tree that every store translates, and its exact meaning.

Every metadata value counts as a list of values: a missing field, null and an empty list hold no
value, a scalar holds one value, a list holds its elements except nulls. A comparison is true if
any of the values satisfies it. So the negative comparisons (`!=`, `not in`, `is null`) are true
where there is no value, and `~` is the plain complement. Numbers compare as numbers (2 == 2.0),
booleans only with booleans, strings only with strings, and a datetime with strings that are
instants (see `instants`). Paths go through objects, not through lists of objects.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, ClassVar

from trivec.arguments import shown
from trivec.errors import InvalidFilterError
from trivec.fields import Scalar, metadata_values, split_path
from trivec.filters.operators import LISTS, PRESENCE, Op
from trivec.filters.scalars import TESTS, checked_scalar, equal, scalar_to_json, value_from_json
from trivec.plain import Json

_GROUPS_WHEN_SIMPLIFIED = frozenset({Op.NE, Op.NIN, Op.ALL, Op.IS_NULL})
_depth_of = attrgetter("_depth")

MAX_DEPTH = 32
"""The maximum depth of nested `and`, `or` and `not`, for every notation, store and database.

Qdrant accepts JSON up to a depth of 128 objects and lists, and gRPC messages up to a depth of 100.
One group of a filter takes two levels of either; a comparison and the query around the filter take
up to 18.
"""


class Filter(ABC):
    """A condition on metadata; combine with `&`, `|` and `~`.

    Groups are nested at most 32 deep; a chain of `&` or a chain of `|` is one group.

    Example:
        >>> from trivec import F
        >>> recent = (F("year") >= 2020) & ~(F("lang") == "de")
        >>> recent.matches({"year": 2024, "lang": "en"}), recent.matches({"lang": "en"})
        (True, False)
        >>> Filter.from_dict(recent.to_dict()) == recent
        True
    """

    _depth: int = 0
    """The depth of nested groups, in this filter or in the result of `simplified`."""

    @abstractmethod
    def matches(self, metadata: Mapping[str, Json]) -> bool:
        """Return whether metadata satisfies the condition; this defines it for all stores."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the condition as JSON, in the shape of Haystack's filters."""

    @abstractmethod
    def simplified(self) -> Filter:
        """Return an equivalent condition of And, Or, Not and the operators that stores translate.

        These are `==`, `in`, the four orderings, `text` and `exists`. Constants are folded: a
        condition that is always true or always false, such as `x | ~x`, becomes `ALWAYS` or
        `NEVER`, and neither of these is part of another condition.
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
        return _from_dict(data, 0)

    def __and__(self, other: Filter) -> Filter:
        return And((*_members(And, self), *_members(And, other)))  # chains stay flat

    def __or__(self, other: Filter) -> Filter:
        return Or((*_members(Or, self), *_members(Or, other)))

    def __rand__(self, other: object) -> Filter:
        return check_is_filter(other) & self

    def __ror__(self, other: object) -> Filter:
        return check_is_filter(other) | self

    def __invert__(self) -> Filter:
        return Not(self)

    def __bool__(self) -> bool:
        raise InvalidFilterError("a filter has no truth value; combine with &, | and ~ in brackets")


@dataclass(frozen=True, slots=True)
class _Group(Filter):
    """Several filters."""

    _operator: ClassVar[str]
    filters: tuple[Filter, ...]
    _depth: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", _checked(self.filters))
        object.__setattr__(self, "_depth", _depth_over(self.filters))

    def to_dict(self) -> dict[str, Any]:
        """Return the condition as JSON."""
        return {"operator": self._operator, "conditions": [f.to_dict() for f in self.filters]}

    def simplified(self) -> Filter:
        """Return an equivalent condition of fewer operators."""
        return _folded(type(self), [f.simplified() for f in self.filters])

    def comparisons(self) -> Iterable[Comparison]:
        """Yield every comparison in the tree."""
        return (c for f in self.filters for c in f.comparisons())


@dataclass(frozen=True, slots=True)
class And(_Group):
    """True if all filters are true; without filters, always true."""

    _operator: ClassVar[str] = "AND"

    def matches(self, metadata: Mapping[str, Json]) -> bool:
        """Return whether metadata satisfies the condition."""
        return all(f.matches(metadata) for f in self.filters)


@dataclass(frozen=True, slots=True)
class Or(_Group):
    """True if any filter is true; without filters, never true."""

    _operator: ClassVar[str] = "OR"

    def matches(self, metadata: Mapping[str, Json]) -> bool:
        """Return whether metadata satisfies the condition."""
        return any(f.matches(metadata) for f in self.filters)


@dataclass(frozen=True, slots=True)
class Not(Filter):
    """True if the filter is false."""

    filter: Filter
    _depth: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_depth", _depth_over((check_is_filter(self.filter),)))

    def __invert__(self) -> Filter:
        return self.filter

    def matches(self, metadata: Mapping[str, Json]) -> bool:
        """Return whether metadata satisfies the condition."""
        return not self.filter.matches(metadata)

    def to_dict(self) -> dict[str, Any]:
        """Return the condition as JSON."""
        return {"operator": "NOT", "conditions": [self.filter.to_dict()]}

    def simplified(self) -> Filter:
        """Return an equivalent condition of fewer operators."""
        inner = self.filter.simplified()
        if isinstance(inner, And | Or) and not inner.filters:
            return NEVER if isinstance(inner, And) else ALWAYS
        return ~inner

    def comparisons(self) -> Iterable[Comparison]:
        """Yield every comparison in the tree."""
        return self.filter.comparisons()


@dataclass(frozen=True, slots=True)
class Comparison(Filter):
    """A comparison of one field with a value; `F` makes it.

    Args:
        path: The path of the field, with dots between the segments.
        op: The operator.
        value: A scalar, a tuple of scalars for `in`, `not in`, `any` and `all`, or None for
            `is null` and `exists`.

    Raises:
        InvalidFilterError: If the path is malformed, or the operator cannot compare the value.
    """

    path: str
    op: Op
    value: Scalar | tuple[Scalar, ...] | None = None
    _depth: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        split_path(self.path)
        if not isinstance(self.op, Op):
            raise InvalidFilterError(f"{self.path}: expected an Op, got {shown(self.op)}")
        object.__setattr__(self, "_depth", int(self.op in _GROUPS_WHEN_SIMPLIFIED))
        if self.op in PRESENCE:
            if self.value is not None:
                raise InvalidFilterError(f"{self.path} {self.op}: no value is expected")
        elif self.op in LISTS:
            if isinstance(self.value, str) or not isinstance(self.value, Iterable):
                raise InvalidFilterError(
                    f"{self.path} {self.op}: expected a list, got {shown(self.value)}"
                )
            values = tuple(checked_scalar(self.path, self.op, item) for item in self.value)
            object.__setattr__(self, "value", values)
        else:
            object.__setattr__(self, "value", checked_scalar(self.path, self.op, self.value))

    @property
    def values(self) -> tuple[Scalar, ...]:
        """The values that the field is compared with: none, one or several."""
        if isinstance(self.value, tuple):
            return self.value
        return () if self.value is None else (self.value,)

    def __eq__(self, other: object) -> bool:
        # 1 == True == 1.0 in Python, but not here.
        return isinstance(other, Comparison) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, Op, str]:
        return self.path, self.op, repr(self.value)

    def matches(self, metadata: Mapping[str, Json]) -> bool:
        """Return whether metadata satisfies the condition."""
        stored, wanted = metadata_values(metadata, self.path), self.values
        match self.op:
            case Op.EXISTS:
                return bool(stored)
            case Op.IS_NULL:
                return not stored
            case Op.NE | Op.NIN:
                return not any(equal(v, w) for v in stored for w in wanted)
            case Op.ALL:
                return all(any(equal(v, w) for v in stored) for w in wanted)
        test = TESTS.get(self.op, equal)
        return any(test(v, w) for v in stored for w in wanted)

    def to_dict(self) -> dict[str, Any]:
        """Return the condition as JSON."""
        plain: dict[str, Any] = {"field": self.path, "operator": str(self.op)}
        if isinstance(self.value, tuple):
            plain["value"] = [scalar_to_json(v) for v in self.value]
        elif self.value is not None:
            plain["value"] = scalar_to_json(self.value)
        return plain

    def simplified(self) -> Filter:
        """Return an equivalent condition of fewer operators."""
        match self.op:
            case Op.NE:
                return Not(Comparison(self.path, Op.EQ, self.value))
            case Op.NIN:
                return Not(Comparison(self.path, Op.IN, self.value)).simplified()
            case Op.CONTAINS:
                return Comparison(self.path, Op.EQ, self.value)
            case Op.IN | Op.ANY:
                return Comparison(self.path, Op.IN, self.value) if self.value else NEVER
            case Op.ALL:
                assert isinstance(self.value, tuple)
                return _folded(And, [Comparison(self.path, Op.EQ, v) for v in self.value])
            case Op.IS_NULL:
                return Not(Comparison(self.path, Op.EXISTS))
        return self

    def comparisons(self) -> Iterable[Comparison]:
        """Yield every comparison in the tree."""
        yield self


def check_depth(depth: int) -> int:
    """Return the depth of nested groups, or raise `InvalidFilterError` if it is above `MAX_DEPTH`.

    >>> check_depth(33)
    Traceback (most recent call last):
    trivec.errors.InvalidFilterError: a filter has 33 or more nested groups (and, or, \
not, brackets); at most 32 are allowed. Join conditions in one group, as in And((a, b, c)), and \
use in_([...]) for many values of one field
    """
    if depth > MAX_DEPTH:
        raise InvalidFilterError(
            f"a filter has {depth} or more nested groups (and, or, not, brackets); at most "
            f"{MAX_DEPTH} are allowed. Join conditions in one group, as in And((a, b, c)), and "
            "use in_([...]) for many values of one field"
        )
    return depth


def check_is_filter(value: object) -> Filter:
    """Return a filter as it is.

    Raises:
        InvalidFilterError: If the value is not a filter; the message says how to make one of it.
    """
    if isinstance(value, Filter):
        return value
    if isinstance(value, Mapping):
        advice = "as_filter(...) of trivec.filters.dicts makes a filter of a dict"
    elif isinstance(value, str):
        advice = "parse_filter(...) of trivec.filters.parser makes a filter of a text"
    elif isinstance(value, list | tuple | set | frozenset):
        advice = "combine several filters with & or |"
    elif type(value).__name__ == "F":
        advice = "compare the field with something, as in F('x') == 1, or use F('x').exists()"
    else:
        advice = "a filter is made with F, as in F('x') == 1"
    raise InvalidFilterError(f"{shown(value)} is not a filter; {advice}")


def _members(group: type[_Group], value: Filter) -> tuple[Filter, ...]:
    """Return the filters of a group of this class; anything else is its own only member."""
    return value.filters if isinstance(value, group) else (value,)


def _checked(filters: object) -> tuple[Filter, ...]:
    """Return the members of a group as a tuple of filters."""
    if isinstance(filters, str | Mapping) or not isinstance(filters, Iterable):
        raise InvalidFilterError(f"And and Or take a tuple of filters, got {shown(filters)}")
    members = tuple(filters)
    if not all(issubclass(cls, Filter) for cls in set(map(type, members))):
        members = tuple(map(check_is_filter, members))
    return members


def _depth_over(members: tuple[Filter, ...]) -> int:
    """Return the depth of a group; an empty group has depth 0."""
    return check_depth(max(map(_depth_of, members), default=-1) + 1)


def _from_dict(data: object, depth: int) -> Filter:
    """Read what `to_dict` wrote, at this depth of nested groups."""
    if not isinstance(data, Mapping) or "operator" not in data:
        raise InvalidFilterError(f"a filter is an object with an 'operator', got {shown(data)}")
    operator = data["operator"]
    if "conditions" in data:
        conditions = data["conditions"]
        if not isinstance(conditions, list | tuple):
            raise InvalidFilterError(f"'conditions' takes a list, got {shown(conditions)}")
        check_depth(depth + bool(conditions))
        members = tuple(_from_dict(condition, depth + 1) for condition in conditions)
        match operator:
            case "AND":
                return And(members)
            case "OR":
                return Or(members)
            case "NOT" if len(members) == 1:
                return Not(members[0])
    if "field" not in data or not isinstance(operator, str) or operator not in list(Op):
        raise InvalidFilterError(
            f"unknown filter {shown(dict(data))}; expected AND, OR, NOT with 'conditions', or a "
            f"'field' with one of {', '.join(Op)}"
        )
    return Comparison(data["field"], Op(operator), value_from_json(data.get("value")))


def _folded(group: type[_Group], filters: Iterable[Filter]) -> Filter:
    """Join simplified filters without constants, repetitions and needless brackets."""
    absorbing = NEVER if group is And else ALWAYS
    members = dict.fromkeys(member for one in filters for member in _members(group, one))
    negated = (member.filter for member in members if isinstance(member, Not))
    if absorbing in members or any(member in members for member in negated):
        return absorbing
    return next(iter(members)) if len(members) == 1 else group(tuple(members))


ALWAYS = And(())
"""The condition that every document satisfies."""
NEVER = Or(())
"""The condition that no document satisfies."""
