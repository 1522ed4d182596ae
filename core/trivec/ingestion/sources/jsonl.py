"""The records of a file in JSON: one object on each line, or any other layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

from trivec.arguments import shown
from trivec.ingestion.sources.arrays import BLANKS, decoder, read_objects, scan, wrapped_lists
from trivec.ingestion.sources.encoding import undecodable
from trivec.ingestion.sources.lines import Text
from trivec.ingestion.sources.records import Records, Row, distinct
from trivec.plain import not_json

MAX_OBJECT = 4 * 1024 * 1024
"""The maximum characters of a first line that are read to see how the file is laid out."""

MAX_BLANKS = 1024 * 1024
"""The maximum blank characters before a value that are read to see how the file is laid out."""

_floats_as_written = json.JSONDecoder(object_pairs_hook=distinct, parse_float=str)


def read_json(text: Text, path: str, *, encoding: str | None = None) -> Records:
    """Return one row per object of JSON Lines, of an array, or of a list in an object.

    Args:
        text: The text.
        path: The name of the file in errors.
        encoding: The encoding that was given, for errors.

    Raises:
        InvalidDocumentError: While the rows of an array are read, if it is cut off or is not JSON.
    """
    rows = _lines(text, encoding) if _is_lines(text) else read_objects(text, path, encoding)
    return Records(None, rows)


def json_object(line: str) -> dict[str, Any]:
    """Parse a line as a JSON object in which a float stays the text of its digits.

    Raises:
        ValueError: If it is something else, or a name occurs twice.

    >>> json_object('{"id": 1, "id": 2}')
    Traceback (most recent call last):
    ValueError: the member 'id' occurs twice
    """
    value = _floats_as_written.decode(line)
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    return value


def _lines(text: Text, encoding: str | None) -> Iterator[Row]:
    """Yield one row per line that is not blank."""
    for number, line in enumerate(chain.from_iterable(text), start=1):
        try:
            value, end = scan(line, 0)
        except (StopIteration, ValueError, RecursionError):
            pass
        else:  # the quick way of an ordinary line
            if (
                end == len(line)
                and type(value) is dict
                and (line.isascii() or not undecodable(line, encoding))
            ):
                yield Row(f"line {number}", value, line)
                continue
        content = line.removesuffix("\r")
        if content.strip():
            value, problem = _value(content.strip(BLANKS), encoding)
            yield Row(f"line {number}", value, content, problem)


def _value(body: str, encoding: str | None) -> tuple[dict[str, Any] | None, str]:
    """Return the object of a line, or None and the problem."""
    if problem := undecodable(body, encoding):
        return None, problem
    try:
        value, end = scan(body, 0)
    except StopIteration:
        return None, "not JSON: expected a value"
    except (ValueError, RecursionError) as error:
        return None, not_json(error)
    if end != len(body):
        return None, f"not JSON: the value ends before {shown(body[end : end + 40])}"
    if not isinstance(value, dict):
        return None, "not JSON: expected an object"
    return value, ""


def _is_lines(text: Text) -> bool:
    """Return whether a text has one record on each line, by its beginning.

    It has if its first line is a JSON value with something after it, or an object without a list of
    records. A value that begins on the first line and goes on below is none of JSON Lines.
    """
    while not text.head.strip(BLANKS) and len(text.head) < MAX_BLANKS and text.more():
        pass
    start = _after_blanks(text.head, 0)
    if text.head[start : start + 1] not in ("[", "{"):
        return True
    while (end := text.head.find(text.end, start)) < 0 and text.more():
        if len(text.head) > MAX_OBJECT:
            return False
    if end < 0:
        end = len(text.head)
    try:
        value = decoder.decode(text.head[start:end].strip(BLANKS))
    except (ValueError, RecursionError) as error:
        return not _goes_on(text, start, end, is_json=not isinstance(error, json.JSONDecodeError))
    if _second_line(text, end) < len(text.head):
        return True
    return isinstance(value, dict) and not wrapped_lists(value)


def _goes_on(text: Text, start: int, end: int, *, is_json: bool) -> bool:
    """Return whether a value that cannot be read from the first line goes on below it.

    Args:
        text: The text.
        start: The position of the value.
        end: The end of the first line.
        is_json: Whether it is JSON that cannot be kept, such as a member that occurs twice.
    """
    second = _second_line(text, end)
    is_array = text.head[start] == "["
    if second == len(text.head):  # there is only this line
        return is_array
    if not is_json and _reached(text.head, start) > second:
        return True
    line = text.head[second:].partition(text.end)[0].strip(BLANKS)
    try:
        return is_array and not isinstance(decoder.decode(line), dict)
    except (ValueError, RecursionError):
        return is_array


def _reached(head: str, start: int) -> int:
    """Return how far a value can be read: the position of the error, or the end of the text."""
    try:
        scan(head, start)
    except json.JSONDecodeError as error:
        return error.pos
    except StopIteration as error:
        return int(error.value)
    except (ValueError, RecursionError):
        pass
    return len(head)


def _second_line(text: Text, end: int) -> int:
    """Return the position of what follows the first line; the length of the text if it is none."""
    while (second := _after_blanks(text.head, end)) == len(text.head) and text.more():
        if second - end > MAX_BLANKS:
            break
    return second


def _after_blanks(text: str, start: int) -> int:
    """Return the position of the first character that is not blank."""
    while start < len(text) and text[start] in BLANKS:
        start += 1
    return start
