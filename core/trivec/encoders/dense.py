"""Dense vectors: from the states of the tokens to a vector for each text, in numpy."""

from __future__ import annotations

import numpy as np

from trivec.encoders.packing import PackedTexts
from trivec.encoders.settings import Pooling
from trivec.rows import Float, unit


def pooled(states: Float, texts: PackedTexts, pooling: Pooling, *, skip: int = 0) -> Float:
    """Return a unit vector for each text, float32 (texts, dimension).

    Args:
        states: float32 (tokens, dimension), all numbers of each state or the first ones.
        texts: The texts of the states.
        pooling: The states that make the vector.
        skip: The number of tokens at the start of each text that are not pooled.

    >>> texts = PackedTexts(np.array([0, 5, 2, 0, 2]), np.array([0, 3, 5]))
    >>> states = np.float32([[1, 0], [0, 2], [0, 1], [0, 1], [1, 0]])
    >>> pooled(states, texts, "cls").tolist(), pooled(states, texts, "mean", skip=1).tolist()
    ([[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]])
    """
    if pooling == "cls":
        return unit(states[texts.firsts(skip)])
    starts = np.minimum(texts.indptr[:-1] + skip, texts.indptr[1:])
    bounds = zip(starts.tolist(), texts.indptr[1:].tolist(), strict=True)
    # The sum has the direction of the mean.
    return unit(
        np.stack([states[start:stop].sum(axis=0, dtype=np.float64) for start, stop in bounds])
    )
