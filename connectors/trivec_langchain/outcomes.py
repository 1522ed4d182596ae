"""What many items give when some of them are bad: each its result or its error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

__all__ = ["aoutcomes", "outcomes", "successes"]

A = TypeVar("A")
B = TypeVar("B")


def outcomes(
    function: Callable[[list[A]], Sequence[B]],
    items: Sequence[A | Exception],
    *,
    alone: type[Exception] = Exception,
) -> list[B | Exception]:
    """Return what a function gives for many items at once, in their order.

    Args:
        function: Returns one result per item; not called without items.
        items: Those that are errors stay as they are.
        alone: Where the call fails with an error of this kind, each item is tried by itself;
            any other error is that of all items.

    Example:
        >>> outcomes(lambda texts: [int(text) for text in texts], ["1", "x", "3"])[::2]
        [1, 3]
    """
    good = successes(items)
    if not good:
        return _merged(items, [])
    try:
        found: Sequence[B | Exception] = function(good)
    except Exception as error:
        if len(good) == 1 or not isinstance(error, alone):
            found = [error] * len(good)
        else:
            found = [outcomes(function, [one], alone=alone)[0] for one in good]
    return _merged(items, found)


async def aoutcomes(
    function: Callable[[list[A]], Awaitable[Sequence[B]]],
    items: Sequence[A | Exception],
    *,
    alone: type[Exception] = Exception,
) -> list[B | Exception]:
    """Return what an asynchronous function gives for many items; see `outcomes`."""
    good = successes(items)
    if not good:
        return _merged(items, [])
    try:
        found: Sequence[B | Exception] = await function(good)
    except Exception as error:
        if len(good) == 1 or not isinstance(error, alone):
            found = [error] * len(good)
        else:
            found = [(await aoutcomes(function, [one], alone=alone))[0] for one in good]
    return _merged(items, found)


def successes(items: Sequence[A | Exception]) -> list[A]:
    """Return the items that are no errors."""
    return [item for item in items if not isinstance(item, Exception)]


def _merged(items: Sequence[A | Exception], found: Sequence[B | Exception]) -> list[B | Exception]:
    rest = iter(found)
    return [item if isinstance(item, Exception) else next(rest) for item in items]
