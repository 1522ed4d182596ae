r"""Where a text can be cut: borders of paragraphs, sentences, clauses, words and graphemes.

The marks of all scripts come from Unicode's properties (UAX #29, `Sentence_Break` and
`Grapheme_Cluster_Break`). UAX #29 itself ends a sentence after every "Dr." and "U.S.", so the
rules for the full stop, for quotations and for Thai are those of this module.
"""

from __future__ import annotations

from collections.abc import Iterator

import regex

_JOINED = regex.compile(r"[\p{GCB=EX}\p{GCB=SM}\p{GCB=ZWJ}]")
"""Characters that belong to the character before them."""

_CLOSING = r"""(?:["'\p{Pe}\p{Pf}]|\p{Pi}(?=\s|$)|[\x20\u00A0\u202F]»(?=\s|$))*+"""
"""Quotation marks and brackets after the end of a sentence; “ and « close in some languages."""

_END = regex.compile(
    r"(?P<marks>[\p{SB=STerm}\p{SB=ATerm}…\u0F0D-\u0F11]++)\p{GCB=EX}*+"
    rf"(?P<closing>{_CLOSING})(?P<gap>\s*+)"
)
_WEAK = frozenset(".․﹒．!?…")
"""Marks that also stand inside sentences; all other marks always end one."""

_BLANKS = regex.compile(r"\s{2,}+|[\f\u2029]")
_LIST_ITEM = regex.compile(r"[\n\r][ \t]*+(?=(?:[-*•–]|\d{1,3}[.)])\s)")
_UNMARKED = regex.compile(  # Thai and Lao; ๆ repeats the word before it
    r"(?V1)(?<=[[\p{Thai}\p{Lao}]--ๆ])[^\S\n\r]++(?=[[\p{Thai}\p{Lao}]--ๆ])"
)
_CLAUSE = regex.compile(
    r"(?V1)(?:[[\p{SB=SContinue}፣፤፥]--[,:;\-–—\u037E]]++|[,:;–—\-]++(?=\s)|[\n\r\u0085\u2028])"
    rf"{_CLOSING}\s*+"
)
_BLANK = regex.compile(r"(?V1)[[\s\u200B]--[\u00A0\u2007\u202F]]++")
_GRAPHEME = regex.compile(r"\X")

_IDEOGRAPHIC = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]")
_WITHOUT_STOPS = regex.compile(r"[\p{Thai}\p{Lao}]")
"""Scripts whose full stops only end abbreviations."""

_WORD_BEFORE = regex.compile(r"[\p{L}\p{M}\p{N}.]++$")
_LOOK_BACK = 24  # characters before a full stop that may make it an abbreviation
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st sr jr rev hon gov sen rep gen col lt sgt capt messrs mme mlle mmes dra "
    "sra srta ud uds sig dott vs cf al viz approx resp bzw usw vgl evtl ggf inkl hr fr str tel "
    "им ул тел проф акад डॉ प्रो श्री श्रीमती सुश्री पं".split()
)
_NUMBERED = frozenset(
    "no nos nr nrn fig figs p pp vol sec ch chap art eq eqs tab abs bd bl kap § ed núm pág стр рис "
    "jan feb mar apr jun jul aug sep sept oct nov dec पृ सं क्र".split()
)
"""Abbreviations before a number; some are words, too."""


def paragraph_borders(text: str) -> list[int]:
    r"""Return where paragraphs begin after an empty line, ascending.

    >>> paragraph_borders("One.\nTwo.\n\nThree.")
    [11]
    """
    blanks = (match for match in _BLANKS.finditer(text) if _parts_paragraphs(match[0]))
    return [match.end() for match in blanks if not _JOINED.match(text, match.end())]


def sentence_borders(text: str) -> list[int]:
    """Return where sentences begin after another one, ascending.

    A full stop does not end a sentence before a small letter, inside a number or after an
    abbreviation that is easy to tell. In Thai and Lao, which have no marks, blanks end sentences.

    Example:
        >>> text = "Dr. Ito paid 3.14 dollars. 本当？はい。"
        >>> [text[start:] for start in sentence_borders(text)]
        ['本当？はい。', 'はい。']
    """
    borders = {match.end() for match in _END.finditer(text) if _ends_sentence(text, match)}
    for pattern in (_UNMARKED, _LIST_ITEM):
        borders.update(match.end() for match in pattern.finditer(text))
    free = [border for border in borders if not _JOINED.match(text, border)]
    return sorted({*free, *paragraph_borders(text)} - {len(text)})


def clause_borders(text: str, start: int, end: int) -> Iterator[int]:
    """Yield the ends of clauses and lines between two positions, ascending."""
    return _ends(_CLAUSE, text, start, end)


def word_borders(text: str, start: int, end: int) -> Iterator[int]:
    """Yield the ends of runs of blanks between two positions, ascending."""
    return _ends(_BLANK, text, start, end)


def grapheme_borders(text: str, start: int, end: int) -> Iterator[int]:
    """Yield the ends of the characters that a reader sees, from the start of one on."""
    return _ends(_GRAPHEME, text, start, end)


def begins_grapheme(text: str, position: int) -> bool:
    """Return whether no character at a position belongs to the one before it."""
    return _JOINED.match(text, position) is None


def _ends(pattern: regex.Pattern[str], text: str, start: int, end: int) -> Iterator[int]:
    for match in pattern.finditer(text, start, end + 1):  # a border depends on what follows it
        if match.end() <= end and not _JOINED.match(text, match.end()):
            yield match.end()


def _parts_paragraphs(blanks: str) -> bool:
    lines = blanks.replace("\r\n", "\n")
    return "\u2029" in lines or "\f" in lines or sum(map(lines.count, "\n\r\u0085\u2028")) > 1


def _ends_sentence(text: str, match: regex.Match[str]) -> bool:
    marks, gap, after = match["marks"], match["gap"], text[match.end() : match.end() + 1]
    if not _WEAK.issuperset(marks):
        # 「行こう。」と言った。 is one sentence.
        return not (match["closing"] and not gap and "\u3040" <= after < "\u30a0")
    before = text[max(0, match.start() - 1) : match.start()]
    if marks == "." and _WITHOUT_STOPS.match(before):
        return False
    if not gap:
        if match["closing"] and "\uac00" <= after <= "\ud7a3":  # "좋다."라고 말했다. is one, too.
            return False
        return bool(_IDEOGRAPHIC.match(before) and _IDEOGRAPHIC.match(after))
    if after.islower():
        return False
    return marks != "." or not _is_abbreviation(text, match.start(), after)


def _is_abbreviation(text: str, stop: int, after: str) -> bool:
    """Return whether an abbreviation, or a list's number, ends before the full stop at `stop`."""
    before = _WORD_BEFORE.search(text, max(0, stop - _LOOK_BACK), stop)
    if before is None:
        return False
    word = before[0].rpartition(".")[2]
    if len(word) == 1 and word.isalpha():  # J. R. Tolkien, U.S., z. B.
        return not _IDEOGRAPHIC.match(word)
    if word.isdecimal():
        line = text[max(0, before.start() - 1) : before.start()]
        return len(before[0]) <= 3 and line in ("", "\n", "\r")
    word = word.casefold()
    return word in _ABBREVIATIONS or (after.isdigit() and word in _NUMBERED)
