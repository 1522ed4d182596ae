"""The members of a row: which of them are id, text and metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from trivec.document import Document
from trivec.errors import InvalidDocumentError, InvalidOptionError

LAYOUTS = ("nested", "flat")
METADATA = "metadata"

_SAY = "say which with metadata='nested' or 'flat' (--metadata)"


class Members:
    """Makes documents of the rows of one file, all by the same layout.

    In the layout "nested" the metadata is one object, in the member "metadata", and a row has no
    other members except id and text. In the layout "flat" every other member is metadata, also a
    member named "metadata". The first row with more than id and text decides on the layout; a later
    row that does not match it is an error. A number or a UUID as the id becomes text.

    Example:
        >>> members = Members()
        >>> members.document({"id": 7, "text": "", "metadata": {"a": 1}})
        Document(id='7', text='', metadata={'a': 1})
        >>> members.document({"id": 8, "text": "", "metadata": {"a": 1}, "lang": "en"})
        Traceback (most recent call last):
        trivec.errors.InvalidDocumentError: 'lang' stands beside 'metadata', ...
    """

    def __init__(
        self, *, id_field: str = "id", text_field: str = "text", metadata: str | None = None
    ) -> None:
        if metadata is not None and metadata not in LAYOUTS:
            raise InvalidOptionError(f"metadata={metadata!r}; expected one of {', '.join(LAYOUTS)}")
        self._id_field = id_field
        self._text_field = text_field
        self._layout = metadata
        # Whether "metadata" is an ordinary member, according to the option or an earlier row.
        self._ordinary = metadata == "flat"

    def document(self, values: Mapping[str, Any]) -> Document:
        """Make a document of a row, or raise `InvalidDocumentError`."""
        id, text, rest = _split(values, self._id_field, self._text_field)
        layout = self._layout or _layout_of(rest)
        metadata = self._nested(rest) if layout == "nested" else self._flat(rest)
        document = Document(id, text, metadata)
        self._layout = layout  # only a valid document decides on the layout
        self._ordinary = self._ordinary or (METADATA in rest and len(rest) > 1)
        return document

    def _nested(self, rest: dict[str, Any]) -> Mapping[str, Any]:
        others = [name for name in rest if name != METADATA]
        if others:
            raise InvalidDocumentError(
                f"{others[0]!r} stands beside {METADATA!r}, "
                f"where this file has its metadata; {_SAY}"
            )
        metadata = rest.get(METADATA)
        if metadata is None:
            return {}
        if not isinstance(metadata, Mapping):
            raise InvalidDocumentError(
                f"{METADATA!r} is a {type(metadata).__name__}, expected an object; "
                "metadata='flat' (--metadata flat) treats it as an ordinary member"
            )
        return metadata

    def _flat(self, rest: dict[str, Any]) -> Mapping[str, Any]:
        lone = list(rest) == [METADATA] and isinstance(rest[METADATA], Mapping)
        if lone and not self._ordinary:
            raise InvalidDocumentError(
                f"an object {METADATA!r} holds all metadata of this row, "
                f"and rows before it have theirs beside id and text; {_SAY}"
            )
        return rest


def document_of(values: Mapping[str, Any], *, id_field: str, text_field: str) -> Document:
    """Make a document of a single row; the layout is nested if "metadata" is its only other member.

    >>> document_of({"n": 7, "text": "", "metadata": {"a": 1}}, id_field="n", text_field="text")
    Document(id='7', text='', metadata={'a': 1})
    """
    id, text, rest = _split(values, id_field, text_field)
    metadata = rest[METADATA] if _layout_of(rest) == "nested" else rest
    return Document(id, text, {} if metadata is None else metadata)


def _split(
    values: Mapping[str, Any], id_field: str, text_field: str
) -> tuple[Any, Any, dict[str, Any]]:
    """Return the id, the text and the other members, or raise `InvalidDocumentError`."""
    if id_field not in values or text_field not in values:
        raise InvalidDocumentError(f"expected an object with {id_field!r} and {text_field!r}")
    rest = {name: value for name, value in values.items() if name not in (id_field, text_field)}
    id = values[id_field]
    if type(id) is int or isinstance(id, UUID):  # a bool is not a number here
        id = str(id)
    return id, values[text_field], rest


def _layout_of(rest: Mapping[str, Any]) -> str | None:
    """Return the layout of a row; None if it has only id and text."""
    if not rest:
        return None
    return "nested" if list(rest) == [METADATA] else "flat"
