"""The measurements of storages in the terminal, with rich."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trivec.insight.rendering.style import PART_NAMES, TERMINAL
from trivec.insight.storage.results import (
    RANKED_MODES,
    Quality,
    RankedMode,
    StorageResults,
)

MILLION = 1_000_000
WIDTH, HEIGHT = 64, 14  # cells of the chart
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def storage_text(report: StorageResults) -> RenderableType:
    """Return the report as something that rich prints."""
    return Group(
        Text(heading(report), style="bold"),
        _table(report),
        Text(),
        _chart(report, "hybrid"),
        *(Text(f"note: {note}", style="dim") for note in report.notes),
        Text(f"note: {EXPLANATION}", style="dim"),
    )


EXPLANATION = (
    "percentages are of full float32, with 95 % intervals of the paired differences (bootstrap); "
    "TB are of all three parts, without texts, indexes and replicas; no smaller storage is as good "
    "for hybrid search as one in bold"
)


def heading(report: StorageResults) -> str:
    """Return the numbers of the sample as a line."""
    return (
        f"{report.documents:,} documents of {report.tokens:.0f} token vectors on average, "
        f"{report.questions:,} questions"
    )


def mode_name(mode: RankedMode) -> str:
    """Return the name of a mode for display."""
    return PART_NAMES.get(mode, mode)


def bytes_text(size: float) -> str:
    """Return bytes with three digits and a unit.

    >>> bytes_text(410_123), bytes_text(640.4), bytes_text(12_340)
    ('410 KB', '640 B', '12.3 KB')
    """
    for unit in ("B", "KB", "MB"):
        if size < 999.5 or unit == "MB":
            break
        size /= 1000
    digits = 1 if size < 99.95 and unit != "B" else 0
    return f"{size:,.{digits}f} {unit}"


def quality_text(quality: Quality) -> tuple[str, str]:
    """Return a share and its interval as percentages.

    >>> from trivec.insight.statistics import Interval
    >>> quality_text(Quality(0.7, 0.9951, Interval(0.99, 1.0012)))
    ('99.5', '99.0-100.1')
    """
    low, high = quality.interval
    return f"{100 * quality.share:.1f}", f"{100 * low:.1f}-{100 * high:.1f}"


def _table(report: StorageResults) -> Table:
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column("")
    table.add_column("storage", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("TB of 1 M", justify="right")
    table.add_column("TB of 100 M", justify="right")
    for metric in report.metrics:
        for mode in RANKED_MODES:
            title = f"{mode_name(mode)}\n{metric}" + (" %" if report.judged else "")
            table.add_column(title, justify="right", no_wrap=True)
    frontier = report.frontier()
    for letter, result in zip(_letters(report), report.results, strict=True):
        cells = []
        for metric in report.metrics:
            for mode in RANKED_MODES:
                share, interval = quality_text(result.quality(mode, metric))
                cells.append(f"{share} [dim]{interval}[/dim]")
        table.add_row(
            letter,
            str(result.storage),
            bytes_text(result.token_bytes),
            f"{result.terabytes(MILLION):.3g}",
            f"{result.terabytes(100 * MILLION):.3g}",
            *cells,
            style="bold" if result in frontier else "",
        )
    return table


def _letters(report: StorageResults) -> list[str]:
    return [_LETTERS[i] if i < len(_LETTERS) else "*" for i in range(len(report.results))]


def _chart(report: StorageResults, mode: RankedMode) -> Text:
    """Draw quality against bytes on a log axis; the bars are the intervals of the frontier."""
    frontier = report.frontier(mode)
    low, high = bounds([result.quality(mode) for result in frontier])
    marks = [[(" ", "")] * WIDTH for _ in range(HEIGHT)]
    x = _columns([result.token_bytes for result in report.results])
    style = TERMINAL["colbert"]

    def line(share: float) -> int:
        place = (high - min(high, max(low, share))) / (high - low)
        return round(place * (HEIGHT - 1))

    placed = list(zip(report.results, x, _letters(report), strict=True))
    for result, column, _ in placed:
        if result in frontier:
            interval = result.quality(mode).interval
            for row in range(line(interval.high), line(interval.low) + 1):
                marks[row][column] = ("│", style)
    for result, column, letter in sorted(placed, key=lambda each: each[0] in frontier):
        share = result.quality(mode).share
        if share >= low:
            bold = f"bold {style}" if result in frontier else ""
            marks[line(share)][column] = (letter, bold)
    metric = report.metrics[0]
    text = Text(f"{mode_name(mode)}: {metric} in % of full float32, bytes of token vectors\n")
    for row, cells in enumerate(marks):
        share = high - (high - low) * row / (HEIGHT - 1)
        text.append(f"{100 * share:6.1f} ┤" if row % 3 == 1 else "       │", style="dim")
        for mark, colour in cells:
            text.append(mark, style=colour)
        text.append("\n")
    text.append(f"       └{'─' * WIDTH}\n", style="dim")
    least, most = (report.results[i].token_bytes for i in (-1, 0))
    middle = bytes_text(math.sqrt(least * most)) if least else ""
    left, right = bytes_text(least), bytes_text(most)
    text.append(f"        {left}{middle:^{WIDTH - len(left) - len(right)}}{right}\n", style="dim")
    return text


def bounds(qualities: Sequence[Quality]) -> tuple[float, float]:
    """Return the lowest and the highest share that a chart shows, with all intervals."""
    low = min(quality.interval.low for quality in qualities)
    high = max(quality.interval.high for quality in qualities)
    margin = max(0.005, 0.05 * (high - low))
    return low - margin, high + margin


def _columns(sizes: Sequence[float]) -> list[int]:
    logs = [math.log(max(1.0, size)) for size in sizes]
    low, high = min(logs), max(logs)
    return [round((log - low) / ((high - low) or 1) * (WIDTH - 1)) for log in logs]
