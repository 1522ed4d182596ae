"""Metadata that a condition is not true of, so that nobody deletes everything by accident.

A condition tells apart only finitely many kinds of values of a field: those equal to a value that
it names, those just below and just above it, those that hold a text, and all others. One value of
each kind is made, and the condition is evaluated for them, and for lists of them, until it is
false.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import combinations, product
from random import Random
from typing import Any

from trivec.fields import FieldType, Scalar, split_path
from trivec.filters.declared import fits_type
from trivec.filters.tree import Comparison, Filter

_MOST_NAMED = 64  # values of one field
_MOST_TRIALS = 4096
_MOST_COMPARED = 2**19  # comparisons in all trials together, which take some seconds
_MOST_IN_ALL_LISTS = 7  # values of which every list is tried

_Values = tuple[Scalar, ...]


def counterexample(
    condition: Filter, fields: Mapping[str, FieldType] | None = None
) -> dict[str, Any] | None:
    """Return metadata that a condition is not true of, or None where none is found.

    What is returned is certain; None is not. At most 4,096 cases are tried, which are all there
    are for a condition on a few fields with a few values each, and fewer of a condition that makes
    more than 128 comparisons.

    Args:
        condition: The condition.
        fields: The declared fields, whose values have one type and, except for lists, are single.

    Example:
        >>> from trivec import F
        >>> counterexample(F("lang") == "de")
        {}
        >>> counterexample((F("year") < 2020) | ~(F("year") < 2000)) is None
        True
    """
    declared = fields or {}
    compared: dict[str, list[Comparison]] = {}
    for one in condition.comparisons():
        compared.setdefault(one.path, []).append(one)
    for values in _trials(compared, declared):
        metadata = _metadata(values, declared)
        if metadata is not None and not condition.matches(metadata):
            return metadata
    return None


def _trials(
    compared: Mapping[str, Sequence[Comparison]], declared: Mapping[str, FieldType]
) -> Iterator[Mapping[str, _Values]]:
    """Yield values of the fields, first those that most conditions are not true of."""
    yield {}
    found = {path: _values(some, declared.get(path)) for path, some in compared.items()}
    single = {path for path in found if path in declared and not declared[path].is_list}
    yield {path: values[:1] if path in single else values for path, values in found.items()}
    lists = [
        list(_lists(_different(values, compared[path]), single=path in single))
        for path, values in found.items()
    ]
    drawn: Iterable[Sequence[_Values]] = product(*lists)
    most = min(_MOST_TRIALS, _MOST_COMPARED // max(1, sum(map(len, compared.values()))))
    if math.prod(map(len, lists)) > most:
        random = Random(0)
        drawn = ([random.choice(some) for some in lists] for _ in range(most))
    for chosen in drawn:
        yield dict(zip(found, chosen, strict=True))


def _values(compared: Iterable[Comparison], kind: FieldType | None) -> _Values:
    """Return values of one field: those that it is compared with, their neighbours, and others."""
    named = [value for one in compared for value in one.values][:_MOST_NAMED]
    values = [near for value in named for near in _around(value)]
    values += [_unlike(named), 0, 0.5, True, False, "2000-01-01"]
    if kind is not None:
        values = [value for value in values if fits_type(value, kind.item)]
    # 1 == True == 1.0 in Python, but not here.
    return tuple({(type(value), value): value for value in values}.values())


def _around(value: Scalar) -> list[Scalar]:
    """Return the values of metadata that equal one of a filter, and those next to it."""
    if isinstance(value, bool | str):
        return [value]
    if isinstance(value, datetime):
        return _spellings(value)
    near: list[Scalar] = [value]
    if isinstance(value, int):
        near += [one for one in (value - 1, value + 1) if -(2**63) <= one < 2**63]
    below, above = (math.nextafter(value, edge) for edge in (-math.inf, math.inf))
    return near + [one for one in (below, above) if math.isfinite(one)]


def _spellings(moment: datetime) -> list[Scalar]:
    step = timedelta(microseconds=1)
    found: list[Scalar] = []
    for move in (timedelta(0), -step, step):
        try:
            text = (moment + move).isoformat()
        except OverflowError:
            continue
        found += [text, text.replace("+00:00", "Z")]
        if text.endswith("T00:00:00+00:00"):
            found.append(text[:10])
    return found


def _unlike(named: Iterable[Scalar]) -> str:
    """Return a text that holds none of these and is none of them."""
    used = set("".join(value for value in named if isinstance(value, str)))
    signs = map(chr, range(0x4E00, 0xD800))
    return next((sign for sign in signs if sign not in used), "")  # "" holds no text either


def _different(values: _Values, compared: Sequence[Comparison]) -> _Values:
    """Return one value of each kind that the comparisons tell apart."""
    path = compared[0].path
    kinds: dict[tuple[bool, ...], Scalar] = {}
    for value in values:
        metadata = _metadata({path: (value,)}, {}) or {}
        kinds.setdefault(tuple(one.matches(metadata) for one in compared), value)
    return tuple(kinds.values())


def _lists(values: _Values, *, single: bool) -> Iterator[_Values]:
    """Yield lists of values, without any, with one, and with several if there may be several."""
    most = 1 if single else len(values) if len(values) <= _MOST_IN_ALL_LISTS else 2
    for count in range(most + 1):
        yield from combinations(values, count)
    if not single and most < len(values):
        yield values


def _metadata(
    values: Mapping[str, _Values], declared: Mapping[str, FieldType]
) -> dict[str, Any] | None:
    """Return metadata with these values, or None where a value would have to hold another."""
    metadata: dict[str, Any] = {}
    for path, some in values.items():
        if not some:
            continue
        *outer, last = split_path(path)
        place: Any = metadata
        for segment in outer:
            place = place.setdefault(segment, {})
            if not isinstance(place, dict):
                return None
        if last in place:
            return None
        kind = declared.get(path)
        place[last] = list(some) if kind is None or kind.is_list else some[0]
    return metadata
