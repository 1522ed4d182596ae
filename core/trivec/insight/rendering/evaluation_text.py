"""An evaluation in the terminal, with rich."""

from __future__ import annotations

from rich.table import Table

from trivec.insight.results import Results


def evaluation_table(evaluation: Results) -> Table:
    """Return the table of modes."""
    reference = evaluation.reference
    table = Table(
        title=f"{len(evaluation.queries)} queries; 95 % bootstrap intervals; p against {reference} "
        "(paired randomisation test, Holm)",
        title_justify="left",
        title_style="",
        box=None,
        pad_edge=False,
        collapse_padding=True,  # three metrics fit in 80 columns
    )
    table.add_column("mode")
    for metric in evaluation.metrics:
        table.add_column(metric, justify="right", no_wrap=True)
        if len(evaluation.results) > 1:
            table.add_column("p", justify="right", no_wrap=True)
    table.add_column("ms per query", justify="right")
    p_values = {metric: evaluation.p_values(metric) for metric in evaluation.metrics}
    best = {m: max(r.mean(m) for r in evaluation.results) for m in evaluation.metrics}
    for result in evaluation.results:
        cells = []
        for metric in evaluation.metrics:
            low, high = result.interval(metric)
            mean = result.mean(metric)
            bold = "[bold]" if mean == best[metric] else ""
            cells.append(f"{bold}{mean:.3f}{bold and '[/bold]'}\n[dim]{low:.3f}-{high:.3f}[/dim]")
            if len(evaluation.results) > 1:
                cells.append(p_text(p_values[metric].get(result.mode)))
        table.add_row(result.mode, *cells, f"{result.milliseconds:.1f}")
    return table


def p_text(p: float | None) -> str:
    """Return a p-value rounded for display.

    >>> p_text(0.00012), p_text(0.03217), p_text(None)
    ('< 0.001', '0.032', '')
    """
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
