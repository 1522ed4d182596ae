"""Filters written as plain dicts, such as `{"lang": "en", "year": {"$gte": 2020}}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trivec.arguments import shown
from trivec.errors import InvalidFilterError
from trivec.filters.instants import instant, instants
from trivec.filters.operators import PRESENCE, Op
from trivec.filters.tree import And, Comparison, Filter, Not, Or, check_depth, check_is_filter

_OPERATORS = {f"${op.name.lower()}": op for op in Op if op not in PRESENCE}


def as_filter(condition: Filter | Mapping[str, Any]) -> Filter:
    """Return a filter from itself, from a plain dict, or from what `Filter.to_dict` wrote.

    All entries of a plain dict must be true. A key is the path of a field. Its value is a scalar
    (equal), a list (equal to one of them), None (no value), or an object of operators: `$eq $ne $gt
    $gte $lt $lte $in $nin $contains $any $all $text $exists $not`. The keys `$and` and `$or` take a
    list of such dicts, `$not` takes one dict. Dates are compared as instants, and comparisons by
    order also take them as ISO 8601 strings.

    A dict with exactly the keys `operator` and `conditions`, or `field`, `operator` and optionally
    `value`, is read as the output of `Filter.to_dict`. To compare metadata fields with these names,
    use `$eq`.

    Raises:
        InvalidFilterError: If a key or an operator is unknown, or a value cannot be compared.

    Example:
        >>> as_filter({"lang": ["en", "de"], "year": {"$gte": 2020}}).matches(
        ...     {"lang": "de", "year": 2024}
        ... )
        True
    """
    return _read(condition, 0)


def _read(condition: object, depth: int) -> Filter:
    """Read a filter at this depth of nested groups."""
    if not isinstance(condition, Mapping):
        return check_is_filter(condition)
    check_depth(depth)
    if _is_written(condition):
        try:
            return Filter.from_dict(condition)
        except InvalidFilterError as error:
            raise InvalidFilterError(
                f"{error}. Where 'operator' is a field of the metadata, compare it as "
                "{'operator': {'$eq': …}}"
            ) from error
    return _all([_entry(key, value, depth) for key, value in condition.items()])


def _is_written(condition: Mapping[str, Any]) -> bool:
    """Return whether a dict has the shape of what `Filter.to_dict` writes."""
    names = set(condition)
    group = names == {"operator", "conditions"}
    comparison = {"field", "operator"} <= names <= {"field", "operator", "value"}
    return (group or comparison) and isinstance(condition["operator"], str)


def _all(filters: list[Filter]) -> Filter:
    return filters[0] if len(filters) == 1 else And(tuple(filters))


def _entry(key: str, value: object, depth: int) -> Filter:
    if not isinstance(key, str):
        raise InvalidFilterError(f"the key {shown(key)} of a filter must be the path of a field")
    if key in ("$and", "$or"):
        if not isinstance(value, list | tuple):
            raise InvalidFilterError(f"{key} takes a list of filters, got {shown(value)}")
        members = tuple(_read(condition, depth + 1) for condition in value)
        return And(members) if key == "$and" else Or(members)
    if key == "$not":
        return Not(_read(value, depth + 1))
    if key.startswith("$"):
        raise InvalidFilterError(
            f"unknown operator {shown(key)} in the place of a field; known are $and, $or and $not"
        )
    if isinstance(value, Mapping):
        return _operators(key, value, depth)
    if value is None:
        return Comparison(key, Op.IS_NULL)
    if isinstance(value, list | tuple | set | frozenset):
        return Comparison(key, Op.IN, instants(value))
    return Comparison(key, Op.EQ, instant(value))


def _operators(path: str, operators: Mapping[str, Any], depth: int) -> Filter:
    check_depth(depth)
    if not operators:
        raise InvalidFilterError(f"{shown(path)} is compared with an empty object")
    return _all([_operator(path, name, value, depth) for name, value in operators.items()])


def _operator(path: str, name: str, value: Any, depth: int) -> Filter:  # noqa: ANN401
    if name == "$not":
        if not isinstance(value, Mapping):
            raise InvalidFilterError(
                f"{path}: $not takes an object of operators, got {shown(value)}"
            )
        return Not(_operators(path, value, depth + 1))
    if name == "$exists":
        if not isinstance(value, bool):
            raise InvalidFilterError(f"{path}: $exists takes true or false, got {shown(value)}")
        return Comparison(path, Op.EXISTS if value else Op.IS_NULL)
    if name not in _OPERATORS:
        raise InvalidFilterError(
            f"{path}: unknown operator {shown(name)}; known are {', '.join(_OPERATORS)}, "
            "$exists and $not (the fields of an object are written with dots, such as "
            "'author.name')"
        )
    if value is None and name in ("$eq", "$ne"):
        return Comparison(path, Op.IS_NULL if name == "$eq" else Op.EXISTS)
    if isinstance(value, list | tuple | set | frozenset):
        return Comparison(path, _OPERATORS[name], instants(value))
    return Comparison(path, _OPERATORS[name], instant(value))
