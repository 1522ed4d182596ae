"""Metadata values as strings whose order and equality are those of the values.

Milvus compares a JSON value with literals of one type only, finds lists only by their elements,
does not order them, and has changed between its versions how it treats missing values. So each
path is also stored as one string for each type of value, empty where there is no value. Such a
string answers every filter exactly and needs no null:

- Strings are enclosed in a separator, `|left|right|`: equality is `like "%|left|%"`, a contained
  text is `like "%igh%"`.
- Numbers, instants and booleans become keys of one length that sort as the values do, in
  ascending order with commas between: the first one decides `<` and `<=`. A second string in
  descending order decides `>` and `>=`; for a single value both are the same.

Characters with a meaning in a filter (quotes, the backslash, `%`, `_`, control characters) are
replaced one by one by characters of the private use area. So no literal needs escaping, and no
value can end one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from trivec.errors import InvalidFilterError
from trivec.fields import FieldType
from trivec.filters import Scalar, metadata_values, parse_datetime, split_path
from trivec.plain import Json

# Private use: U+E000 to U+E07F stand for the ASCII characters that are special in a filter. If a
# text itself holds characters from U+E000 to U+E1FF, each becomes a pair. The second half of a pair
# never begins one, so a substring of a text is also a substring of its encoding.
SEPARATOR = "\ue080"
_SPECIAL = [*range(32), 127, *map(ord, "\"'\\%_")]
_PLAIN = (
    {code: chr(0xE000 + code) for code in _SPECIAL}
    | {code: "\ue081" + chr(code + 0x100) for code in range(0xE000, 0xE100)}
    | {code: "\ue082" + chr(code) for code in range(0xE100, 0xE200)}
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AFTER_ANY_KEY = "~"  # after the comma and after every hexadecimal digit


class ValueType(StrEnum):
    """A type of values, which compare only with each other; it begins the name of a dynamic key."""

    STRINGS = "s"
    NUMBERS = "n"
    BOOLS = "b"
    INSTANTS = "t"


def type_of(value: Scalar) -> ValueType:
    """Return the type of a value in a filter."""
    match value:
        case bool():
            return ValueType.BOOLS
        case str():
            return ValueType.STRINGS
        case datetime():
            return ValueType.INSTANTS
        case _:
            return ValueType.NUMBERS


def type_of_field(field: FieldType) -> ValueType:
    """Return the type of the values of a declared field."""
    types = {
        FieldType.STR: ValueType.STRINGS,
        FieldType.BOOL: ValueType.BOOLS,
        FieldType.DATETIME: ValueType.INSTANTS,
    }
    return types.get(field.item, ValueType.NUMBERS)


def plain_text(text: str) -> str:
    """Return a text without characters that a filter would interpret.

    >>> plain_text("50%") == "50" + chr(0xE000 + ord("%"))
    True
    """
    return text.translate(_PLAIN)


def sort_key(value: Scalar) -> str:
    """Return a string that sorts as the value does among values of its type.

    Keys of numbers have one length. An integer beyond 2**53 is kept as the nearest float and the
    distance to it, so that integers and floats have one exact order.

    >>> sorted([3, -1, 2.5, 2**53 + 1, 2**53], key=sort_key)
    [-1, 2.5, 3, 9007199254740992, 9007199254740993]
    """
    match value:
        case bool():
            return str(int(value))
        case str():
            return f"{SEPARATOR}{plain_text(value)}{SEPARATOR}"
        case datetime():
            value = (value - _EPOCH) // timedelta(microseconds=1)
    nearest = float(value) + 0.0  # -0.0 becomes 0.0
    (bits,) = struct.unpack(">Q", struct.pack(">d", nearest))
    bits = bits ^ (2**64 - 1) if bits >> 63 else bits | 1 << 63
    distance = value - int(nearest) if isinstance(value, int) else 0
    return f"{bits:016x}{distance + 0x8000:04x}"


def sort_keys(values: Iterable[Scalar], type: ValueType, *, descending: bool = False) -> str:
    """Return the values of one type as one string; "" if there are none.

    Args:
        values: Values of any types.
        type: The type of those that count.
        descending: Whether the largest comes first; strings keep their order.

    Example:
        >>> sort_keys(["a", "b"], ValueType.STRINGS).split(SEPARATOR)
        ['', 'a', 'b', '']
        >>> sort_keys([True, 3], ValueType.BOOLS)
        '1'
    """
    selected = _of_type(values, type)
    if type is ValueType.STRINGS:
        texts = [plain_text(str(value)) for value in dict.fromkeys(selected)]
        return SEPARATOR.join(["", *texts, ""]) if texts else ""
    return ",".join(sorted(set(map(sort_key, selected)), reverse=descending))


def metadata_keys(metadata: Mapping[str, Json], declared: Iterable[str]) -> dict[str, str]:
    """Return the sort keys of every path that a filter can name, except the declared paths.

    Returns:
        The keys under the names `s:path`, `n:path`, `b:path` and `t:path`; those in descending
        order under `n-:path` and `t-:path`, where they differ.

    Example:
        >>> sorted(metadata_keys({"year": 2020, "ok": [True, False], "x": {}}, declared=()))
        ['b:ok', 'n:year']
    """
    keys = {}
    known = set(declared)
    for path in _paths(metadata, ""):
        if path in known:
            continue
        values = metadata_values(metadata, path)
        for type in ValueType:
            ascending = sort_keys(values, type)
            if ascending:
                keys[f"{type}:{path}"] = ascending
            if type in (ValueType.NUMBERS, ValueType.INSTANTS) and "," in ascending:
                keys[f"{type}-:{path}"] = sort_keys(values, type, descending=True)
    return keys


def after(value: Scalar) -> str:
    """Return a string just after all that begin with the key of this value, and before others."""
    return sort_key(value) + _AFTER_ANY_KEY


def _of_type(values: Iterable[Scalar], type: ValueType) -> Sequence[Scalar]:
    if type is ValueType.INSTANTS:
        moments = (parse_datetime(value) for value in values if isinstance(value, str))
        return [moment for moment in moments if moment is not None]
    return [value for value in values if type_of(value) is type]


def _paths(metadata: Mapping[str, Json], prefix: str) -> Iterable[str]:
    """Yield the paths of the values in an object and in objects inside it, but not in lists."""
    for name, value in metadata.items():
        try:
            (segment,) = split_path(name)
        except (InvalidFilterError, ValueError):  # which no filter can name
            continue
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{segment}.")
        else:
            yield f"{prefix}{segment}"
