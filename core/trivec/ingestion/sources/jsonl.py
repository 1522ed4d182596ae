"""The rows of a file in JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BufferedIOBase
from typing import Any

from trivec.errors import InvalidOptionError
from trivec.ingestion.sources.lines import read_lines, utf8, without_end
from trivec.ingestion.sources.records import Records, Row, distinct
from trivec.plain import not_json


def read_jsonl(stream: BufferedIOBase, path: str) -> Records:
    """Return one row per line that is not blank."""
    return Records(None, _rows(stream, path))


def _rows(stream: BufferedIOBase, path: str) -> Iterator[Row]:
    first = True
    for number, line in enumerate(read_lines(stream, path), start=1):
        if not line.strip():
            continue
        if first:
            _check(line.strip(), path)
            first = False
        where, content = f"line {number}", without_end(line)
        try:
            yield Row(where, json_object(line), content)
        except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8
            yield Row(where, None, content, not_json(error))


def json_object(line: str, *, floats_as_written: bool = False) -> dict[str, Any]:
    """Parse a line of `read_lines` as a JSON object; a float may stay the text of its digits.

    Raises:
        ValueError: If it is something else or not UTF-8, or a name occurs twice.

    >>> json_object('{"id": 1, "id": 2}')
    Traceback (most recent call last):
    ValueError: the member 'id' occurs twice
    """
    parse_float = str if floats_as_written else None
    value = json.loads(utf8(line), object_pairs_hook=distinct, parse_float=parse_float)
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    return value


def _check(line: str, path: str) -> None:
    """Raise `InvalidOptionError` if the first line begins an array or a multi-line object."""
    if line.startswith("["):
        raise InvalidOptionError(
            f"{path!r} holds a JSON array, expected one object on each line; "
            f"convert it: jq -c '.[]'"
        )
    if line == "{":
        raise InvalidOptionError(
            f"{path!r} holds an object over several lines, expected one object on each line; "
            "convert it: jq -c ."
        )
