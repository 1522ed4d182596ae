"""An explanation as self-contained HTML without scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import blake2s
from html import escape

from trivec.encoders.protocol import Token
from trivec.insight.breakdown import Alignment, Breakdown, Share
from trivec.insight.rendering.marks import (
    TOKENS_SHOWN,
    Piece,
    Stretch,
    document_stretches,
    passage_parts,
    query_pieces,
)
from trivec.insight.rendering.style import PART_NAMES, STYLE, page
from trivec.scored_passage import ScoredPassage

CONTEXT = 24  # characters shown on each side of a document token
_BEGINNING = 80  # characters of a passage shown in the list of them
_FOLDED = 100_000  # characters of folded text; 8,192 tokens are mostly fewer

_STYLE = """
.trivec .bar{display:flex;height:1.9em;border-radius:4px;overflow:hidden;background:var(--soft)}
.trivec .bar span{padding:.2em 0;overflow:hidden;white-space:nowrap;text-align:center;
color:var(--bg);font-size:12px;font-weight:600}
.trivec .text{background:var(--soft);border-radius:4px;padding:.5em .7em;max-height:22em;
overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere;text-align:start}
.trivec mark{color:inherit;background:none;border-radius:2px}
.trivec mark.lexical{background:color-mix(in srgb,var(--sparse) var(--strength),transparent)}
.trivec mark.met{text-decoration:underline;text-decoration-thickness:3px;
text-underline-offset:3px;text-decoration-color:
color-mix(in srgb,var(--colbert) var(--reach),transparent)}
.trivec .key{font-size:12px}.trivec .key mark{color:var(--fg)}.trivec b.token{font-weight:600}
.trivec .meter{display:inline-block;height:.7em;background:var(--colbert);border-radius:2px}
.trivec .meter.below{background:var(--hybrid)}
.trivec .passage{border-left:3px solid var(--line);padding-left:.7em;margin:.7em 0;
scroll-margin:1em;outline:none}.trivec .passage .text{max-height:none}
.trivec .passage.best,.trivec .passage:target{border-color:var(--colbert)}
.trivec details{margin:.7em 0}.trivec summary{cursor:pointer;color:var(--muted)}
.trivec .notes{border-left:3px solid var(--sparse);padding-left:.7em}
"""


def explanation_html(explanation: Breakdown) -> str:
    """Return the explanation as a self-contained `<div>`."""
    return _division(explanation)


def explanation_page(explanation: Breakdown) -> str:
    """Return the explanation as a whole HTML page, which opens at the best passage if it is long.

    No script is needed: the browser scrolls to the element with the attribute autofocus. A page
    that is opened at the link of another passage scrolls to that one.
    """
    return page(explanation.query, _division(explanation, opens_at_best=True))


def _division(explanation: Breakdown, *, opens_at_best: bool = False) -> str:
    most = max((match.product for match in explanation.lexical), default=0) or 1
    query = _marked(query_pieces(explanation), most)
    stretches = document_stretches(explanation)
    parts = [
        f"<style>{STYLE}{_STYLE}</style>",
        f"<h2>Score {explanation.score:.4f} of {escape(explanation.document.id)}</h2>",
        _bar(explanation.shares),
        _shares(explanation),
        _notes(explanation.notes),
        f'<h3>Query</h3><div class="text" dir="auto">{query}</div>',
        _links(explanation),
        "<h3>Document</h3>",
        *(_stretch(explanation, stretch, most, opens_at_best) for stretch in stretches),
        _key(explanation),
        _lexical(explanation),
        _colbert(explanation),
    ]
    return f'<div class="trivec">{"".join(parts)}</div>'


def _links(explanation: Breakdown) -> str:
    """Return the list of the best passages, best first, each a link to its place in the text."""
    if not explanation.passages:
        return ""
    rows = []
    for rank, passage in enumerate(explanation.passages):
        beginning = " ".join(passage.text[: 2 * _BEGINNING].split())[:_BEGINNING]
        rows.append(
            f'<li><a href="#{_anchor(explanation, rank)}">{_scores(passage)}</a> '
            f'<bdi class="muted">{escape(beginning)}…</bdi></li>'
        )
    return f"<h3>Best passages</h3><ol>{''.join(rows)}</ol>"


def _scores(passage: ScoredPassage) -> str:
    parts = ", ".join(f"{PART_NAMES[part]} {score:.4f}" for part, score in passage_parts(passage))
    return f"{passage.score:.4f} ({parts})"


def _anchor(explanation: Breakdown, rank: int) -> str:
    """Return the id of a passage's element; a notebook holds many explanations."""
    shown = "\0".join((explanation.query, explanation.document.id, str(explanation.weights)))
    digest = blake2s(shown.encode(errors="replace"), digest_size=6).hexdigest()
    return f"trivec-{digest}-{rank + 1}"


