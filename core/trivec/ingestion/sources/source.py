"""A source of documents: files in any of the formats, standard input, or folders."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from trivec.arguments import shown
from trivec.document import Document
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.fields import FieldType, field_types
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources.encoding import visible
from trivec.ingestion.sources.files import (
    Listing,
    SourceFile,
    given_files,
    listed_files,
    passed_over,
    reason_for_nothing,
)
from trivec.ingestion.sources.members import Members
from trivec.ingestion.sources.opening import STDIN
from trivec.ingestion.sources.readers import Readers
from trivec.ingestion.sources.records import Row

_log = logging.getLogger("trivec")


class Source:
    r"""Documents from files, from standard input, or from folders.

    All members except id and text are metadata; see `metadata`. The id of a text file is its path
    below the folder, or its name. Compressed files (gzip, zstd, bzip2, xz) are recognised by their
    content.

    Args:
        path: A file; a pattern such as `corpus/*.parquet`; a folder of files of documents, or of
            text files; "-" for standard input; or a list of these, which are read in this order.
        id_field: The member that holds the id.
        text_field: The member that holds the text.
        format: One of `FORMATS`; None derives it from the name, and reads "-" as JSON. In JSON,
            there is an object on each line, or an array of objects, or an object with such an
            array.
        encoding: The encoding of text, one of Python's; None is UTF-8.
        columns: The names of the columns of CSV and TSV without a header.
        fields: Declared metadata; only CSV and TSV need the types, since their cells are text.
        delimiter: The character between the cells of CSV and TSV, or "tab"; None finds it in the
            first records.
        quoting: Whether quotes enclose cells: "csv" as in RFC 4180, the default for CSV, or "none",
            the default for TSV, in which a quote is an ordinary character.
        metadata: "nested" if the metadata is an object in the member "metadata", "flat" if it is
            all members except id and text. None derives it from the first row that has more than
            id and text; rows with another layout are rejected.
        allow_empty: Whether a source without a row is allowed.

    Raises:
        InvalidOptionError: If the file does not exist, or an option is unknown or does not apply to
            the format.

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
        path: str | Path | Sequence[str | Path],
        *,
        id_field: str = "id",
        text_field: str = "text",
        format: str | None = None,
        encoding: str | None = None,
        columns: Sequence[str] | None = None,
        fields: Mapping[str, type | FieldType] | None = None,
        delimiter: str | None = None,
        quoting: str | None = None,
        metadata: str | None = None,
        allow_empty: bool = False,
    ) -> None:
        given = [path] if isinstance(path, str | Path) else list(path)
        self._format = format
        self._given = given_files([os.fspath(each) for each in given], format)
        self._readers = Readers(
            encoding=encoding,
            columns=columns,
            delimiter=delimiter,
            quoting=quoting,
            fields=field_types(fields or {}),
        )
        self._readers.check(self._given)
        self._needed = (id_field, text_field)
        self._metadata = metadata
        self._members("jsonl")  # raises for an unknown layout
        self._allow_empty = allow_empty
        self._listing = Listing()
        self._started: Iterator[Document | Rejected] | None = None
        self._is_read = False

    @property
    def paths(self) -> tuple[str, ...]:
        """The files and the folders; "-" is standard input."""
        return tuple(file.path for file in self._given)

    def __iter__(self) -> Iterator[Document | Rejected]:
        """Yield each row as a document, or as a `Rejected` if it cannot be one.

        Raises:
            InvalidDocumentError: If the file is cut off or damaged, its columns are ambiguous, or
                wrong quotes leave open where the next record begins; the message says how much was
                read.
            InvalidOptionError: If the source is empty, or the file has another format.
        """
        started, self._started = self._started, None
        return started or self._read()

    def check(self) -> None:
        """Read up to the first row, so that a wrong file fails before other work is done.

        The next iteration yields that row too.

        Raises:
            InvalidDocumentError, InvalidOptionError: As an iteration does.
        """
        if self._started is None:
            rows = self._read()
            first = next(rows, None)
            if not any(file.is_stream for file in self._given):
                rows.close()  # the next iteration starts again
            elif first is not None:
                self._started = chain([first], rows)
            else:
                self._started = iter(())

    def documents(self) -> Iterator[Document]:
        """Yield the documents.

        Raises:
            InvalidDocumentError: If a row is not a document; the message has its position. Also if
                the file cannot be read to its end.
            InvalidOptionError: If the source is empty, or the file has another format.
        """
        for document in self:
            if isinstance(document, Rejected):
                raise InvalidDocumentError(f"{document.where}: {document.problem}")
            yield document

    def fraction(self) -> float | None:
        """Return how much has been read, from 0 to 1; None if that is unknown."""
        return 1.0 if self._is_read else self._readers.fraction()

    @property
    def passed_over(self) -> Mapping[str, int]:
        """The number of files that the last iteration skipped, by kind, such as "*.pdf"."""
        return self._listing.passed_over

    def _read(self) -> Generator[Document | Rejected]:
        listing = self._listing = listed_files(self._given, self._format)
        self._readers.start(listing.files)
        self._is_read = False
        count = 0
        for file in listing.files:
            members = self._members(file.format)
            with self._readers.opened(file) as records:
                if records.columns:
                    self._check_columns(records.columns, file.path, records.header)
                for row in records.rows:
                    count += 1
                    yield self._document(row, file, members)
        for folder, error in listing.unlisted:
            count += 1
            where = Path(error.filename).relative_to(folder).as_posix()
            problem = f"a folder that cannot be listed: {error}"
            yield Rejected(visible(f"{folder}, {where}"), problem, visible(where), readable=False)
        self._is_read = True
        if not count and not self._allow_empty:
            raise InvalidOptionError(self._nothing())
        if note := passed_over(listing):
            _log.warning("%s: %s", self._name(), note)

    def _check_columns(self, columns: Sequence[str], path: str, header: str) -> None:
        """Raise `InvalidDocumentError` if there is no column for the id or the text."""
        for name in self._needed:
            if name not in columns:
                where = f"{path}, {header}" if header else path
                raise InvalidDocumentError(
                    f"{where}: there is no column {name!r}, only "
                    f"{', '.join(map(shown, columns[:10]))}; name the columns with id_field and "
                    "text_field (--id-field, --text-field)"
                )

    def _document(self, row: Row, file: SourceFile, members: Members) -> Document | Rejected:
        problem = row.problem
        if row.values is not None:
            try:
                return members.document(row.values)
            except InvalidDocumentError as error:
                problem = str(error)
        where = file.folder or file.path
        where = visible(f"{where}, {row.where}" if row.where else where)
        return Rejected(where, problem, visible(row.content), readable=False)

    def _members(self, format: str) -> Members:
        # The names of a text file's members are fixed.
        id_field, text_field = ("id", "text") if format == "text" else self._needed
        return Members(id_field=id_field, text_field=text_field, metadata=self._metadata)

    def _name(self) -> str:
        """Return what is read, for messages."""
        first, *others = self.paths
        return f"{first} and {len(others)} more" if others else first

    def _nothing(self) -> str:
        """Return the message that nothing was read, with the reason."""
        name = "standard input" if self.paths == (STDIN,) else repr(self._name())
        return (
            f"nothing was read from {name}: {reason_for_nothing(self._given, self._listing)}; "
            "allow_empty=True (--allow-empty) allows that"
        )
