"""A text split at the ends of its marks, so that overlapping marks can be shown."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from trivec.insight.breakdown import LONG_TEXT, Breakdown, Span
from trivec.scored_passage import ScoredPassage
from trivec.search import Part

TOKENS_SHOWN = 5
"""How many tokens of a vector are listed; more are counted."""
_BEGINNING = 600  # characters that are shown of a long text without passages


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a text with one set of marks.

    Args:
        text: The characters.
        lexical: The largest product of a shared token in this stretch, or None.
        similarity: The largest ColBERT similarity of a matched token in this stretch, or None.
    """

    text: str
    lexical: float | None
    similarity: float | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a document's text that is shown or folded as a whole.

    Args:
        start: Its first character.
        end: The character after its last one.
        pieces: Its text with its marks.
        is_folded: Whether it is folded away: what is outside the best passages of a long text.
        rank: Which of the best passages it is, from 0 for the best one; None if it is none.
    """

    start: int
    end: int
    pieces: tuple[Piece, ...]
    is_folded: bool = False
    rank: int | None = None


_Marks = list[tuple[Span, float]]


def document_pieces(explanation: Breakdown) -> list[Piece]:
    """Split the document's text at its marks.

    Example:
        >>> from trivec import explain
        >>> from trivec.testing import HashEncoder
        >>> explanation = explain("whale", "a whale!", HashEncoder())
        >>> [piece.text for piece in document_pieces(explanation)]
        ['a ', 'whale', '!']
    """
    lexical = [(s, match.product) for match in explanation.lexical for s in match.document_spans]
    met = [
        (Span(token.start, token.end), alignment.similarity)
        for alignment in explanation.alignments
        for token in alignment.document_tokens
    ]
    borders = [border for span in _shown(explanation) for border in span]
    return _pieces(explanation.document.text, lexical, met, borders)


def document_stretches(explanation: Breakdown) -> list[Stretch]:
    """Split the document's text into its best passages and the text around them, in their order.

    A short text is one stretch. Of a long one, only the passages are shown; if it has none, its
    beginning.

    Example:
        >>> from trivec import explain
        >>> from trivec.testing import HashEncoder
        >>> text = "Nothing here. " * 300 + "The whale sings. " + "Nothing there. " * 300
        >>> explanation = explain("whale song", text, HashEncoder())
        >>> [(s.is_folded, s.rank) for s in document_stretches(explanation)][:3]
        [(True, None), (False, 0), (True, None)]
    """
    text = explanation.document.text
    shown = _shown(explanation)
    if not shown:
        return [Stretch(0, len(text), tuple(document_pieces(explanation)))]
    stretches = []
    pieces = iter(document_pieces(explanation))
    for start, end in pairwise(sorted({0, len(text), *(b for span in shown for b in span)})):
        taken, position = [], start
        while position < end:
            taken.append(next(pieces))
            position += len(taken[-1].text)
        span = Span(start, end)
        stretches.append(Stretch(start, end, tuple(taken), span not in shown, shown.get(span)))
    return stretches


def query_pieces(explanation: Breakdown) -> list[Piece]:
    """Split the query's text at its lexical marks."""
    lexical = [(s, match.product) for match in explanation.lexical for s in match.query_spans]
    return _pieces(explanation.query, lexical, [])


def passage_parts(passage: ScoredPassage) -> list[tuple[Part, float]]:
    """Return the scores of a passage by part, as far as they count."""
    parts: list[tuple[Part, float | None]] = [
        ("sparse", passage.sparse),
        ("colbert", passage.colbert),
    ]
    return [(part, score) for part, score in parts if score is not None]


def _shown(explanation: Breakdown) -> dict[Span, int | None]:
    """Return what is shown of a long text, with the rank of its passage; nothing for a short one.

    The spans are ascending and do not overlap.
    """
    if not explanation.passages:
        is_long = len(explanation.document.text) > LONG_TEXT
        return {Span(0, _BEGINNING): None} if is_long else {}
    passages = explanation.passages
    spans: dict[Span, int | None] = {}
    reached = 0
    for rank in sorted(range(len(passages)), key=lambda rank: passages[rank].start):
        # Tokens of neighbouring passages may share a character.
        start, end = max(reached, passages[rank].start), passages[rank].end
        if start < end:
            spans[Span(start, end)] = rank
            reached = end
    return spans


def _pieces(text: str, lexical: _Marks, met: _Marks, borders: Iterable[int] = ()) -> list[Piece]:
    cuts = {0, len(text), *borders, *(cut for span, _ in [*lexical, *met] for cut in span)}
    edges = sorted(cut for cut in cuts if cut <= len(text))
    products, similarities = _strongest(lexical, edges), _strongest(met, edges)
    return [
        Piece(text[start:end], product, similarity)
        for (start, end), product, similarity in zip(
            pairwise(edges), products, similarities, strict=True
        )
    ]


def _strongest(marks: _Marks, edges: list[int]) -> list[float | None]:
    """Return the largest value of the marks over each stretch between two edges."""
    values: list[float | None] = [None] * (len(edges) - 1)
    for span, value in marks:
        first = bisect_left(edges, span.start)
        for i in range(first, min(len(values), bisect_left(edges, span.end))):
            known = values[i]
            values[i] = value if known is None else max(known, value)
    return values
