"""A source of documents: a file in any of the formats, standard input, or a folder."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Unpack

from trivec.arguments import named_options
from trivec.document import Document
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources.folder import HIDDEN, TEXT_SUFFIXES, read_folder
from trivec.ingestion.sources.jsonl import read_jsonl
from trivec.ingestion.sources.mapping import FileMapper
from trivec.ingestion.sources.opening import STDIN, OpenFile, plain_suffix
from trivec.ingestion.sources.options import ReadOptions, SourceOptions
from trivec.ingestion.sources.parquet import open_parquet, read_parquet
from trivec.ingestion.sources.records import Records
from trivec.ingestion.sources.tables import Dialect, read_table

FORMATS = ("jsonl", "csv", "tsv", "parquet", "folder")

_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}

_DELIMITERS = {"csv": ",", "tsv": "\t"}
_QUOTINGS = {"csv": "csv", "tsv": "none"}
_TAB = {"tab": "\t", r"\t": "\t"}  # as a shell can say it

_log = logging.getLogger("trivec")


class Source:
    r"""Documents from a file, from standard input, or from a folder of text files.

    All members except id and text are metadata. The id of a text file is its path
    below the folder. Text is in UTF-8.

    Args:
        path: The file, which may be compressed (.gz, .zst); a folder; or "-" for standard input.
        options: See `ReadOptions`.

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
        path: str | Path,
        **options: Unpack[ReadOptions],
    ) -> None:
        self._options = named_options(SourceOptions, "read_documents", options)
        self._path = os.fspath(path)
        self._format = _format_of(self._path, self._options.format)
        self._dialect = _dialect_of(self._format, self._options.delimiter, self._options.quoting)
        self._reported: set[str] = set()
        self._passed_over: Counter[str] = Counter()
        self._started: Iterator[Document | Rejected] | None = None
        self._file: OpenFile | None = None
        self._fraction: float | None = None

    @property
    def path(self) -> str:
        """The file or the folder; "-" for standard input."""
        return self._path

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
            if self._path != STDIN and not Path(self._path).is_fifo():
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
        if self._fraction is None and self._file is not None:
            return self._file.fraction()
        return self._fraction

    @property
    def passed_over(self) -> Mapping[str, int]:
        """The number of files that the last iteration skipped, by kind, such as "*.pdf"."""
        return self._passed_over

    def _read(self) -> Generator[Document | Rejected]:
        self._passed_over = Counter()
        count = 0
        for document in self._documents():
            count += 1
            yield document
        self._fraction = 1.0
        if not count and not self._options.allow_empty:
            raise InvalidOptionError(self._nothing())
        skipped = {kind: n for kind, n in self._passed_over.items() if kind != HIDDEN}
        if skipped:
            _log.warning("%s: passed over: %s", self._path, _counted(skipped))

    def _documents(self) -> Iterator[Document | Rejected]:
        with self._opened() as records:
            mapper = FileMapper(
                options=self._options,
                path=self._path,
                name="stdin" if self._path == STDIN else Path(self._path).name,
                format=self._format,
                report=self._report,
            )
            yield from mapper.documents(records)

    def _report(self, note: str) -> None:
        """Log what was noticed in a file, once."""
        if note not in self._reported:
            self._reported.add(note)
            _log.warning("%s: %s", self._path, note)

    @contextmanager
    def _opened(self) -> Iterator[Records]:
        if self._format == "folder":
            yield read_folder(self._path, self._passed_over)
        elif self._format == "parquet":
            with open_parquet(self._path) as parquet:
                done = partial(setattr, self, "_fraction")
                yield read_parquet(parquet, self._path, done=done)
        else:
            with OpenFile(self._path) as self._file:
                stream, path, dialect = self._file.stream, self._path, self._dialect
                if dialect is None:
                    yield read_jsonl(stream, path)
                else:
                    yield read_table(stream, path, dialect, fields=self._options.column_types)

    def _nothing(self) -> str:
        """Return the message that nothing was read, with the reason."""
        name = "standard input" if self._path == STDIN else repr(self._path)
        why = "it is empty"
        if self._format == "folder":
            why = f"a folder gives its text files, {', '.join(TEXT_SUFFIXES)}"
            if self._passed_over:
                why += f"; passed over: {_counted(self._passed_over)}"
            if any(f"*{suffix}" in self._passed_over for suffix in _SUFFIXES):
                why += "; give such files of documents one at a time"
        elif self._dialect is not None:
            why = "it holds no record under a header"
        elif self._format == "parquet":
            why = "it holds no row"
        return f"nothing was read from {name}: {why}; allow_empty=True (--allow-empty) allows that"


def read_documents(source: str | Path, **options: Unpack[ReadOptions]) -> Source:
    r"""Return the documents of a file, of standard input or of a folder, for `ingest`.

    Nothing is read before they are asked for. Rows that cannot be documents come as `Rejected`.

    Args:
        source: The file; a folder; or "-" for standard input.
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


def _counted(kinds: Mapping[str, int]) -> str:
    """Return the number of each kind as text, the most frequent first.

    >>> _counted({"*.pdf": 3, "hidden": 12})
    '12 hidden, 3 *.pdf'
    """
    most = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    texts = [f"{count} {kind}" for kind, count in most[:8]]
    if rest := sum(count for _, count in most[8:]):
        texts.append(f"{rest} others")
    return ", ".join(texts)


def _dialect_of(format: str, delimiter: str | None, quoting: str | None) -> Dialect | None:
    """Return the dialect of a table; None if the format is not a table."""
    if format not in _DELIMITERS:
        if delimiter is not None or quoting is not None:
            raise InvalidOptionError(
                f"delimiter and quoting are for csv and tsv, and the format is {format}"
            )
        return None
    return Dialect(
        _DELIMITERS[format] if delimiter is None else _TAB.get(delimiter, delimiter),
        _QUOTINGS[format] if quoting is None else quoting,
        assumed=quoting is None,
    )


def _format_of(path: str, format: str | None) -> str:
    if format not in (None, *FORMATS):
        raise InvalidOptionError(f"format={format!r}; expected one of {', '.join(FORMATS)}")
    if path == STDIN:
        if format in ("parquet", "folder"):
            raise InvalidOptionError(f"standard input cannot be read as {format}")
        return format or "jsonl"
    if not Path(path).exists():
        raise InvalidOptionError(f"there is no file {path!r}")
    if format is None:
        if Path(path).is_dir():
            return "folder"
        format = _SUFFIXES.get(plain_suffix(path))
        if format is None:
            raise InvalidOptionError(
                f"the format of {path!r} is not clear from its name; "
                f"say which of {', '.join(FORMATS)} it is"
            )
    if format == "folder" and not Path(path).is_dir():
        raise InvalidOptionError(f"{path!r} is not a folder")
    return format
