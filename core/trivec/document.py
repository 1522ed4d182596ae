"""A document: an id, a text and metadata, checked so that every store returns it unchanged."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trivec.errors import InvalidDocumentError

__all__ = [
    "MAX_ID_BYTES",
    "MAX_METADATA_BYTES",
    "PRIVATE_KEY",
    "Document",
    "Json",
    "private_metadata",
    "public_metadata",
]

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
"""What JSON can say."""

MAX_ID_BYTES = 512
MAX_METADATA_BYTES = 64 * 1024
MAX_DEPTH = 100
"""Of objects and lists in one another; Python's JSON gives up at some hundreds."""

PRIVATE_KEY = "_trivec"
"""Where programs over a store keep what belongs to a document but is not its user's metadata."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a user stores.

    Args:
        id: 1 to 512 bytes of UTF-8 without control characters.
        text: Any text, also an empty one.
        metadata: A JSON object of at most 64 KiB; integers of 64 bits, finite floats, at most 100
            objects and lists in one another. The document has a copy in dicts and lists.

    Raises:
        InvalidDocumentError: If one of them is not so; the message names the document.

    Example:
        >>> Document("a-1", "Water boils at 100 °C.", {"lang": "en", "tags": ["physics"]}).id
        'a-1'
    """

    id: str
    text: str
    metadata: Mapping[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_id(self.id)
        if not isinstance(self.text, str) or not _encodable(self.text):
            raise InvalidDocumentError(
                f"document {self.id!r}: the text must be a str that UTF-8 can encode, "
                f"got {type(self.text).__name__}"
            )
        if not isinstance(self.metadata, Mapping):
            raise InvalidDocumentError(
                f"document {self.id!r}: metadata must be a mapping, "
                f"got {type(self.metadata).__name__}"
            )
        problem = _problem(self.metadata, "metadata")
        if problem:
            raise InvalidDocumentError(f"document {self.id!r}: {problem}")
        if self.metadata_bytes > MAX_METADATA_BYTES:
            raise InvalidDocumentError(
                f"document {self.id!r}: metadata takes {self.metadata_bytes} bytes of JSON, "
                f"at most {MAX_METADATA_BYTES} are allowed"
            )
        # A copy: a caller's loop may fill the same dict for the next document.
        object.__setattr__(self, "metadata", _copied(self.metadata))

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
    return json.dumps(
        metadata, ensure_ascii=False, separators=(",", ":"), default=_plain, sort_keys=sort_keys
    )


def check_id(value: str) -> None:
    """Raise `InvalidDocumentError` unless `value` can be the id of a document."""
    if not isinstance(value, str):
        raise InvalidDocumentError(f"document id {value!r} must be a str")
    size = len(value.encode()) if _encodable(value) else 0
    if not 1 <= size <= MAX_ID_BYTES:
        raise InvalidDocumentError(
            f"document id {value[:80]!r} takes {size} bytes of UTF-8, expected 1 to {MAX_ID_BYTES}"
        )
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in value):
        raise InvalidDocumentError(f"document id {value[:80]!r} holds a control character")


def _plain(value: Json) -> Json:
    """Turn a mapping or sequence that is no dict or list into one."""
    if isinstance(value, Mapping):
        return dict(value)
    return list(value)  # type: ignore[arg-type]


def _copied(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_copied(item) for item in value]
    return value


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _problem(value: Json, path: str, depth: int = 0) -> str | None:
    """Return what is wrong with a JSON value, or None."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**63 else f"{path} = {value} needs more than 64 bits"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{path} = {value} is not finite"
    if isinstance(value, str):
        return None if _encodable(value) else f"{path} holds text that UTF-8 cannot encode"
    if isinstance(value, bytes | bytearray) or not isinstance(value, Mapping | Sequence):
        return f"{path} is a {type(value).__name__}, which JSON cannot hold"
    if depth == MAX_DEPTH:
        return f"{path[:40]}… has more than {MAX_DEPTH} objects and lists in one another"
    if isinstance(value, Mapping):
        return _problem_in_object(value, path, depth)
    problems = (_problem(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value))
    return next((problem for problem in problems if problem), None)


def _problem_in_object(value: Mapping[str, Json], path: str, depth: int) -> str | None:
    for key, item in value.items():
        if not isinstance(key, str) or not _encodable(key):
            return f"{path} has the key {key!r}, expected a str"
        if problem := _problem(item, f"{path}.{key}", depth + 1):
            return problem
    return None
