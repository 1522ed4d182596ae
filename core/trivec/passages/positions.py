"""Which stored ColBERT vector each token of a text went into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trivec.colbert_storage import ColbertStorage, pooled_size, pruned_tokens
from trivec.encoders.protocol import Token
from trivec.pooling import WINDOW

_EARLY = 1.25
"""Vectors begin more often in front, since a late token resembles an earlier one more often: of n
words, the i-th of m vectors begins with word n * (i / m)**1.25."""


def stored_vectors(
    tokens: Sequence[Token],
    storage: ColbertStorage | None,
    weights: Mapping[int, float],
    *,
    count: int | None = None,
) -> NDArray[np.int64]:
    """Return which stored vector each token went into, without encoding the text.

    It is exact in collections that keep all vectors, and an estimate where they prune or pool,
    since neither is stored. Pruning drops the tokens of the least lexical weights. Pooling merges
    similar vectors, which are mostly those of the same token in several places, then those of
    neighbours; the stored vectors are in the order of their first tokens.

    Args:
        tokens: The text's t tokens.
        storage: How the collection keeps its vectors; None for vectors in full.
        weights: The text's lexical weights by vocabulary id; empty if they are not known.
        count: How many vectors were left after pooling, at least 1; as many as `storage` keeps by
            default.

    Returns:
        int64 (t,); -1 for a token that was dropped.

    Example:
        >>> tokens = [Token(5, "a", 0, 1), Token(7, "fox", 2, 5), Token(5, "a", 6, 7)]
        >>> tokens += [Token(9, "hen", 8, 11), Token(2, "</s>", 11, 11)]
        >>> stored_vectors(tokens, ColbertStorage(prune=2 / 5), {5: 0.1, 7: 0.3, 9: 0.3})
        array([-1,  0, -1,  1,  2])
        >>> stored_vectors(tokens * 2, ColbertStorage(pool=2), {})
        array([0, 1, 0, 2, 3, 0, 1, 0, 2, 4])
        >>> stored_vectors(tokens, None, {}, count=4)
        array([0, 1, 0, 2, 3])
    """
    storage = storage or ColbertStorage()
    kept = np.arange(len(tokens))
    if storage.prune and len(kept):
        kept = _kept(tokens, pruned_tokens(len(tokens), storage.prune), weights)
    vectors = np.full(len(tokens), -1, np.int64)
    most = min(len(kept), pooled_size(len(kept), storage.pool) if count is None else count)
    if most == len(kept):
        vectors[kept] = np.arange(most)
        return vectors
    ids = np.array([tokens[i].id for i in kept.tolist()], np.int64)
    begins = np.array([i == 0 or tokens[i - 1].end < tokens[i].start for i in kept.tolist()])
    size, parts = len(kept) - 1, most - 1  # the last token stays by itself
    vectors[kept[-1]] = parts
    if not parts:
        vectors[kept] = 0
        return vectors
    # The same windows as those of `trivec.pooling.clusters`, unless there are too few vectors.
    windows = min(-(-size // WINDOW), parts)
    edges = np.arange(windows + 1) * size // windows
    shares = edges * parts // size
    for i in range(windows):
        window = slice(int(edges[i]), int(edges[i + 1]))
        labels = _pooled(ids[window], begins[window], int(shares[i + 1] - shares[i]))
        vectors[kept[window]] = shares[i] + labels
    return vectors


def _kept(tokens: Sequence[Token], dropped: int, weights: Mapping[int, float]) -> NDArray[np.int64]:
    """Return the tokens of the highest weights; evenly distributed ones if no weight is known."""
    count = len(tokens)
    if not weights:
        return np.linspace(0, count - 1, count - dropped).astype(np.int64)
    known = np.array([weights.get(token.id, 0.0) for token in tokens])
    known[-1] = np.inf
    return np.sort(np.argsort(known, kind="stable")[dropped:])


def _pooled(ids: NDArray[np.int64], begins: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """Estimate which of `count` vectors each token of a window went into.

    Args:
        ids: int64 (tokens,), vocabulary ids.
        begins: bool (tokens,), whether a token begins a word.
        count: How many vectors there are.
    """
    size = np.arange(len(ids))
    _, firsts, group = np.unique(ids, return_index=True, return_inverse=True)
    new = firsts[group] == size
    often = np.bincount(group)[group]
    repeats = np.flatnonzero(~new)
    leading = np.zeros(len(ids), bool)
    # The first of their kind begin a vector, in front of all words; then what occurs least often.
    for tokens, is_even in (
        (np.flatnonzero(new & begins), True),
        (np.flatnonzero(new & ~begins), True),
        (repeats[np.argsort(often[repeats], kind="stable")], False),
    ):
        left = count - int(leading.sum())
        if is_even and left < len(tokens):
            shares = (np.arange(left) / max(left, 1)) ** _EARLY
            # Rounding may choose the same one twice; the next free ones take their place.
            chosen = np.unique((shares * len(tokens)).astype(np.int64))
            free = np.setdiff1d(np.arange(len(tokens)), chosen)[: left - len(chosen)]
            leading[tokens[np.concatenate([chosen, free])]] = True
        else:
            leading[tokens[:left]] = True
    numbers = np.cumsum(leading) - 1
    # A token follows the nearest leading one of its own id before it, or else its neighbour.
    order = np.argsort(group, kind="stable")
    heads = np.searchsorted(group[order], group[order])
    nearest = np.maximum.accumulate(np.where(leading[order], size, -1))
    own = np.empty(len(ids), np.int64)
    own[order] = np.where(nearest >= heads, order[nearest], -1)
    known = np.maximum.accumulate(np.where(own >= 0, size, 0))
    vectors: NDArray[np.int64] = np.maximum(numbers[np.maximum(own[known], 0)], 0)
    return vectors
