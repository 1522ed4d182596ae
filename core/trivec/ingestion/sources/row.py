"""One row of a file, as it was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    Args:
        where: Where it stands, such as "line 7".
        values: Its members; None if it could not be read.
        content: The row as it is in the file; a byte that is no UTF-8 is a lone surrogate.
        problem: What is wrong with it.
    """

    where: str
    values: dict[str, Any] | None
    content: str
    problem: str = ""


def distinct(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return the members of an object, each of which has a name of its own.

    Raises:
        ValueError: If a name is there twice.

    >>> distinct([("id", 1), ("text", "")])
    {'id': 1, 'text': ''}
    """
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the member {twice!r} is there twice")
    return members


def visible(text: str) -> str:
    r"""Return text in which bytes that are no UTF-8 are written out.

    >>> visible(b"gr\xfcn".decode(errors="surrogateescape"))
    'gr\\xfcn'
    """
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
