"""Tuned weights in the terminal, with rich."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trivec.insight.rendering.evaluation_text import p_text
from trivec.insight.rendering.style import TERMINAL
from trivec.insight.tuned import TunedWeights
from trivec.scores import Weights


def tuning_text(tuning: TunedWeights) -> RenderableType:
    """Return the table of both halves, and the warning if there is one."""
    table = Table(title=f"{tuning.metric} of hybrid search", title_justify="left", title_style="")
    for column in (
        "weights: dense, sparse, ColBERT",
        f"tuning ({tuning.queries[0]})",
        f"testing ({tuning.queries[1]})",
    ):
        table.add_column(column)
    for weights, mean, tested in zip(
        (tuning.baseline, tuning.weights), tuning.tuning, tuning.testing, strict=True
    ):
        table.add_row(_weights_text(weights), f"{mean:.3f}", f"{tested:.3f}")
    before, after = tuning.testing
    low, high = tuning.interval
    gain = (
        f"gain on the testing half {after - before:+.3f} ({low:+.3f} to {high:+.3f}), "
        f"p {p_text(tuning.p)}"
    )
    advice = (
        Text(f"warning: {tuning.warning}", style=TERMINAL["sparse"])
        if tuning.warning
        else Text(f"use --weights {_weights_text(tuning.weights)}", style=TERMINAL["colbert"])
    )
    return Group(table, Text(gain), advice)


def _weights_text(weights: Weights) -> str:
    """Return weights in the syntax of the option `--weights`.

    >>> _weights_text(Weights.GENERAL)
    '1,0.3,1'
    """
    return f"{weights.dense:g},{weights.sparse:g},{weights.colbert:g}"
