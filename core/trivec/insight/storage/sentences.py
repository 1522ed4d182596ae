"""Sentences of a text in any script, for questions that are held out of it."""

from __future__ import annotations

import re

LEAST_LETTERS = 12
"""The fewest letters and digits of a sentence; what is shorter belongs to a neighbour."""

# Marks of Chinese and Japanese end a sentence without a blank; others before a blank or the end.
# Closing quotes and brackets belong to the sentence before. A line end is an end too.
_CLOSING = "\"'\u2019\u201d\u00bb\u203a)\\]\u300d\u300f\uff09\u3011"
_END = re.compile(
    rf"(?:[\u3002\uff01\uff1f\uff61]+[{_CLOSING}]*"
    rf"|[.!?\u2026\u061f\u06d4\u0964\u0965\u0589\u1362\u104b]+[{_CLOSING}]*(?=\s|$)"
    r"|\n)\s*"
)


def sentences(text: str) -> list[str]:
    """Split a text after the ends of its sentences; joined, the pieces are the text again.

    It is a simple rule for all scripts. An abbreviation such as "Dr." does not end a sentence,
    since what is very short belongs to what follows.

    Example:
        >>> sentences("Dr. Smith saw a whale. Was it really blue?")
        ['Dr. Smith saw a whale. ', 'Was it really blue?']
        >>> len(sentences("蓝鲸是世界上最大的一种动物。它们真的生活在所有的海洋里。"))
        2
    """
    pieces: list[str] = []
    start = 0
    ends = [match.end() for match in _END.finditer(text)]
    for end in (*ends, len(text)):
        if _letters(text[start:end]) >= LEAST_LETTERS:
            pieces.append(text[start:end])
            start = end
    if start < len(text):  # too short a rest
        pieces.append((pieces.pop() if pieces else "") + text[start:])
    return pieces


def _letters(text: str) -> int:
    return sum(character.isalnum() for character in text)
