"""Bounds of 64-bit integers for databases that read bounds as float64."""

from __future__ import annotations

import math

_MIN, _MAX = -(2**63), 2**63 - 1


def at_least(low: int) -> tuple[int | None, range]:
    """Return how to express `value >= low`, an integer of 64 bits, with bounds that are float64.

    These are the smallest float64 that is at least `low`, or None if no integer of 64 bits reaches
    it; and the integers from `low` up to that bound (exclusive), at most 1,023.

    >>> at_least(2**53)
    (9007199254740992, range(0, 0))
    >>> at_least(2**53 + 1)
    (9007199254740994, range(9007199254740993, 9007199254740994))
    """
    bound = float(low)
    if bound < low:
        bound = math.nextafter(bound, math.inf)
    first = int(bound)
    between = range(low, min(first, _MAX + 1))
    return (first if first <= _MAX else None), between or range(0)


def at_most(high: int) -> tuple[int | None, range]:
    """Return how to express `value <= high` with bounds that are float64; see `at_least`.

    >>> at_most(-(2**53) - 1)
    (-9007199254740994, range(-9007199254740993, -9007199254740992))
    """
    bound = float(high)
    if bound > high:
        bound = math.nextafter(bound, -math.inf)
    last = int(bound)
    between = range(max(last + 1, _MIN), high + 1)
    return (last if last >= _MIN else None), between or range(0)
