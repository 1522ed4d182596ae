"""How LlamaIndex's pydantic models hold a store, filters, weights and fields: copied and dumped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from llama_index.core.vector_stores import MetadataFilters
from pydantic import (
    BaseModel,
    PlainSerializer,
    PlainValidator,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from trivec import ColbertStorage, Filter, Weights
from trivec.arguments import shown
from trivec.errors import InvalidFilterError, InvalidOptionError
from trivec.fields import FieldType, field_types
from trivec.filters.dicts import as_filter
from trivec.scores import as_weights
from trivec.sharing import Sharing
from trivec_llamaindex.filters import LlamaIndexFilter, is_local, to_filter


class SharingModel(Sharing, BaseModel):
    """A model whose copies share its encoder and its store.

    Its dump holds arguments of its constructor, beside the encoder and the store.
    """

    def __init__(self, **fields: Any) -> None:  # noqa: ANN401  # those of the other base
        super().__init__(**fields)

    @model_serializer(mode="wrap")
    def custom_model_dump(
        self, handler: SerializerFunctionWrapHandler, info: SerializationInfo | None = None
    ) -> dict[str, Any]:
        """Return the fields without the name of the class, which `to_dict` adds."""
        fields: dict[str, Any] = handler(self)
        return fields


def read_filter(value: LlamaIndexFilter) -> MetadataFilters | Filter:
    """Return a filter that a store can evaluate.

    LlamaIndex's own filters stay as they are, since the declared fields give them their types. A
    dict is read as a dump of them if it has exactly their two keys.
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


def _dump_filter(value: LlamaIndexFilter | None) -> dict[str, Any] | None:
    # A field that was set after the object was made holds what the user gave.
    if value is None:
        return None
    given = read_filter(value)
    return given.to_dict() if isinstance(given, Filter) else given.model_dump(mode="json")


def _dump_weights(value: Any) -> dict[str, float] | None:  # noqa: ANN401
    return None if value is None else asdict(as_weights(value))


def read_fields(value: Mapping[str, type | FieldType | str]) -> dict[str, FieldType]:
    """Return declared fields with their types, which may be given by name."""
    if not isinstance(value, Mapping):
        raise InvalidOptionError(f"fields={shown(value)} must be a dict of paths to types")
    names = set(FieldType)
    return field_types(
        {path: FieldType(type) if type in names else type for path, type in value.items()}  # type: ignore[misc]
    )


def _dump_fields(value: Mapping[str, type | FieldType | str]) -> dict[str, str]:
    return {path: type.value for path, type in read_fields(value).items()}


def _dump_colbert(value: ColbertStorage | str | None) -> str | None:
    return None if value is None else str(ColbertStorage.of(value))


DumpedFilter = Annotated[
    LlamaIndexFilter, PlainValidator(read_filter), PlainSerializer(_dump_filter)
]
"""A filter in any form: LlamaIndex's own as they are, all others as a `Filter`."""

DumpedWeights = Annotated[Weights, PlainValidator(as_weights), PlainSerializer(_dump_weights)]
"""`Weights`, dumped as a dict."""

DumpedFields = Annotated[
    dict[str, FieldType], PlainValidator(read_fields), PlainSerializer(_dump_fields)
]
"""Declared fields, dumped with the names of their types."""

DumpedColbert = Annotated[
    ColbertStorage, PlainValidator(ColbertStorage.of), PlainSerializer(_dump_colbert)
]
"""`ColbertStorage`, dumped as text."""
