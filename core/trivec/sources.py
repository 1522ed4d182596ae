"""Documents from files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from trivec.document import Document
from trivec.errors import InvalidDocumentError, InvalidOptionError

__all__ = ["read_jsonl"]


def read_jsonl(path: str, *, id_field: str = "id", text_field: str = "text") -> Iterator[Document]:
    """Yield one document per line of a JSON Lines file; what is not id or text is metadata.

    A line whose only other member is an object named "metadata" gives that object.

    Args:
        path: The file, or "-" for standard input.
        id_field: The member that holds the id.
        text_field: The member that holds the text.

    Raises:
        InvalidOptionError: If there is no such file.
        InvalidDocumentError: If a line is not such an object; the message has its number.
    """
    if path != "-" and not Path(path).is_file():
        raise InvalidOptionError(f"there is no file {path!r}")
    with sys.stdin if path == "-" else Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _document(line, f"{path}, line {number}", id_field, text_field)


def _document(line: str, where: str, id_field: str, text_field: str) -> Document:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InvalidDocumentError(f"{where}: not JSON: {error}") from error
    if not isinstance(row, dict) or id_field not in row or text_field not in row:
        raise InvalidDocumentError(
            f"{where}: expected an object with {id_field!r} and {text_field!r}"
        )
    one, text = row.pop(id_field), row.pop(text_field)
    metadata = row["metadata"] if list(row) == ["metadata"] else row
    try:
        return Document(str(one) if isinstance(one, int) else one, text, metadata)
    except InvalidDocumentError as error:
        raise InvalidDocumentError(f"{where}: {error}") from error
