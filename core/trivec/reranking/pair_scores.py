"""Pairs of a question and a document, and the range of their scores, for both rerankers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import described, expect
from trivec.errors import InvalidInputError


def check_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Check that an argument is a list of pairs; what the pairs hold is not checked.

    Raises:
        InvalidOptionError: If it is no list.
        InvalidInputError: If an item is no pair.
    """
    expect(pairs, (list, tuple), "pairs", "a list of (question, document)")
    for index, pair in enumerate(pairs):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise InvalidInputError(
                f"pair {index}: expected (question, document), got {described(pair)}"
            )


def sigmoid_of(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return scores in the range 0 to 1.

    >>> sigmoid_of(np.float32([-1000, 0, 1000])).tolist()
    [0.0, 0.5, 1.0]
    """
    # Written with tanh, which does not overflow on very low scores.
    result: NDArray[np.float32] = (0.5 + 0.5 * np.tanh(scores / 2)).astype(np.float32)
    return result
