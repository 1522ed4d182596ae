"""Instants: the strings that are points in time, the same for every store and every notation.

These are all date-times of RFC 3339, and the forms of ISO 8601 that pandas, .NET, browsers,
databases and `strftime` write:

- a date, `2026-01-31`, which is the instant at which it begins;
- a date and a time, `2026-01-31T12:00:00`, separated by `T`, `t` or a space, with or without the
  seconds, or both in the basic format, `20260131T120000`;
- any number of digits after a point or a comma; digits below a microsecond are cut off;
- a zone, `Z`, `z`, `+02`, `+0200`, `+02:00` or `-00:00`; a time without a zone is in UTC.

A leap second, 23:59:60 UTC on the last day of a month, is the instant that follows it. Nothing else
is an instant: `2026-1-31` is not ISO 8601, `2026`, `2026-01` and `2026-W05` are periods, `20260131`
reads as a number, hour 24 does not exist, and years are 1 to 9999 in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import lru_cache
from typing import Any, Self, SupportsIndex

SPELLING = r"""
    (?=[0-9]{4}-|[0-9]{8}[Tt])
    (?P<year>[0-9]{4})(?P<dash>-)?(?P<month>[0-9][0-9])(?(dash)-)(?P<day>[0-9][0-9])
    (?:
        (?:[Tt]|(?(dash)\x20|[Tt]))
        (?P<hour>[0-9][0-9])(?(dash):)(?P<minute>[0-9][0-9])
        (?:(?(dash):)(?P<second>[0-9][0-9])(?:[.,](?P<fraction>[0-9]+))?)?
        (?P<zone>[Zz]|[+-][0-9][0-9](?::?[0-9][0-9](?::?[0-9][0-9])?)?)?
    )?
"""
"""The syntax of an instant, as a verbose pattern; it does not check that the day exists."""

_SPELLING = re.compile(SPELLING, re.VERBOSE)


class Written(datetime):
    """An instant in UTC that keeps its spelling, which is compared with fields of strings.

    Example:
        >>> day = Written.of(datetime(2026, 1, 31, tzinfo=UTC), "2026-01-31")
        >>> day == datetime(2026, 1, 31, tzinfo=UTC), day.text
        (True, '2026-01-31')
    """

    text: str | None = None
    """The spelling; None for results of arithmetic."""

    @classmethod
    def of(cls, moment: datetime, text: str) -> Self:
        """Return an instant in UTC with its spelling."""
        made = cls.combine(moment.date(), moment.time(), UTC)
        made.text = text
        return made

    def plain(self) -> datetime:
        """Return the instant without its spelling."""
        return datetime.combine(self.date(), self.time(), UTC)

    def __repr__(self) -> str:
        return repr(self.plain())

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return Written.of, (self.plain(), self.text)


def parse_datetime(text: str) -> datetime | None:
    """Return the instant in UTC that a string spells, or None.

    >>> parse_datetime("2026-01-31T12:00:00.123456789+0200").isoformat()
    '2026-01-31T10:00:00.123456+00:00'
    """
    return None if _SPELLING.fullmatch(text) is None else _read(text)


@lru_cache(maxsize=16_384)  # searches read the same dates of the same documents again
def _read(text: str) -> datetime | None:
    """Return the instant of a string with the right syntax, if such a day and time exist."""
    match = _SPELLING.fullmatch(text)
    assert match is not None
    hour, minute, second = (int(match[unit] or 0) for unit in ("hour", "minute", "second"))
    microsecond = int((match["fraction"] or "0")[:6].ljust(6, "0"))
    leap = second == 60
    try:
        day = date(int(match["year"]), int(match["month"]), int(match["day"]))
        clock = time(hour, minute, second - leap, microsecond, _zone(match["zone"]))
        moment = datetime.combine(day, clock).astimezone(UTC) + timedelta(seconds=leap)
    except (ValueError, OverflowError):  # the 31st of February; year 1 moved to UTC
        return None
    if leap and (moment.day, moment.hour, moment.minute) != (1, 0, 0):
        return None
    return moment


def written(text: str) -> Written | None:
    """Return the instant that a string spells, with its spelling, or None.

    >>> written("2026-01-31").text
    '2026-01-31'
    """
    moment = parse_datetime(text)
    return None if moment is None else Written.of(moment, text)


def in_utc(moment: datetime) -> datetime:
    """Return the same instant in UTC; a moment without a zone is taken as UTC.

    Before the year 1 or after the year 9999, this raises `OverflowError`.
    """
    utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return utc.replace(fold=0) if utc.fold else utc  # no hour occurs twice in UTC


def instant(value: Any) -> Any:  # noqa: ANN401
    """Return a date as the instant in UTC at which it begins, and any other value unchanged.

    >>> instant(date(2026, 1, 31)).isoformat()
    '2026-01-31T00:00:00+00:00'
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        return Written.of(datetime(value.year, value.month, value.day), value.isoformat())
    return value


def instants(values: Any) -> Any:  # noqa: ANN401
    """Return the elements of a list, dates as instants; any other value unchanged."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        return values
    return tuple(map(instant, values))


def _zone(text: str | None) -> timezone:
    """Return the zone of an offset, UTC if there is none.

    An offset of a day or more, or with 60 minutes or seconds, raises `ValueError`.
    """
    if text is None or text in "Zz":
        return UTC
    digits = text[1:].replace(":", "").ljust(6, "0")
    hours, minutes, seconds = (int(digits[i : i + 2]) for i in (0, 2, 4))
    if minutes > 59 or seconds > 59:
        raise ValueError(text)
    offset = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return timezone(-offset if text[0] == "-" else offset)
