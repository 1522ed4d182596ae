"""Confidence intervals of means over queries, and significance tests of their differences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000

# Random numbers drawn at once: 32 MiB of int64.
_MAX_DRAWN = 4 * 1024 * 1024

Values = NDArray[np.float64]


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def bootstrap_interval(values: Values, *, level: float = 0.95, seed: int = 0) -> Interval:
    """Return the percentile bootstrap interval of a mean.

    Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 13 (1993).

    Args:
        values: float64 (n,), one number per query.
        level: The confidence level.
        seed: The seed of the resamples; equal seeds and lengths resample the same queries.

    Example:
        >>> bootstrap_interval(np.full(20, 0.5))
        Interval(low=0.5, high=0.5)
    """
    n = len(values)
    if not n:
        return Interval(float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, n, (rows, n))].mean(axis=1) for rows in _chunks(n)]
    sampled = np.concatenate(means)
    low, high = np.quantile(sampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def randomisation_p(differences: Values, *, seed: int = 0) -> float:
    """Return the two-sided p-value of a paired randomisation test.

    If two systems were equal, each query's difference could as well have the opposite sign. The
    p-value is the share of random signs that give a mean at least as far from 0. This is Fisher's
    test as Smucker, Allan and Carterette recommend it for retrieval (2007); the +1 keeps it valid
    (Phipson and Smyth, 2010).

    Args:
        differences: float64 (n,), one system's value minus the other's for each query.
        seed: The seed of the random signs.

    Example:
        >>> randomisation_p(np.zeros(5)), randomisation_p(np.full(30, 0.1)) < 0.001
        (1.0, True)
    """
    n = len(differences)
    if not n:
        return 1.0
    observed = abs(differences.sum())
    rng = np.random.default_rng(seed)
    extreme = 0
    for rows in _chunks(n):
        signs = rng.integers(0, 2, (rows, n), dtype=np.int8) * 2.0 - 1.0
        # 1e-12: sums of the same numbers in another order count as equal.
        extreme += int(np.count_nonzero(np.abs(signs @ differences) >= observed - 1e-12))
    return (extreme + 1) / (RESAMPLES + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for multiple tests (Holm, 1979).

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected = [0.0] * len(p_values)
    worst = 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = worst
    return corrected


def _chunks(n: int) -> Iterator[int]:
    step = max(1, _MAX_DRAWN // n)
    for start in range(0, RESAMPLES, step):
        yield min(step, RESAMPLES - start)
