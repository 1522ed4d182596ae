"""LlamaIndex's metadata filters as filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from trivec import Filter
from trivec.arguments import shown
from trivec.errors import InvalidFilterError
from trivec.fields import FieldType
from trivec.filters import ALWAYS, NEVER, And, Comparison, Not, Op, Or, metadata_values, split_path
from trivec.filters.declared import fit_filter
from trivec.filters.dicts import as_filter
from trivec.filters.tree import check_depth
from trivec.plain import Json

LlamaIndexFilter = MetadataFilters | Filter | Mapping[str, Any]
"""The forms of filters that the classes of this package take."""


@dataclass(frozen=True, slots=True)
class InsensitiveText(Filter):
    """A condition that a string contains this one, in upper or lower case.

    No database knows it, so it is evaluated in this process.
    """

    path: str
    value: str

    def __post_init__(self) -> None:
        split_path(self.path)

    def matches(self, metadata: Mapping[str, Json]) -> bool:
        """Return whether this metadata satisfies the condition."""
        values = metadata_values(metadata, self.path)
        return any(isinstance(v, str) and self.value.lower() in v.lower() for v in values)

    def to_dict(self) -> dict[str, Any]:
        """Return the condition as JSON, which `Filter.from_dict` does not read."""
        return {"field": self.path, "operator": "text insensitive", "value": self.value}

    def simplified(self) -> Filter:
        """Return the condition itself."""
        return self

    def comparisons(self) -> Iterable[Comparison]:
        """Yield the comparison that tells upper and lower case apart."""
        yield Comparison(self.path, Op.TEXT, self.value)


def to_filter(
    filters: LlamaIndexFilter | None, fields: Mapping[str, FieldType] | None = None
) -> Filter | None:
    """Return one filter for all, or None if they restrict nothing.

    The meaning is that of LlamaIndex's own `SimpleVectorStore`, with nested groups: a missing or
    null value satisfies only `!=` and `nin`, and NOT holds where none of its filters does. Lists
    and strings differ: `==`, `!=`, `in` and `nin` look at the elements of a list, `contains`,
    `any` and `all` at whole strings; an empty list counts as missing, and strings have no order.
    As LlamaIndex's values are neither booleans nor dates, 0 and 1 stand for the values of a field
    that is declared bool, and ISO 8601 strings for those of a datetime field.
    """
    if filters is None:
        return None
    if isinstance(filters, MetadataFilters):
        if not filters.filters:
            return None
        condition = _group(filters, fields or {}, 1)
    else:
        condition = as_filter(filters)
    return fit_filter(condition, fields or {})


def is_local(condition: Filter) -> bool:
    """Return whether a filter holds something that only this process can evaluate."""
    if isinstance(condition, And | Or):
        return any(is_local(part) for part in condition.filters)
    if isinstance(condition, Not):
        return is_local(condition.filter)
    return isinstance(condition, InsensitiveText)


def _group(group: MetadataFilters, fields: Mapping[str, FieldType], depth: int) -> Filter:
    check_depth(depth)
    parts = tuple(
        _group(part, fields, depth + 1)
        if isinstance(part, MetadataFilters)
        else _comparison(part, fields)
        for part in group.filters
    )
    if not parts:
        return ALWAYS
    if group.condition is FilterCondition.NOT:
        return Not(Or(parts))
    if len(parts) == 1:
        return parts[0]
    return Or(parts) if group.condition is FilterCondition.OR else And(parts)


def _comparison(given: MetadataFilter, fields: Mapping[str, FieldType]) -> Filter:
    path, operator = given.key, given.operator
    type = fields.get(path)
    if operator is FilterOperator.IS_EMPTY:
        empty = Comparison(path, Op.IS_NULL)
        is_text = type is None or type.item is FieldType.STR
        return empty | Comparison(path, Op.EQ, "") if is_text else empty
    if operator is FilterOperator.TEXT_MATCH_INSENSITIVE:
        if not isinstance(given.value, str) or not given.value:
            raise InvalidFilterError(
                f"{path} {operator.value}: expected a str, not {shown(given.value)}"
            )
        return InsensitiveText(path, given.value)
    # The other operators have the same names here and there.
    op = Op.TEXT if operator is FilterOperator.TEXT_MATCH else Op[operator.name]
    if given.value is None and op in (Op.EQ, Op.NE):
        return NEVER if op is Op.EQ else ALWAYS
    if given.value == [] and op is Op.ALL:
        # A list without elements is contained in every value, but there must be a value.
        return Comparison(path, Op.EXISTS)
    if isinstance(given.value, list):
        return Comparison(path, op, tuple(_value(item, type) for item in given.value))
    return Comparison(path, op, _value(given.value, type))


def _value(value: Any, type: FieldType | None) -> Any:  # noqa: ANN401
    return bool(value) if type is FieldType.BOOL and value in (0, 1) else value
