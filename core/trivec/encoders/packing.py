"""Token ids of texts laid end to end, the form in which a batch is computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class PackedTexts:
    """Token ids of texts laid end to end.

    Args:
        ids: int64 (tokens,).
        indptr: int64 (texts + 1,), the start of each text; no text is empty.
        types: int64 (tokens,), token type ids, or None if all are 0.
    """

    ids: NDArray[np.int64]
    indptr: NDArray[np.int64]
    types: NDArray[np.int64] | None = None

    def offsets(self) -> NDArray[np.int64]:
        """Return each token's position in its text, from 0, int64 (tokens,).

        >>> PackedTexts(np.array([0, 5, 2, 0, 2]), np.array([0, 3, 5])).offsets()
        array([0, 1, 2, 0, 1])
        """
        return np.arange(len(self.ids)) - np.repeat(self.indptr[:-1], np.diff(self.indptr))

    def firsts(self, skip: int) -> NDArray[np.int64]:
        """Return the token of each text that follows `skip` others, int64 (texts,).

        This is the first token of a text that has no more than these, because it was cut within
        its instruction; sentence-transformers does so too.

        >>> PackedTexts(np.array([0, 5, 2, 0, 2]), np.array([0, 3, 5])).firsts(2)
        array([2, 3])
        """
        starts: NDArray[np.int64] = self.indptr[:-1]
        return np.where(starts + skip < self.indptr[1:], starts + skip, starts)

    def positions(self, padding: int | None) -> NDArray[np.int64]:
        """Return the rows of the position embedding, int64 (tokens,).

        Args:
            padding: None for BERT, which counts from 0. XLM-RoBERTa counts from `padding + 1`
                and does not count padding tokens (a text can contain the padding token's name).

        >>> PackedTexts(np.array([0, 1, 2, 0, 2]), np.array([0, 3, 5])).positions(1)
        array([2, 1, 3, 2, 3])
        """
        if padding is None:
            return self.offsets()
        counted = self.ids != padding
        total = np.cumsum(counted)
        before = (total - counted)[self.indptr[:-1]]
        positions: NDArray[np.int64] = (
            total - np.repeat(before, np.diff(self.indptr))
        ) * counted + padding
        return positions

    def starts(self, first: int, window: int | None) -> NDArray[np.bool_]:
        """Return which tokens are the first one of a text or, with MCLS, of a window.

        Args:
            first: The id of the token that starts a text.
            window: The number of tokens between its repetitions (MCLS), or None.
        """
        offsets = self.offsets()
        period = np.int64(np.iinfo(np.int64).max) if window is None else window + 1
        # After a full window comes the text's end or the next window.
        starts: NDArray[np.bool_] = (offsets % period == 0) & (self.ids == first)
        return starts

    def padded(self, padding: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the ids as one block, and 1 where it holds a token, both int64 (texts, longest).

        >>> PackedTexts(np.array([0, 5, 2, 0, 2]), np.array([0, 3, 5])).padded(1)
        (array([[0, 5, 2],
               [0, 2, 1]]), array([[1, 1, 1],
               [1, 1, 0]]))
        """
        lengths = np.diff(self.indptr)
        holds = np.arange(lengths.max()) < lengths[:, None]
        block = np.full(holds.shape, padding, np.int64)
        block[holds] = self.ids
        return block, holds.astype(np.int64)

    def runs(self) -> list[tuple[int, int, int]]:
        """Return (first token, number of texts, their length) for each run of equal lengths."""
        lengths = np.diff(self.indptr)
        first = np.flatnonzero(np.diff(lengths, prepend=-1))
        counts = np.diff(first, append=len(lengths))
        return list(
            zip(self.indptr[first].tolist(), counts.tolist(), lengths[first].tolist(), strict=True)
        )


def start_counts(lengths: NDArray[np.int64], window: int | None) -> NDArray[np.int64]:
    """Return how many tokens `starts` marks in texts of these lengths, int64 (texts,)."""
    if window is None:
        return np.ones_like(lengths)
    return -(-(lengths - 1) // (window + 1))
