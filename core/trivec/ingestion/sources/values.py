"""Values of files that JSON cannot hold, as metadata.

| in the file | as metadata |
| --- | --- |
| NaN, NaT, `pandas.NA`, masked values | null |
| a float that is whole, in a field declared int | int |
| date, datetime, time | text in ISO 8601 |
| Decimal | int where it is whole, else the nearest float |
| duration | seconds |
| an integer beyond 64 bits with its sign | its digits as text |
| binary that is text in UTF-8 | text |
| other binary | left out |

`trivec.plain` describes the other types. Where something of a value is lost, its column is named in
a warning, once for each file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivec.fields import FieldType
from trivec.plain import NotPlainError, is_missing, plain

MAX_EXACT = 2**53
"""Whole floats below this differ from each other."""

LEFT_OUT = object()
"""The result for a value that no metadata can hold."""

_SCALARS = frozenset({str, bool, type(None)})
BYTES = (bytes, bytearray, memoryview)
_DURATIONS = (timedelta, np.timedelta64)


class MetadataValues:
    """Converts the metadata of one file, and names what is not kept as it is.

    Args:
        fields: The declared fields, for floats that are whole.
        report: Called with each column whose values change, and with what they become.

    Attributes:
        has_ints (bool): Whether a field is declared int.
    """

    def __init__(self, fields: Mapping[str, FieldType], report: Callable[[str], None]) -> None:
        self._report = report
        self._ints = [
            tuple(path.split(".")) for path, type_ in fields.items() if type_.item is FieldType.INT
        ]
        self.has_ints = bool(self._ints)
        self._named: set[tuple[str, str]] = set()

    def converted(self, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return metadata that JSON can hold; the same object if nothing is converted."""
        changed: dict[str, object] = {}
        for name, value in metadata.items():
            if type(value) not in _SCALARS:
                made = self._value(value, str(name))
                if made is not value:
                    changed[name] = made
        if not changed:
            return metadata
        made = {**metadata, **changed}
        return {name: value for name, value in made.items() if value is not LEFT_OUT}

    def with_ints(self, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return metadata in which floats of declared int fields are ints where they are whole."""
        for path in self._ints:
            metadata = _with_int(metadata, path)
        return metadata

    def _value(self, value: object, column: str) -> object:
        if type(value) in _SCALARS or (type(value) is int and -(2**63) <= value < 2**63):
            return value
        if is_missing(value):
            return None
        if type(value) is float:
            return value
        if isinstance(value, np.ndarray):
            return self._value(_items(value), column)
        if isinstance(value, Mapping):
            items = {key: self._value(item, f"{column}.{key}") for key, item in value.items()}
            if all(items[key] is item for key, item in value.items()):
                return value
            return {key: item for key, item in items.items() if item is not LEFT_OUT}
        if isinstance(value, Sequence) and not isinstance(value, (str, *BYTES)):
            made = [self._value(item, column) for item in value]
            if all(new is item for new, item in zip(made, value, strict=True)):
                return value
            return [None if item is LEFT_OUT else item for item in made]
        return self._scalar(value, column)

    def _scalar(self, value: object, column: str) -> object:
        if isinstance(value, BYTES):
            text = _printable_text_in(value)
            self._name(column, "binary, left out" if text is None else "binary, stored as text")
            return LEFT_OUT if text is None else text
        if isinstance(value, _DURATIONS):
            self._name(column, "duration, stored as seconds")
            return _seconds(value)
        if isinstance(value, int | np.integer) and not -(2**63) <= int(value) < 2**63:
            self._name(column, "integers beyond 64 bits with their sign, stored as text")
            return str(int(value))
        if isinstance(value, Decimal):
            self._name(column, "Decimal, stored as a number of about 16 digits")
        elif isinstance(value, time) and not isinstance(value, date):
            self._name(column, "time, stored as text in ISO 8601")
        return value

    def _name(self, column: str, rule: str) -> None:
        """Name a column and what happens to its values, once."""
        if (column, rule) not in self._named:
            self._named.add((column, rule))
            self._report(f"column {column!r}: {rule}")


def scalar_of(value: object) -> object:
    """Return a value as `trivec.plain` converts it, or itself if JSON cannot hold it."""
    try:
        made: object = plain(value)
    except NotPlainError:
        return int(value) if isinstance(value, int | np.integer) else value
    return made


def text_in(value: bytes | bytearray | memoryview) -> str | None:
    """Return the text that bytes hold in UTF-8; None if they hold none."""
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        return None


def _printable_text_in(value: bytes | bytearray | memoryview) -> str | None:
    """Return the text that bytes hold; None if they are no UTF-8 or have control characters."""
    text = text_in(value)
    if text is None or any(ord(c) < 32 and c not in "\t\n\r" for c in text):
        return None
    return text


def _seconds(value: object) -> object:
    """Return the seconds of a duration, an int where they are whole."""
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    else:
        try:
            seconds = float(value / np.timedelta64(1, "s"))  # type: ignore[operator]
        except TypeError:  # months and years have no length
            return LEFT_OUT
    return int(seconds) if seconds.is_integer() else seconds


def _with_int(metadata: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    """Return metadata with the float at a path as an int, if it is whole."""
    name, rest = path[0], path[1:]
    value = metadata.get(name)
    made: object = value
    if rest:
        made = _with_int(value, rest) if isinstance(value, Mapping) else value
    elif isinstance(value, list):
        made = [_whole(item) for item in value] if any(map(_is_float, value)) else value
    else:
        made = _whole(value)
    return metadata if made is value else {**metadata, name: made}


def _whole(value: object) -> object:
    """Return a float as an int if it is whole, and any other value unchanged."""
    if not isinstance(value, float | np.floating):
        return value
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 2**63 else value


def _is_float(value: object) -> bool:
    return isinstance(value, float | np.floating)


def _items(array: NDArray[Any]) -> object:
    """Return the value or the items of an array; times keep their units."""
    if not array.ndim:
        return array[()]
    return list(array) if array.dtype.kind in "mM" else array.tolist()
