"""Text files: each one is a document."""

from __future__ import annotations

from pathlib import Path

from trivec.ingestion.sources.encoding import decode
from trivec.ingestion.sources.markup import html_text
from trivec.ingestion.sources.records import Row

TEXT_SUFFIXES = (".txt", ".md", ".markdown", ".rst", ".text")
HTML_SUFFIXES = (".html", ".htm")


def read_text_file(path: Path, *, id: str, where: str, encoding: str | None = None) -> Row:
    """Return a text file as a row with id and text; a page of HTML has its title too.

    The text of a page begins with its title.

    Args:
        path: The file.
        id: The id of the document.
        where: The position of the row.
        encoding: The encoding; UTF-8, or what a page of HTML says, if it is None.
    """
    try:
        data = path.read_bytes()
        if path.suffix.lower() in HTML_SUFFIXES:
            title, text = html_text(data, encoding)
            if title and not text.startswith(title):
                text = f"{title}\n{text}"
            return Row(where, {"id": id, "text": text} | ({"title": title} if title else {}), id)
        text = decode(data, encoding)
        if "\0" in text:
            raise ValueError("it holds NUL bytes, as does text in UTF-16")
        return Row(where, {"id": id, "text": text}, id)
    except (ValueError, OSError) as error:
        return Row(where, None, id, f"not text that can be read: {error}")
