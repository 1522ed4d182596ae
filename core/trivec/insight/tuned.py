"""The outcome of tuning: the weights that were tried, and what the best of them are worth."""

from __future__ import annotations

from dataclasses import dataclass, field

from trivec.insight.statistics import Interval
from trivec.scores import Weights

_SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Trial:
    """Weights and the mean of the metric on the tuning half."""

    weights: Weights
    mean: float


@dataclass(frozen=True, slots=True)
class TunedWeights:
    """The best weights for some questions, and their gain on questions that were held out.

    Args:
        metric: The metric that was maximised.
        weights: The best weights on the tuning half; those of `baseline` if none is better.
        baseline: The weights that they are compared with.
        tuning: The means on the tuning half: baseline, tuned.
        testing: The means on the other half: baseline, tuned. Trust these.
        interval: The 95 % bootstrap interval of the gain on the testing half.
        p: The p-value of the two-sided paired randomisation test on the testing half.
        queries: The number of questions in each half.
        tried: All weights that were tried, with their means.
    """

    metric: str
    weights: Weights
    baseline: Weights
    tuning: tuple[float, float]
    testing: tuple[float, float]
    interval: Interval
    p: float
    queries: tuple[int, int]
    tried: tuple[Trial, ...] = field(repr=False, default=())

    @property
    def warning(self) -> str | None:
        """The reason why the weights should not be trusted, or None."""
        before, after = self.testing
        if self.weights == self.baseline:
            return "no weights were better than the baseline; keep it"
        if after <= before:
            return (
                "the gain did not carry over to the questions that were held out; keep the baseline"
            )
        if self.p >= _SIGNIFICANT:
            return (
                f"the gain may be chance (p = {self.p:.3f} on {self.queries[1]} questions held "
                "out); keep the baseline, or judge more questions"
            )
        return None
