"""Documents: an id, a text and metadata, checked so that every store returns them unchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trivec.arguments import described, named
from trivec.errors import InvalidDocumentError
from trivec.plain import Json, NotPlainError, plain

MAX_ID_BYTES = 512

PRIVATE_KEY = "_trivec"
"""The metadata key under which programs keep data of a document that is not the user's."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document.

    Args:
        id: 1 to 512 bytes of UTF-8 without control characters.
        text: Any text, also "".
        metadata: A mapping that is copied and converted to a JSON object by the rule of
            `trivec.plain`: dates and times become ISO 8601 strings, an Enum its value, UUIDs and
            paths str, Decimals and numpy's numbers become numbers. Integers have at most 64 bits,
            floats are finite, and objects and lists are nested at most 100 deep. The maximum size
            depends on the database: see `Store.limits`.

    Raises:
        InvalidDocumentError: If one of these conditions is violated; the message names the
            document.

    Example:
        >>> from datetime import date
        >>> Document("a-1", "Water boils at 100 °C.", {"day": date(2026, 1, 31)}).metadata
        {'day': '2026-01-31'}
    """

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Files have millions of rows: what is already plain, as nearly always, costs nothing.
        if (id := check_id(self.id)) is not self.id:
            object.__setattr__(self, "id", id)
        if type(self.text) is not str or not self.text.isascii():
            if not isinstance(self.text, str):
                raise InvalidDocumentError(
                    f"document {self.id!r}: the text must be a str, got {described(self.text)}"
                )
            text = _plain(self.text, f"document {self.id!r}: the text")
            object.__setattr__(self, "text", text)
        if not isinstance(self.metadata, Mapping):
            raise InvalidDocumentError(
                f"document {self.id!r}: metadata must be a dict, got {described(self.metadata)}"
            )
        # A copy: a caller's loop may fill the same dict for the next document.
        try:
            object.__setattr__(self, "metadata", plain(self.metadata))
        except NotPlainError as error:
            raise InvalidDocumentError(error.at(f"document {self.id!r}: metadata")) from error

    @property
    def metadata_bytes(self) -> int:
        """The length of the metadata as JSON in UTF-8."""
        return len(metadata_json(self.metadata).encode())

    @property
    def size_bytes(self) -> int:
        """The length of id, text and metadata in UTF-8."""
        return len(self.id.encode()) + len(self.text.encode()) + self.metadata_bytes


def public_metadata(document: Document) -> dict[str, Any]:
    """Return a copy of the user's metadata in dicts and lists, without the `PRIVATE_KEY`.

    >>> public_metadata(Document("a", "", {"tags": ("x",), PRIVATE_KEY: {"node": 1}}))
    {'tags': ['x']}
    """
    return {k: _copied(v) for k, v in document.metadata.items() if k != PRIVATE_KEY}


def private_metadata(document: Document) -> Mapping[str, Json]:
    """Return the data that programs keep under `PRIVATE_KEY`."""
    value = document.metadata.get(PRIVATE_KEY)
    return value if isinstance(value, Mapping) else {}


def metadata_json(metadata: Mapping[str, Json], *, sort_keys: bool = False) -> str:
    """Return metadata as compact JSON in which characters are not escaped."""
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)


def check_id(value: object) -> str:
    """Return a document's id as a plain str, or raise `InvalidDocumentError`."""
    if type(value) is str and 1 <= len(value) <= MAX_ID_BYTES and _is_printable_ascii(value):
        return value
    if not isinstance(value, str):
        raise InvalidDocumentError(
            f"{named('document id', value, between=' ')} must be a str; pass str(id), or "
            "document.id"
        )
    id: str = _plain(value, f"document id {value[:80]!r}")
    size = len(id.encode())
    if not 1 <= size <= MAX_ID_BYTES:
        raise InvalidDocumentError(
            f"document id {id[:80]!r} takes {size} bytes of UTF-8, expected 1 to {MAX_ID_BYTES}"
        )
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in id):
        raise InvalidDocumentError(f"document id {id[:80]!r} holds a control character")
    return id


def _is_printable_ascii(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _plain(value: object, what: str) -> Any:  # noqa: ANN401 - Json, which is read-only
    try:
        return plain(value)
    except NotPlainError as error:
        raise InvalidDocumentError(error.at(what)) from error


def _copied(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
