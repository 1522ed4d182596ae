"""One search: its options, the sources of its candidates and the parts of its scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, Literal, TypedDict, TypeVar, cast, get_args

import numpy as np

from trivec.arguments import expect, named
from trivec.errors import InvalidFilterError, InvalidOptionError
from trivec.fields import split_path
from trivec.filters import Filter, check_is_filter
from trivec.scores import Weights, as_weights
from trivec.vectors import Vector

Mode = Literal["dense", "sparse", "colbert", "hybrid", "rrf"]
"""The score that a search ranks by: one of the three, their weighted mean ("hybrid"), or the sum
of 1 / (60 + rank) over the dense and the sparse list ("rrf")."""
Part = Literal["dense", "sparse", "colbert"]
"""One of the three representations, and its score."""

MODES: tuple[Mode, ...] = get_args(Mode)
PARTS: tuple[Part, ...] = get_args(Part)

_SOURCES: tuple[Part, ...] = ("dense", "sparse")
MAX_COUNT = 2**31 - 1
"""The most hits or candidates, which some databases count in 32 bits."""


def as_mode(text: str) -> Mode:
    """Return the mode of this name, or raise `InvalidOptionError` for an unknown one."""
    for mode in MODES:
        if text == mode:
            return mode
    raise InvalidOptionError(f"{named('mode', text)}; expected one of {', '.join(MODES)}")


def has_part(query: Vector, part: Part) -> bool:
    """Return whether a query has a part: lexical weights, or token vectors, may be none."""
    if part == "dense":
        return query.dense is not None
    if part == "sparse":
        return bool(query.sparse)
    return query.colbert is not None and len(query.colbert) > 0


W = TypeVar("W")
C = TypeVar("C")


class CommonSearchOptions(TypedDict, Generic[W, C], total=False):
    """The search options that frameworks take too, with their own types of weights and filters."""

    weights: W
    candidates: int
    filter: C | None
    group_by: str | None
    per_group: int
    evidence: int


class SearchOptions(CommonSearchOptions[Weights, Filter], total=False):
    """The keyword options of a search, wherever one is asked for.

    Attributes:
        k: How many hits at most; 10 by default.
        mode: "dense" and "sparse" rank by that score. "hybrid", the default, ranks by the exact
            weighted score over the union of the `candidates` best dense and the `candidates` best
            sparse documents, "colbert" ranks that union by its ColBERT score, and "rrf" by
            1/(60 + rank) summed over the two lists.
        weights: The weights of "hybrid", `Weights.GENERAL` by default; a weight of 0 removes its
            part, also as a source of candidates. If only ColBERT is left, both sources give
            candidates.
        candidates: How many documents each source gives; 100 by default, and at least k.
        filter: A condition that every hit satisfies.
        group_by: A declared field of the metadata, or "parent", the document that a passage is
            of. The hits of the k best groups are returned: of each group those that score best,
            side by side, and the groups in the order of their best hits. If the candidates are of
            fewer groups, more are asked for, up to 64 times as many. A document without the field
            is a group by itself.
        per_group: The most hits of one group; 1 by default.
        evidence: How many passages of each hit are returned with it, those that match the query
            best; 0 by default. An encoder of the collection's model must be open in this process,
            since its tokenizer tells where tokens are in a text.
    """

    k: int
    mode: Mode


@dataclass(frozen=True, slots=True)
class Search:
    """The options of one search with their defaults, as backends receive them.

    Args:
        mode: What hits are ranked by.
        k: How many hits at most, or groups if there are groups.
        weights: The weights of `hybrid`; a weight of 0 also takes its part out of the sources.
        candidates: How many documents each source gives to `colbert`, `hybrid` and `rrf`;
            raised to k where it is lower.
        filter: A condition on the metadata of hits and candidates.
        group_by: The field by which the store groups hits; None for no groups. Backends see it only
            in the limits below.
        per_group: The most hits of one group.
        evidence: How many passages the store adds to each hit.

    Raises:
        InvalidOptionError: If one of them is out of range.
        InvalidFilterError: If the filter is none.
    """

    mode: Mode = "hybrid"
    k: int = 10
    weights: Weights = Weights.GENERAL
    candidates: int = 100
    filter: Filter | None = None
    group_by: str | None = None
    per_group: int = 1
    evidence: int = 0

    def __post_init__(self) -> None:
        as_mode(self.mode)
        for name, least in (("k", 1), ("candidates", 1), ("per_group", 1), ("evidence", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                value = None
            if value is None or not least <= value <= MAX_COUNT:
                given = named(name, getattr(self, name))
                raise InvalidOptionError(f"{given} must be an integer from {least} to {MAX_COUNT}")
            object.__setattr__(self, name, int(value))
        expect(self.weights, Weights, "weights", "Weights, such as Weights(1, 0.3, 1)")
        if self.filter is not None:
            check_is_filter(self.filter)
        self._check_groups()
        object.__setattr__(self, "candidates", max(self.k, self.candidates))

    def _check_groups(self) -> None:
        path = self.group_by
        expect(path, (str, type(None)), "group_by", "the path of a field, such as 'parent'")
        if path is not None:
            try:
                split_path(path)
            except InvalidFilterError as error:
                raise InvalidOptionError(f"group_by: {error}") from error
        elif self.per_group != 1:
            raise InvalidOptionError(
                f"per_group={self.per_group} needs group_by, the field by which hits are grouped, "
                "such as group_by='parent'"
            )

    @property
    def options(self) -> SearchOptions:
        """The options that make this search, for `Store.search`."""
        return cast(
            SearchOptions, {field.name: getattr(self, field.name) for field in fields(self)}
        )

    def sources(self, query: Vector) -> tuple[Part, ...]:
        """Return where the candidates of this query come from, of "dense" and "sparse".

        An empty tuple means that nothing can be found, as by `colbert` without a token vector.
        """
        if self.mode == "colbert" and not has_part(query, "colbert"):
            return ()
        wanted: tuple[Part, ...]
        if self.mode == "dense" or self.mode == "sparse":
            wanted = (self.mode,)
        else:
            wanted = tuple(p for p in _SOURCES if getattr(self.weights, p) > 0) or _SOURCES
        return tuple(part for part in wanted if has_part(query, part))

    def scored_parts(self, query: Vector) -> tuple[Part, ...]:
        """Return the parts of the score that this query has."""
        return tuple(part for part in self.parts if has_part(query, part))

    def evidence_weights(self, query: Vector) -> Weights:
        """Return the weights of the lexical and the ColBERT score of the passages in hits.

        They are those that the mode ranks by, or `Weights.GENERAL` if these leave no part of the
        query but the dense one.
        """
        weights = self.weights
        if self.mode == "sparse" or self.mode == "colbert":
            weights = Weights(0, self.mode == "sparse", self.mode == "colbert")
        elif self.mode == "dense":
            weights = Weights.GENERAL
        parts: tuple[Part, ...] = ("sparse", "colbert")
        is_left = any(getattr(weights, part) > 0 and has_part(query, part) for part in parts)
        return weights if is_left else Weights.GENERAL

    @property
    def hit_limit(self) -> int:
        """The most hits that a backend returns: all candidates if the store groups them."""
        return self.k if self.group_by is None else self.candidate_limit

    @property
    def source_limit(self) -> int:
        """The most candidates that one source gives."""
        return self.k if self._ranks_by_source and self.group_by is None else self.candidates

    @property
    def candidate_limit(self) -> int:
        """The most candidates that all sources give together."""
        return self.source_limit * (1 if self._ranks_by_source else len(_SOURCES))

    @property
    def _ranks_by_source(self) -> bool:
        return self.mode in ("dense", "sparse")

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that are computed for every hit."""
        if self.mode == "dense" or self.mode == "sparse" or self.mode == "colbert":
            return (self.mode,)
        weights = self.weights
        if self.mode == "hybrid":
            return tuple(part for part in PARTS if getattr(weights, part) > 0)
        return tuple(part for part in _SOURCES if getattr(weights, part) > 0) or _SOURCES


def with_options(search: Search, options: Mapping[str, Any]) -> Search:
    """Return a search with some other options, as frameworks take them.

    An unknown option raises `TypeError`, as any keyword of a function does. Weights may also be a
    dict of them.

    >>> with_options(Search(k=4), {"mode": "dense"}).options["k"]
    4
    """
    known = sorted(search.options)
    if unknown := sorted(set(options) - set(known)):
        raise TypeError(f"unknown search option {', '.join(unknown)}; known are {', '.join(known)}")
    given = dict(options)
    if "weights" in given:
        given["weights"] = as_weights(given["weights"])
    return replace(search, **given)
