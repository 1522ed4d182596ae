"""A file of documents, in any of the formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from trivec.document import Document
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.fields import FieldType
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources.formats import Row, read_csv, read_folder, read_jsonl, read_parquet
from trivec.ingestion.sources.opening import STDIN, OpenFile, plain_suffix

__all__ = ["FORMATS", "Source", "document_of"]

FORMATS = ("jsonl", "csv", "tsv", "parquet", "folder")

_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}


class Source:
    r"""Documents from a file, from standard input, or from a folder of text files.

    What is not id or text is metadata. A row whose only other member is an object named
    "metadata" gives that object. Text files have their path below the folder as id.

    Args:
        path: The file, also gz or zst; a folder; or "-" for standard input.
        id_field: The member that holds the id.
        text_field: The member that holds the text.
        format: One of `FORMATS`; None goes by the name, and takes "-" for JSON Lines.
        fields: Declared metadata; only CSV, which knows nothing but text, needs the types.

    Raises:
        InvalidOptionError: If there is no such file, or its format is unknown.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     _ = file.write('{"id": 7, "text": "blue whale", "lang": "en"}\n{"id"\n')
        ...     file.flush()
        ...     first, second = Source(file.name)
        >>> first
        Document(id='7', text='blue whale', metadata={'lang': 'en'})
        >>> second.where.partition(", ")[2]
        'line 2'
    """

    def __init__(
        self,
        path: str,
        *,
        id_field: str = "id",
        text_field: str = "text",
        format: str | None = None,
        fields: Mapping[str, FieldType] | None = None,
    ) -> None:
        self._path = path
        self._id_field = id_field
        self._text_field = text_field
        self._format = _format_of(path, format)
        self._fields = fields or {}
        self._file: OpenFile | None = None
        self._fraction: float | None = None

    def __iter__(self) -> Iterator[Document | Rejected]:
        """Yield each row as a document, or as what cannot be one.

        Raises:
            InvalidDocumentError: If the file is cut off or damaged, or its columns are not clear;
                the message names it.
        """
        for row in self._rows():
            yield self._document(row)
        self._fraction = 1.0

    def documents(self) -> Iterator[Document]:
        """Yield the documents.

        Raises:
            InvalidDocumentError: If a row is none; the message says where it stands. Also if
                the file cannot be read to its end.
        """
        for document in self:
            if isinstance(document, Rejected):
                raise InvalidDocumentError(f"{document.where}: {document.problem}")
            yield document

    def fraction(self) -> float | None:
        """Return how much has been read, from 0 to 1; None if nobody knows."""
        if self._fraction is None and self._file is not None:
            return self._file.fraction()
        return self._fraction

    def _rows(self) -> Iterator[Row]:
        if self._format == "folder":
            yield from read_folder(self._path)
        elif self._format == "parquet":
            yield from read_parquet(self._path, partial(setattr, self, "_fraction"))
        else:
            with OpenFile(self._path) as file:
                self._file = file
                if self._format == "jsonl":
                    yield from read_jsonl(file.stream)
                else:
                    delimiter = "," if self._format == "csv" else "\t"
                    yield from read_csv(
                        file.stream, self._path, delimiter=delimiter, fields=self._fields
                    )

    def _document(self, row: Row) -> Document | Rejected:
        where = f"{self._path}, {row.where}"
        values, problem = row.values, row.problem
        # The members of text files are ours.
        own = self._format == "folder"
        id_field = "id" if own else self._id_field
        text_field = "text" if own else self._text_field
        if values is not None:
            try:
                return document_of(values, id_field=id_field, text_field=text_field)
            except InvalidDocumentError as error:
                problem = str(error)
        return Rejected(where, problem, row.content, readable=False)


def document_of(values: Mapping[str, Any], *, id_field: str, text_field: str) -> Document:
    """Make a document of a row; what is not id or text is metadata.

    Args:
        values: The members. If the only other one is an object named "metadata", that is it.
        id_field: The member that holds the id; a number becomes text.
        text_field: The member that holds the text.

    Raises:
        InvalidDocumentError: If it is none.

    >>> document_of({"n": 7, "text": "", "metadata": {"a": 1}}, id_field="n", text_field="text")
    Document(id='7', text='', metadata={'a': 1})
    """
    if id_field not in values or text_field not in values:
        raise InvalidDocumentError(f"expected an object with {id_field!r} and {text_field!r}")
    rest = {name: value for name, value in values.items() if name not in (id_field, text_field)}
    one = values[id_field]
    name = str(one) if type(one) is int else one  # True is no number
    metadata = rest["metadata"] if list(rest) == ["metadata"] else rest
    return Document(name, values[text_field], metadata)


def _format_of(path: str, format: str | None) -> str:
    if format is None:
        if path != STDIN and Path(path).is_dir():
            return "folder"
        format = "jsonl" if path == STDIN else _SUFFIXES.get(plain_suffix(path), "")
        if not format:
            if not Path(path).exists():
                raise InvalidOptionError(f"there is no file {path!r}")
            raise InvalidOptionError(
                f"the format of {path!r} is not clear from its name; "
                f"say which of {', '.join(FORMATS)} it is"
            )
    if format not in FORMATS:
        raise InvalidOptionError(f"format={format!r}; expected one of {', '.join(FORMATS)}")
    if path == STDIN and format in ("parquet", "folder"):
        raise InvalidOptionError(f"standard input cannot be read as {format}")
    if path != STDIN and not Path(path).exists():
        raise InvalidOptionError(f"there is no file {path!r}")
    return format
