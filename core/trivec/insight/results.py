"""The measurements of an evaluation: the values of every query in every mode, and comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trivec.errors import InvalidOptionError
from trivec.hit import Hit
from trivec.insight.statistics import Interval, bootstrap_interval, holm, randomisation_p
from trivec.search import Mode


@dataclass(frozen=True, slots=True)
class ModeResult:
    """The measurements of one mode.

    Args:
        mode: The mode.
        values: For each metric, the value of each query.
        seconds: The duration of each query's search, without its encoding.
        hits: For each query its hits, best first.
    """

    mode: Mode
    values: Mapping[str, Mapping[str, float]] = field(repr=False)
    seconds: tuple[float, ...] = field(repr=False)
    hits: Mapping[str, Sequence[Hit]] = field(repr=False)

    def column(self, metric: str) -> NDArray[np.float64]:
        """Return the values of a metric, float64 (queries,).

        Raises:
            InvalidOptionError: If the metric was not measured.
        """
        if metric not in self.values:
            raise InvalidOptionError(
                f"metric {metric!r} was not measured: {', '.join(self.values)}"
            )
        return np.fromiter(self.values[metric].values(), np.float64)

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over the queries."""
        return float(self.column(metric).mean())

    def interval(self, metric: str) -> Interval:
        """Return the 95 % bootstrap interval of the mean."""
        return bootstrap_interval(self.column(metric))

    @property
    def milliseconds(self) -> float:
        """The mean duration of one search, run one at a time."""
        return 1000 * sum(self.seconds) / len(self.seconds)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One mode against another on the same queries.

    Args:
        difference: The first mode's mean minus the second's.
        interval: The 95 % bootstrap interval of the difference.
        p: The p-value of the two-sided paired randomisation test, not corrected.
    """

    difference: float
    interval: Interval
    p: float


@dataclass(frozen=True, slots=True)
class Results:
    """The measurements of all modes on the same queries.

    Args:
        queries: The questions, id to text.
        metrics: The names of the metrics.
        results: One result per mode.
        reference: The mode that the others are tested against.
    """

    queries: Mapping[str, str] = field(repr=False)
    metrics: tuple[str, ...]
    results: tuple[ModeResult, ...]
    reference: Mode

    def result(self, mode: str) -> ModeResult:
        """Return the result of a mode.

        Raises:
            InvalidOptionError: If the mode was not measured.
        """
        for result in self.results:
            if result.mode == mode:
                return result
        raise InvalidOptionError(
            f"mode {mode!r} was not measured: {', '.join(r.mode for r in self.results)}"
        )

    def compare(self, first: str, second: str, metric: str) -> Comparison:
        """Compare two modes query by query.

        Args:
            first: The mode whose gain is computed.
            second: The mode that it is compared with.
            metric: One of `metrics`.

        Raises:
            InvalidOptionError: If a mode or the metric was not measured.
        """
        differences = self.result(first).column(metric) - self.result(second).column(metric)
        return Comparison(
            float(differences.mean()), bootstrap_interval(differences), randomisation_p(differences)
        )

    def p_values(self, metric: str) -> dict[str, float]:
        """Return for each other mode the p-value of its difference from `reference`.

        These are two-sided paired randomisation tests, corrected for their number by Holm's method.
        """
        others = [r.mode for r in self.results if r.mode != self.reference]
        raw = [self.compare(mode, self.reference, metric).p for mode in others]
        return dict(zip(others, holm(raw), strict=True))