def _stretch(explanation: Breakdown, stretch: Stretch, most: float, opens_at_best: bool) -> str:
    size = stretch.end - stretch.start
    marked = _marked(stretch.pieces, most)
    if stretch.is_folded and size > _FOLDED:
        marked = _marked(_beginning(stretch.pieces, _FOLDED), most)
        marked += f'<p class="muted">{size - _FOLDED:,} characters are left out.</p>'
    text = f'<div class="text" dir="auto">{marked}</div>'
    if stretch.is_folded:
        return f"<details><summary>{size:,} more characters</summary>{text}</details>"
    if stretch.rank is None:
        return text
    is_best = stretch.rank == 0
    focus = " autofocus" if is_best and opens_at_best else ""
    return (
        f'<section class="passage{" best" if is_best else ""}" tabindex="-1"{focus} '
        f'id="{_anchor(explanation, stretch.rank)}">'
        f'<p class="muted">Passage {stretch.rank + 1}: '
        f"{_scores(explanation.passages[stretch.rank])}</p>{text}</section>"
    )


def _bar(shares: Sequence[Share]) -> str:
    """Draw the positive shares side by side; the table also has the negative ones."""
    total = sum(max(0.0, share.value) for share in shares)
    if total <= 0:
        return ""
    spans = "".join(
        f'<span style="width:{100 * share.value / total:.2f}%;background:var(--{share.part})" '
        f'title="{PART_NAMES[share.part]} {share.value:.4f}">'
        # A label that does not fit would be cut to a letter or two.
        f"{PART_NAMES[share.part] if share.value / total > 0.12 else ''}</span>"
        for share in shares
        if share.value > 0
    )
    return f'<div class="bar">{spans}</div>'


def _shares(explanation: Breakdown) -> str:
    score = explanation.score
    rows = [
        (
            f'<span style="color:var(--{share.part})">■</span> {PART_NAMES[share.part]}',
            f"{share.score:.4f}",
            f"{share.weight:g} / {explanation.weights.total:g}",
            f"{share.value:.4f}",
            f"{100 * share.value / score:.1f} %" if score > 0 else "",
        )
        for share in explanation.shares
    ]
    rows.append(("hybrid", "", "", f"<b>{score:.4f}</b>", ""))
    return _table(("part", "score", "weight", "gives", "share"), rows, numbers=(1, 2, 3, 4))


def _notes(notes: Iterable[str]) -> str:
    lines = "".join(f"<p>{escape(note[:1].upper() + note[1:])}.</p>" for note in notes)
    return f'<div class="notes">{lines}</div>' if lines else ""


def _beginning(pieces: Sequence[Piece], length: int) -> list[Piece]:
    """Return the first characters of marked text."""
    first: list[Piece] = []
    for piece in pieces:
        first.append(replace(piece, text=piece.text[:length]))
        length -= len(first[-1].text)
        if not length:
            break
    return first


