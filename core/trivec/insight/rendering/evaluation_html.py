"""An evaluation as HTML: a table for notebooks, and a page with an interactive chart."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from trivec.insight.rendering.evaluation_text import p_text
from trivec.insight.rendering.style import STYLE, page
from trivec.insight.results import Results

_SCRIPT = Path(__file__).with_name("evaluation.js")

_STYLE = """
.trivec td.best{font-weight:700}.trivec .scroll td,.trivec .scroll th{white-space:nowrap}
.trivec .scroll td[dir=auto]{white-space:normal}
.trivec .range{color:var(--muted);font-size:12px;font-weight:400}
.trivec .controls{display:flex;flex-wrap:wrap;gap:1em;align-items:center;margin:1em 0}
.trivec select{font:inherit;color:var(--fg);background:var(--soft);
border:1px solid var(--line);border-radius:4px;padding:.15em .4em}
.trivec svg{display:block;width:100%;height:auto;overflow:visible}
.trivec svg text{fill:var(--fg);font-size:12px}.trivec svg text.muted{fill:var(--muted)}
.trivec svg .label{paint-order:stroke;stroke:var(--bg);stroke-width:3px}
.trivec svg .grid{stroke:var(--line)}
.trivec .tip{position:fixed;pointer-events:none;background:var(--fg);color:var(--bg);
padding:.3em .6em;border-radius:4px;font-size:12px;max-width:30em;z-index:9}
.trivec .tip[hidden]{display:none}
"""


def evaluation_html(evaluation: Results) -> str:
    """Return the table as a self-contained `<div>`."""
    return f'<div class="trivec"><style>{STYLE}{_STYLE}</style>{_table(evaluation)}</div>'


def evaluation_page(evaluation: Results) -> str:
    """Return a whole page: the table, and charts that a script on the page draws."""
    # "<" could end the script element; no other character in JSON can.
    data = json.dumps(_data(evaluation), ensure_ascii=False).replace("<", "\\u003c")
    return page(
        "trivec evaluation",
        f'<div class="trivec"><style>{STYLE}{_STYLE}</style>'
        f"<h2>Search modes compared</h2>{_table(evaluation)}"
        '<div id="charts"><noscript>The charts need JavaScript.</noscript></div>'
        f'<script type="application/json" id="data">{data}</script>'
        f"<script>{_SCRIPT.read_text(encoding='utf-8')}</script>"
        "</div>",
    )


def _table(evaluation: Results) -> str:
    several = len(evaluation.results) > 1
    head = ["<th>mode</th>"]
    for metric in evaluation.metrics:
        head.append(f'<th class="num">{escape(metric)}</th>')
        head.append('<th class="num">p</th>' if several else "")
    head.append('<th class="num">ms per query</th>')
    p_values = {metric: evaluation.p_values(metric) for metric in evaluation.metrics}
    best = {m: max(r.mean(m) for r in evaluation.results) for m in evaluation.metrics}
    rows = []
    for result in evaluation.results:
        cells = [f'<td><span style="color:var(--{result.mode})">■</span> {result.mode}</td>']
        for metric in evaluation.metrics:
            mean, (low, high) = result.mean(metric), result.interval(metric)
            marked = " best" if mean == best[metric] else ""
            cells.append(
                f'<td class="num{marked}">{mean:.3f} '
                f'<span class="range">{low:.3f} to {high:.3f}</span></td>'
            )
            if several:
                p = escape(p_text(p_values[metric].get(result.mode)))
                cells.append(f'<td class="num">{p}</td>')
        cells.append(f'<td class="num">{result.milliseconds:.1f}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr>{"".join(head)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        f'<p class="muted">{len(evaluation.queries)} queries. Ranges are 95 % bootstrap intervals '
        f"of the mean; p is that of a paired randomisation test against {evaluation.reference}, "
        "corrected for the number of modes (Holm). Milliseconds are of the search alone, one at "
        "a time.</p>"
    )


def _data(evaluation: Results) -> dict[str, object]:
    return {
        "metrics": evaluation.metrics,
        "reference": evaluation.reference,
        "queries": [[id, text] for id, text in evaluation.queries.items()],
        "modes": [
            {
                "mode": result.mode,
                "milliseconds": result.milliseconds,
                "means": {
                    metric: [result.mean(metric), *result.interval(metric)]
                    for metric in evaluation.metrics
                },
                "values": {
                    metric: [round(result.values[metric][query], 6) for query in evaluation.queries]
                    for metric in evaluation.metrics
                },
            }
            for result in evaluation.results
        ],
    }
