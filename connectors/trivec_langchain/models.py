"""How LangChain's pydantic models hold a store, filters and weights: copied, dumped and read."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, PlainSerializer, PlainValidator

from trivec import Weights
from trivec.arguments import shown
from trivec.errors import InvalidOptionError
from trivec.scores import as_weights
from trivec.sharing import InProcess
from trivec_langchain.filters import LangChainFilter, to_filter


class SharingModel(InProcess, BaseModel):
    """A pydantic model whose copies share its encoder and its store."""

    shared: ClassVar[tuple[str, ...]]
    """The attributes that a deep copy shares with the original."""

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return a copy with the same encoder and store, and copies of all else."""
        memo = {} if memo is None else memo
        for name in self.shared:
            value = getattr(self, name)
            memo[id(value)] = value  # counts as copied
        return super().__deepcopy__(memo)


# A field that was set after the object was made holds what the user gave, so dumping reads first.
def _dump_filter(value: LangChainFilter | None) -> dict[str, Any] | None:
    condition = to_filter(value)
    return None if condition is None else condition.to_dict()


def _dump_weights(value: Any) -> dict[str, float] | None:  # noqa: ANN401
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


def _dump_options(value: dict[str, Any]) -> dict[str, Any]:
    dump = {"filter": _dump_filter, "weights": _dump_weights}
    return {name: dump[name](option) if name in dump else option for name, option in value.items()}


DumpedFilter = Annotated[LangChainFilter, PlainValidator(to_filter), PlainSerializer(_dump_filter)]
"""A filter in any form, kept as a `Filter` and dumped by `Filter.to_dict`."""

DumpedWeights = Annotated[Weights, PlainValidator(as_weights), PlainSerializer(_dump_weights)]
"""`Weights`, dumped as a dict."""

DumpedOptions = Annotated[
    dict[str, Any], PlainValidator(_read_options), PlainSerializer(_dump_options)
]
"""The options of a search, with their filter and weights dumped as above."""
