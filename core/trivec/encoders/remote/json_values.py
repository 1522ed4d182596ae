"""Values in the JSON of other people's servers, read without converting anything.

A server that sends "0.5", true or null for a number is broken, or is another server. numpy would
make numbers of all three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from trivec.arguments import described
from trivec.encoders.remote.members import member
from trivec.errors import EncoderError, InvalidInputError
from trivec.rows import Float, unit

T = TypeVar("T")

_NUMBERS = frozenset({int, float})
_MOST = 2**31  # of a count or a token id


def vector(values: object, what: str) -> Float:
    """Return a list of finite numbers as float32 (n,).

    Raises:
        EncoderError: If it is anything else; the message begins with `what`.

    >>> vector([1, 0.5], "the answer")
    array([1. , 0.5], dtype=float32)
    """
    if not isinstance(values, list) or not _NUMBERS.issuperset(map(type, values)):
        raise EncoderError(f"{what}: expected a list of numbers, got {_odd(values)}")
    try:
        with np.errstate(over="ignore"):  # becomes infinity
            result: Float = np.array(values, np.float32)
    except OverflowError:  # an integer of hundreds of digits
        result = np.full(1, np.inf, np.float32)
    if not np.isfinite(result).all():
        raise EncoderError(f"{what}: it holds NaN, infinity or a number too large for float32")
    return result


def matrix(rows: object, what: str) -> Float:
    """Return lists of finite numbers, all of one length, as float32 (n, length).

    Raises:
        EncoderError: If it is anything else, or there is no number.
    """
    if not isinstance(rows, list):
        raise EncoderError(f"{what}: expected a list of vectors, got {described(rows)}")
    return stacked([vector(row, what) for row in rows], what)


def stacked(rows: Sequence[Float], what: str) -> Float:
    """Return vectors of one length as float32 (n, length).

    Raises:
        EncoderError: If the lengths differ, or there is no number.
    """
    lengths = {len(row) for row in rows}
    if len(lengths) != 1 or 0 in lengths:
        raise EncoderError(
            f"{what}: expected vectors of one dimension, got {len(rows)} of the dimensions "
            f"{sorted(lengths)[:4]}"
        )
    return np.stack(rows)


def unit_rows(rows: Float, count: int, what: str) -> Float:
    """Return vectors with length 1.

    Raises:
        EncoderError: If there is not one for each of `count` texts, or one holds only zeros.
    """
    if len(rows) != count:
        raise EncoderError(f"{what}: the answer holds {len(rows)} vectors for {count} texts")
    if not rows.any(axis=1).all():
        raise EncoderError(f"{what}: the answer holds a vector of zeros")
    return unit(rows)


def of_dimension(rows: Float, dimension: int | None, what: str) -> Float:
    """Return vectors if they have this dimension.

    Raises:
        EncoderError: If they have another one; the message begins with `what`.
    """
    if rows.shape[1] != dimension:
        raise EncoderError(
            f"{what}: the answer holds vectors of dimension {rows.shape[1]}, expected {dimension}"
        )
    return rows


def by_index(entries: object, count: int, what: str) -> list[Mapping[str, Any]]:
    """Return the entries of a list by their `index`, from 0 to `count` - 1.

    Raises:
        EncoderError: If an index is missing, comes twice, or is no such integer.
    """
    if not isinstance(entries, list):
        raise EncoderError(f"{what}: expected a list, got {described(entries)}")
    ordered: dict[int, Mapping[str, Any]] = {}
    for entry in entries:
        index = entry.get("index") if isinstance(entry, dict) else None
        if type(index) is not int or not 0 <= index < count or index in ordered:
            raise EncoderError(
                f"{what}: expected an entry with each index from 0 to {count - 1}, got "
                f"{described(entry) if index is None else f'index {described(index)}'}"
            )
        ordered[index] = entry
    if len(ordered) != count:
        raise EncoderError(f"{what}: the answer holds {len(ordered)} entries for {count} texts")
    return [ordered[index] for index in range(count)]


def json_object(value: object, what: str) -> Mapping[str, Any]:
    """Return a JSON object.

    Raises:
        EncoderError: If it is anything else.
    """
    if not isinstance(value, dict):
        raise EncoderError(f"{what}: expected a JSON object, got {described(value)}")
    return value


def text_of(value: Mapping[str, Any], name: str, what: str, *, default: str | None = None) -> str:
    """Return a member that is a string.

    Args:
        value: The JSON object.
        name: The member.
        what: What an error begins with.
        default: What a missing member or null means; None if a text must be there.

    Raises:
        EncoderError: If it is missing or no string, or empty without a default.
    """
    text = _member(value, name, str, what, default)
    if not text and default is None:
        raise EncoderError(f"{what}: {name} is empty")
    return text


def count_of(value: Mapping[str, Any], name: str, what: str, *, default: int | None = None) -> int:
    """Return a member that is an integer of at least 1; the arguments are those of `text_of`.

    Raises:
        EncoderError: If it is missing or no such integer.
    """
    count = _member(value, name, int, what, default)
    if not 1 <= count < _MOST:
        raise EncoderError(f"{what}: {name} is {described(count)}, expected a count")
    return count


def is_token_id(value: object) -> bool:
    """Return whether a value can be the id of a token; True is none."""
    return type(value) is int and 0 <= value < _MOST


def _member(value: Mapping[str, Any], name: str, of: type[T], what: str, default: T | None) -> T:
    try:
        found: T | None = member(value, name, of, default)
    except InvalidInputError as error:
        raise EncoderError(f"{what}: {error}") from error
    if found is None:
        raise EncoderError(f"{what}: the answer has no {name}")
    return found


def _odd(values: object) -> str:
    """Return the description of what is no list of numbers, or of its first other element."""
    if not isinstance(values, list):
        return described(values)
    return f"a list with {described(next(v for v in values if type(v) not in _NUMBERS))}"
