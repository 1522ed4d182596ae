"""Values in metadata: where they lie, and how they compare."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from trivec.document import Json
from trivec.errors import InvalidFilterError

__all__ = [
    "Scalar",
    "comparable",
    "equal",
    "in_utc",
    "instant",
    "instants",
    "metadata_values",
    "parse_datetime",
    "split_path",
]

Scalar = str | int | float | bool | datetime

_SEGMENT = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_DATETIME = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)?)?", re.ASCII
)


def split_path(path: str) -> list[str]:
    """Return the segments of a metadata path.

    Raises:
        InvalidFilterError: If a segment is not a letter or `_` followed by letters, digits, `_`.
    """
    if not isinstance(path, str):
        raise InvalidFilterError(f"the path of a field is a str, got {path!r}")
    segments = path.split(".")
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise InvalidFilterError(
            f"{path!r} cannot be the path of a field; each segment is a letter or '_' followed by "
            "letters, digits and '_', with dots between them"
        )
    return segments


def metadata_values(metadata: Mapping[str, Json], path: str) -> list[Scalar]:
    """Return the values at a path: none, one, or the elements of a list."""
    value: Json = metadata
    for segment in split_path(path):
        if not isinstance(value, Mapping):
            return []
        value = value.get(segment)
    items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return [item for item in items if isinstance(item, str | int | float)]


def parse_datetime(text: str) -> datetime | None:
    """Read an ISO 8601 date or date and time as an instant, UTC where no zone is given.

    >>> parse_datetime("2026-01-31T12:00:00+02:00").isoformat()
    '2026-01-31T10:00:00+00:00'
    """
    if not _DATETIME.fullmatch(text):
        return None
    try:
        return in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):  # the 31st of February; year 1 moved to UTC
        return None


def in_utc(moment: datetime) -> datetime:
    """Return the same instant in UTC, which a moment without a zone is taken to be in.

    Raises:
        OverflowError: If that is before the year 1 or after the year 9999.
    """
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def instant(value: Any) -> Any:  # noqa: ANN401
    """Return a date as the instant in UTC at which it begins, all else as it is.

    >>> instant(date(2026, 1, 31)).isoformat()
    '2026-01-31T00:00:00+00:00'
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


def instants(values: Any) -> Any:  # noqa: ANN401
    """Return the elements of a list with dates as instants; what is no list as it is."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        return values
    return tuple(map(instant, values))


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
