"""Parents in place of the passages that a search found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from trivec.arguments import expect, named
from trivec.document import Document
from trivec.errors import InvalidOptionError
from trivec.hit import Hit, hit_groups
from trivec.passages.parents import aread_parents, read_parents
from trivec.passages.stored import PARENT, SPAN, parent_id_of
from trivec.scored_passage import ScoredPassage
from trivec.search import Search
from trivec.stores.store import Store
from trivec.twins import Twin, either


def grouped_by_parent(search: Search, parents: bool) -> Search:
    """Return a search that groups by parent if its parents are returned.

    Raises:
        InvalidOptionError: If it groups by another field, or `parents` is no bool.
    """
    expect(parents, bool, "parents", "True or False")
    if not parents or search.group_by == PARENT:
        return search
    if search.group_by is not None:
        raise InvalidOptionError(
            f"{named('group_by', search.group_by)} and parents=True: parents are returned in "
            f"groups of {PARENT!r} only; leave one of the two out"
        )
    return replace(search, group_by=PARENT)


def updated_options(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a call over those that are its default.

    `parents` implies groups by parent. A call that names another field, or None, does not return
    parents by default, and without groups there is no `per_group` by default.

    >>> updated_options({"parents": True, "per_group": 2}, {"group_by": None})
    {'parents': False, 'per_group': 1, 'group_by': None}
    """
    default, options = _with_group(own), _with_group(given)
    merged = {**default, **options}
    if "parents" in own and "parents" not in given and merged.get("group_by") != PARENT:
        merged["parents"] = False
    if "per_group" in own and "per_group" not in given and merged.get("group_by", "") is None:
        merged["per_group"] = 1
    return merged


def _with_group(options: Mapping[str, Any]) -> dict[str, Any]:
    is_implied = options.get("parents") and options.get("group_by") is None
    return {**options, "group_by": PARENT} if is_implied else dict(options)


def parent_hits(
    store: Store, answers: Sequence[Sequence[Hit]], evidence: int
) -> Twin[list[list[Hit]]]:
    """Return one hit for each group of passages: their parent, with the score of the best passage.

    The groups of all queries are read from the store at once. A hit whose document is no passage
    stays as it is, as does the best passage of a parent that was deleted meanwhile.

    Args:
        store: Where the passages are.
        answers: The hits of each query, grouped by parent.
        evidence: How many passages each parent has as its evidence; their characters are counted
            in its text.
    """
    ids = dict.fromkeys(
        parent
        for hits in answers
        for hit in hits
        if (parent := parent_id_of(hit.document)) is not None
    )
    documents = (yield from either(read_parents, aread_parents, store, list(ids))) if ids else []
    parents = {document.id: document for document in documents}
    return [[_whole(group, parents, evidence) for group in hit_groups(hits)] for hits in answers]


def _whole(group: Sequence[Hit], parents: Mapping[str, Document], evidence: int) -> Hit:
    best = group[0]
    parent = parents.get(parent_id_of(best.document) or "")
    if parent is None:
        return best
    moved = [
        passage
        for hit in group
        if hit.evidence
        for passage in _moved(hit.evidence, hit.document.metadata[SPAN][0], parent.text)
    ]
    moved.sort(key=lambda passage: -passage.score)
    apart: list[ScoredPassage] = []
    for passage in moved:
        if all(passage.end <= other.start or other.end <= passage.start for other in apart):
            apart.append(passage)
    return replace(best, document=parent, evidence=tuple(apart[:evidence]))


def _moved(evidence: Sequence[ScoredPassage], offset: int, text: str) -> list[ScoredPassage]:
    """Return the passages that a text has at this offset, with their characters in it."""
    moved = [replace(e, start=e.start + offset, end=e.end + offset) for e in evidence]
    return [passage for passage in moved if text[passage.start : passage.end] == passage.text]
