"""Text files: each one is a document."""

from __future__ import annotations

from pathlib import Path

from trivec.errors import MissingDependencyError, TrivecError
from trivec.ingestion.sources.encoding import decode
from trivec.ingestion.sources.markup import html_text
from trivec.ingestion.sources.opening import OpenFile, plain_suffix
from trivec.ingestion.sources.records import Row

TEXT_SUFFIXES = (".txt", ".md", ".markdown", ".rst", ".text")
HTML_SUFFIXES = (".html", ".htm")


def read_text_file(path: Path, *, id: str, where: str, encoding: str | None = None) -> Row:
    """Return a text file as a row with id and text; a page of HTML has its title too.

    The text of a page begins with its title.

    Args:
        path: The file, which may be compressed.
        id: The id of the document.
        where: The position of the row.
        encoding: The encoding; UTF-8, or what a page of HTML says, if it is None.

    Raises:
        MissingDependencyError: If a package that it needs is not installed.
    """
    try:
        with OpenFile(str(path)) as file:
            data = file.stream.read()
        if plain_suffix(str(path)) in HTML_SUFFIXES:
            title, text = html_text(data, encoding)
            if title and not text.startswith(title):
                text = f"{title}\n{text}"
            return Row(where, {"id": id, "text": text} | ({"title": title} if title else {}), id)
        text = decode(data, encoding)
        if "\0" in text:
            raise ValueError("it holds NUL bytes, as does text in UTF-16")
        return Row(where, {"id": id, "text": text}, id)
    except MissingDependencyError:
        raise
    except (ValueError, TrivecError) as error:
        return Row(where, None, id, f"not text that can be read: {error}")
