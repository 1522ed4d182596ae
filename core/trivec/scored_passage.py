"""A passage with its score for a query."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScoredPassage:
    """A passage of a document and its score for a query.

    Args:
        start: Its first character in the document.
        end: The character after its last one.
        text: Its characters.
        score: The weighted mean of the two scores; see `best_passages`.
        sparse: Its lexical score; None if its weight is 0.
        colbert: Its ColBERT score; None if its weight is 0, or no token of it has a vector.
    """

    start: int
    end: int
    text: str
    score: float
    sparse: float | None
    colbert: float | None
