"""The records of a file: the names of its columns and its rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from trivec.arguments import shown
from trivec.errors import InvalidDocumentError


class Row(NamedTuple):
    """One row of a file, at a position such as "line 7".

    Its values are None if it could not be read, and `problem` says why. Its content is as it is in
    the file; a byte that could not be decoded is a lone surrogate. A row of a file that is not text
    has values and no content.
    """

    where: str
    values: dict[str, Any] | None
    content: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Records:
    """The rows of a file, and what is known before the first of them.

    Attributes:
        columns (tuple[str, ...] | None): The names of the columns as they are in the file, each
            once: the header of a table, or the schema of a Parquet file; None for JSON and text.
        rows (Iterator[Row]): The rows, which are read as they are asked for.
        header (str): The position of the names, such as "line 1"; "" if they have none.
        note (str): What was recognised, for a log; "" if nothing.
    """

    columns: tuple[str, ...] | None
    rows: Iterator[Row]
    header: str = ""
    note: str = ""


def distinct_columns(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the names of columns, or raise `InvalidDocumentError` if two are the same."""
    for name in names:
        if names.count(name) > 1:
            raise InvalidDocumentError(
                f"{where}: {names.count(name)} columns are named {shown(name)}; "
                "each needs a name of its own"
            )
    return tuple(names)


def json_of(values: Mapping[str, Any]) -> str:
    """Return values of any types as one line of text for people, as JSON if that is possible.

    Characters are escaped, since values may hold lone surrogates.

    >>> json_of({"id": 7, "sizes": {b"x": 1}})
    "{'id': 7, 'sizes': {b'x': 1}}"
    """
    try:
        return json.dumps(values, default=str)
    except (TypeError, ValueError):  # a map with keys that JSON does not support
        return ascii(values)


def distinct(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return the members of an object; raise `ValueError` if a name occurs twice.

    >>> distinct([("id", 1), ("text", "")])
    {'id': 1, 'text': ''}
    """
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the member {twice!r} occurs twice")
    return members
