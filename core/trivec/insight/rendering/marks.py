"""A text split at the ends of its marks, so that overlapping marks can be shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from trivec.insight.breakdown import Breakdown, Span


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
    return list(_pieces(explanation.document.text, lexical, met))


def query_pieces(explanation: Breakdown) -> list[Piece]:
    """Split the query's text at its lexical marks."""
    lexical = [(s, match.product) for match in explanation.lexical for s in match.query_spans]
    return list(_pieces(explanation.query, lexical, []))


def _pieces(text: str, lexical: _Marks, met: _Marks) -> Iterator[Piece]:
    cuts = {0, len(text), *(cut for span, _ in [*lexical, *met] for cut in span)}
    for start, end in pairwise(sorted(cut for cut in cuts if cut <= len(text))):
        yield Piece(text[start:end], _strongest(lexical, start, end), _strongest(met, start, end))


def _strongest(marks: _Marks, start: int, end: int) -> float | None:
    over = (value for span, value in marks if span.start <= start and end <= span.end)
    return max(over, default=None)
