"""Splitting a text into passages of whole sentences."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import regex

from trivec.encoders.protocol import Token
from trivec.passages.borders import (
    begins_grapheme,
    clause_borders,
    grapheme_borders,
    paragraph_borders,
    sentence_borders,
    word_borders,
)
from trivec.passages.options import Passages

_MARKS = regex.compile(r"[^\w\s]*+")


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a text: a range of its characters and of its tokens.

    Args:
        start: Its first character.
        end: The character after its last one.
        first: Its first token.
        stop: The token after its last one.
    """

    start: int
    end: int
    first: int
    stop: int

    @property
    def tokens(self) -> slice:
        """The range of its tokens, for the tokens and the token vectors of the text."""
        return slice(self.first, self.stop)


def split(text: str, tokens: Sequence[Token], options: Passages) -> list[Passage]:
    """Split a text into passages.

    A passage ends at the end of a paragraph if one lies in its second half, or else of the last
    sentence that fits. A sentence that is too long is cut after a clause, a word, or between two
    tokens, and inside a grapheme only if this grapheme alone is too long. The result depends on
    the arguments alone; the time grows in proportion to the text.

    Args:
        text: Any text.
        tokens: Its n tokens in their order, as `encoder.tokens(text)` returns them. Tokens
            without characters at the end, such as `</s>`, are in no passage.
        options: How long passages are.

    Returns:
        The passages in their order, without blanks around them. Every token with characters is in
        at least one; none if there are no such tokens.

    Example:
        >>> from trivec.testing import HashEncoder
        >>> text = "One two three four. " * 3 + "Five six seven eight nine ten."
        >>> tokens = HashEncoder().tokens(text)
        >>> passages = split(text, tokens, Passages(tokens=16, overlap=4))
        >>> [(passage.first, passage.stop) for passage in passages]
        [(0, 12), (8, 18)]
        >>> text[passages[1].start : passages[1].end]
        'One two three four. Five six seven eight nine ten.'
    """
    cuts = Cuts(text, tokens)
    sentences = [0, *cuts.sentences, cuts.count]
    passages: list[Passage] = []
    start = reached = 0
    while reached < cuts.count:
        stop = cuts.next_cut(start, reached, options.tokens)
        passages.append(cuts.passage(start, stop))
        following = sentences[bisect_right(sentences, stop, hi=len(sentences) - 1)]
        earliest = max(stop - options.repeated, start + 1)
        if following <= stop + options.tokens:  # so that the next sentence still fits
            earliest = max(earliest, following - options.tokens)
        repeated = sentences[bisect_left(sentences, earliest)]
        start, reached = min(repeated, stop), stop
    return passages


class Cuts:
    """Where a text can be cut so that no token is split.

    A cut is the number of the token after it. Cuts inside sentences are looked for only where they
    are needed.

    Args:
        text: Any text.
        tokens: Its tokens in their order.

    Attributes:
        count (int): How many tokens there are, without those at the end that have no characters.
        sentences (list[int]): The cuts between sentences, ascending.
        paragraphs (list[int]): The cuts between paragraphs, ascending.
    """

    def __init__(self, text: str, tokens: Sequence[Token]) -> None:
        count = len(tokens)
        while count and tokens[count - 1].start >= tokens[count - 1].end:
            count -= 1
        starts = np.fromiter((token.start for token in tokens[:count]), np.int64, count)
        ends = np.fromiter((token.end for token in tokens[:count]), np.int64, count)
        self.count = count
        self._text = text
        # Of this token and all after it, and of this token and all before it.
        self._starts: list[int] = np.minimum.accumulate(starts[::-1])[::-1].tolist()
        self._ends: list[int] = np.maximum.accumulate(ends).tolist()
        self._characters: dict[int, int] = {}
        if count:
            before = _MARKS.match(text[: self._starts[0]][::-1])
            after = _MARKS.match(text, self._ends[-1])
            self._characters[0] = self._starts[0] - (before.end() if before else 0)
            self._characters[count] = after.end() if after else self._ends[-1]
        self.paragraphs = [*self._cuts(paragraph_borders(text))]
        self.sentences = [*self._cuts(sentence_borders(text))]

    def next_cut(self, start: int, after: int, limit: int) -> int:
        """Return the best cut for a passage.

        Args:
            start: The cut that the passage begins with.
            after: The end of the passage before it; the cut lies behind it.
            limit: The most tokens of the passage.
        """
        most = start + limit
        if most >= self.count:
            return self.count
        half = max(after, start + limit // 2)
        return (
            _last(self.paragraphs, half, most)
            or _last(self.sentences, after, most)
            or self._last_of(clause_borders, after, half, most)
            or self._last_of(word_borders, after, after, most)
            or self._last_of(grapheme_borders, after, after, most)
            or most
        )

    def pieces(self, limit: int) -> list[int]:
        """Return cuts with few tokens between them: sentences, and parts of long sentences.

        Args:
            limit: The most tokens of a sentence; a longer one is cut into parts of a quarter.

        Returns:
            The cuts, ascending, from 0 to `count`.
        """
        cuts = [0]
        for stop in [*self.sentences, self.count]:
            if stop - cuts[-1] > limit:
                while stop - cuts[-1] > max(1, limit // 4):
                    cuts.append(self.next_cut(cuts[-1], cuts[-1], max(1, limit // 4)))
            if stop > cuts[-1]:
                cuts.append(stop)
        return cuts

    def passage(self, first: int, stop: int) -> Passage:
        """Return the passage between two cuts, without the blanks around it."""
        start, end = self._character(first), self._character(stop)
        covered = self._text[start:end]
        blanks = len(covered) - len(covered.lstrip())
        if blanks and not begins_grapheme(self._text, start + blanks):  # an accent on a blank
            blanks -= 1
        start += blanks
        end -= len(covered) - len(covered.rstrip())
        return Passage(min(start, self._starts[first]), max(end, self._ends[stop - 1]), first, stop)

    def _character(self, cut: int) -> int:
        return self._characters.get(cut, self._starts[min(cut, self.count - 1)])

    def _cuts(self, borders: Iterable[int]) -> Iterator[int]:
        """Yield the cuts at borders, given as ascending positions of characters."""
        last = 0
        for border in borders:
            cut = bisect_left(self._starts, border)
            if 0 < cut < self.count and self._ends[cut - 1] <= border:
                self._characters[cut] = border
                if cut > last:
                    yield cut
                last = cut

    def _last_of(
        self, borders: Callable[[str, int, int], Iterator[int]], start: int, above: int, most: int
    ) -> int | None:
        """Return the last cut above `above`, up to `most`, at borders after the cut `start`."""
        near = borders(self._text, self._character(start), self._starts[most])
        return _last([*self._cuts(near)], above, most)


def _last(cuts: list[int], above: int, most: int) -> int | None:
    """Return the last of ascending cuts that is above one number and at most another."""
    index = bisect_right(cuts, most)
    return cuts[index - 1] if index and cuts[index - 1] > above else None
