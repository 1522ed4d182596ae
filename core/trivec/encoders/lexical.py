"""Lexical weights of tokens, gathered by text and token id."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trivec.encoders.tokenizer import PackedTexts
from trivec.rows import Float, SparseRows


def without_special(weights: Float, texts: PackedTexts, special_ids: NDArray[np.int64]) -> Float:
    """Return the weights of tokens, with 0 for those whose ids carry none."""
    return np.where(np.isin(texts.ids, special_ids), np.float32(0), weights)


def lexical_rows(weights: Float, texts: PackedTexts) -> SparseRows:
    """Return the highest weight of each token id in each text, without zeros.

    >>> texts = PackedTexts(np.array([7, 3, 7, 3]), np.array([0, 3, 4]))
    >>> rows = lexical_rows(np.float32([0.5, 0.25, 0.75, 0]), texts)
    >>> rows.row(0), rows.row(1)
    ({3: 0.25, 7: 0.75}, {})
    """
    # ~(weights <= 0) keeps NaN, which then raises an error instead of losing a word.
    kept = np.flatnonzero(~(weights <= 0))
    text, ids, weights = _text_numbers(texts)[kept], texts.ids[kept], weights[kept]
    order, starts = _groups(text, ids)
    text, ids, weights = text[order], ids[order], weights[order]
    counts = np.bincount(text[starts], minlength=len(texts.indptr) - 1)
    return SparseRows(
        np.concatenate([[0], np.cumsum(counts)]),
        ids[starts].astype(np.uint32),
        np.maximum.reduceat(weights, starts) if len(starts) else weights,
    )


def highest_weights(weights: Float, texts: PackedTexts) -> Float:
    """Return for each token the highest weight that its id has in its text, float32 (tokens,).

    >>> texts = PackedTexts(np.array([7, 3, 7]), np.array([0, 3]))
    >>> highest_weights(np.float32([0.5, 0.25, 0.75]), texts).tolist()
    [0.75, 0.25, 0.75]
    """
    order, starts = _groups(_text_numbers(texts), texts.ids)
    highest = np.empty_like(weights)
    lengths = np.diff(starts, append=len(order))
    highest[order] = np.repeat(np.maximum.reduceat(weights[order], starts), lengths)
    return highest


def _text_numbers(texts: PackedTexts) -> NDArray[np.int64]:
    """Return the number of each token's text, int64 (tokens,)."""
    return np.repeat(np.arange(len(texts.indptr) - 1), np.diff(texts.indptr))


def _groups(
    text: NDArray[np.int64], ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return an order that puts equal ids of a text side by side, and where each group starts."""
    order = np.lexsort((ids, text))
    new = (np.diff(text[order], prepend=-1) != 0) | (np.diff(ids[order], prepend=-1) != 0)
    return order, np.flatnonzero(new)
