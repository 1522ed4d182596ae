"""One search as every store receives it: the mode, its sources of candidates and its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from trivec.arguments import expect, named
from trivec.errors import InvalidOptionError
from trivec.filters import Filter, check_is_filter
from trivec.scores import Weights
from trivec.vectors import Vector

__all__ = ["MODES", "Mode", "Part", "Search", "as_mode"]

Mode = Literal["dense", "sparse", "colbert", "hybrid", "rrf"]
"""What a search ranks by: one of the three scores, their weighted mean ("hybrid"), or the sum of
1 / (60 + rank) over the dense and the sparse list ("rrf")."""
Part = Literal["dense", "sparse", "colbert"]
"""One of the three representations, and its score."""

MODES: tuple[Mode, ...] = get_args(Mode)

_SOURCES: tuple[Part, ...] = ("dense", "sparse")
_PARTS: tuple[Part, ...] = ("dense", "sparse", "colbert")
_MOST = 2**31 - 1  # hits or candidates, which some databases count in 32 bits


def as_mode(text: str) -> Mode:
    """Return the mode of this name, or raise `InvalidOptionError` for an unknown one."""
    for mode in MODES:
        if text == mode:
            return mode
    raise InvalidOptionError(f"{named('mode', text)}; expected one of {', '.join(MODES)}")


@dataclass(frozen=True, slots=True)
class Search:
    """What to search for, apart from the query itself.

    Args:
        mode: What hits are ranked by.
        k: How many hits at most.
        weights: The weights of `hybrid`; a weight of 0 also takes its part out of the sources.
        candidates: How many documents each source gives to `colbert`, `hybrid` and `rrf`;
            raised to k where it is lower.
        filter: A condition on the metadata of hits and candidates.

    Raises:
        InvalidOptionError: If one of them is out of range.
        InvalidFilterError: If the filter is none.
    """

    mode: Mode = "hybrid"
    k: int = 10
    weights: Weights = Weights.GENERAL
    candidates: int = 100
    filter: Filter | None = None

    def __post_init__(self) -> None:
        as_mode(self.mode)
        for name in ("k", "candidates"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                value = None
            if value is None or not 1 <= value <= _MOST:
                given = named(name, getattr(self, name))
                raise InvalidOptionError(f"{given} must be an integer from 1 to {_MOST}")
            object.__setattr__(self, name, int(value))
        expect(self.weights, Weights, "weights", "Weights, such as Weights(1, 0.3, 1)")
        if self.filter is not None:
            check_is_filter(self.filter)
        object.__setattr__(self, "candidates", max(self.k, self.candidates))

    def sources(self, query: Vector) -> tuple[Part, ...]:
        """Return where the candidates of this query come from, of "dense" and "sparse".

        An empty tuple means that nothing can be found, as by `colbert` without a token vector.
        """
        if self.mode == "colbert" and (query.colbert is None or not len(query.colbert)):
            return ()
        wanted: tuple[Part, ...]
        if self.mode == "dense" or self.mode == "sparse":
            wanted = (self.mode,)
        else:
            wanted = tuple(p for p in _SOURCES if getattr(self.weights, p) > 0) or _SOURCES
        there = {"dense": query.dense is not None, "sparse": bool(query.sparse)}
        return tuple(name for name in wanted if there[name])

    @property
    def source_limit(self) -> int:
        """The most candidates that one source gives."""
        return self.k if self.mode in ("dense", "sparse") else self.candidates

    @property
    def candidate_limit(self) -> int:
        """The most candidates that all sources give together."""
        single = self.mode in ("dense", "sparse")
        return self.source_limit if single else len(_SOURCES) * self.source_limit

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that are computed for every hit."""
        if self.mode == "dense" or self.mode == "sparse" or self.mode == "colbert":
            return (self.mode,)
        weights = self.weights
        if self.mode == "hybrid":
            return tuple(part for part in _PARTS if getattr(weights, part) > 0)
        return tuple(part for part in _SOURCES if getattr(weights, part) > 0) or _SOURCES
