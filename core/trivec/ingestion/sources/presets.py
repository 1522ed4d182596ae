"""The layouts of published files: where they have the id and the text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trivec.errors import InvalidDocumentError

Unwrap = Callable[[Mapping[str, Any]], dict[str, Any]]

NO_PRESET = "none"
"""The name that turns recognition off."""

MIN_PROSE = 20
"""The minimum characters of a cell that can be a text and no name of a column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Where the files of one publisher have the id and the text.

    Args:
        name: The name as an option; several layouts may share it.
        title: The name in messages.
        marks: The members that such a record has.
        only: The members that it may have; None for any.
        id: The member of the id.
        hashed: Whether a record without an id gets one by hash.
        text: The members of the text; the last is always there.
        unwrap: Returns the members of a record that is wrapped; None if none is.
        recognised: Whether a file is recognised by its marks.
    """

    name: str
    title: str
    marks: frozenset[str]
    only: frozenset[str] | None = None
    id: str
    hashed: bool = False
    text: tuple[str, ...]
    unwrap: Unwrap | None = None
    recognised: bool = True

    def fits(self, names: Collection[str]) -> bool:
        """Return whether a record with members of these names has this layout."""
        return self.marks <= set(names) and (self.only is None or set(names) <= self.only)


def _langchain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return id, text and metadata of a dumped LangChain document."""
    inner = values.get("kwargs", values)
    return _of_node(inner, "id", "page_content", inner)


def _llamaindex(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return id, text and metadata of a dumped LlamaIndex node."""
    inner = values.get("__data__", values)
    if isinstance(inner, Mapping) and "text" not in inner:
        return _of_node(inner, "id_", "text", inner.get("text_resource"))
    return _of_node(inner, "id_", "text", inner)


def _of_node(node: object, id: str, text: str, holder: object) -> dict[str, Any]:
    """Return id, text and metadata of a node whose text is in `holder`."""
    if not isinstance(node, Mapping) or not isinstance(holder, Mapping) or text not in holder:
        raise InvalidDocumentError(f"expected an object with {text!r}")
    return {id: node.get(id), text: holder[text], "metadata": node.get("metadata")}


def _preset(name: str, title: str, id: str, *text: str, recognised: bool = True) -> Preset:
    """Return a preset whose marks are the id and the last member of the text."""
    marks = frozenset({id, text[-1]} if recognised else {id, *text})
    return Preset(name=name, title=title, marks=marks, id=id, text=text, recognised=recognised)


def _dump(
    name: str, title: str, marks: str, only: str, fields: tuple[str, str], unwrap: Unwrap
) -> Preset:
    return Preset(
        name=name,
        title=title,
        marks=frozenset(marks.split()),
        only=frozenset(only.split()) or None,
        id=fields[0],
        hashed=name == "langchain",
        text=(fields[1],),
        unwrap=unwrap,
    )


_LANGCHAIN = ("id", "page_content")
_LLAMAINDEX = ("id_", "text")

PRESETS: tuple[Preset, ...] = (
    _preset("beir", "BEIR", "_id", "title", "text"),
    _preset("miracl", "MIRACL", "docid", "title", "text"),
    _preset("msmarco", "MS MARCO passages", "pid", "passage"),
    _preset("msmarco", "MS MARCO documents", "docid", "title", "body"),
    _preset("msmarco", "MS MARCO", "id", "text", recognised=False),
    _preset("pyserini", "Pyserini", "id", "contents"),
    _preset("wikipedia", "Wikipedia", "id", "title", "text", recognised=False),
    _preset("dpr", "DPR", "id", "title", "text", recognised=False),
    _dump(
        "langchain",
        "LangChain documents",
        "page_content metadata",
        "page_content metadata type id",
        _LANGCHAIN,
        _langchain,
    ),
    _dump("langchain", "LangChain documents", "lc type id kwargs", "", _LANGCHAIN, _langchain),
    _dump("llamaindex", "LlamaIndex nodes", "id_ metadata text", "", _LLAMAINDEX, _llamaindex),
    _dump(
        "llamaindex", "LlamaIndex nodes", "id_ metadata text_resource", "", _LLAMAINDEX, _llamaindex
    ),
    _dump(
        "llamaindex",
        "LlamaIndex nodes",
        "__data__ __type__",
        "__data__ __type__",
        _LLAMAINDEX,
        _llamaindex,
    ),
)
PRESET_NAMES = tuple(dict.fromkeys(preset.name for preset in PRESETS))


def recognised(names: Collection[str]) -> Preset | None:
    """Return the preset of a record with members of these names, if exactly one fits.

    >>> recognised(["_id", "title", "text"]).name
    'beir'
    >>> recognised(["_id", "docid", "text"])
    """
    fitting = [preset for preset in PRESETS if preset.recognised and preset.fits(names)]
    if len({preset.name for preset in fitting}) != 1:
        return None
    return fitting[0]


def named_preset(name: str, names: Collection[str]) -> Preset | None:
    """Return the layout of a preset that fits a record with members of these names."""
    return next((preset for preset in PRESETS if preset.name == name and preset.fits(names)), None)


def columns_of_data(cells: Sequence[str]) -> tuple[str, ...] | None:
    """Return names for the columns of a table whose first row is data; None if it may be names.

    It is data if it begins with a number, which is the name of no column of ids. The longest cell
    is the text.

    >>> columns_of_data(["0", "The presence of communication amid scientific minds"])
    ('id', 'text')
    >>> columns_of_data(["7", "https://example.org/whales", "The blue whale is a marine mammal"])
    ('id', 'column2', 'text')
    >>> columns_of_data(["id", "text"])
    """
    if len(cells) < 2 or not cells[0].strip().isdigit():
        return None
    text = max(range(1, len(cells)), key=lambda position: len(cells[position]))
    names = {0: "id", text: "text"}
    return tuple(names.get(position, f"column{position + 1}") for position in range(len(cells)))


def is_msmarco(cells: Sequence[str], *, asked: bool = False) -> bool:
    """Return whether the first row of a table is a passage or a question of MS MARCO: no header.

    Args:
        cells: The cells of the row.
        asked: Whether the preset is asked for, so that the text may be short.

    >>> is_msmarco(["0", "The presence of communication amid scientific minds"])
    True
    >>> is_msmarco(["2", "Androgen"]), is_msmarco(["2", "Androgen"], asked=True)
    (False, True)
    """
    if len(cells) != 2 or not cells[0].isascii() or not cells[0].isdigit():
        return False
    return asked or is_prose(cells[1])


def is_prose(text: str) -> bool:
    """Return whether a text is too long to be a name."""
    return len(text) >= MIN_PROSE and " " in text.strip()
