"""Ranking, where databases leave it to their clients: rank fusion, equal scores, cuts of lists."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from trivec.hit import Hit
from trivec.scores import Weights
from trivec.search import Part

T = TypeVar("T", bound=Hashable)
A = TypeVar("A")
Y = TypeVar("Y")
R = TypeVar("R")

RRF_K = 60
"""Reciprocal rank fusion scores 1 / (60 + rank), rank from 1 (Cormack, Clarke, Büttcher, 2009)."""

_ROUNDING = 2e-7  # of sums in float32, relative to a score of 1


def rank_hits(hits: Sequence[Hit], k: int) -> list[Hit]:
    """Return the k best hits; those of equal score in the order of their ids."""
    return sorted(hits, key=lambda hit: (-hit.score, hit.document.id))[:k]


def reciprocal_ranks(lists: Iterable[Iterable[T]]) -> dict[T, float]:
    """Fuse ranked lists: each item scores the sum of 1 / (60 + rank) over the lists, rank from 1.

    Each list is best first, without repetitions.

    >>> scores = reciprocal_ranks([["a", "b"], ["b"]])
    >>> scores["b"] == 1 / 62 + 1 / 61
    True
    """
    scores: dict[T, float] = {}
    for ranked in lists:
        for rank, item in enumerate(ranked, start=1):
            scores[item] = scores.get(item, 0.0) + 1 / (RRF_K + rank)
    return scores


def is_cut_tied(scores: Sequence[float], k: int, limit: int, *, near: float = 0.0) -> bool:
    """Return whether a list that was cut at `limit` may lack items that belong among its k best.

    Databases choose among equal scores as they like, we by id. So a list is long enough only if
    its last item scores less than its k-th. The scores are best first; those that are at most
    `near` apart are equal in the database's arithmetic.

    >>> is_cut_tied([3.0, 2.0, 2.0], 2, 3), is_cut_tied([3.0, 2.0, 1.0], 2, 3)
    (True, False)
    """
    return len(scores) >= limit > k and scores[k - 1] - scores[limit - 1] <= near


def until_untied(
    items: Iterable[T],
    limit: int,
    ask: Callable[[Mapping[T, int]], Generator[Y, R, Mapping[T, A]]],
    tied: Callable[[T, A, int], bool],
    *,
    most: int,
) -> Generator[Y, R, dict[T, A]]:
    """Ask for lists, and for four times as much where a list may lack items that belong to it.

    `ask` requests the answers for items, such as queries, with their limits. `tied` returns whether
    an answer, cut at a limit, may lack items; see `is_cut_tied`. An answer of the largest limit,
    `most`, is taken as it is.
    """
    answers: dict[T, A] = {}
    pending = dict.fromkeys(items, min(limit, most))
    while pending:
        answers.update((yield from ask(pending)))
        pending = {
            item: min(4 * asked, most)
            for item, asked in pending.items()
            if asked < most and tied(item, answers[item], asked)
        }
    return answers


def weighted_sum(parts: Mapping[Part, float], weights: Weights) -> float:
    """Return the hybrid score: the weighted mean of the parts; a part that is missing scores 0.

    >>> weighted_sum({"dense": 0.5, "sparse": 0.2}, Weights(1, 1, 2))
    0.175
    """
    shares = {"dense": weights.dense, "sparse": weights.sparse, "colbert": weights.colbert}
    return sum(shares[part] * score for part, score in parts.items()) / weights.total


def level(scores: Sequence[float]) -> list[float]:
    """Return scores in which those that only rounding tells apart are equal.

    Engines that multiply matrices in float32 give equal documents scores that differ in the last
    bit, by where their rows stand. Each score becomes that of the first in its run of neighbours.
    The scores are best first.

    >>> level([0.5, 0.25000003, 0.25, 0.1])
    [0.5, 0.25000003, 0.25000003, 0.1]
    """
    values = np.array(scores, np.float64)
    if len(values) < 2:
        return list(scores)
    apart = -np.diff(values) > _ROUNDING * np.maximum(1.0, np.abs(values[1:]))
    starts = np.flatnonzero(np.concatenate([[True], apart]))
    levelled: list[float] = np.repeat(values[starts], np.diff(starts, append=len(values))).tolist()
    return levelled
