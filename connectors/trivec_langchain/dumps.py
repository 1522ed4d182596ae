"""Filters and weights as LangChain's pydantic classes write them down and read them again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

from trivec import Weights
from trivec.arguments import shown
from trivec.errors import InvalidOptionError
from trivec.scores import as_weights
from trivec_langchain.filters import LangChainFilter, to_filter

__all__ = ["DumpedFilter", "DumpedOptions", "DumpedWeights"]


# A field that was set after the object was made holds what the user gave, so writing reads first.
def _write_filter(value: LangChainFilter | None) -> dict[str, Any] | None:
    condition = to_filter(value)
    return None if condition is None else condition.to_dict()


def _write_weights(value: Any) -> dict[str, float] | None:  # noqa: ANN401
    return None if value is None else asdict(as_weights(value))


def _read_options(value: Any) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(value, dict):
        raise InvalidOptionError(f"search_kwargs={shown(value)} must be a dict")
    options = dict(value)
    if options.get("filter") is not None:
        options["filter"] = to_filter(options["filter"])
    if "weights" in options:
        options["weights"] = as_weights(options["weights"])
    return options


def _write_options(value: dict[str, Any]) -> dict[str, Any]:
    writers = {"filter": _write_filter, "weights": _write_weights}
    return {name: writers[name](one) if name in writers else one for name, one in value.items()}


DumpedFilter = Annotated[LangChainFilter, PlainValidator(to_filter), PlainSerializer(_write_filter)]
"""A filter of any form, kept as a `Filter` and written as `Filter.to_dict` writes it."""

DumpedWeights = Annotated[Weights, PlainValidator(as_weights), PlainSerializer(_write_weights)]
"""`Weights`, written as a dict."""

DumpedOptions = Annotated[
    dict[str, Any], PlainValidator(_read_options), PlainSerializer(_write_options)
]
"""The options of a search, with their filter and weights written as above."""
