"""LangChain's structured queries as filters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.structured_query import (
    Comparator,
    Comparison,
    FilterDirective,
    Operation,
    Operator,
    StructuredQuery,
    Visitor,
)

from trivec import Filter
from trivec.arguments import shown
from trivec.errors import InvalidFilterError
from trivec.filters import And, Not, Op, Or
from trivec.filters import Comparison as Condition
from trivec.filters.dicts import as_filter
from trivec.filters.instants import Written, instant, written
from trivec.filters.tree import check_depth

LangChainFilter = Filter | Mapping[str, Any] | FilterDirective
"""The forms of a `filter` that the classes of this package take."""

_OTHER_NAMES = {Comparator.CONTAIN: Op.CONTAINS, Comparator.LIKE: Op.TEXT}
"""The comparators that are not named as our operators are."""
_LISTS = frozenset({Comparator.IN, Comparator.NIN})


class TrivecTranslator(Visitor):
    """Translates the queries of LangChain's `SelfQueryRetriever` for any trivec store.

    All comparators and operators are known. `contain` asks for an element of a list, `like` for
    a part of a string (with or without `%` around it). A date compares as an instant, and with a
    field that the collection declares as `str`, as it is written.

    Example:
        >>> query = StructuredQuery(
        ...     query="whales", filter=Comparison(Comparator.GTE, "year", 2020)
        ... )
        >>> question, options = TrivecTranslator().visit_structured_query(query)
        >>> question, options["filter"].matches({"year": 2024})
        ('whales', True)
    """

    allowed_comparators = tuple(Comparator)
    allowed_operators = tuple(Operator)

    def visit_operation(self, operation: Operation) -> Filter:
        """Translate `and`, `or` and `not`."""
        _check_depth(operation)
        parts = tuple(part.accept(self) for part in operation.arguments)
        match operation.operator:
            case Operator.AND:
                return And(parts)
            case Operator.OR:
                return Or(parts)
        if len(parts) != 1:
            raise InvalidFilterError(f"`not` takes one condition, got {len(parts)}")
        return Not(parts[0])

    def visit_comparison(self, comparison: Comparison) -> Filter:
        """Translate one comparison."""
        comparator, path = comparison.comparator, comparison.attribute
        value = _value(comparison.value)
        if comparator in _LISTS and not isinstance(comparison.value, list | tuple):
            value = (value,)
        if value is None and comparator in (Comparator.EQ, Comparator.NE):
            return Condition(path, Op.IS_NULL if comparator is Comparator.EQ else Op.EXISTS)
        if comparator is Comparator.LIKE:
            text = value.text if isinstance(value, Written) else value
            value = _pattern(path, text) if isinstance(text, str) else text
        return Condition(path, _OTHER_NAMES.get(comparator) or Op[comparator.name], value)

    def visit_structured_query(
        self, structured_query: StructuredQuery
    ) -> tuple[str, dict[str, Filter]]:
        """Return the query and the search options of its filter."""
        if structured_query.filter is None:
            return structured_query.query, {}
        return structured_query.query, {"filter": structured_query.filter.accept(self)}


def to_filter(condition: LangChainFilter | None) -> Filter | None:
    """Return a filter from any of its forms."""
    if isinstance(condition, FilterDirective):
        translated: Filter = condition.accept(TrivecTranslator())
        return translated
    return None if condition is None else as_filter(condition)


def _check_depth(operation: Operation) -> None:
    """Refuse an operation that is nested too deeply, before its parts are visited."""
    level, depth = [operation], 0
    while level:
        depth = check_depth(depth + 1)
        parts = [part for operation in level for part in operation.arguments]
        level = [part for part in parts if isinstance(part, Operation)]


def _value(value: Any) -> Any:  # noqa: ANN401
    """Return a value of LangChain's query language, or a list of values, as a filter's."""
    return tuple(map(_scalar, value)) if isinstance(value, list | tuple) else _scalar(value)


def _scalar(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):  # {"date": "2024-01-31", "type": "date"}
        name = value.get("type")
        text = value.get(name) if isinstance(name, str) else None
        moment = written(text) if isinstance(text, str) else None
        if moment is None:
            raise InvalidFilterError(f"{shown(dict(value))} is not a date or datetime")
        return moment
    return instant(value)


def _pattern(path: str, value: str) -> str:
    part = value.removeprefix("%").removesuffix("%")
    if "%" in part:
        raise InvalidFilterError(
            f"{path} like {shown(value)}: a `%` is understood at the ends only; combine several "
            "`like`"
        )
    return part
