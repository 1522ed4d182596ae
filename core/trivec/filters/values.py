"""Values in metadata: where they lie, and how they compare."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from trivec.arguments import shown
from trivec.document import Json
from trivec.errors import InvalidFilterError
from trivec.filters.instants import parse_datetime

__all__ = [
    "Scalar",
    "comparable",
    "equal",
    "metadata_values",
    "split_path",
    "values_of",
]

Scalar = str | int | float | bool | datetime

_SEGMENT = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def split_path(path: str) -> list[str]:
    """Return the segments of a metadata path.

    Raises:
        InvalidFilterError: If a segment is not a letter or `_` followed by letters, digits, `_`.
    """
    if not isinstance(path, str):
        raise InvalidFilterError(f"the path of a field is a str, got {shown(path)}")
    segments = path.split(".")
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise InvalidFilterError(
            f"{shown(path)} cannot be the path of a field; each segment is a letter or '_' "
            "followed by letters, digits and '_', with dots between them"
        )
    return segments


def metadata_values(metadata: Mapping[str, Json], path: str) -> list[Scalar]:
    """Return the values at a path: none, one, or the elements of a list."""
    value: Json = metadata
    for segment in split_path(path):
        if not isinstance(value, Mapping):
            return []
        value = value.get(segment)
    return values_of(value)


def values_of(value: Json) -> list[Scalar]:
    """Return the values that a member of an object stands for.

    >>> values_of(["x", None, 3]), values_of("x"), values_of({"x": 1})
    (['x', 3], ['x'], [])
    """
    items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return [item for item in items if isinstance(item, str | int | float)]


def comparable(found: Scalar, wanted: Scalar) -> Scalar | None:
    """Return `found` in the kind of `wanted`, or None where the two cannot be compared."""
    if isinstance(wanted, datetime):
        return parse_datetime(found) if isinstance(found, str) else None
    if isinstance(wanted, bool) or isinstance(found, bool):
        return found if isinstance(wanted, bool) and isinstance(found, bool) else None
    return found if isinstance(found, str) == isinstance(wanted, str) else None


def equal(found: Scalar, wanted: Scalar) -> bool:
    """Return whether a value of the metadata equals what a filter wants."""
    value = comparable(found, wanted)
    return value is not None and value == wanted
