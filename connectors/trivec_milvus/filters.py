"""Filters as Milvus expressions with the exact meaning of `Filter.matches`.

Every comparison is true or false, never null: it is guarded where a path may be missing. So `not`
is the plain complement, however a server treats nulls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from trivec.document import PRIVATE_KEY
from trivec.errors import InvalidFilterError
from trivec.filters import And, Comparison, Filter, Not, Op, Or, Scalar
from trivec_milvus.schema import FilterColumn
from trivec_milvus.sort_keys import ValueType, after, plain_text, sort_key, type_of


class _Keys(NamedTuple):
    """The sort keys of one path in an expression."""

    value: str
    """The expression of the string that holds them."""
    exist: str
    """The expression that is true if there are any."""
    single: bool = False
    """Whether there is at most one, so that equality is equality of the whole string."""


def render(condition: Filter | None, columns: Mapping[str, FilterColumn], *, id_field: str) -> str:
    """Return the expression of a filter; "" for None."""
    if condition is None:
        return ""
    return _Renderer(columns, id_field).render(condition.simplified())


def literal(text: str) -> str:
    r"""Return the string literal of a text without line breaks, such as an id.

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
            types = (ValueType.STRINGS, ValueType.NUMBERS, ValueType.BOOLS)
            return self._any(dict.fromkeys(self._keys(path, type).exist for type in types))
        if isinstance(value, tuple):
            return self._is_in(path, value)
        if value is None or not _encodable(value):
            return self._nothing  # no document holds a string that UTF-8 cannot encode
        keys = self._keys(path, type_of(value))
        match op:
            case Op.EQ:
                return _equal(keys, value)
            case Op.TEXT:
                return _guarded(keys, f'{keys.value} like "%{plain_text(str(value))}%"')
            case Op.LT | Op.LTE:
                bound = sort_key(value) if op is Op.LT else after(value)
                return _guarded(keys, f'{keys.value} < "{bound}"')
            case Op.GT | Op.GTE:
                bound = sort_key(value) if op is Op.GTE else after(value)
                largest_first = self._descending(path, type_of(value))
                return self._any(_guarded(k, f'{k.value} >= "{bound}"') for k in largest_first)
        raise InvalidFilterError(f"{op} was not simplified")

    def _is_in(self, path: str, values: Iterable[Scalar]) -> str:
        wanted = [value for value in values if _encodable(value)]
        expressions = []
        for type in dict.fromkeys(map(type_of, wanted)):
            keys = self._keys(path, type)
            of_type = [value for value in wanted if type_of(value) is type]
            if keys.single:
                listed = ", ".join(f'"{sort_key(value)}"' for value in of_type)
                expressions.append(f"{keys.value} in [{listed}]")
            else:
                expressions.extend(_equal(keys, value) for value in of_type)
        return self._any(expressions)

    def _keys(self, path: str, type: ValueType) -> _Keys:
        column = self._columns.get(path)
        if column is not None:
            return _Keys(column.name, f'{column.name} != ""', not column.field.is_list)
        if path.startswith(f"{PRIVATE_KEY}.") and path.count(".") > 1:
            raise InvalidFilterError(
                f"Milvus does not filter on {path!r}, which lies in an object that a program keeps "
                "with a document; declare it in `fields` of create"
            )
        reference = f'$meta["{type}:{path}"]'
        return _Keys(reference, f"exists {reference}")

    def _descending(self, path: str, type: ValueType) -> list[_Keys]:
        """Return the keys of which one begins with the largest value."""
        column = self._columns.get(path)
        if column is not None:
            name = column.descending or column.name
            return [_Keys(name, f'{name} != ""')]
        reference = f'$meta["{type}-:{path}"]'
        return [self._keys(path, type), _Keys(reference, f"exists {reference}")]


def _equal(keys: _Keys, value: Scalar) -> str:
    if keys.single:
        return f'{keys.value} == "{sort_key(value)}"'
    return _guarded(keys, f'{keys.value} like "%{sort_key(value)}%"')


def _guarded(keys: _Keys, expression: str) -> str:
    return f"{keys.exist} and {expression}"


def _encodable(value: Scalar) -> bool:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:  # a lone surrogate
            return False
    return True
