"""Maxima over windows of rows, and windows that do not overlap."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from trivec.rows import Float

Positions = NDArray[np.int64]


def window_maxima(values: Float, starts: Positions, ends: Positions) -> Float:
    """Return the maximum of each column in each window of rows.

    The maxima of blocks of 1, 2, 4… rows are computed one after the other, and a window is covered
    by two blocks. So the time does not depend on how much the windows overlap.

    Args:
        values: (rows, columns) numbers.
        starts: int64 (windows,), the first row of each window.
        ends: int64 (windows,), the row after its last one.

    Returns:
        (windows, columns) in the dtype of `values`; -inf for a window without a row.

    Example:
        >>> rows = np.array([[1, 0], [3, 5], [2, 9]], np.float32)
        >>> window_maxima(rows, np.array([0, 1, 2]), np.array([2, 3, 2])).tolist()
        [[3.0, 5.0], [3.0, 9.0], [-inf, -inf]]
    """
    maxima: Float = np.full((len(starts), values.shape[1]), -np.inf, values.dtype)
    lengths = ends - starts
    block, size = values, 1
    while len(block):
        mine = np.flatnonzero((lengths >= size) & (lengths < 2 * size))
        maxima[mine] = np.maximum(block[starts[mine]], block[ends[mine] - size])
        if not (lengths >= 2 * size).any():
            break
        block, size = np.maximum(block[:-size], block[size:]), 2 * size
    return maxima


def piece_windows(borders: Positions, most: int) -> tuple[Positions, Positions]:
    """Return the windows of whole pieces: their first tokens, and the tokens after their last ones.

    Args:
        borders: int64 (pieces + 1,), ascending, where pieces begin and the last one ends.
        most: The most tokens of a window; a piece that is longer is a window by itself.

    Returns:
        int64 (windows,) each, ascending.

    Example:
        >>> starts, ends = piece_windows(np.array([0, 3, 5, 9]), 6)
        >>> list(zip(starts.tolist(), ends.tolist()))
        [(0, 3), (0, 5), (3, 5), (3, 9), (5, 9)]
    """
    pieces = np.arange(len(borders) - 1)
    last = np.searchsorted(borders, borders[:-1] + most, side="right") - 1
    counts = np.maximum(last - pieces, 1)
    first = np.repeat(pieces, counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return borders[first], borders[first + 1 + within]


def best_apart(
    scores: Float, starts: Positions, ends: Positions, *, slack: float = 0.0
) -> Iterator[int]:
    """Yield windows, best first; each overlaps none before it. Of equal ones, the first is taken.

    Args:
        scores: (windows,) numbers.
        starts: int64 (windows,), the first row of each window.
        ends: int64 (windows,), the row after its last one.
        slack: The share of the best score that a shorter window within the best one may lack to be
            taken in its place.

    >>> scores = np.array([0.5, 0.9, 0.7])
    >>> [*best_apart(scores, np.array([0, 5, 9]), np.array([4, 10, 12]))]
    [1, 0]
    """
    free = np.ones(len(scores), bool)
    while free.any():
        best = int(np.argmax(np.where(free, scores, -np.inf)))
        if slack and scores[best] > 0:
            is_inside = (starts >= starts[best]) & (ends <= ends[best])
            near = np.flatnonzero(is_inside & (scores >= scores[best] * (1 - slack)))
            best = int(near[np.argmin(ends[near] - starts[near])])
        yield best
        free &= (ends <= starts[best]) | (starts >= ends[best])
