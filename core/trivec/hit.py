"""One result of a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trivec.document import Document
from trivec.scored_passage import ScoredPassage
from trivec.scores import Scores


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that a search found.

    Args:
        document: The document as it was stored.
        score: The score that the mode ranks by.
        scores: The scores of the parts, as far as the mode computed them.
        group: The value of the field that the search groups by; None without groups, and for a
            document that is a group by itself.
        evidence: The passages of the document that match the query best, best first, if the search
            asked for them.
    """

    document: Document
    score: float
    scores: Scores
    group: str | int | float | bool | None = None
    evidence: tuple[ScoredPassage, ...] = ()


def hit_groups(hits: Sequence[Hit]) -> list[list[Hit]]:
    """Return the hits of a search in their groups; a hit without a group is one by itself."""
    groups: list[list[Hit]] = []
    for hit in hits:
        if groups and hit.group is not None and _is_same(groups[-1][0].group, hit.group):
            groups[-1].append(hit)
        else:
            groups.append([hit])
    return groups


def _is_same(first: object, second: object) -> bool:
    """Return whether two values of a field are the same for a filter: 1 is 1.0 and not True."""
    return isinstance(first, bool) == isinstance(second, bool) and first == second