def _marked(pieces: Sequence[Piece], most: float) -> str:
    """Return a text with its marks; `most` is the product that is marked most strongly."""
    out = []
    for piece in pieces:
        classes, style = [], []
        if piece.lexical is not None:
            classes.append("lexical")
            style.append(f"--strength:{15 + 40 * piece.lexical / most:.0f}%")
        if piece.similarity is not None:
            classes.append("met")
            style.append(f"--reach:{100 * min(1.0, max(0.15, piece.similarity)):.0f}%")
        text = escape(piece.text)
        if classes:
            attributes = f'class="{" ".join(classes)}" style="{";".join(style)}"'
            text = f"<mark {attributes}>{text}</mark>"
        out.append(text)
    return "".join(out)


def _key(explanation: Breakdown) -> str:
    keys = []
    if explanation.lexical:
        keys.append('<mark class="lexical" style="--strength:45%">shared token</mark>')
    if any(alignment.document_tokens for alignment in explanation.alignments):
        keys.append('<mark class="met" style="--reach:90%">met by a query token</mark>')
    return f'<p class="key muted">{" &nbsp; ".join(keys)}</p>' if keys else ""


def _lexical(explanation: Breakdown) -> str:
    if not any(share.part == "sparse" for share in explanation.shares):
        return ""
    if not explanation.lexical:
        return '<h3>Shared tokens</h3><p class="muted">None.</p>'
    rows = [
        (
            f'<b class="token">{escape(match.text)}</b>',
            f"{match.query_weight:.4f}",
            f"{match.document_weight:.4f}",
            f"{match.product:.4f}",
            str(len(match.document_spans) or ""),
        )
        for match in explanation.lexical
    ]
    head = ("token", "weight in query", "in document", "product", "places")
    return "<h3>Shared tokens</h3>" + _table(head, rows, numbers=(1, 2, 3, 4))


def _colbert(explanation: Breakdown) -> str:
    if not explanation.alignments:
        return ""
    text = explanation.document.text
    rows = [
        (
            f'<b class="token">{_query_name(alignment)}</b>',
            _in_context(alignment, text),
            _meter(alignment.similarity),
            f"{alignment.similarity:.4f}",
        )
        for alignment in explanation.alignments
    ]
    head = ("query token", "meets in the document", "", "similarity")
    return "<h3>ColBERT: what each query token met</h3>" + _table(head, rows, numbers=(3,))


def _query_name(alignment: Alignment) -> str:
    token = alignment.query_token
    return f"vector {alignment.query_row + 1}" if token is None else escape(token.text)


def _in_context(alignment: Alignment, text: str) -> str:
    if not alignment.document_tokens:
        return f'<span class="muted">vector {alignment.document_row + 1}</span>'
    lines = [_token_in_context(token, text) for token in alignment.document_tokens[:TOKENS_SHOWN]]
    if more := len(alignment.document_tokens) - len(lines):
        lines.append(f'<span class="muted">and {more} more</span>')
    return "<br>".join(lines)


def _token_in_context(token: Token, text: str) -> str:
    if token.start == token.end:
        # SentencePiece writes a blank as U+2581.
        what = "end" if token.text.strip("\u2581") else "blank"
        return f'<b class="token">{escape(token.text)}</b> <span class="muted">({what})</span>'
    before = text[max(0, token.start - CONTEXT) : token.start]
    after = text[token.end : token.end + CONTEXT]
    left = "…" if token.start > CONTEXT else ""
    right = "…" if token.end + CONTEXT < len(text) else ""
    return (
        f'<bdi><span class="muted">{left}{escape(before)}</span>'
        f'<b class="token">{escape(text[token.start : token.end])}</b>'
        f'<span class="muted">{escape(after)}{right}</span></bdi>'
    )


def _meter(similarity: float) -> str:
    below = " below" if similarity < 0 else ""
    return (
        f'<span class="meter{below}" style="width:{60 * min(1.0, abs(similarity)):.0f}px"></span>'
    )


def _table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()
) -> str:
    """Return a table; the cells are HTML already."""

    def line(tag: str, cells: Sequence[str]) -> str:
        return "".join(
            f'<{tag} class="num">{cell}</{tag}>' if i in numbers else f"<{tag}>{cell}</{tag}>"
            for i, cell in enumerate(cells)
        )

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{line("th", head)}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
