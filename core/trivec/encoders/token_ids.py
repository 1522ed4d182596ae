"""The token ids of each text, and which texts were cut."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trivec.encoders.packing import PackedTexts

Ids = NDArray[np.int64]

# The name is documented; programs set the level of this log.
_logger = logging.getLogger("trivec.encoders.tokenizer")


@dataclass(frozen=True, slots=True)
class Truncation:
    """A text that was longer than the most tokens allowed.

    Args:
        index: Its index among the given texts.
        tokens: The number of its tokens, with the special ones.
        kept: The number of tokens that are encoded.
    """

    index: int
    tokens: int
    kept: int


OnTruncate = Callable[[Sequence[Truncation]], None]


@dataclass(frozen=True, slots=True, eq=False)
class TokenIds:
    """The token ids of n texts, or of n pairs of texts, with their special tokens.

    Args:
        rows: One int64 (tokens,) per text.
        truncated: The texts that were cut.
        types: The token types of each row, or None if all are 0.
    """

    rows: list[Ids]
    truncated: tuple[Truncation, ...] = ()
    types: list[Ids] | None = None

    def lengths(self) -> NDArray[np.int64]:
        """Return the number of tokens of each text, int64 (n,)."""
        return np.fromiter(map(len, self.rows), np.int64, len(self.rows))

    def packed(self, rows: NDArray[np.int64]) -> PackedTexts:
        """Return the texts of these rows, laid end to end."""
        taken = rows.tolist()
        types = None if self.types is None else np.concatenate([self.types[row] for row in taken])
        lengths = [len(self.rows[row]) for row in taken]
        ids = np.concatenate([self.rows[row] for row in taken])
        return PackedTexts(ids, np.concatenate([[0], np.cumsum(lengths)]), types)

    def report(self, on_truncate: OnTruncate | None) -> None:
        """Call `on_truncate` with the texts that were cut; without it, log one warning."""
        if not self.truncated:
            return
        if on_truncate is not None:
            on_truncate(self.truncated)
            return
        longest = max(self.truncated, key=lambda t: t.tokens)
        _logger.warning(
            "%d of %d texts are cut; the longest, number %d, has %d tokens and keeps %d",
            len(self.truncated),
            len(self.rows),
            longest.index,
            longest.tokens,
            longest.kept,
        )
