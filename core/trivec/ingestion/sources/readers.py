"""Reading the files of a source one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from trivec.errors import InvalidOptionError
from trivec.ingestion.sources.encoding import check_encoding
from trivec.ingestion.sources.files import TABLES, SourceFile
from trivec.ingestion.sources.jsonl import read_json
from trivec.ingestion.sources.lines import Text
from trivec.ingestion.sources.opening import OpenFile
from trivec.ingestion.sources.options import SourceOptions
from trivec.ingestion.sources.parquet import open_parquet, read_parquet
from trivec.ingestion.sources.records import Records
from trivec.ingestion.sources.tables import Dialect, read_table
from trivec.ingestion.sources.texts import read_text_file

_DELIMITERS = {"csv": ",", "tsv": "\t"}
_QUOTINGS = {"csv": "csv", "tsv": "none"}
_TAB = {"tab": "\t", r"\t": "\t"}  # as a shell can say it


class _Progress(NamedTuple):
    """How much has been read, replaced as a whole, since a progress bar asks from another thread.

    Attributes:
        done (int): The bytes of the files that were read.
        size (int): The bytes of the open file.
        part (Callable[[], float | None]): Returns how much of it has been read, from 0 to 1.
    """

    done: int = 0
    size: int = 0
    part: Callable[[], float | None] = lambda: None


class Readers:
    """Opens files by their formats, all with the options of one source.

    Raises:
        InvalidOptionError: If an option is unknown.
    """

    def __init__(self, options: SourceOptions) -> None:
        encoding, delimiter, quoting = options.encoding, options.delimiter, options.quoting
        self._encoding = None if encoding is None else check_encoding(encoding)
        given = {"columns": options.columns, "delimiter": delimiter, "quoting": quoting}
        self._for_tables = [name for name, value in given.items() if value is not None]
        if delimiter is not None:
            delimiter = _TAB.get(delimiter, delimiter)
        names = None if options.columns is None else tuple(options.columns)
        if names is not None and (not names or len(set(names)) < len(names) or "" in names):
            raise InvalidOptionError(
                f"columns={list(names)}; expected distinct names, one for each column"
            )
        self._dialects = {
            format: Dialect(
                delimiter,
                _QUOTINGS[format] if quoting is None else quoting,
                default=_DELIMITERS[format],
                assumed=quoting is None and format == "tsv",
                columns=names,
                has_no_header=options.has_no_header,
            )
            for format in TABLES
        }
        self._fields = options.column_types
        self._total = 0  # bytes of all files
        self._progress = _Progress()
        self._rows = 0.0  # the fraction of a Parquet file

    def check(self, files: Sequence[SourceFile]) -> None:
        """Raise `InvalidOptionError` if an option applies to none of the files."""
        formats = sorted({file.format for file in files})
        if self._for_tables and not {*TABLES, "folder"} & set(formats):
            raise InvalidOptionError(
                f"{' and '.join(self._for_tables)} {'is' if len(self._for_tables) == 1 else 'are'} "
                f"for csv and tsv, and the format is {' and '.join(formats)}"
            )
        if self._encoding is not None and formats == ["parquet"]:
            raise InvalidOptionError("encoding is for text, and the format is parquet")

    def start(self, files: Sequence[SourceFile]) -> None:
        """Begin to count what is read of these files."""
        self._total, self._progress = sum(file.size for file in files), _Progress()

    @contextmanager
    def opened(self, file: SourceFile) -> Iterator[Records]:
        """Open a file; its rows are read inside the `with`.

        Raises:
            InvalidOptionError, InvalidDocumentError: If the file cannot be read to its end.
        """
        with self._records(file) as records:
            yield records
        self._progress = _Progress(self._progress.done + file.size)

    def fraction(self) -> float | None:
        """Return how much of all files has been read, from 0 to 1, by bytes; None if unknown."""
        if not self._total:
            return None
        progress = self._progress
        return min(1.0, (progress.done + (progress.part() or 0.0) * progress.size) / self._total)

    @contextmanager
    def _records(self, file: SourceFile) -> Iterator[Records]:
        """Open a file."""
        path, encoding = file.path, self._encoding
        if file.format == "text":
            where = file.name if file.folder else ""
            row = read_text_file(Path(path), id=file.name, where=where, encoding=encoding)
            yield Records(None, iter((row,)))
        elif file.format == "parquet":
            with open_parquet(path) as parquet:
                self._rows = 0.0
                self._progress = _Progress(self._progress.done, file.size, lambda: self._rows)
                yield read_parquet(parquet, path, done=self._set_rows)
        else:
            with OpenFile(path) as opened:
                self._progress = _Progress(self._progress.done, file.size, opened.fraction)
                text = Text(opened.stream, path, encoding=encoding)
                dialect = self._dialects.get(file.format)
                if dialect is None:
                    yield read_json(text, path, encoding=encoding)
                else:
                    fields = self._fields
                    yield read_table(text, path, dialect, fields=fields, encoding=encoding)

    def _set_rows(self, fraction: float) -> None:
        self._rows = fraction
