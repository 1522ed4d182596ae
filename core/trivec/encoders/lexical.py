"""Lexical weights: from a weight for each token to the rows of a batch of texts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trivec.encoders.packing import PackedTexts
from trivec.rows import Float, SparseRows


def without_special(weights: Float, texts: PackedTexts, special_ids: NDArray[np.int64]) -> Float:
    """Return the weights with 0 for the tokens of special ids, float32 (tokens,)."""
    return np.where(np.isin(texts.ids, special_ids), np.float32(0), weights)


def lexical_rows(weights: Float, texts: PackedTexts) -> SparseRows:
    """Return the highest weight of each text's token ids, without zeros."""
    text = np.repeat(np.arange(len(texts.indptr) - 1), np.diff(texts.indptr))
    # ~(weights <= 0) keeps NaN, which then raises an error instead of losing a word.
    kept = np.flatnonzero(~(weights <= 0))
    return _maxima(text[kept], texts.ids[kept], weights[kept], len(texts.indptr) - 1)


def weights_of_tokens(
    weights: Float, texts: PackedTexts, starts: NDArray[np.bool_] | None = None
) -> list[Float]:
    """Return the highest weight in its text of the id of each token with a ColBERT vector.

    Args:
        weights: float32 (tokens,).
        texts: The texts of the tokens.
        starts: bool (tokens,), the tokens that have no ColBERT vector; None if all have one.
    """
    text = np.repeat(np.arange(len(texts.indptr) - 1), np.diff(texts.indptr))
    order, groups = _groups(text, texts.ids)
    highest = np.empty_like(weights)
    lengths = np.diff(groups, append=len(order))
    highest[order] = np.repeat(np.maximum.reduceat(weights[order], groups), lengths)
    if starts is None:
        return np.split(highest, texts.indptr[1:-1])
    kept = np.flatnonzero(~starts)
    return np.split(highest[kept], np.searchsorted(kept, texts.indptr[1:-1]))


def _maxima(
    text: NDArray[np.int64], ids: NDArray[np.int64], weights: Float, texts: int
) -> SparseRows:
    """Return the highest weight of each id in each text.

    >>> rows = _maxima(np.array([0, 0, 0]), np.array([7, 3, 7]), np.float32([0.5, 0.25, 0.75]), 2)
    >>> rows.row(0), rows.row(1)
    ({3: 0.25, 7: 0.75}, {})
    """
    order, starts = _groups(text, ids)
    text, ids, weights = text[order], ids[order], weights[order]
    counts = np.bincount(text[starts], minlength=texts)
    return SparseRows(
        np.concatenate([[0], np.cumsum(counts)]),
        ids[starts].astype(np.uint32),
        np.maximum.reduceat(weights, starts) if len(starts) else weights,
    )


def _groups(
    text: NDArray[np.int64], ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return an order that puts equal ids of a text side by side, and where each group starts."""
    order = np.lexsort((ids, text))
    new = (np.diff(text[order], prepend=-1) != 0) | (np.diff(ids[order], prepend=-1) != 0)
    return order, np.flatnonzero(new)
