"""The options of LangChain's searches, and the relevance of their scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trivec import ColbertStorage
from trivec.errors import InvalidOptionError
from trivec.fields import FieldType
from trivec.scores import AnyWeights
from trivec.search import CommonSearchOptions, Mode, Search
from trivec.stores.view import together
from trivec_langchain.filters import LangChainFilter, to_filter


class SearchOptions(CommonSearchOptions[AnyWeights, LangChainFilter], total=False):
    """The options of one search; those left out are the vector store's own.

    Attributes:
        mode: "dense", "sparse", "colbert", "hybrid" or "rrf".
        weights: The weights of "hybrid", as `Weights` or as a dict of them.
        candidates: How many documents the dense and the sparse search each give to the other
            modes.
        filter: Holds together with the vector store's.
    """

    mode: Mode


class VectorStoreOptions(SearchOptions, total=False):
    """The options of a vector store: those of its searches, and those of a new collection.

    Attributes:
        fields: The metadata that filters will use.
        colbert: How the collection keeps token vectors, such as "bits=1,pool=2"; one that exists
            must keep them so.
    """

    fields: Mapping[str, type | FieldType] | None
    colbert: ColbertStorage | str | None


class RetrieverOptions(SearchOptions, total=False):
    """The options of one call; those left out are the retriever's own."""

    k: int


class StoreRetrieverOptions(RetrieverOptions, total=False):
    """The options of a retriever that a vector store makes.

    Attributes:
        k: How many documents to return.
        fetch_k: Of "mmr": how many to choose from.
        lambda_mult: Of "mmr": 1 chooses the nearest, 0 the most different.
        score_threshold: Of "similarity_score_threshold": the lowest relevance, 0 to 1.
    """

    fetch_k: int
    lambda_mult: float
    score_threshold: float


_SEARCH_TYPES: Mapping[str, frozenset[str]] = {
    "similarity": frozenset(),
    "mmr": frozenset({"fetch_k", "lambda_mult"}),
    "similarity_score_threshold": frozenset({"score_threshold"}),
}
"""LangChain's search types, with the options that only they have."""


def with_filter(condition: LangChainFilter | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a call whose filter holds together with this one."""
    if condition is None:
        return dict(options)
    return {**options, "filter": together(to_filter(condition), to_filter(options.get("filter")))}


def check_search_type(search_type: str, options: Mapping[str, Any]) -> None:
    """Raise `InvalidOptionError` unless LangChain's search type exists and has these options."""
    if search_type not in _SEARCH_TYPES:
        raise InvalidOptionError(
            f"search_type={search_type!r}; expected one of {', '.join(_SEARCH_TYPES)}"
        )
    own = _SEARCH_TYPES[search_type]
    for other, names in _SEARCH_TYPES.items():
        if misplaced := sorted(set(options) & (names - own)):
            raise InvalidOptionError(f"{', '.join(misplaced)} needs search_type={other!r}")
    known = RetrieverOptions.__optional_keys__ | own
    if unknown := sorted(set(options) - known):
        raise InvalidOptionError(
            f"unknown search option {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )


def relevance_of(search: Search) -> Callable[[float], float]:
    """Return the function that maps a score to a relevance from 0 to 1.

    Dense and ColBERT scores are cosines of unit vectors, or means of such cosines, so they lie
    between -1 and 1. Lexical scores have no upper bound, and ranks do not measure relevance, so
    they raise `InvalidOptionError`.
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
