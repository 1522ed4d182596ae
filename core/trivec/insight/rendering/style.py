"""Names of the parts, and colours that are legible on light and dark pages and terminals."""

from __future__ import annotations

from html import escape

PART_NAMES = {"dense": "dense", "sparse": "sparse", "colbert": "ColBERT"}

TERMINAL = {"dense": "#3a87d6", "sparse": "#b8730a", "colbert": "#2e9460"}
"""The colours for rich: legible on black and on white, unlike a terminal's own colours."""

# The box has its own background, since a notebook's theme can differ from the browser's.
STYLE = """
.trivec{--bg:#fff;--fg:#1b1f24;--muted:#57606a;--line:#d0d7de;--soft:#f3f5f7;
--dense:#2563ab;--sparse:#b25e09;--colbert:#1f7a4d;--rrf:#7b4bb3;--hybrid:#c02f5c;
color-scheme:light;background:var(--bg);color:var(--fg);font:14px/1.5 system-ui,sans-serif;
padding:1em 1.2em;border:1px solid var(--line);border-radius:8px;max-width:960px;text-align:left}
@media (prefers-color-scheme:dark){.trivec{--bg:#15181c;--fg:#e6e9ed;--muted:#9da7b1;
--line:#3a424b;--soft:#21262c;--dense:#6cabf0;--sparse:#eba65c;--colbert:#66c994;
--rrf:#b795ea;--hybrid:#f2789d;color-scheme:dark}}
.trivec h2{font-size:1.15em;margin:0 0 .5em}.trivec h3{font-size:1em;margin:1.3em 0 .4em}
.trivec p{margin:.3em 0}.trivec .muted{color:var(--muted)}
.trivec .num{font-variant-numeric:tabular-nums}
.trivec table{border-collapse:collapse;margin:.3em 0;font-size:13px;color:inherit}
.trivec th,.trivec td{padding:.2em .9em .2em 0;text-align:left;border:0;
border-bottom:1px solid var(--line);background:none;vertical-align:top}
.trivec th{color:var(--muted);font-weight:600}
.trivec td.num,.trivec th.num{text-align:right}
.trivec .scroll{overflow-x:auto}
"""


def page(title: str, body: str) -> str:
    """Return a whole HTML page in the colours of the reader's browser."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title></head><body>{body}</body></html>\n"
    )
