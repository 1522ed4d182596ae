"""Dropping the token vectors that matter least."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trivec.colbert_storage import pruned_tokens
from trivec.errors import InvalidVectorsError
from trivec.rows import TokenRows


def prune_rows(rows: TokenRows, share: float) -> TokenRows:
    """Drop a share of each text's token vectors: those with the least lexical weights.

    The last vector of a text is never dropped. Of equal weights, those in front are dropped.

    Args:
        rows: Token vectors of n texts with their lexical weights.
        share: The share to drop, at least 0 and below 1; rounded down in each text.

    Raises:
        InvalidVectorsError: If the weights are not known.

    Example:
        >>> rows = TokenRows(np.array([0, 3]), np.eye(3), weights=np.array([0.1, 0.3, 0.0]))
        >>> prune_rows(rows, 1 / 3).values
        array([[0., 1., 0.],
               [0., 0., 1.]], dtype=float32)
    """
    if not len(rows.values):
        return rows
    kept = kept_tokens(rows, share)
    lengths = np.diff(rows.indptr)
    indptr = np.concatenate([[0], np.cumsum(lengths - _dropped(lengths, share))])
    weights = None if rows.weights is None else rows.weights[kept]
    return TokenRows(indptr, rows.values[kept], weights, rows.storage)


def kept_tokens(rows: TokenRows, share: float) -> NDArray[np.int64]:
    """Return the positions of the token vectors that `prune_rows` keeps, ascending."""
    if not len(rows.values):
        return np.zeros(0, np.int64)
    if rows.weights is None:
        raise InvalidVectorsError(
            "prune needs the lexical weight of each token, and these vectors came without; "
            "encode the texts with a model that has a sparse head, or copy from an archive"
        )
    lengths = np.diff(rows.indptr)
    dropped = _dropped(lengths, share)
    text = np.repeat(np.arange(len(rows)), lengths)
    weights = rows.weights.copy()
    weights[rows.indptr[1:][lengths > 0] - 1] = np.inf  # the last of each text
    order = np.lexsort((weights, text))  # stable: by weight in each text
    rank = np.arange(len(order)) - rows.indptr[:-1][text]
    return np.sort(order[rank >= dropped[text]])


def _dropped(lengths: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Return how many vectors of each text are dropped."""
    dropped = (pruned_tokens(length, share) for length in lengths.tolist())
    return np.fromiter(dropped, np.int64, len(lengths))
