"""Metadata that does not satisfy a condition, so that nobody deletes everything by accident.

A condition distinguishes only finitely many classes of values of a field: those equal to a value
in the condition, those just below and just above it, those that contain a text, and all others.
One value of each class is made. The condition is evaluated for these values, and for lists of them,
until it is false.
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

_MAX_NAMED = 64  # values of one field
_MAX_TRIALS = 4096
_MAX_COMPARISONS = 2**19  # in all trials together, which take some seconds
_MAX_VALUES_IN_ALL_LISTS = 7  # with more values, only some lists are tried

_Values = tuple[Scalar, ...]


def counterexample(
    condition: Filter, fields: Mapping[str, FieldType] | None = None
) -> dict[str, Any] | None:
    """Return metadata that does not satisfy a condition, or None if none was found.

    The metadata is certainly a counterexample; None does not prove that none exists. At most 4,096
    cases are tried: all cases of a condition on a few fields with a few values each, and fewer
    cases of a condition with more than 128 comparisons. Values of a declared field have one type,
    and only lists hold several.

    >>> from trivec import F
    >>> counterexample(F("lang") == "de")
    {}
    >>> counterexample((F("year") < 2020) | ~(F("year") < 2000)) is None
    True
    """
    declared = fields or {}
    compared: dict[str, list[Comparison]] = {}
    for comparison in condition.comparisons():
        compared.setdefault(comparison.path, []).append(comparison)
    for values in _trials(compared, declared):
        metadata = _metadata(values, declared)
        if metadata is not None and not condition.matches(metadata):
            return metadata
    return None


def _trials(
    compared: Mapping[str, Sequence[Comparison]], declared: Mapping[str, FieldType]
) -> Iterator[Mapping[str, _Values]]:
    """Yield values of the fields, beginning with those that falsify most conditions."""
    yield {}
    candidates = {path: _values(some, declared.get(path)) for path, some in compared.items()}
    single = {path for path in candidates if path in declared and not declared[path].is_list}
    yield {path: values[:1] if path in single else values for path, values in candidates.items()}
    lists = [
        list(_lists(_different(values, compared[path]), single=path in single))
        for path, values in candidates.items()
    ]
    drawn: Iterable[Sequence[_Values]] = product(*lists)
    most = min(_MAX_TRIALS, _MAX_COMPARISONS // max(1, sum(map(len, compared.values()))))
    if math.prod(map(len, lists)) > most:
        random = Random(0)
        drawn = ([random.choice(some) for some in lists] for _ in range(most))
    for chosen in drawn:
        yield dict(zip(candidates, chosen, strict=True))


def _values(compared: Iterable[Comparison], type_: FieldType | None) -> _Values:
    """Return values of one field: those that it is compared with, their neighbours, and others."""
    named = [value for comparison in compared for value in comparison.values][:_MAX_NAMED]
    values = [near for value in named for near in _around(value)]
    values += [_unlike(named), 0, 0.5, True, False, "2000-01-01"]
    if type_ is not None:
        values = [value for value in values if fits_type(value, type_.item)]
    # 1 == True == 1.0 in Python, but not here.
    return tuple({(type(value), value): value for value in values}.values())


def _around(value: Scalar) -> list[Scalar]:
    """Return the values of metadata that equal a filter's value, and those next to it."""
    if isinstance(value, bool | str):
        return [value]
    if isinstance(value, datetime):
        return _spellings(value)
    near: list[Scalar] = [value]
    if isinstance(value, int):
        near += [number for number in (value - 1, value + 1) if -(2**63) <= number < 2**63]
    below, above = (math.nextafter(value, edge) for edge in (-math.inf, math.inf))
    return near + [number for number in (below, above) if math.isfinite(number)]


def _spellings(moment: datetime) -> list[Scalar]:
    step = timedelta(microseconds=1)
    spellings: list[Scalar] = []
    for move in (timedelta(0), -step, step):
        try:
            text = (moment + move).isoformat()
        except OverflowError:
            continue
        spellings += [text, text.replace("+00:00", "Z")]
        if text.endswith("T00:00:00+00:00"):
            spellings.append(text[:10])
    return spellings


def _unlike(named: Iterable[Scalar]) -> str:
    """Return a text that contains none of these texts and equals none of them."""
    used = set("".join(value for value in named if isinstance(value, str)))
    signs = map(chr, range(0x4E00, 0xD800))
    return next((sign for sign in signs if sign not in used), "")  # "" contains no text either


def _different(values: _Values, compared: Sequence[Comparison]) -> _Values:
    """Return one value of each class that the comparisons distinguish."""
    path = compared[0].path
    classes: dict[tuple[bool, ...], Scalar] = {}
    for value in values:
        metadata = _metadata({path: (value,)}, {}) or {}
        classes.setdefault(tuple(c.matches(metadata) for c in compared), value)
    return tuple(classes.values())


def _lists(values: _Values, *, single: bool) -> Iterator[_Values]:
    """Yield lists with no value, one value and, if the field may have them, several values."""
    most = 1 if single else len(values) if len(values) <= _MAX_VALUES_IN_ALL_LISTS else 2
    for count in range(most + 1):
        yield from combinations(values, count)
    if not single and most < len(values):
        yield values


def _metadata(
    values: Mapping[str, _Values], declared: Mapping[str, FieldType]
) -> dict[str, Any] | None:
    """Return metadata with these values, or None if one path is inside the value of another."""
    metadata: dict[str, Any] = {}
    for path, some in values.items():
        if not some:
            continue
        *outer, last = split_path(path)
        parent: Any = metadata
        for segment in outer:
            parent = parent.setdefault(segment, {})
            if not isinstance(parent, dict):
                return None
        if last in parent:
            return None
        type_ = declared.get(path)
        parent[last] = list(some) if type_ is None or type_.is_list else some[0]
    return metadata
