"""Filters, weights and fields as LlamaIndex's pydantic classes write them down and read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from llama_index.core.vector_stores import MetadataFilters
from pydantic import PlainSerializer, PlainValidator, ValidationError

from trivec import Filter, Weights
from trivec.arguments import shown
from trivec.errors import InvalidFilterError, InvalidOptionError
from trivec.fields import FieldType, field_types
from trivec.filters.dicts import as_filter
from trivec.scores import as_weights
from trivec_llamaindex.filters import LlamaIndexFilter, is_local, to_filter

__all__ = ["DumpedFields", "DumpedFilter", "DumpedWeights", "read_fields", "read_filter"]


def read_filter(value: LlamaIndexFilter) -> MetadataFilters | Filter:
    """Return a filter that a store can evaluate; LlamaIndex's own stay, as fields give them types.

    No plain dict can be meant by the dump of LlamaIndex's filters, which lists objects.

    Raises:
        InvalidFilterError: If the filter cannot be meant, or no database can evaluate it.
    """
    given: MetadataFilters | Filter
    if isinstance(value, MetadataFilters):
        given = value
    elif isinstance(value, Mapping) and set(value) == {"filters", "condition"}:
        try:
            given = MetadataFilters.model_validate(value)
        except ValidationError as error:
            raise InvalidFilterError(
                f"{shown(dict(value))} is no dump of LlamaIndex's MetadataFilters: "
                f"{error.error_count()} of its values are wrong, such as "
                f"{shown(error.errors(include_url=False)[0]['msg'])}"
            ) from error
    else:
        given = as_filter(value)
    condition = to_filter(given)
    if condition is not None and is_local(condition):
        raise InvalidFilterError(
            "text_match_insensitive is known to no database, so it cannot bound a vector store; "
            "use it in the filters of a query"
        )
    return given


def _write_filter(value: LlamaIndexFilter | None) -> dict[str, Any] | None:
    # A field that was set after the object was made holds what the user gave.
    if value is None:
        return None
    given = read_filter(value)
    return given.to_dict() if isinstance(given, Filter) else given.model_dump(mode="json")


def _write_weights(value: Any) -> dict[str, float] | None:  # noqa: ANN401
    return None if value is None else asdict(as_weights(value))


def read_fields(value: Mapping[str, type | FieldType | str]) -> dict[str, FieldType]:
    """Return declared fields with their types, which may be given by name.

    Raises:
        InvalidOptionError: If a path or a type is unknown.
    """
    if not isinstance(value, Mapping):
        raise InvalidOptionError(f"fields={shown(value)} must be a dict of paths to types")
    names = set(FieldType)
    return field_types(
        {path: FieldType(kind) if kind in names else kind for path, kind in value.items()}  # type: ignore[misc]
    )


def _write_fields(value: Mapping[str, type | FieldType | str]) -> dict[str, str]:
    return {path: kind.value for path, kind in read_fields(value).items()}


DumpedFilter = Annotated[
    LlamaIndexFilter, PlainValidator(read_filter), PlainSerializer(_write_filter)
]
"""A filter of any form: LlamaIndex's own as they are, all others as a `Filter`."""

DumpedWeights = Annotated[Weights, PlainValidator(as_weights), PlainSerializer(_write_weights)]
"""`Weights`, written as a dict."""

DumpedFields = Annotated[
    dict[str, FieldType], PlainValidator(read_fields), PlainSerializer(_write_fields)
]
"""Declared fields, written with the names of their types."""
