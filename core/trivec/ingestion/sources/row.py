"""One row of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    Args:
        where: Its position, such as "line 7".
        values: Its members; None if it could not be read.
        content: The row as it is in the file; a byte that is not UTF-8 is a lone surrogate.
        problem: The reason why it could not be read, or "".
    """

    where: str
    values: dict[str, Any] | None
    content: str
    problem: str = ""


def distinct(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return the members of an object, whose names must be distinct.

    Raises:
        ValueError: If a name occurs twice.

    >>> distinct([("id", 1), ("text", "")])
    {'id': 1, 'text': ''}
    """
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the member {twice!r} occurs twice")
    return members


def visible(text: str) -> str:
    r"""Return text in which bytes that are not UTF-8 are escaped.

    >>> visible(b"gr\xfcn".decode(errors="surrogateescape"))
    'gr\\xfcn'
    """
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
