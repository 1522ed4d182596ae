"""The ids of the records of a file: read from a member, or made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from uuid import UUID

from trivec.arguments import shown, type_name
from trivec.document import Document, metadata_json
from trivec.errors import InvalidDocumentError
from trivec.ingestion.sources.members import Path, path_of, value_at
from trivec.ingestion.sources.options import SourceOptions
from trivec.ingestion.sources.presets import Preset
from trivec.ingestion.sources.values import BYTES, MAX_EXACT, scalar_of, text_in
from trivec.plain import is_missing


@dataclass(frozen=True, slots=True)
class Ids:
    """Where ids come from.

    Args:
        path: The member of the id; None if ids are made.
        rule: "row", "hash" or "" if the member must be there.
        file: The name of the file in ids of rows.
    """

    path: Path | None
    rule: str
    file: str

    @classmethod
    def resolve(
        cls, options: SourceOptions, preset: Preset | None, names: Sequence[str], file: str
    ) -> Ids | None:
        """Return where the ids of a file come from; None if it has none."""
        if options.id is not None:
            return cls(None, options.id, file)
        hashed = preset is not None and preset.hashed and options.id_field is None
        path = path_of(options.id_name(preset), names)
        return None if path is None else cls(path, "hash" if hashed else "", file)

    def value(self, values: Mapping[str, Any], lacking: Callable[[], Exception]) -> object:
        """Return the id as it is in the row."""
        if self.path is None:
            return None
        if len(self.path) == 1 and self.path[0] not in values:
            raise lacking()
        return value_at(values, self.path)

    def made(self, value: object, number: int) -> str | None:
        """Return the id of a value that is no text, or made of the row; None if by hash."""
        if self.rule == "row":
            return f"{self.file}:{number}"
        if self.rule == "hash" and is_missing(value):
            return None
        return id_of(value)


def id_of(value: object) -> str:
    """Return an id as text: of text, an integer, a whole float, a UUID, or bytes in UTF-8.

    Raises:
        InvalidDocumentError: If it is another value, with the reason.

    >>> id_of(7.0), id_of(UUID(int=7)), id_of(b"a-7")
    ('7', '00000000-0000-0000-0000-000000000007', 'a-7')
    >>> id_of(True)
    Traceback (most recent call last):
    trivec.errors.InvalidDocumentError: document id True is a bool, expected text or an integer
    """
    if is_missing(value):
        raise InvalidDocumentError(f"there is no id: it is {shown(value)}")
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, BYTES):
        text = text_in(value)
        if text is None:
            raise InvalidDocumentError("document id: it is binary and no text in UTF-8")
        return text
    if isinstance(value, Mapping):
        raise InvalidDocumentError(
            f"document id {shown(value)} is an object; name the member of it that is the id, such "
            f"as id_field='id.{next(iter(value), 'key')}' (--id-field)"
        )
    made = scalar_of(value)
    if isinstance(made, str):
        return made
    if isinstance(made, bool) or not isinstance(made, int | float):
        raise InvalidDocumentError(
            f"document id {shown(value)} is a {type_name(made)}, expected text or an integer"
        )
    if isinstance(made, float) and not (made.is_integer() and abs(made) < MAX_EXACT):
        raise InvalidDocumentError(f"document id {made} is a float, expected text or an integer")
    return str(int(made))


def content_id(document: Document) -> str:
    """Return the id that a document has by the hash of its text and metadata.

    >>> content_id(Document("any", "The blue whale", {"lang": "en", "year": 2020}))
    'fac02d8745c20cd1437a4b007741e26d'
    """
    content = f"{len(document.text)}\n{document.text}"
    content += metadata_json(document.metadata, sort_keys=True)
    return blake2b(content.encode(), digest_size=16).hexdigest()
