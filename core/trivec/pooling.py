"""Pooling: fewer token vectors of a text, each the mean of similar ones.

After "Reducing the Footprint of Multi-Vector Retrieval with Minimal Performance Impact via Token
Pooling" (Clavié, Chaffin, Adams, 2024, arXiv 2409.14683).
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from trivec.colbert_storage import pooled_size
from trivec.errors import InvalidOptionError
from trivec.rows import TokenRows, Tokens

WINDOW = 512
"""The most tokens that are clustered together: time and memory are quadratic in it alone."""

_ROUND = 8  # Texts that shrink by more than twice this factor first shrink by this one.


def clusters(tokens: Tokens, most: int) -> NDArray[np.int64]:
    """Return the cluster of each token, numbered in the order of their first members.

    Ward's method on the distances between the unit vectors. The last token, which ends the text,
    is a cluster by itself if `most` is at least 2. Long texts are clustered in windows of
    consecutive tokens; each gets a share of the clusters in proportion to its length.

    Args:
        tokens: (t, dimension) float16 or float32, finite.
        most: How many clusters there may be, at least 1.

    Returns:
        int64 (t,), exactly min(t, most) different numbers.

    Raises:
        InvalidOptionError: If there are tokens, and `most` is less than 1.

    Example:
        >>> x, y = [3.0, 0.0], [0.0, 1.0]
        >>> clusters(np.array([x, y, x, y, x], np.float32), 3)
        array([0, 1, 0, 1, 2])
    """
    if len(tokens) <= most:
        return np.arange(len(tokens), dtype=np.int64)
    if most < 1:
        raise InvalidOptionError(f"most={most}; expected at least 1 cluster")
    if most <= 2:
        labels = np.zeros(len(tokens), np.int64)
        labels[-1] = most - 1
        return labels
    size, parts = len(tokens) - 1, most - 1  # without the last token
    if size > max(WINDOW, 2 * _ROUND * parts):
        near = clusters(tokens, -(-len(tokens) // _ROUND))
        far: NDArray[np.int64] = clusters(_means(tokens, near), most)[near]
        return far
    windows = -(-size // WINDOW)
    edges = np.arange(windows + 1) * size // windows
    firsts = edges * parts // size
    labels = np.full(len(tokens), parts, np.int64)
    for i in range(windows):
        start, stop = int(edges[i]), int(edges[i + 1])
        labels[start:stop] = firsts[i] + _ward(tokens[start:stop], int(firsts[i + 1] - firsts[i]))
    return labels


def pool_tokens(tokens: Tokens, most: int) -> Tokens:
    """Merge similar tokens: a cluster becomes the mean of its unit vectors.

    The mean is scaled to the mean length of its members; the only member of a cluster is kept as it
    is. The vectors are in the order of the first members, and the last token stays by itself.

    Args:
        tokens: (t, dimension) float16 or float32, finite.
        most: How many vectors may remain, at least 1.

    Returns:
        (min(t, most), dimension) in the dtype of `tokens`; `tokens` itself if it is short enough.

    Raises:
        InvalidOptionError: If there are tokens, and `most` is less than 1.

    Example:
        >>> x, y, z = [1.0, 0.0], [0.0, 1.0], [0.0, 3.0]
        >>> pool_tokens(np.array([x, y, x, z, x], np.float32), 3).tolist()
        [[1.0, 0.0], [0.0, 2.0], [1.0, 0.0]]
    """
    return tokens if len(tokens) <= most else _means(tokens, clusters(tokens, most))


def pool_rows(rows: TokenRows, factor: int) -> TokenRows:
    """Merge similar tokens of each text, so that one of `factor` vectors remains.

    Args:
        rows: Token vectors of n texts.
        factor: How many tokens a vector stands for, on average; 1 changes nothing.

    Returns:
        `pooled_size` vectors of each text, in the dtype of `rows`. A text's vectors depend on this
        text alone.

    Example:
        >>> rows = TokenRows.from_arrays([np.ones((6, 2), np.float16), np.ones((1, 2), np.float16)])
        >>> pool_rows(rows, 2).indptr
        array([0, 3, 4])
    """
    sizes = [pooled_size(int(size), factor) for size in np.diff(rows.indptr)]
    indptr = np.cumsum([0, *sizes], dtype=np.int64)
    values = np.empty((int(indptr[-1]), rows.dim), rows.values.dtype)
    for i, size in enumerate(sizes):
        values[indptr[i] : indptr[i + 1]] = pool_tokens(rows.row(i), size)
    return TokenRows(indptr, values)


def _ward(tokens: Tokens, count: int) -> NDArray[np.int64]:
    """Return which of `count` clusters each token is in, numbered by their first members."""
    if count in (1, len(tokens)):
        return np.arange(len(tokens), dtype=np.int64) * (count > 1)
    from scipy.cluster.hierarchy import fcluster, linkage  # half a second
    from scipy.spatial.distance import squareform

    units, _ = _scaled(tokens)
    distances = cast("NDArray[np.float32]", squareform(units @ units.T, checks=False))
    distances *= -2
    distances += 2
    np.maximum(distances, 0, out=distances)
    np.sqrt(distances, out=distances)
    merges = linkage(distances, "ward")
    # By the number of merges and not by their distances: equal ones would give fewer clusters.
    found = fcluster(merges, count, "maxclust_monocrit", monocrit=np.arange(len(tokens) - 1.0))
    _, firsts, labels = np.unique(found, return_index=True, return_inverse=True)
    numbers = np.empty(len(firsts), np.int64)
    numbers[np.argsort(firsts)] = np.arange(len(firsts))
    return numbers[labels]


def _means(tokens: Tokens, labels: NDArray[np.int64]) -> Tokens:
    """Return the mean of each cluster's unit vectors, in the mean length of its members."""
    members = np.bincount(labels)
    sums = np.zeros((len(members), tokens.shape[1]), np.float32)
    lengths = np.zeros(len(members))
    for start in range(0, len(tokens), WINDOW):
        units, norms = _scaled(tokens[start : start + WINDOW])
        block = labels[start : start + WINDOW]
        lengths += np.bincount(block, norms, len(members))
        order = np.argsort(block, kind="stable")
        heads = np.flatnonzero(np.diff(block[order], prepend=-1))
        sums[block[order][heads]] += np.add.reduceat(units[order], heads, axis=0)
    norms = np.linalg.norm(sums, axis=1)
    highest = float(np.finfo(np.float32).max)
    scale = np.minimum(lengths / members / np.where(norms > 0, norms, 1), highest)
    with np.errstate(over="ignore"):  # infinite ones become the highest number
        sums *= scale.astype(np.float32)[:, None]
    highest = min(highest, float(np.finfo(tokens.dtype).max))
    pooled: Tokens = np.clip(sums, -highest, highest, out=sums).astype(tokens.dtype, copy=False)
    alone = members[labels] == 1
    pooled[labels[alone]] = tokens[alone]
    return pooled


def _scaled(tokens: Tokens) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the unit vectors, zeros for zeros, and the lengths."""
    values = tokens.astype(np.float64)  # squares neither overflow nor vanish
    lengths = np.sqrt(np.einsum("ij,ij->i", values, values))
    values /= np.where(lengths > 0, lengths, 1)[:, None]
    return values.astype(np.float32), lengths
