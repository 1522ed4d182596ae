"""Ranges of a text's tokens, as `encode_passages` takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import described, shown
from trivec.errors import InvalidInputError

Positions = NDArray[np.int64]

_EXPECTED = "a slice of its tokens, such as slice(0, 256)"


@dataclass(frozen=True, slots=True, eq=False)
class Ranges:
    """Ranges of tokens; none is empty.

    Args:
        starts: int64 (ranges,), the first token of each.
        stops: int64 (ranges,), the token after its last one.
    """

    starts: Positions
    stops: Positions

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def checked(cls, passages: Sequence[slice], tokens: int) -> Ranges:
        """Return the ranges of the passages of a text.

        Args:
            passages: Slices with a start and a stop.
            tokens: The number of tokens of the text.

        Raises:
            InvalidInputError: If one is not a slice of consecutive tokens, is empty, or is not
                within the text.

        >>> Ranges.checked([slice(0, 2), slice(1, 4)], 4).starts
        array([0, 1])
        """
        if isinstance(passages, str | bytes | Mapping | slice) or not isinstance(
            passages, Iterable
        ):
            raise InvalidInputError(
                f"passages: expected a list of slices, such as [slice(0, 256)], got "
                f"{described(passages)}"
            )
        bounds = [_bounds(number, passage, tokens) for number, passage in enumerate(passages)]
        pairs = np.array(bounds, np.int64).reshape(-1, 2)
        return cls(pairs[:, 0], pairs[:, 1])

    def sizes(self) -> Positions:
        """Return the number of tokens of each range."""
        return self.stops - self.starts

    def indptr(self) -> Positions:
        """Return where each range starts if they are laid end to end, int64 (ranges + 1,)."""
        return np.concatenate([[0], np.cumsum(self.sizes())])

    def positions(self) -> Positions:
        """Return the tokens of all ranges, laid end to end.

        >>> Ranges(np.array([0, 1]), np.array([2, 4])).positions()
        array([0, 1, 1, 2, 3])
        """
        indptr = self.indptr()
        return np.arange(indptr[-1]) + np.repeat(self.starts - indptr[:-1], self.sizes())


def _bounds(number: int, passage: object, tokens: int) -> tuple[int, int]:
    if not isinstance(passage, slice):
        raise InvalidInputError(f"passage {number}: expected {_EXPECTED}, got {described(passage)}")
    bounds = [_whole(value) for value in (passage.start, passage.stop)]
    start, stop = bounds
    if start is None or stop is None or (passage.step is not None and _whole(passage.step) != 1):
        raise InvalidInputError(
            f"passage {number}: expected {_EXPECTED}, with two integers and without a step, got "
            f"{shown(passage)}"
        )
    if start >= stop:
        raise InvalidInputError(f"passage {number}: {shown(passage)} holds no token")
    if start < 0 or stop > tokens:
        raise InvalidInputError(
            f"passage {number}: {shown(passage)} is not within the text, which has {tokens} "
            "tokens without the special ones"
        )
    return start, stop


def _whole(value: object) -> int | None:
    """Return an integer, also of numpy, as an int; None for anything else, True and 2.0 too."""
    number = None if isinstance(value, bool | np.bool_) else getattr(value, "__index__", None)
    try:
        return None if number is None else int(number())
    except TypeError:  # an array of several numbers
        return None
