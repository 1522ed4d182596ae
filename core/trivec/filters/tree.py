"""Conditions on metadata: one small tree that every store translates, and its exact meaning.

Every metadata value counts as a list of values: missing, null and an empty list hold none, a
scalar holds one, a list holds its elements (those that are null count for nothing). A
comparison is true if any of the values satisfies it, so the negative ones (`!=`, `not in`,
`is null`) are true where there is no value, and `~` is the plain complement. Numbers compare
as numbers (2 == 2.0), booleans only with booleans, strings only with strings, a datetime with the
strings that are instants (see `instants`). Paths go through objects, not through lists of objects.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any

from trivec.arguments import shown
from trivec.errors import InvalidFilterError
from trivec.fields import Scalar, metadata_values, split_path
from trivec.filters.depth import check_depth
from trivec.filters.instants import Written, parse_datetime
from trivec.filters.operators import LISTS, PRESENCE, TESTS, Op, checked_scalar, equal
from trivec.plain import Json

_GROUPS_WHEN_SIMPLIFIED = frozenset({Op.NE, Op.NIN, Op.ALL, Op.IS_NULL})
_depth_of = attrgetter("_depth")


class Filter(ABC):
    """A condition on metadata; combine with `&`, `|` and `~`.

    At most 32 groups lie in one another; chains of `&` and chains of `|` are one group each.

    Example:
        >>> from trivec import F
        >>> recent = (F("year") >= 2020) & ~(F("lang") == "de")
        >>> recent.matches({"year": 2024, "lang": "en"}), recent.matches({"lang": "en"})
        (True, False)
        >>> Filter.from_dict(recent.to_dict()) == recent
        True
    """

    _depth: int = 0
    """Of groups in one another, in this filter or in what `simplified` makes of it."""

    @abstractmethod
    def matches(self, metadata: Mapping[str, Json]) -> bool:
        """Return whether this metadata satisfies the condition: the definition for all stores."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the condition as JSON, in the shape of Haystack's filters."""

    @abstractmethod
    def simplified(self) -> Filter:
        """Return an equal condition made of And, Or, Not and the operators that stores translate.

        Those are `==`, `in`, the four orderings, `text` and `exists`. Constants are folded: what
        is true or false whatever the metadata, such as `x | ~x`, is `ALWAYS` or `NEVER`, and
        neither is a part of anything else.
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
        return And((*_parts(And, self), *_parts(And, other)))  # chains stay flat

    def __or__(self, other: Filter) -> Filter:
        return Or((*_parts(Or, self), *_parts(Or, other)))

    def __rand__(self, other: object) -> Filter:
        return check_is_filter(other) & self

    def __ror__(self, other: object) -> Filter:
        return check_is_filter(other) | self

    def __invert__(self) -> Filter:
        return Not(self)

    def __bool__(self) -> bool:
        raise InvalidFilterError("a filter has no truth value; combine with &, | and ~ in brackets")


@dataclass(frozen=True, slots=True)
class And(Filter):
    """True where all filters are; without any, true everywhere."""

    filters: tuple[Filter, ...]
    _depth: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", _checked(self.filters))
        object.__setattr__(self, "_depth", _depth_over(self.filters))

    def matches(self, metadata: Mapping[str, Json]) -> bool:
        """Return whether this metadata satisfies the condition."""
        return all(f.matches(metadata) for f in self.filters)

    def to_dict(self) -> dict[str, Any]:
        """Return the condition as JSON."""
        return {"operator": "AND", "conditions": [f.to_dict() for f in self.filters]}

    def simplified(self) -> Filter:
        """Return an equal condition of fewer kinds."""
        return _folded(And, [f.simplified() for f in self.filters])

    def comparisons(self) -> Iterable[Comparison]:
        """Yield every comparison in the tree."""
        return (c for f in self.filters for c in f.comparisons())


@dataclass(frozen=True, slots=True)
class Or(Filter):
    """True where any filter is; without any, true nowhere."""

    filters: tuple[Filter, ...]
    _depth: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", _checked(self.filters))
        object.__setattr__(self, "_depth", _depth_over(self.filters))

    def matches(self, metadata: Mapping[str, Json]) -> bool:
        """Return whether this metadata satisfies the condition."""
        return any(f.matches(metadata) for f in self.filters)

    def to_dict(self) -> dict[str, Any]:
        """Return the condition as JSON."""
        return {"operator": "OR", "conditions": [f.to_dict() for f in self.filters]}

    def simplified(self) -> Filter:
        """Return an equal condition of fewer kinds."""
        return _folded(Or, [f.simplified() for f in self.filters])

    def comparisons(self) -> Iterable[Comparison]:
        """Yield every comparison in the tree."""
        return (c for f in self.filters for c in f.comparisons())


@dataclass(frozen=True, slots=True)
class Not(Filter):
    """True where the filter is not."""

    filter: Filter
    _depth: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_depth", _depth_over((check_is_filter(self.filter),)))

    def __invert__(self) -> Filter:
        return self.filter

    def matches(self, metadata: Mapping[str, Json]) -> bool:
        """Return whether this metadata satisfies the condition."""
        return not self.filter.matches(metadata)

    def to_dict(self) -> dict[str, Any]:
        """Return the condition as JSON."""
        return {"operator": "NOT", "conditions": [self.filter.to_dict()]}

    def simplified(self) -> Filter:
        """Return an equal condition of fewer kinds."""
        inner = self.filter.simplified()
        if isinstance(inner, And | Or) and not inner.filters:
            return NEVER if isinstance(inner, And) else ALWAYS
        return ~inner

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
        """What the field is compared with: nothing, one value or several."""
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
        """Return whether this metadata satisfies the condition."""
        found = metadata_values(metadata, self.path)
        match self.op:
            case Op.EXISTS:
                return bool(found)
            case Op.IS_NULL:
                return not found
            case Op.IN | Op.ANY:
                return any(equal(v, w) for v in found for w in self.values)
            case Op.NIN:
                return not any(equal(v, w) for v in found for w in self.values)
            case Op.ALL:
                return all(any(equal(v, w) for v in found) for w in self.values)
        assert self.value is not None
        assert not isinstance(self.value, tuple)
        if self.op is Op.NE:
            return not any(equal(v, self.value) for v in found)
        test = TESTS[self.op]
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


def check_is_filter(value: object) -> Filter:
    """Return a filter as it is.

    Raises:
        InvalidFilterError: If it is something else; the message says how to make a filter of it.
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


