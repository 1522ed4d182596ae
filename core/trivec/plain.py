"""Conversion of Python values to plain JSON values.

The same rule holds for metadata and for filters:

| given | kept as |
| --- | --- |
| `datetime`, `date`, `time`, `numpy.datetime64`, `pandas.Timestamp` | ISO 8601, as `isoformat()` \
writes it: with its zone if it has one |
| `Enum` | its `.value`, by the same rule |
| `UUID`, `Path` | `str(value)` |
| `Decimal` | a number: an int where it is whole, else the nearest float |
| numpy's numbers, booleans and strings | `.item()` |
| subclasses of str, int and float | the plain str, int or float |
| tuples and other sequences, numpy arrays | a list |
| other mappings | a dict |

Everything else is refused with advice: bytes, sets, durations, missing values other than None,
and objects of other classes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

import numpy as np

from trivec.arguments import shown, type_name

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
"""The values of JSON."""

MALFORMED: tuple[type[Exception], ...] = (
    *(ArithmeticError, AttributeError, LookupError),
    *(RecursionError, TypeError, ValueError),
)
"""The exceptions that Python raises while it reads data that is not as the code expects."""

MAX_DEPTH = 100
"""The maximum depth of nested objects and lists; Python's JSON fails at some hundreds."""

_AS_THEY_ARE = frozenset({str, int, float, bool, type(None), dict, list})
_TIMES = (date, time, np.datetime64)  # a datetime is a date


class NotPlainError(ValueError):
    """A value that JSON cannot hold.

    Args:
        problem: What is wrong; in the message it follows the name and path of the value.

    Attributes:
        path: The path to the value in the given object, such as `.tags[3]`.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.path = ""

    def at(self, root: str) -> str:
        """Return the whole message for a value inside `root`."""
        path = self.path if len(self.path) <= 100 else f"{self.path[:100]}…"
        return f"{root}{path} {self}"


def plain(value: object, depth: int = 0) -> Any:  # noqa: ANN401 - Json, which is read-only
    """Return a copy of a value in dicts, lists and plain scalars.

    Args:
        value: Any value.
        depth: The number of objects and lists around it.

    Raises:
        NotPlainError: If JSON cannot hold it, or objects and lists are nested more than `MAX_DEPTH`
            deep.

    Example:
        >>> plain({"day": date(2026, 1, 31), "size": np.int64(3), "price": Decimal("9.90")})
        {'day': '2026-01-31', 'size': 3, 'price': 9.9}
    """
    if type(value) not in _AS_THEY_ARE:
        value = _unwrapped(value)
    if type(value) is dict and depth < MAX_DEPTH:
        return _object(value, depth)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if problem := surrogate_problem(value):
            raise NotPlainError(f"holds {problem}")
        return value
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, _TIMES):
        return _iso(value)
    if isinstance(value, (dict, list, Mapping, np.ndarray)) or _is_list(value):
        if depth == MAX_DEPTH:
            raise NotPlainError(f"has more than {MAX_DEPTH} nested objects and lists")
        return _object(value, depth) if isinstance(value, Mapping) else _list(value, depth)
    raise NotPlainError(f"is of type {type_name(value)}, which JSON cannot hold; {_remedy(value)}")


def plain_scalar(value: object) -> object:
    """Return a value to compare with in a filter, by the same rule, but keep dates and datetimes.

    A date becomes the datetime at which it begins, and a datetime is cut to microseconds. A missing
    time (NaT) becomes None; a value that is not a scalar is returned unchanged.

    >>> plain_scalar(np.True_), plain_scalar(Decimal("9.90")), plain_scalar(date(2026, 1, 31))
    (True, 9.9, datetime.datetime(2026, 1, 31, 0, 0))
    """
    value = _unwrapped(value)
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item()
    if isinstance(value, time):
        return value.isoformat()
    if not isinstance(value, date):
        return value
    if _is_missing(value):
        return None
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)
    # A plain datetime, also of a subclass that counts nanoseconds.
    parts = (*value.timetuple()[:6], value.microsecond, value.tzinfo)
    return datetime(*parts, fold=value.fold)


def is_missing(value: object) -> bool:
    """Return whether a value stands for none: None, NaN, NaT, `pandas.NA` or a masked value.

    >>> is_missing(math.nan), is_missing(np.datetime64("NaT")), is_missing("")
    (True, True, False)
    """
    if value is None or value is np.ma.masked:
        return True
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, float | np.floating | np.timedelta64 | date | np.datetime64):
        return _is_missing(value)
    return type(value).__name__ == "NAType"


def not_json(error: ValueError | RecursionError) -> str:
    """Return a readable message for an error of `json.loads`.

    >>> import json
    >>> try:
    ...     json.loads("9" * 5000)
    ... except ValueError as error:
    ...     not_json(error)
    'not JSON that can be kept: an integer has thousands of digits'
    """
    if isinstance(error, RecursionError):
        return "not JSON that can be kept: hundreds of objects and lists are nested"
    if "set_int_max_str_digits" in str(error):
        return "not JSON that can be kept: an integer has thousands of digits"
    return f"not JSON: {error}"


def surrogate_problem(text: str) -> str | None:
    """Return the problem of a text that UTF-8 cannot encode, or None.

    >>> surrogate_problem("caf" + chr(0xDCE9))
    "the lone surrogate U+DCE9 at character 3, which UTF-8 cannot encode; replace it \
by text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"
    """
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return (
            f"the lone surrogate U+{ord(text[error.start]):04X} at character {error.start}, which "
            "UTF-8 cannot encode; replace it by "
            "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"
        )
    return None


def _unwrapped(value: object) -> object:
    """Return a scalar as a plain str, int, float or bool, and any other value unchanged."""
    while isinstance(value, Enum):
        value = value.value
    if isinstance(value, np.ndarray) and not value.ndim and value is not np.ma.masked:
        value = value[()]
    if isinstance(value, str):  # a subclass may print itself differently
        return value if type(value) is str else str.__str__(value)
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, np.integer):
        # numpy takes a duration for an integer, which would lose its unit.
        return value if isinstance(value, np.timedelta64) else int(value)
    if isinstance(value, float | np.floating):
        return float(value)
    if isinstance(value, Decimal):
        return _of_decimal(value)
    return str(value) if isinstance(value, UUID | PurePath) else value


def _of_decimal(value: Decimal) -> int | float:
    if value.is_nan():
        return math.nan
    # An int far beyond 64 bits could have a million digits.
    if value.is_finite() and value.adjusted() < 30 and value == value.to_integral_value():
        return int(value)
    return float(value)


def _number(value: float) -> float:
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise NotPlainError(
                f"is an integer of {value.bit_length() + 1} bits with its sign, at most 64 are "
                "allowed; pass it as a str"
            )
    elif not math.isfinite(value):
        raise NotPlainError(f"= {value} is not finite; leave it out, or pass None")
    return value


def _iso(value: date | time | np.datetime64) -> str:
    if _is_missing(value):
        raise NotPlainError("is a missing time (NaT); leave it out, or pass None")
    if isinstance(value, np.datetime64):
        moment = value.item()
        return _iso(moment) if isinstance(moment, date) else _iso_of_nanoseconds(value)
    if isinstance(value, datetime):
        offset = value.utcoffset()
        # Local times of the 19th century; RFC 3339 has only hours and minutes.
        if offset is not None and offset % timedelta(minutes=1):
            try:
                value = value.astimezone(UTC)
            except OverflowError as error:
                raise NotPlainError(f"= {value} is in UTC in no year from 1 to 9999") from error
    return value.isoformat()


def _iso_of_nanoseconds(value: np.datetime64) -> str:
    """Return a moment as text that is too fine for datetime; refuse years outside 1 to 9999."""
    text = str(value)
    if not text[:4].isdigit() or text[4] != "-":
        raise NotPlainError(f"= {text} is in no year from 1 to 9999")
    return text


def _is_missing(value: object) -> bool:
    """Return whether a time is NaT, which does not equal itself; pandas' NaT is a datetime."""
    return bool(value != value)


