"""Filters as Milvus expressions with the exact meaning of `Filter.matches`.

Every comparison is rendered two-valued, guarded where a path may be missing, so that `not` is the
plain complement whatever a server's logic of nulls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from trivec.document import PRIVATE_KEY
from trivec.errors import InvalidFilterError
from trivec.filters import And, Comparison, Filter, Not, Op, Or, Scalar
from trivec_milvus.schema import FilterColumn
from trivec_milvus.terms import Kind, after, key, kind_of, plain

__all__ = ["all_of", "any_of_ids", "literal", "render"]


class _Place(NamedTuple):
    """Where the terms of a path are."""

    value: str
    """The expression of the string that holds the terms."""
    there: str
    """True where there are terms at all."""
    single: bool = False
    """Whether there is at most one, so that equality is equality of the whole string."""


def render(condition: Filter | None, columns: Mapping[str, FilterColumn], *, id_field: str) -> str:
    """Return the expression of a filter; "" for None.

    Args:
        condition: The filter.
        columns: The declared paths with their columns.
        id_field: The field of the primary key, which is never empty.
    """
    if condition is None:
        return ""
    return _Renderer(columns, id_field).render(condition.simplified())


def literal(text: str) -> str:
    r"""Return a string literal, for text without line breaks such as an id.

    >>> print(literal("x'] or id in [\"y"))
    "x'] or id in [\"y"
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def any_of_ids(id_field: str, ids: Iterable[str]) -> str:
    """Return the expression that is true for these documents."""
    return f"{id_field} in [{', '.join(map(literal, ids))}]"


def all_of(*expressions: str) -> str:
    """Join those expressions that are not empty.

    >>> all_of("a == 1", "", "b == 2")
    '(a == 1) and (b == 2)'
    """
    given = [expression for expression in expressions if expression]
    return given[0] if len(given) == 1 else " and ".join(f"({e})" for e in given)


class _Renderer:
    def __init__(self, columns: Mapping[str, FilterColumn], id_field: str) -> None:
        self._columns = columns
        self._everything = f'{id_field} != ""'
        self._nothing = f'{id_field} == ""'

    def render(self, condition: Filter) -> str:
        match condition:
            case And(filters):
                return all_of(*map(self.render, filters)) or self._everything
            case Or(filters):
                return self._any(map(self.render, filters))
            case Not(inner):
                return f"not ({self.render(inner)})"
            case Comparison():
                return self._comparison(condition)
        raise InvalidFilterError(f"unknown filter {condition!r}")

    def _any(self, expressions: Iterable[str]) -> str:
        given = list(expressions)
        return (
            given[0] if len(given) == 1 else " or ".join(f"({e})" for e in given) or self._nothing
        )

    def _comparison(self, condition: Comparison) -> str:
        path, op, value = condition.path, condition.op, condition.value
        if op is Op.EXISTS:
            kinds = (Kind.STRINGS, Kind.NUMBERS, Kind.BOOLS)
            return self._any(dict.fromkeys(self._place(path, k).there for k in kinds))
        if isinstance(value, tuple):
            return self._is_in(path, value)
        if value is None or not _encodable(value):
            return self._nothing  # no document holds a string that UTF-8 cannot encode
        place = self._place(path, kind_of(value))
        match op:
            case Op.EQ:
                return _equal(place, value)
            case Op.TEXT:
                return _guarded(place, f'{place.value} like "%{plain(str(value))}%"')
            case Op.LT | Op.LTE:
                bound = key(value) if op is Op.LT else after(value)
                return _guarded(place, f'{place.value} < "{bound}"')
            case Op.GT | Op.GTE:
                bound = key(value) if op is Op.GTE else after(value)
                largest = self._largest(path, kind_of(value))
                return self._any(_guarded(p, f'{p.value} >= "{bound}"') for p in largest)
        raise InvalidFilterError(f"{op} was not simplified")

    def _is_in(self, path: str, values: Iterable[Scalar]) -> str:
        wanted = [value for value in values if _encodable(value)]
        kinds = dict.fromkeys(map(kind_of, wanted))
        parts = []
        for kind in kinds:
            place = self._place(path, kind)
            of_kind = [value for value in wanted if kind_of(value) is kind]
            if place.single:
                keys = ", ".join(f'"{key(value)}"' for value in of_kind)
                parts.append(f"{place.value} in [{keys}]")
            else:
                parts.extend(_equal(place, value) for value in of_kind)
        return self._any(parts)

    def _place(self, path: str, kind: Kind) -> _Place:
        column = self._columns.get(path)
        if column is not None:
            return _Place(column.name, f'{column.name} != ""', not column.field.is_list)
        if path.startswith(f"{PRIVATE_KEY}.") and path.count(".") > 1:
            raise InvalidFilterError(
                f"Milvus does not filter on {path!r}, which lies in an object that a program keeps "
                "with a document; declare it in `fields` of create"
            )
        reference = f'$meta["{kind}:{path}"]'
        return _Place(reference, f"exists {reference}")

    def _largest(self, path: str, kind: Kind) -> list[_Place]:
        """Return the places of which one begins with the largest value."""
        column = self._columns.get(path)
        if column is not None:
            name = column.descending or column.name
            return [_Place(name, f'{name} != ""')]
        reference = f'$meta["{kind}-:{path}"]'
        return [self._place(path, kind), _Place(reference, f"exists {reference}")]


def _equal(place: _Place, value: Scalar) -> str:
    if place.single:
        return f'{place.value} == "{key(value)}"'
    return _guarded(place, f'{place.value} like "%{key(value)}%"')


def _guarded(place: _Place, expression: str) -> str:
    return f"{place.there} and {expression}"


def _encodable(value: Scalar) -> bool:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:  # a lone surrogate
            return False
    return True
