"""Evidence as a value of metadata, as frameworks return it: it is never stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trivec.plain import Json
from trivec.scored_passage import ScoredPassage

EVIDENCE = "evidence"
"""The metadata key of evidence."""

_KEYS = {"start", "end", "text", "score"}


class EvidenceList(list[dict[str, Any]]):
    """The evidence of a hit: a dict with the keys start, end, text and score for each passage.

    It is a list like any other, except that its class tells it from values of the user.

    Attributes:
        replaced (tuple[Any, ...]): The value of the user that it stands in place of, if any.
        excluded_from (tuple[str, ...]): The lists of a LlamaIndex node that exclude it and did not
            exclude the value before.
    """

    replaced: tuple[Any, ...] = ()
    excluded_from: tuple[str, ...] = ()


def with_evidence(metadata: Mapping[str, Any], evidence: Sequence[ScoredPassage]) -> dict[str, Any]:
    """Return metadata with evidence, which stands in place of a value of the user.

    >>> passage = ScoredPassage(0, 5, "Whale", 0.5, None, 0.5)
    >>> with_evidence({"lang": "en"}, [passage])
    {'lang': 'en', 'evidence': [{'start': 0, 'end': 5, 'text': 'Whale', 'score': 0.5}]}
    """
    passages = EvidenceList(
        {"start": e.start, "end": e.end, "text": e.text, "score": e.score} for e in evidence
    )
    if EVIDENCE in metadata:
        passages.replaced = (metadata[EVIDENCE],)
    return {**metadata, EVIDENCE: passages}


def without_evidence(metadata: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return metadata as it was before `with_evidence`, also after a round trip through JSON.

    Args:
        metadata: The metadata of a document.
        text: The text of the document.

    >>> metadata = {"evidence": "strong"}
    >>> without_evidence(with_evidence(metadata, []), "Whales sing.") == metadata
    True
    """
    value = metadata.get(EVIDENCE)
    if not is_evidence(value, text):
        return dict(metadata)
    before = {key: item for key, item in metadata.items() if key != EVIDENCE}
    replaced = value.replaced if isinstance(value, EvidenceList) else ()
    return {**before, EVIDENCE: replaced[0]} if replaced else before


def is_evidence(value: object, text: str) -> bool:
    """Return whether a value of metadata is evidence of a text, and not a value of the user.

    JSON does not keep the class of a list, so any list of passages of this text, each with their
    four keys, counts as evidence.
    """
    if isinstance(value, EvidenceList):
        return True
    return isinstance(value, list) and bool(value) and all(_is_passage(v, text) for v in value)


def _is_passage(value: Json, text: str) -> bool:
    if not isinstance(value, Mapping) or value.keys() != _KEYS:
        return False
    start, end = value["start"], value["end"]
    if not isinstance(start, int) or not isinstance(end, int):
        return False
    return 0 <= start < end and text[start:end] == value["text"]
