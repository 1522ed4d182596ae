"""The page of the server: what it serves, and the three vectors of a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from trivec.encoders.protocol import Token
from trivec.vectors import Vector

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
LONGEST = 2000  # characters of a sentence
_NUMBERS = 8  # of a vector that are shown
_ROWS = 64  # of a table that are shown

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1c2733; background: #fff }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse } td, th { text-align: left; padding: .15rem 1rem .15rem 0 }
td.n { text-align: right; font-variant-numeric: tabular-nums }
input { font: inherit; width: 70%; padding: .3rem } button { font: inherit; padding: .3rem 1rem }
.bar { background: #2b6cb0; height: .7rem; display: inline-block }
.grey { color: #667 } code { background: #f1f4f8; padding: 0 .2rem }
@media (prefers-color-scheme: dark) { body { color: #dde4ec; background: #12181f }
  code { background: #222c37 } .grey { color: #99a } }
"""
_ROUTES = (
    ("POST /encode", "dense, sparse and ColBERT vectors of texts"),
    ("POST /tokens", "the tokens of a text, or the texts of token ids"),
    ("POST /rerank", "scores of texts for a question, if the server has a reranker"),
    ("POST /v1/embeddings", "dense vectors in OpenAI's form"),
    ("GET /health", "what the server serves, as JSON"),
    ("GET /metrics", "counters for Prometheus"),
)


def page(
    facts: Mapping[str, object],
    *,
    text: str = "",
    vector: Vector | None = None,
    tokens: Sequence[Token] | None = None,
    problem: str = "",
) -> str:
    """Return the page as HTML, which loads nothing else.

    Args:
        facts: What the server serves, by name.
        text: The sentence in the form.
        vector: Its vectors, or None to show none.
        tokens: Its tokens, if they are known.
        problem: Why there are no vectors.
    """
    title = escape(str(facts.get("model") or "a model"))
    shown = [f"<p><strong>{escape(problem)}</strong></p>"] if problem else []
    if vector is not None:
        shown += [_dense(vector), _sparse(vector, tokens), _colbert(vector, tokens)]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>trivec: {title}</title><style>{_STYLE}</style></head><body>"
        f"<h1>trivec serves {title}</h1>{_table(_fact_rows(facts))}"
        '<form method="get" action="/"><p>'
        f'<input name="text" maxlength="{LONGEST}" aria-label="A sentence" required '
        f'placeholder="A sentence" value="{escape(text)}"> <button>Encode</button></p></form>'
        f"{''.join(shown)}<h2>Routes</h2>"
        f"{_table((f'<code>{route}</code>', what) for route, what in _ROUTES)}</body></html>"
    )


def _fact_rows(facts: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    for name, value in facts.items():
        if value is not None and value != "":
            yield (
                escape(name),
                escape("yes" if value is True else "no" if value is False else str(value)),
            )


def _dense(vector: Vector) -> str:
    if vector.dense is None:
        return ""
    return (
        f"<h2>Dense: {len(vector.dense)} numbers for the meaning of the whole text</h2>"
        f"<p><code>{_numbers(vector.dense)}</code></p>"
    )


def _sparse(vector: Vector, tokens: Sequence[Token] | None) -> str:
    if vector.sparse is None:
        return ""
    names = {token.id: token.text for token in tokens or ()}
    ordered = sorted(vector.sparse.items(), key=lambda item: -item[1])
    highest = ordered[0][1] if ordered else 1.0
    rows = [
        (
            escape(names.get(token, f"token {token}")),
            f"{weight:.4f}",
            f'<span class="bar" style="width: {12 * weight / highest:.2f}rem"></span>',
        )
        for token, weight in ordered[:_ROWS]
    ]
    return f"<h2>Sparse: {len(ordered)} tokens and how much they matter</h2>{_table(rows)}"


def _colbert(vector: Vector, tokens: Sequence[Token] | None) -> str:
    if vector.colbert is None:
        return ""
    count, dimension = vector.colbert.shape
    names = [token.text for token in tokens or ()]
    if len(names) != count:  # an instruction has vectors and is not among the tokens
        names = [str(number) for number in range(1, count + 1)]
    rows = [
        (escape(name), f"<code>{_numbers(row)}</code>")
        for name, row in zip(names[:_ROWS], vector.colbert[:_ROWS], strict=True)
    ]
    return (
        f"<h2>ColBERT: {dimension} numbers for each of {count} tokens in its context</h2>"
        f"{_table(rows)}"
    )


def _numbers(row: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> str:
    more = " …" if len(row) > _NUMBERS else ""
    return " ".join(f"{number:+.4f}" for number in row[:_NUMBERS].tolist()) + more


def _table(rows: Iterable[Sequence[str]]) -> str:
    lines = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
