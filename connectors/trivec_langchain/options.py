"""The options of LangChain's searches, and the relevance of their scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trivec import ColbertStorage
from trivec.arguments import expect
from trivec.document import PRIVATE_KEY
from trivec.errors import InvalidOptionError
from trivec.fields import FieldType
from trivec.passages.evidence_metadata import EVIDENCE
from trivec.passages.parent_hits import grouped_by_parent, updated_options
from trivec.scores import AnyWeights
from trivec.search import CommonSearchOptions, Mode, Search, with_options
from trivec.stores.view import together
from trivec_langchain.filters import LangChainFilter, to_filter


class HitOptions(CommonSearchOptions[AnyWeights, LangChainFilter], total=False):
    """The options of one search for hits; those left out are the vector store's own.

    Attributes:
        mode: "dense", "sparse", "colbert", "hybrid" or "rrf".
        weights: The weights of "hybrid", as `Weights` or as a dict of them.
        candidates: How many documents the dense and the sparse search each give to the other
            modes.
        filter: Holds together with the vector store's.
        group_by: A declared field of the metadata, or "parent", the document that a passage is of.
            The results are those of the k best groups, side by side, the best group first.
            `group_by=None` takes back the vector store's own, with its `per_group` and `parents`.
        per_group: The most results of one group; 1 by default.
        evidence: How many passages of each result to return that match the question best, as
            `Hit.evidence` and as the metadata "evidence" of documents: a list of dicts with the
            keys start, end, text and score, best first. It stands in place of a value that the
            document has under this key, and is not stored when the document is added again.
        parents: Whether each parent is returned instead of its passages, with its own text and
            metadata, and with the score of its best passage. The results are grouped by "parent".
            Its evidence is that of the `per_group` passages. A document that is no passage is
            returned as it is.
    """

    mode: Mode
    parents: bool


class SearchOptions(HitOptions, total=False):
    """The options of one search for documents; those left out are the vector store's own.

    Attributes:
        score_key: The metadata key under which a document has its score; None, the default, for
            none. It stands in place of a value that the document has under this key.
    """

    score_key: str | None


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


@dataclass(frozen=True, slots=True)
class DocumentSearch:
    """A search whose hits are returned as documents.

    Args:
        search: The search for hits.
        parents: Whether parents are returned instead of their passages.
        score_key: The metadata key of the score, or None.

    Raises:
        InvalidOptionError: If an option is out of range, or two of them contradict each other.
    """

    search: Search
    parents: bool = False
    score_key: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "search", grouped_by_parent(self.search, self.parents))
        check_score_key(self.score_key)
        if self.score_key == EVIDENCE and self.search.evidence:
            raise InvalidOptionError(
                f"score_key={EVIDENCE!r} is the key of the evidence; choose another key"
            )

    def updated(self, options: Mapping[str, Any]) -> DocumentSearch:
        """Return this search with some other options; an unknown one raises `TypeError`."""
        known = SearchOptions.__optional_keys__ | {"k"}
        if unknown := sorted(set(options) - known):
            raise TypeError(
                f"unknown search option {', '.join(unknown)}; known are {', '.join(sorted(known))}"
            )
        given = updated_options(
            {
                "parents": self.parents,
                "score_key": self.score_key,
                "group_by": self.search.group_by,
                "per_group": self.search.per_group,
            },
            options,
        )
        parents, score_key = given.pop("parents"), given.pop("score_key")
        return DocumentSearch(with_options(self.search, given), parents, score_key)


def check_score_key(key: str | None) -> None:
    """Raise `InvalidOptionError` unless a document can have its score under this key."""
    expect(key, (str, type(None)), "score_key", "a metadata key, such as 'score', or None")
    if key in ("", PRIVATE_KEY):
        raise InvalidOptionError(f"score_key={key!r}: choose another key, such as 'score'")


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
