"""Metadata values as strings that compare as the values do, for every filter that there is.

Milvus compares a JSON value with a literal of one type, knows lists only by their elements, has
no order on them, and treats what is missing in a way that changed between its versions. So the
values of a path are also stored as one string for each kind of value, empty where there are
none, which answers each question exactly and needs no null:

- strings are enclosed by a separator, `|left|right|`: equality is `like "%|left|%"`, a contained
  text is `like "%igh%"`;
- numbers, instants and booleans become keys of one length whose order is theirs, in ascending
  order with commas between: the first one decides `<` and `<=`. A second string in descending
  order decides `>` and `>=`; for a single value it is the same.

Characters that mean something in a filter (quotes, the backslash, `%`, `_`, control characters)
are replaced by ones of the private use area, one by one, so that no literal needs escaping and no
value can break out of one.
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

__all__ = [
    "SEPARATOR",
    "Kind",
    "after",
    "key",
    "kind_of",
    "kind_of_field",
    "metadata_terms",
    "plain",
    "terms",
]

# Private use: U+E000 to U+E07F stand for the ASCII characters that are special in a filter. A text
# that holds U+E000 to U+E1FF itself has each of them as a pair, whose second half is never the
# first character of anything, so that a substring of a text stays one of its encoding.
SEPARATOR = "\ue080"
_SPECIAL = [*range(32), 127, *map(ord, "\"'\\%_")]
_PLAIN = (
    {code: chr(0xE000 + code) for code in _SPECIAL}
    | {code: "\ue081" + chr(code + 0x100) for code in range(0xE000, 0xE100)}
    | {code: "\ue082" + chr(code) for code in range(0xE100, 0xE200)}
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AFTER_ANY_KEY = "~"  # after the comma and after every hexadecimal digit


class Kind(StrEnum):
    """A kind of values, which only compare with their own; the value names it in a column."""

    STRINGS = "s"
    NUMBERS = "n"
    BOOLS = "b"
    INSTANTS = "t"


def kind_of(value: Scalar) -> Kind:
    """Return the kind that a filter's value compares with."""
    match value:
        case bool():
            return Kind.BOOLS
        case str():
            return Kind.STRINGS
        case datetime():
            return Kind.INSTANTS
        case _:
            return Kind.NUMBERS


def kind_of_field(field: FieldType) -> Kind:
    """Return the kind of the values of a declared field."""
    match field.item:
        case FieldType.STR:
            return Kind.STRINGS
        case FieldType.BOOL:
            return Kind.BOOLS
        case FieldType.DATETIME:
            return Kind.INSTANTS
        case _:
            return Kind.NUMBERS


def plain(text: str) -> str:
    """Return a text with nothing in it that a filter would interpret.

    >>> plain("50%") == "50" + chr(0xE000 + ord("%"))
    True
    """
    return text.translate(_PLAIN)


def key(value: Scalar) -> str:
    """Return a string of fixed length that sorts as the value does among its kind.

    An integer beyond 2**53 is the nearest float and its distance from it, so that integers and
    floats have one exact order.

    >>> sorted([3, -1, 2.5, 2**53 + 1, 2**53], key=key)
    [-1, 2.5, 3, 9007199254740992, 9007199254740993]
    """
    match value:
        case bool():
            return str(int(value))
        case str():
            return f"{SEPARATOR}{plain(value)}{SEPARATOR}"
        case datetime():
            value = (value - _EPOCH) // timedelta(microseconds=1)
    nearest = float(value) + 0.0  # -0.0 becomes 0.0
    (bits,) = struct.unpack(">Q", struct.pack(">d", nearest))
    bits = bits ^ (2**64 - 1) if bits >> 63 else bits | 1 << 63
    distance = value - int(nearest) if isinstance(value, int) else 0
    return f"{bits:016x}{distance + 0x8000:04x}"


def terms(values: Iterable[Scalar], kind: Kind, *, descending: bool = False) -> str:
    """Return the values of one kind as one string; "" where there are none.

    >>> terms(["a", "b"], Kind.STRINGS) == SEPARATOR + "a" + SEPARATOR + "b" + SEPARATOR
    True
    >>> terms([True, 3], Kind.BOOLS)
    '1'
    """
    found = _of_kind(values, kind)
    if kind is Kind.STRINGS:
        texts = [plain(str(value)) for value in dict.fromkeys(found)]
        return SEPARATOR.join(["", *texts, ""]) if texts else ""
    return ",".join(sorted({key(value) for value in found}, reverse=descending))


def metadata_terms(metadata: Mapping[str, Json], declared: Iterable[str]) -> dict[str, str]:
    """Return the terms of every path that a filter can name, apart from the declared ones.

    Returns:
        `s:path`, `n:path`, `b:path` and `t:path` to their terms, and `n-:path` and `t-:path` to
        those in descending order where they differ.

    Example:
        >>> sorted(metadata_terms({"year": 2020, "ok": [True, False], "x": {}}, declared=()))
        ['b:ok', 'n:year']
    """
    found = {}
    known = set(declared)
    for path in _paths(metadata, ""):
        if path in known:
            continue
        values = metadata_values(metadata, path)
        for kind in Kind:
            ascending = terms(values, kind)
            if ascending:
                found[f"{kind}:{path}"] = ascending
            if kind in (Kind.NUMBERS, Kind.INSTANTS) and "," in ascending:
                found[f"{kind}-:{path}"] = terms(values, kind, descending=True)
    return found


def after(value: Scalar) -> str:
    """Return what sorts after every term that begins with this value, and before all others."""
    return key(value) + _AFTER_ANY_KEY


def _of_kind(values: Iterable[Scalar], kind: Kind) -> Sequence[Scalar]:
    if kind is Kind.INSTANTS:
        moments = (parse_datetime(value) for value in values if isinstance(value, str))
        return [moment for moment in moments if moment is not None]
    return [value for value in values if kind_of(value) is kind]


def _paths(metadata: Mapping[str, Json], prefix: str) -> Iterable[str]:
    """Yield the paths of the values in an object, through objects and not through lists."""
    for name, value in metadata.items():
        try:
            (segment,) = split_path(name)
        except (InvalidFilterError, ValueError):  # no filter can name it
            continue
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{segment}.")
        else:
            yield f"{prefix}{segment}"
