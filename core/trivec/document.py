"""A document: an id, a text and metadata, checked so that every store returns it unchanged."""

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
"""Where programs over a store keep what belongs to a document but is not its user's metadata."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a user stores.

    Args:
        id: 1 to 512 bytes of UTF-8 without control characters.
        text: Any text, also an empty one.
        metadata: What becomes a JSON object by the rule of `trivec.plain`: dates and times in
            ISO 8601, an Enum by its value, UUIDs and paths as str, Decimals and numpy's numbers
            as numbers. The document has this object, in dicts and lists of its own. Integers
            have 64 bits, floats are finite, and at most 100 objects and lists lie in one another.
            How large it may be is up to the database: see `Store.limits`.

    Raises:
        InvalidDocumentError: If one of them is not so; the message names the document.

    Example:
        >>> from datetime import date
        >>> Document("a-1", "Water boils at 100 °C.", {"day": date(2026, 1, 31)}).metadata
        {'day': '2026-01-31'}
    """

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", check_id(self.id))
        if not isinstance(self.text, str):
            raise InvalidDocumentError(
                f"document {self.id!r}: the text must be a str, got {described(self.text)}"
            )
        object.__setattr__(self, "text", _plain(self.text, f"document {self.id!r}: the text"))
        if not isinstance(self.metadata, Mapping):
            raise InvalidDocumentError(
                f"document {self.id!r}: metadata must be a dict, got {described(self.metadata)}"
            )
        # A copy: a caller's loop may fill the same dict for the next document.
        copied = _plain(self.metadata, f"document {self.id!r}: metadata")
        object.__setattr__(self, "metadata", copied)

    @property
    def metadata_bytes(self) -> int:
        """The length of the metadata as JSON in UTF-8."""
        return len(metadata_json(self.metadata).encode())

    @property
    def size_bytes(self) -> int:
        """The length of id, text and metadata in UTF-8."""
        return len(self.id.encode()) + len(self.text.encode()) + self.metadata_bytes


def public_metadata(document: Document) -> dict[str, Any]:
    """Return the user's metadata: a copy, in dicts and lists, without what is under `PRIVATE_KEY`.

    >>> public_metadata(Document("a", "", {"tags": ("x",), PRIVATE_KEY: {"node": 1}}))
    {'tags': ['x']}
    """
    return {k: _copied(v) for k, v in document.metadata.items() if k != PRIVATE_KEY}


def private_metadata(document: Document) -> Mapping[str, Json]:
    """Return what programs keep under `PRIVATE_KEY`, as it is."""
    value = document.metadata.get(PRIVATE_KEY)
    return value if isinstance(value, Mapping) else {}


def metadata_json(metadata: Mapping[str, Json], *, sort_keys: bool = False) -> str:
    """Return metadata as compact JSON with its characters unescaped."""
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)


def check_id(value: object) -> str:
    """Return the id of a document as a plain str.

    Raises:
        InvalidDocumentError: If no document can have it.
    """
    if not isinstance(value, str):
        raise InvalidDocumentError(
            f"{named('document id', value, between=' ')} must be a str; pass str(id), or "
            "document.id"
        )
    one: str = _plain(value, f"document id {value[:80]!r}")
    size = len(one.encode())
    if not 1 <= size <= MAX_ID_BYTES:
        raise InvalidDocumentError(
            f"document id {one[:80]!r} takes {size} bytes of UTF-8, expected 1 to {MAX_ID_BYTES}"
        )
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in one):
        raise InvalidDocumentError(f"document id {one[:80]!r} holds a control character")
    return one


def _plain(value: object, what: str) -> Any:  # noqa: ANN401 - Json, which is read-only
    try:
        return plain(value)
    except NotPlainError as error:
        raise InvalidDocumentError(error.at(what)) from error


def _copied(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
