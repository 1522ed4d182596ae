"""The quality of rankings: by judgements, or by their agreement with those of full vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trivec.insight.measures import Measures
from trivec.insight.statistics import Interval, Values, bootstrap_interval
from trivec.insight.storage.results import Quality

TOP = 10
"""The hits of a ranking that matter."""

JUDGED = (f"nDCG@{TOP}",)
AGREEMENT = (f"overlap@{TOP}", "rank correlation")
"""The metrics with judgements, and without."""


def judged_values(rankings: Mapping[str, Sequence[str]], measures: Measures) -> dict[str, Values]:
    """Return each metric of each question.

    Args:
        rankings: For each question the ids of documents, best first.
        measures: The metrics, with the judgements of the same questions.
    """
    return {
        metric: np.array([of_questions[question] for question in rankings])
        for metric, of_questions in measures(rankings).items()
    }


def agreement_values(full: Sequence[Values], scores: Sequence[Values]) -> dict[str, Values]:
    """Return how much the rankings of each question agree with those of full vectors.

    Args:
        full: For each question the scores of its candidates with full vectors.
        scores: The scores of the same candidates with another storage.
    """
    pairs = list(zip(full, scores, strict=True))
    measured = [[_overlap(a, b) for a, b in pairs], [_correlation(a, b) for a, b in pairs]]
    return dict(zip(AGREEMENT, map(np.array, measured), strict=True))


def quality(values: Values, full: Values) -> Quality:
    """Return the mean of a metric, and its share of that of full vectors.

    Args:
        values: float64 (n,), one number for each question.
        full: The same with full vectors; its mean is above 0.

    Example:
        >>> quality(np.array([0.4, 0.6]), np.array([0.4, 0.6]))
        Quality(mean=0.5, share=1.0, interval=Interval(low=1.0, high=1.0))
    """
    mean, base = float(values.mean()), float(full.mean())
    low, high = bootstrap_interval(values - full)
    return Quality(mean, mean / base, Interval(1 + low / base, 1 + high / base))


def best_rows(scores: Values) -> NDArray[np.int64]:
    """Return the positions of the best scores, best first; of equal ones, those in front."""
    return np.argsort(-scores, kind="stable")[:TOP]


def _overlap(one: Values, other: Values) -> float:
    """Return the share of the best of one ranking that are among the best of another.

    >>> _overlap(np.arange(20.0), -np.arange(20.0)), _overlap(np.ones(3), np.zeros(3))
    (0.0, 1.0)
    """
    if not len(one):
        return 1.0
    best = best_rows(one)
    return len(np.intersect1d(best, best_rows(other))) / len(best)


def _correlation(one: Values, other: Values) -> float:
    """Return Spearman's rank correlation; 1 where both have no order.

    >>> _correlation(np.array([1.0, 2.0, 3.0]), np.array([5.0, 6.0, 9.0]))
    1.0
    """
    from scipy.stats import rankdata

    ranks = [rankdata(scores) - (len(scores) + 1) / 2 for scores in (one, other)]
    lengths = [float(np.sqrt(np.square(each).sum())) for each in ranks]
    if min(lengths) == 0:
        return float(lengths[0] == lengths[1])
    return float(round((ranks[0] * ranks[1]).sum() / (lengths[0] * lengths[1]), 12))
