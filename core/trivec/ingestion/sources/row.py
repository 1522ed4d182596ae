"""One row of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trivec.arguments import shown
from trivec.errors import InvalidDocumentError


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file, at a position such as "line 7".

    Its values are None if it could not be read, and `problem` says why. Its content is as it is in
    the file; a byte that is not UTF-8 is a lone surrogate.
    """

    where: str
    values: dict[str, Any] | None
    content: str
    problem: str = ""


def check_columns(
    names: Sequence[str], needed: Sequence[str], where: str, remedy: str = ""
) -> None:
    """Raise `InvalidDocumentError` if a column is duplicate, or a needed one is missing."""
    for name in names:
        if names.count(name) > 1:
            raise InvalidDocumentError(
                f"{where}: {names.count(name)} columns are named {shown(name)}; "
                "each needs a name of its own"
            )
    remedy = remedy or "name the columns with id_field and text_field (--id-field, --text-field)"
    for name in needed:
        if name not in names:
            raise InvalidDocumentError(
                f"{where}: there is no column {name!r}, only {', '.join(map(shown, names[:10]))}; "
                f"{remedy}"
            )


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


def visible(text: str) -> str:
    r"""Return text in which bytes that are not UTF-8 are escaped.

    >>> visible(b"gr\xfcn".decode(errors="surrogateescape"))
    'gr\\xfcn'
    """
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
