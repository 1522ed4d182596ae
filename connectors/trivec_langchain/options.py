"""The options of one search, and what its scores mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypedDict

from trivec import Weights
from trivec.errors import InvalidOptionError
from trivec.fields import FieldType
from trivec.scores import as_weights
from trivec.search import Mode, Search
from trivec.stores.bound import together
from trivec_langchain.filters import LangChainFilter, to_filter

__all__ = ["SearchOptions", "StoreOptions", "merged", "relevance_of", "with_filter"]


class SearchOptions(TypedDict, total=False):
    """The options of one search; those left out are the vector store's own.

    Attributes:
        mode: "dense", "sparse", "colbert", "hybrid" or "rrf".
        weights: The weights of "hybrid", as `Weights` or as a dict of them.
        candidates: How many documents the dense and the sparse search give each to the other
            modes.
        filter: Holds together with the vector store's.
    """

    mode: Mode
    weights: Weights | Mapping[str, float]
    candidates: int
    filter: LangChainFilter | None


class StoreOptions(SearchOptions, total=False):
    """The options of a vector store: those of its searches, and the fields of a new collection."""

    fields: Mapping[str, type | FieldType] | None


def merged(defaults: Search, k: int, options: SearchOptions) -> Search:
    """Return the search of one call: its options over the defaults.

    Raises:
        TypeError: If an option is unknown, as for any keyword of a function.
        InvalidOptionError: If an option is out of range.
        InvalidFilterError: If the filter cannot be meant.
    """
    unknown = sorted(set(options) - SearchOptions.__optional_keys__)
    if unknown:
        known = ", ".join(sorted(SearchOptions.__optional_keys__))
        raise TypeError(f"unknown search option {', '.join(unknown)}; known are {known}")
    return replace(
        defaults,
        k=k,
        mode=options.get("mode", defaults.mode),
        weights=as_weights(options.get("weights", defaults.weights)),
        candidates=options.get("candidates", defaults.candidates),
        filter=to_filter(options.get("filter")),
    )


def with_filter(condition: LangChainFilter | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a call whose filter holds together with this one."""
    if condition is None:
        return dict(options)
    return {**options, "filter": together(to_filter(condition), to_filter(options.get("filter")))}


def relevance_of(search: Search) -> Callable[[float], float]:
    """Return what maps a score to 0 to 1.

    Dense and ColBERT scores are cosines, of unit vectors or means of them, so they lie between
    -1 and 1. Lexical weights have no bound, and a rank says nothing of relevance.

    Raises:
        InvalidOptionError: If the score has no bounds.
    """
    cosines = search.mode in ("dense", "colbert")
    if not cosines and not (search.mode == "hybrid" and search.weights.sparse == 0):
        raise InvalidOptionError(
            f"mode={search.mode!r} with {search.weights} has no relevance scores between 0 and 1: "
            "lexical scores have no upper bound and ranks are no measure. Use mode='dense' or "
            "'colbert', or 'hybrid' with weights whose sparse is 0; for plain scores call "
            "similarity_search_with_score"
        )
    return lambda score: min(1.0, max(0.0, (1 + score) / 2))
