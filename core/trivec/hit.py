"""One result of a search."""

from __future__ import annotations

from dataclasses import dataclass

from trivec.document import Document
from trivec.scores import Scores


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that a search found.

    Args:
        document: The document as it was stored.
        score: The score that the mode ranks by.
        scores: The scores of the parts, as far as the mode computed them.
    """

    document: Document
    score: float
    scores: Scores
