"""Token vectors as a collection keeps them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trivec.colbert_storage import ColbertStorage, pooled_size
from trivec.errors import InvalidVectorsError
from trivec.pooling import clusters, pool_rows
from trivec.pruning import kept_tokens, prune_rows
from trivec.rows import TokenRows
from trivec.token_codes import TokenCodes

_LONGEST = float(np.finfo(np.float16).max)


def reduced(rows: TokenRows, storage: ColbertStorage) -> TokenRows:
    """Prune and pool token vectors; the backend then writes them with few bits.

    Vectors that were read from a collection are not reduced twice.

    Args:
        rows: Token vectors of n texts.
        storage: How the collection keeps them.

    Raises:
        InvalidVectorsError: If they hold less than the collection keeps, lack the lexical weights
            to prune by, or are too long for few bits.

    Example:
        >>> rows = TokenRows.from_arrays([np.eye(8, dtype=np.float32)])
        >>> small = reduced(rows, ColbertStorage(bits=1, pool=2))
        >>> len(small.values), len(reduced(small, ColbertStorage(bits=1, pool=2)).values)
        (4, 4)
    """
    left = storage.after(rows.storage)
    if storage.bits < 16 and rows.values.size:
        longest = max(float(rows.values.max()), -float(rows.values.min()))
        if longest > _LONGEST:
            raise InvalidVectorsError(
                f"a token vector holds {longest:g}, too much for {storage.bits} bits; scale token "
                "vectors to unit length"
            )
    if left.prune:
        rows = prune_rows(rows, left.prune)
    if left.pool > 1:
        rows = pool_rows(rows, left.pool)
    return kept_as(rows, storage)


def vectors_of(rows: TokenRows, storage: ColbertStorage) -> NDArray[np.int64]:
    """Return which stored vector each token of a text went into, int64 (tokens,); -1 for none.

    Args:
        rows: The token vectors of one text, from an encoder.
        storage: How a collection keeps them.

    Example:
        >>> rows = TokenRows.from_arrays([np.float32([[1, 0], [0, 1], [1, 0], [1, 0]])])
        >>> vectors_of(rows, ColbertStorage(pool=2))
        array([0, 0, 0, 1])
    """
    kept = np.arange(len(rows.values))
    if storage.prune:
        kept = kept_tokens(rows, storage.prune)
    most = pooled_size(len(kept), storage.pool)
    found = np.full(len(rows.values), -1, np.int64)
    found[kept] = clusters(rows.values[kept], most)
    return found


def rounded(rows: TokenRows, storage: ColbertStorage) -> TokenRows:
    """Round token vectors to what few bits stand for; those of 16 and 32 bits stay as they are."""
    if storage.bits >= 16:
        return rows
    return replace(rows, values=TokenCodes.encode(rows, storage.bits).decoded().values)


def kept_as(rows: TokenRows, storage: ColbertStorage | None) -> TokenRows:
    """Return token vectors marked as those of a collection that keeps them so."""
    if storage is None or not storage.reduces:
        return rows
    is_fewer = storage.prune > 0 or storage.pool > 1
    return replace(rows, storage=storage, weights=None if is_fewer else rows.weights)
