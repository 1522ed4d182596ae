"""The outcome of tuning: the weights that were tried, and what the best of them are worth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trivec.insight.statistics import Interval
from trivec.scores import Weights

if TYPE_CHECKING:
    from rich.console import RenderableType

_SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Trial:
    """Weights and the mean of the metric on the tuning half."""

    weights: Weights
    mean: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """The best weights for some questions, and their gain on questions that were held out.

    It prints as a table with rich.

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

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        from trivec.insight.rendering.evaluation_text import p_text
        from trivec.insight.rendering.style import TERMINAL

        table = Table(title=f"{self.metric} of hybrid search", title_justify="left", title_style="")
        learning, held_out = self.queries
        table.add_column("weights: dense, sparse, ColBERT")
        table.add_column(f"tuning ({learning})")
        table.add_column(f"testing ({held_out})")
        for weights, mean, tested in zip(
            (self.baseline, self.weights), self.tuning, self.testing, strict=True
        ):
            table.add_row(_weights_text(weights), f"{mean:.3f}", f"{tested:.3f}")
        before, after = self.testing
        low, high = self.interval
        gain = (
            f"gain on the testing half {after - before:+.3f} ({low:+.3f} to {high:+.3f}), "
            f"p {p_text(self.p)}"
        )
        advice = (
            Text(f"warning: {self.warning}", style=TERMINAL["sparse"])
            if self.warning
            else Text(f"use --weights {_weights_text(self.weights)}", style=TERMINAL["colbert"])
        )
        return Group(table, Text(gain), advice)


def _weights_text(weights: Weights) -> str:
    """Return weights in the syntax of the option `--weights`.

    >>> _weights_text(Weights.GENERAL)
    '1,0.3,1'
    """
    return f"{weights.dense:g},{weights.sparse:g},{weights.colbert:g}"
