"""The measurements of storages as HTML: a chart in SVG and a table, without any script."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

from trivec.insight.rendering.storage_text import (
    EXPLANATION,
    MILLION,
    bounds,
    bytes_text,
    heading,
    mode_name,
    quality_text,
)
from trivec.insight.rendering.style import STYLE, page
from trivec.insight.storage.results import (
    RANKED_MODES,
    RankedMode,
    StorageResult,
    StorageResults,
)

_STYLE = """
.trivec .scroll td,.trivec .scroll th{white-space:nowrap}
.trivec .range{color:var(--muted);font-size:12px;font-weight:400}
.trivec tr.frontier td{font-weight:600}
.trivec svg{display:block;width:100%;height:auto}
.trivec svg text{fill:var(--fg);font:12px system-ui,sans-serif}
.trivec svg text.muted{fill:var(--muted)}
.trivec svg text.label{paint-order:stroke;stroke:var(--bg);stroke-width:3px}
.trivec svg .grid{stroke:var(--line)}
"""

_WIDTH, _HEIGHT = 860, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 20, 16, 44


def storage_html(report: StorageResults) -> str:
    """Return the charts and the table as a self-contained `<div>`."""
    return f'<div class="trivec"><style>{STYLE}{_STYLE}</style>{_content(report)}</div>'


def storage_page(report: StorageResults) -> str:
    """Return a whole page."""
    return page("trivec storages", storage_html(report))


def _content(report: StorageResults) -> str:
    charts = "".join(
        f"<h3>{escape(mode_name(mode))}: {escape(report.metrics[0])} in % of full float32</h3>"
        f"{_chart(report, mode)}"
        for mode in reversed(RANKED_MODES)
    )
    notes = "".join(
        f"<p>{escape(note[:1].upper() + note[1:])}.</p>" for note in (*report.notes, EXPLANATION)
    )
    return (
        f"<h2>Storages of token vectors</h2><p>{escape(heading(report))}.</p>{charts}"
        f'{_table(report)}<div class="muted">{notes}</div>'
    )


# --- the chart -----------------------------------------------------------------------------------


class _Scale:
    """Positions in a chart: bytes on a log axis, shares on a linear one."""

    def __init__(self, report: StorageResults, mode: RankedMode) -> None:
        sizes = [max(1.0, result.token_bytes) for result in report.results]
        self.least, self.most = min(sizes) / 1.15, max(sizes) * 1.15
        self.low, self.high = bounds([result.quality(mode) for result in report.results])

    def x(self, size: float) -> float:
        share = math.log(max(1.0, size) / self.least) / math.log(self.most / self.least)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, share: float) -> float:
        place = (self.high - share) / (self.high - self.low)
        return _TOP + place * (_HEIGHT - _TOP - _BOTTOM)


def _chart(report: StorageResults, mode: RankedMode) -> str:
    scale = _Scale(report, mode)
    frontier = report.frontier(mode)
    parts = [*_axes(scale)]
    line = " ".join(
        f"{scale.x(r.token_bytes):.1f},{scale.y(r.quality(mode).share):.1f}" for r in frontier
    )
    parts.append(
        f'<polyline points="{line}" fill="none" stroke="var(--{mode})" opacity=".35" '
        'stroke-width="2"/>'
    )
    parts += [_point(report, result, mode, scale, result in frontier) for result in report.results]
    labels: list[tuple[float, float]] = []
    for result in frontier:
        parts.append(_label(result, mode, scale, labels))
    title = f"{mode_name(mode)}: {report.metrics[0]} against bytes of token vectors"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def _axes(scale: _Scale) -> Iterator[str]:
    for tick in _share_ticks(scale.low, scale.high):
        y = scale.y(tick)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield (
            f'<text class="muted" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{100 * tick:.4g}</text>"
        )
    for tick in _size_ticks(scale.least, scale.most):
        x = scale.x(tick)
        yield (
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>'
        )
        yield (
            f'<text class="muted" x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">'
            f"{_tick_text(tick)}</text>"
        )
    yield (
        f'<text class="muted" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" text-anchor="end">'
        "bytes of a document's token vectors, log scale</text>"
    )


def _share_ticks(low: float, high: float) -> list[float]:
    """Return round shares between two bounds, about six of them.

    >>> [round(tick, 3) for tick in _share_ticks(0.96, 1.01)]
    [0.96, 0.97, 0.98, 0.99, 1.0, 1.01]
    """
    rough = (high - low) / 6
    power = 10 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= 0.7 * rough)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _size_ticks(least: float, most: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten between two bounds."""
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    return [tick for tick in ticks if least <= tick <= most]