def _parts(kind: type[And | Or], value: Filter) -> tuple[Filter, ...]:
    """Return the parts of a group of this kind, and of anything else itself."""
    return value.filters if isinstance(value, kind) else (value,)


def _checked(parts: object) -> tuple[Filter, ...]:
    """Return the parts of a group as a tuple of filters."""
    if isinstance(parts, str | Mapping) or not isinstance(parts, Iterable):
        raise InvalidFilterError(f"And and Or take a tuple of filters, got {shown(parts)}")
    given = tuple(parts)
    if not all(issubclass(kind, Filter) for kind in set(map(type, given))):
        given = tuple(map(check_is_filter, given))
    return given


def _depth_over(parts: tuple[Filter, ...]) -> int:
    """Return the depth of a group of filters; one without any becomes a part of nothing."""
    return check_depth(max(map(_depth_of, parts), default=-1) + 1)


def _from_dict(data: object, depth: int) -> Filter:
    """Read what `to_dict` wrote, in so many groups."""
    if not isinstance(data, Mapping) or "operator" not in data:
        raise InvalidFilterError(f"a filter is an object with an 'operator', got {shown(data)}")
    operator = data["operator"]
    if "conditions" in data:
        conditions = data["conditions"]
        if not isinstance(conditions, list | tuple):
            raise InvalidFilterError(f"'conditions' takes a list, got {shown(conditions)}")
        check_depth(depth + bool(conditions))
        parts = tuple(_from_dict(part, depth + 1) for part in conditions)
        match operator:
            case "AND":
                return And(parts)
            case "OR":
                return Or(parts)
            case "NOT" if len(parts) == 1:
                return Not(parts[0])
    if "field" not in data or not isinstance(operator, str) or operator not in list(Op):
        raise InvalidFilterError(
            f"unknown filter {shown(dict(data))}; expected AND, OR, NOT with 'conditions', or a "
            f"'field' with one of {', '.join(Op)}"
        )
    return Comparison(data["field"], Op(operator), _from_json(data.get("value")))


def _folded(kind: type[And | Or], parts: Iterable[Filter]) -> Filter:
    """Return simplified filters as one, without constants, repetitions and brackets in vain."""
    absorbing = NEVER if kind is And else ALWAYS
    inner = dict.fromkeys(
        one for part in parts for one in (part.filters if isinstance(part, kind) else (part,))
    )
    negated = (part.filter for part in inner if isinstance(part, Not))
    if absorbing in inner or any(part in inner for part in negated):
        return absorbing
    return next(iter(inner)) if len(inner) == 1 else kind(tuple(inner))


def _to_json(value: Scalar) -> Json:
    if not isinstance(value, datetime):
        return value
    plain: dict[str, Json] = {"datetime": value.isoformat()}
    if isinstance(value, Written) and value.text is not None:
        plain["written"] = value.text
    return plain


def _from_json(value: object) -> Scalar | tuple[Scalar, ...] | None:
    if isinstance(value, list | tuple):
        return tuple(map(_one_from_json, value))
    return _one_from_json(value)


def _one_from_json(value: object) -> Scalar:
    if isinstance(value, Mapping):
        moment, text = _moment(value.get("datetime")), value.get("written")
        if moment is None or (text is not None and _moment(text) != moment):
            raise InvalidFilterError(f"unknown filter value {shown(value)}")
        return moment if text is None else Written.of(moment, text)
    return value  # type: ignore[return-value]  # checked where it is compared


def _moment(value: object) -> datetime | None:
    return parse_datetime(value) if isinstance(value, str) else None


ALWAYS = And(())
"""The condition that every document satisfies."""
NEVER = Or(())
"""The condition that no document satisfies."""
