"""The records of a JSON file that is not JSON Lines: an array, or a list inside an object."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trivec.errors import InvalidDocumentError
from trivec.ingestion.sources.encoding import undecodable
from trivec.ingestion.sources.lines import Text
from trivec.ingestion.sources.records import Row, distinct
from trivec.plain import not_json

LISTS = ("data", "docs", "documents", "items", "records", "results", "rows")
"""The members of an object in which a list of records is expected."""

MAX_VALUE = 64 * 1024 * 1024
"""The maximum characters of a record; a wrong quote does not fill the memory."""

BLANKS = " \t\r\n"
Scan = Callable[[str, int], tuple[Any, int]]
"""Reads a JSON value at a position of a text, and returns it and its end."""

# The method of a decoder that raises errors with their positions, and reads no blanks.
_plain: Scan = vars(json.JSONDecoder(parse_int=str, parse_float=str))["scan_once"]
decoder = json.JSONDecoder(object_pairs_hook=distinct)
scan: Scan = vars(decoder)["scan_once"]


def wrapped_lists(value: Mapping[str, Any]) -> list[str]:
    """Return the members of an object that are lists of records.

    >>> wrapped_lists({"version": 1, "data": [{"id": 1}], "items": ["a"]})
    ['data']
    """
    return [
        name
        for name in LISTS
        if isinstance(value.get(name), list) and value[name] and isinstance(value[name][0], dict)
    ]


def read_objects(text: Text, path: str, encoding: str | None) -> Iterator[Row]:
    """Yield one row per element of an array, or of the list of records in an object.

    An object without such a list is a row itself, and so is each object after it.

    Args:
        text: The text; one record of it is in memory at a time.
        path: The name of the file in errors.
        encoding: The encoding that was given, for errors.

    Raises:
        InvalidDocumentError: If the text is cut off or is not JSON, or if an object has several
            lists of records. The message says how many records were read.
    """
    return _Objects(text, path, encoding).rows()


class _Objects:
    """Reads the values of a JSON text one after the other."""

    def __init__(self, text: Text, path: str, encoding: str | None) -> None:
        self._blocks = text.blocks()
        self._path = path
        self._encoding = encoding
        self._buffer = ""
        self._position = 0  # of the next character in the buffer
        self._is_all = False  # whether the buffer reaches to the end of the text
        self._number = 0  # of records

    def rows(self) -> Iterator[Row]:
        if self._peek() == "[":
            yield from self._elements()
        else:
            while self._peek() == "{":
                yield from self._object()
        if self._peek():
            raise self._wrong(f"not JSON: {self._peek()!r} follows the end of the last value")

    def _elements(self) -> Iterator[Row]:
        """Yield the elements of an array."""
        self._take("[")
        while self._peek() != "]":
            self._number += 1
            yield self._row(*self._value())
            if self._peek() != "]":
                self._take(",")
                if self._peek() == "]":
                    raise self._wrong("not JSON: a comma stands before the end of the array")
        self._take("]")

    def _object(self) -> Iterator[Row]:
        """Yield the records in the list of an object, or the object."""
        members: list[tuple[str, Any]] = []
        pieces: list[str] = []  # the members as they are in the text
        read: str | None = None  # the member whose list was read
        problem = ""
        self._take("{")
        while self._peek() != "}":
            name, name_raw, name_problem = self._value()
            if not isinstance(name, str):
                raise self._wrong(f"not JSON: expected the name of a member, got {name_raw[:40]}")
            self._take(":")
            if name in LISTS and self._begins_records():
                if read is not None:
                    raise self._wrong(
                        f"{read!r} and {name!r} are both lists of objects, and which of them holds "
                        f"the records is not certain; write it alone: jq '.{name}'"
                    )
                read = name
                yield from self._elements()
            else:
                value, raw, value_problem = self._value()
                problem = problem or name_problem or value_problem
                members.append((name, value))
                pieces.append(f"{name_raw}: {raw}")
            if self._peek() != "}":
                self._take(",")
        self._take("}")
        names = {name for name, _ in members}
        if read is not None:
            if {"id", "text"} <= names:
                raise self._wrong(
                    f"the object has an id and a text, and a list of objects {read!r}; whether it "
                    f"is one record or holds many is not certain; write them alone: jq '.{read}'"
                )
            return
        self._number += 1
        try:
            values = distinct(members)
        except ValueError as error:
            problem, values = problem or not_json(error), {}
        yield self._row(values, "{" + ", ".join(pieces) + "}", problem)

    def _row(self, value: object, raw: str, problem: str) -> Row:
        where = f"record {self._number}"
        problem = undecodable(raw, self._encoding) or problem
        if not problem and not isinstance(value, dict):
            problem = "not JSON: expected an object"
        if problem or not isinstance(value, dict):
            return Row(where, None, raw, problem)
        return Row(where, value, raw)

    # --- the text --------------------------------------------------------------------------------

    def _peek(self) -> str:
        """Return the next character that is not blank, without reading it, or "" at the end."""
        while True:
            while self._position < len(self._buffer):
                character = self._buffer[self._position]
                if character not in BLANKS:
                    return character
                self._position += 1
            if not self._fill():
                return ""

    def _take(self, expected: str) -> None:
        """Read a character, which must be this one."""
        character = self._peek()
        if not character:
            raise EOFError
        if character != expected:
            raise self._wrong(f"not JSON: expected {expected!r}, got {character!r}")
        self._position += 1

    def _begins_records(self) -> bool:
        """Return whether the next value is an array whose first element is an object."""
        if self._peek() != "[":
            return False
        ahead = self._position + 1
        while True:
            while ahead < len(self._buffer):
                if self._buffer[ahead] not in BLANKS:
                    return self._buffer[ahead] == "{"
                ahead += 1
            ahead -= self._position
            if not self._fill():
                return False
            ahead += self._position

    def _value(self) -> tuple[Any, str, str]:
        """Read a value; return it, its text, and the problem of a value that cannot be kept."""
        if not self._peek():
            raise EOFError
        while True:
            end, value, problem = self._scanned()
            if end is not None and (end < len(self._buffer) or self._is_all):
                raw = self._buffer[self._position : end]
                self._position = end
                return value, raw, problem
            if self._is_all and end is None:
                raise EOFError if self._is_cut_off() else self._wrong(problem)
            if len(self._buffer) - self._position > MAX_VALUE:
                raise self._wrong(f"{problem}, or a value is longer than {MAX_VALUE} characters")
            self._fill()

    def _scanned(self) -> tuple[int | None, Any, str]:
        """Return the end of the next value in the buffer, the value, and its problem."""
        try:
            value, end = scan(self._buffer, self._position)
            return end, value, ""
        except StopIteration:
            return None, None, "not JSON: expected a value"
        except json.JSONDecodeError as error:
            return None, None, f"not JSON: {error.msg}"
        except RecursionError as error:
            raise self._wrong(not_json(error)) from error
        except ValueError as error:  # a member that occurs twice, or thousands of digits
            problem = not_json(error)
        try:
            _, end = _plain(self._buffer, self._position)
        except (StopIteration, json.JSONDecodeError):
            return None, None, problem
        return end, None, problem

    def _is_cut_off(self) -> bool:
        """Return whether the value at the end of the text would be JSON if the text went on."""
        try:
            _plain(self._buffer, self._position)
        except StopIteration as error:
            return int(error.value) >= len(self._buffer.rstrip(BLANKS))
        except json.JSONDecodeError as error:
            is_string = error.msg.startswith("Unterminated string")
            return is_string or error.pos >= len(self._buffer.rstrip(BLANKS))
        return True

    def _fill(self) -> bool:
        """Read more, as much as is left at least; return False at the end of the text."""
        left = self._buffer[self._position :]
        pieces, size = [left], 0
        while size <= len(left) and not self._is_all:
            block = next(self._blocks, None)
            if block is None:
                self._is_all = True
            else:
                pieces.append(block)
                size += len(block)
        self._buffer, self._position = "".join(pieces), 0
        return bool(size)

    def _wrong(self, problem: str) -> InvalidDocumentError:
        """Return the error that the text cannot be read on."""
        number = max(1, self._number)
        return InvalidDocumentError(
            f"{self._path}, record {number}: {problem}; the records before it were read, and "
            "nothing after it"
        )
