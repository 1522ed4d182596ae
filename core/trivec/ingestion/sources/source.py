"""A source of documents: files in any of the formats, standard input, or folders."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Unpack

from trivec.arguments import expect, named_options
from trivec.document import Document
from trivec.errors import InvalidOptionError
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources.encoding import visible
from trivec.ingestion.sources.files import (
    Listing,
    given_files,
    listed_files,
    passed_over,
    reason_for_nothing,
)
from trivec.ingestion.sources.mapping import FileMapper
from trivec.ingestion.sources.opening import STDIN
from trivec.ingestion.sources.options import ReadOptions, SourceOptions
from trivec.ingestion.sources.readers import Readers

_log = logging.getLogger("trivec")


class Source:
    r"""Documents from files, from standard input, or from folders.

    The keyword options are those of `ReadOptions`. All members except id and text are metadata.
    The id of a text file is its path below the folder, or its name. Compressed files (gzip, zstd,
    bzip2, xz) are recognised by their content.

    Args:
        path: A file; a pattern such as `corpus/*.parquet`; a folder of files of documents, or of
            text files; "-" for standard input; or a list of these, which are read in this order.

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
        **options: Unpack[ReadOptions],
    ) -> None:
        self._options = options_ = named_options(SourceOptions, "read_documents", options)
        self._given = given_files(_paths(path), options_.format)
        self._readers = Readers(options_)
        self._readers.check(self._given)
        self._reported: set[str] = set()
        self._listing = Listing()
        self._started: Iterator[Document | Rejected] | None = None
        self._is_read = False
        self._mapper: FileMapper | None = None

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
                raise document.error
            yield document

    def fraction(self) -> float | None:
        """Return how much has been read, from 0 to 1; None if that is unknown."""
        return 1.0 if self._is_read else self._readers.fraction()

    @property
    def position(self) -> str:
        """The file and the line of the document that was yielded last, or ""."""
        mapper = self._mapper
        return "" if mapper is None or mapper.row is None else mapper.position(mapper.row)

    @property
    def passed_over(self) -> Mapping[str, int]:
        """The number of files that the last iteration skipped, by kind, such as "*.pdf"."""
        return self._listing.passed_over

    def _read(self) -> Generator[Document | Rejected]:
        rows_named = self._options.id == "row"
        listing = listed_files(self._given, self._options.format, rows_named=rows_named)
        self._listing = listing
        self._is_read = False
        count = 0
        for document in self._documents(listing):
            count += 1
            yield document
        self._is_read = True
        if not count and not self._options.allow_empty:
            raise InvalidOptionError(self._nothing())
        if note := passed_over(listing):
            _log.warning("%s: %s", self._name(), note)

    def _documents(self, listing: Listing) -> Iterator[Document | Rejected]:
        self._readers.start(listing.files)
        for file in listing.files:
            mapper = FileMapper(
                options=self._options,
                path=file.place,
                name=file.name,
                format=file.format,
                report=partial(self._report, file.path),
            )
            self._mapper = mapper
            with self._readers.opened(file) as records:
                yield from mapper.documents(records)
        for folder, error in listing.unlisted:
            where = Path(error.filename).relative_to(folder).as_posix()
            problem = f"a folder that cannot be listed: {error}"
            yield Rejected(visible(f"{folder}, {where}"), problem, visible(where), readable=False)

    def _report(self, path: str, note: str) -> None:
        """Log what was noticed in a file, once for all files in which it is the same."""
        if note not in self._reported:
            self._reported.add(note)
            _log.warning("%s: %s", path, note)

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


def _paths(path: str | Path | Sequence[str | Path]) -> list[str]:
    """Return the paths as text, or raise `InvalidOptionError`."""
    expected = "a path, or a list of paths"
    expect(path, (str, Path, Iterable), "source", expected)
    paths = [path] if isinstance(path, str | Path) else list(path)
    for each in paths:
        expect(each, (str, os.PathLike), "source", expected)
    return [os.fspath(each) for each in paths]


def read_documents(
    source: str | Path | Sequence[str | Path], **options: Unpack[ReadOptions]
) -> Source:
    r"""Return the documents of files, of standard input or of folders, for `ingest`.

    Nothing is read before they are asked for. Rows that cannot be documents come as `Rejected`.

    Args:
        source: A file, a pattern such as `corpus/*.parquet`, a folder, "-" for standard input, or
            a list of these.
        options: See `trivec.ingestion.sources.ReadOptions`.

    Returns:
        A `Source`, which can be read several times; `Source.documents` raises at the first reject.

    Raises:
        InvalidOptionError: If the file does not exist, or an option is unknown, out of range or not
            one of the format.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     _ = file.write('{"key": 7, "title": "Whales", "body": "The blue whale"}\n')
        ...     file.flush()
        ...     options = {"id_field": "key", "text_field": ["title", "body"], "drop": ["title"]}
        ...     list(read_documents(file.name, **options))
        [Document(id='7', text='Whales\nThe blue whale', metadata={})]
    """
    return Source(source, **options)