def _is_list(value: object) -> bool:
    # Python takes bytes, bytearrays and memoryviews for sequences of small integers.
    return isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview)


def _list(values: Any, depth: int) -> list[Any]:  # noqa: ANN401 - a sequence or an array
    if values is np.ma.masked:
        raise NotPlainError("is a masked value; leave it out, or pass None")
    made: list[Any] = []
    for i, item in enumerate(values):
        try:
            made.append(plain(item, depth + 1))
        except NotPlainError as error:
            error.path = f"[{i}]{error.path}"
            raise
    return made


def _object(value: Mapping[Any, object], depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, item in value.items():
        name = key if type(key) is str else _unwrapped(key)
        if not isinstance(name, str) or not isinstance(key, (str, Enum)):
            raise NotPlainError(
                f"has the key {shown(key)} of type {type_name(key)}; JSON has str keys, such as "
                f"{shown(key)!r}"
            )
        if name in made:
            raise NotPlainError(f"has two keys that become {name!r}; rename one")
        if problem := surrogate_problem(name):
            raise NotPlainError(f"has the key {name!a}, which holds {problem}")
        if type(item) is str and item.isascii():
            made[name] = item
            continue
        try:
            made[name] = plain(item, depth + 1)
        except NotPlainError as error:
            error.path = f".{name}{error.path}"
            raise
    return made


def _remedy(value: object) -> str:
    """Return advice on what to pass instead of a value."""
    if isinstance(value, bytes | bytearray | memoryview):
        return "pass text, such as value.decode() or base64.b64encode(value).decode()"
    if isinstance(value, Set):
        return "pass a list, such as sorted(value)"
    if isinstance(value, timedelta):
        return "pass a number, such as value.total_seconds()"
    if isinstance(value, np.timedelta64):
        return "pass a number, such as value / numpy.timedelta64(1, 's')"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return "pass a dict, such as dataclasses.asdict(value)"
    if hasattr(value, "model_dump"):
        return "pass a dict, such as value.model_dump(mode='json')"
    if hasattr(value, "tolist") and not isinstance(value, np.generic):
        return "pass value.tolist()"
    if type_name(value).startswith("pandas.") and type(value).__name__ == "NAType":
        return "leave it out, or pass None"
    return "pass a str, a number, a list or a dict, such as str(value)"