def _tick_text(size: float) -> str:
    """Return a round number of bytes.

    >>> _tick_text(2000.0), _tick_text(500.0), _tick_text(1e6)
    ('2 KB', '500 B', '1 MB')
    """
    for unit in ("B", "KB", "MB"):
        if size < 1000 or unit == "MB":
            break
        size /= 1000
    return f"{size:g} {unit}"


def _point(
    report: StorageResults, result: StorageResult, mode: RankedMode, scale: _Scale, best: bool
) -> str:
    quality = result.quality(mode)
    x, y = scale.x(result.token_bytes), scale.y(quality.share)
    top, bottom = scale.y(quality.interval.high), scale.y(quality.interval.low)
    share, interval = quality_text(quality)
    told = (
        f"{result.storage}: {bytes_text(result.token_bytes)} a document, "
        f"{report.metrics[0]} {quality.mean:.3f}, {share} % ({interval})"
    )
    colour = f"var(--{mode})" if best else "var(--muted)"
    return (
        f'<g stroke="{colour}" fill="{colour}" opacity="{1 if best else 0.55}">'
        f"<title>{escape(told)}</title>"
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" stroke-width="1.5"/>'
        f'<line x1="{x - 4:.1f}" x2="{x + 4:.1f}" y1="{top:.1f}" y2="{top:.1f}"/>'
        f'<line x1="{x - 4:.1f}" x2="{x + 4:.1f}" y1="{bottom:.1f}" y2="{bottom:.1f}"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{5 if best else 3.5}" stroke="none"/></g>'
    )


def _label(
    result: StorageResult, mode: RankedMode, scale: _Scale, labels: list[tuple[float, float]]
) -> str:
    """Return the name beside a point, moved down while it would cover another one."""
    x, y = scale.x(result.token_bytes), scale.y(result.quality(mode).share) - 9
    while any(abs(x - other) < 130 and abs(y - above) < 13 for other, above in labels):
        y += 13
    labels.append((x, y))
    # On the left, since the line of the frontier rises to the right.
    anchor, shift = ("start", 8) if x < _LEFT + 160 else ("end", -8)
    return (
        f'<text class="label" x="{x + shift:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(str(result.storage))}</text>"
    )


# --- the table -----------------------------------------------------------------------------------


def _table(report: StorageResults) -> str:
    columns: list[tuple[RankedMode, str]] = [
        (mode, metric) for metric in report.metrics for mode in RANKED_MODES
    ]
    head = "".join(
        f'<th class="num">{escape(title)}</th>'
        for title in (
            *("bytes of token vectors", "of all parts", "TB of 1 M", "TB of 100 M documents"),
            *(f"{mode_name(mode)}, {metric}, %" for mode, metric in columns),
        )
    )
    frontier = report.frontier()
    rows = []
    for result in report.results:
        sizes = (
            bytes_text(result.token_bytes),
            bytes_text(result.document_bytes),
            f"{result.terabytes(MILLION):.3g}",
            f"{result.terabytes(100 * MILLION):.3g}",
        )
        cells = [f'<td class="num">{size}</td>' for size in sizes]
        for mode, metric in columns:
            share, interval = quality_text(result.quality(mode, metric))
            cells.append(f'<td class="num">{share} <span class="range">{interval}</span></td>')
        marked = ' class="frontier"' if result in frontier else ""
        name = escape(str(result.storage))
        rows.append(f"<tr{marked}><td>{name}</td>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr><th>storage</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
