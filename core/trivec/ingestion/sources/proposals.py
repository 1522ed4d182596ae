"""Errors about records without an id or a text: what is there, and the options that fit it."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from trivec.ingestion.sources.members import listed
from trivec.ingestion.sources.presets import columns_of_data, is_prose

_IDS = (
    *("id", "docid", "documentid", "passageid", "pid", "nodeid", "uuid", "guid", "uid", "key"),
    *("pk", "sku", "identifier", "nr", "url", "uri", "link", "path", "filename"),
)
_TITLE = "title"
_TEXTS = (
    *("text", "body", "content", "contents", "passage", "pagecontent", "abstract", "document"),
    *("article", "paragraph", "description", "summary", "message", "sentence"),
)
"""Names that people give to members, without case, blanks and signs; the likeliest come first."""

_DOCSTORE = "docstore/data"


def is_text_name(name: str) -> bool:
    """Return whether a member is named as texts are.

    >>> is_text_name("Page_Content"), is_text_name("title")
    (True, False)
    """
    return _bare(name) in _TEXTS


def missing(
    names: Collection[str],
    values: Mapping[str, Any] | None,
    *,
    id: str | None,
    text: str | None,
    are_columns: bool,
) -> str:
    """Return the message that a file has no id or no text, and the options that may help.

    Args:
        names: The names of the members that are there.
        values: The values of the first record, if it was read.
        id: The name that the id should have; None if the id is not missing.
        text: The name that the text should have; None if the text is not missing.
        are_columns: Whether the names are those of columns.

    >>> missing(["_id", "title", "body"], None, id="id", text="text", are_columns=False)
    "expected an object with 'id' and 'text', found '_id', 'title', 'body'; try id_field='_id', \
text_field=['title', 'body'] (--id-field _id --text-field title,body)"
    """
    absent = [repr(name) for name in (id, text) if name is not None]
    if not are_columns:
        problem = f"expected an object with {' and '.join(absent)}, found {listed(names)}"
    else:
        problem = f"there is no column {' and no '.join(absent)}, only {listed(names)}"
        data = columns_of_data(list(names))
        if data is not None:
            return (
                f"{problem}, which look like data; if the file has no header, name its "
                f"columns: columns={list(data)} (--columns {','.join(data)})"
            )
    if _DOCSTORE in names:
        return f"{problem}; convert this docstore: jq -c '.[\"{_DOCSTORE}\"][]'"
    python: list[str] = []
    shell: list[str] = []
    if id is not None:
        member = _likeliest(names, id, _IDS)
        if member is None:
            python.append("id='hash'")
            shell.append("--id hash")
        else:
            python.append(f"id_field={member!r}")
            shell.append(f"--id-field {shlex.quote(member)}")
    if text is not None:
        members = _texts(names, values, text)
        if not members:
            python.append("text_field=…")
            shell.append("--text-field …")
        else:
            python.append(f"text_field={(members if len(members) > 1 else members[0])!r}")
            shell.append(f"--text-field {shlex.quote(','.join(members))}")
    return f"{problem}; try {', '.join(python)} ({' '.join(shell)})"


def _texts(names: Collection[str], values: Mapping[str, Any] | None, wanted: str) -> list[str]:
    """Return the members that are probably the text, a title first."""
    member = _likeliest(names, wanted, _TEXTS)
    if member is None and values:
        prose = {n: v for n, v in values.items() if isinstance(v, str) and is_prose(v)}
        member = max(prose, key=lambda name: len(prose[name]), default=None)
    if member is None:
        return []
    title = next((name for name in names if _bare(name) == _TITLE), None)
    return [member] if title in (None, member) else [str(title), member]


def _likeliest(names: Collection[str], wanted: str, known: Sequence[str]) -> str | None:
    """Return the name that is like the wanted one, or the likeliest known one."""
    bare = {_bare(name): name for name in reversed(list(names))}
    for candidate in known:
        if candidate in bare:
            return bare[candidate]
    close = get_close_matches(wanted, list(names), 1, cutoff=0.8)
    return close[0] if close else None


def _bare(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()
