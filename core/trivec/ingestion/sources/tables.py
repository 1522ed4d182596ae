"""The records of a table in CSV or TSV."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import NamedTuple

from trivec.arguments import shown
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.fields import FieldType
from trivec.ingestion.sources.cells import typed
from trivec.ingestion.sources.delimiters import DELIMITERS, delimiter_of, excel_delimiter
from trivec.ingestion.sources.encoding import undecodable
from trivec.ingestion.sources.lines import Text
from trivec.ingestion.sources.records import Records, Row, distinct_columns

QUOTINGS = ("csv", "none")

MAX_RECORD = 16 * 1024 * 1024
"""The maximum characters of a record over several lines; an unclosed quote fills no memory."""

_HEAD_LINES = 1000  # that decide on the delimiter; a record may take several

_MSMARCO = (
    "read as MS MARCO: a table of id and text without a header; preset='none' (--preset none) "
    "turns this off"
)

_log = logging.getLogger("trivec")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table separates its cells, and which columns it has.

    Args:
        delimiter: The character between two cells; None finds it in the first records.
        quoting: "csv": cells may be enclosed in double quotes, and may then contain delimiters,
            line ends and doubled quotes (RFC 4180). "none": a quote is an ordinary character, and
            a line is a record (text/tab-separated-values of IANA).
        default: The delimiter of the format.
        assumed: Whether `quoting` was not given but follows from the format.
        columns: The names of the columns of a table without a header.
        has_no_header: Returns whether the cells of a first record are recognised as id and text.
    """

    delimiter: str | None
    quoting: str
    default: str = ","
    assumed: bool = False
    columns: tuple[str, ...] | None = None
    has_no_header: Callable[[Sequence[str]], bool] | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n\0'):
            raise InvalidOptionError(
                f"delimiter={self.delimiter!r}; expected one character, not a quote or a line end"
            )
        if self.quoting not in QUOTINGS:
            raise InvalidOptionError(
                f"quoting={self.quoting!r}; expected one of {', '.join(QUOTINGS)}"
            )


class _Record(NamedTuple):
    """The lines of one record, and its cells, or the reason why its quotes are wrong."""

    first: int
    last: int
    raw: str
    cells: list[str]
    broken: str = ""

    @property
    def where(self) -> str:
        if self.first == self.last:
            return f"line {self.first}"
        return f"lines {self.first} to {self.last}"


def read_table(
    text: Text,
    path: str,
    dialect: Dialect,
    *,
    fields: Mapping[str, FieldType],
    encoding: str | None = None,
) -> Records:
    """Return one row per record below the header.

    Args:
        text: The text.
        path: The name of the file in errors.
        dialect: How cells are separated.
        fields: The types of cells; cells of other columns are text.
        encoding: The encoding that was given, for errors.

    Raises:
        InvalidDocumentError: If two columns have the same name, or, while the rows are read, if
            wrong quotes leave open where the next record begins. The message says how many records
            were read.
        InvalidOptionError: If the delimiter is not clear.
    """
    lines = _Lines(text, dialect.quoting)
    delimiter = _delimiter(lines, path, dialect)
    if delimiter is None:
        return Records((), iter(()))
    records = _records(lines, delimiter, dialect.quoting)
    header, position = dialect.columns, ""
    if header is None:
        head = next((r for r in records if r.broken or any(map(str.strip, r.cells))), None)
        if head is None:
            return Records((), iter(()))
        if dialect.has_no_header is not None and dialect.has_no_header(head.cells):
            dialect = replace(dialect, columns=("id", "text"))
            table = _Table(path, dialect, ("id", "text"), fields, encoding)
            return Records(dialect.columns, table.rows(chain([head], records)), note=_MSMARCO)
        header, position = _header(head, path, dialect, delimiter, encoding), head.where
    table = _Table(path, dialect, header, fields, encoding)
    return Records(header, table.rows(records), position)


class _Table:
    """Makes rows of records."""

    def __init__(
        self,
        path: str,
        dialect: Dialect,
        header: Sequence[str],
        fields: Mapping[str, FieldType],
        encoding: str | None,
    ) -> None:
        self._path = path
        self._dialect = dialect
        self._header = list(header)
        self._types = [(name, fields[name]) for name in header if name in fields]
        self._encoding = encoding

    def rows(self, records: Iterator[_Record]) -> Iterator[Row]:
        """Yield one row per record that is not blank."""
        header, width, read, enclosed = self._header, len(self._header), 0, 0
        plain, types = self._dialect.quoting == "none", self._types
        for record in records:
            content, cells = record.raw, record.cells
            if not content:
                continue
            is_fit = not record.broken and len(cells) == width and cells[-1] != header[-1]
            problem = "" if is_fit else record.broken or self._misfit(cells)
            # A wrong quote may have joined several records into one that spans several lines.
            if problem and (record.broken or record.last > record.first):
                problem = _lost(problem, read)
                yield Row(record.where, None, content, problem)
                raise InvalidDocumentError(f"{self._path}, {record.where}: {problem}")
            if problem:
                if plain and '"' in content:
                    problem += (
                        "; if quotes enclose cells in this file, give quoting='csv' (--quoting csv)"
                    )
                yield Row(record.where, None, content, problem)
                continue
            read += 1
            if plain and self._dialect.assumed and '"' in content:
                enclosed += any(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells)
            if content.isascii() and not types and "\0" not in content:  # the quick way
                yield Row(record.where, dict(zip(header, cells, strict=True)), content)
            else:
                yield self._row(record, content)
        if enclosed:
            _log.warning(
                "%s: quotes around cells were kept as they are (records: %d); if they only enclose "
                "the cells, give quoting='csv' (--quoting csv)",
                self._path,
                enclosed,
            )

    def _row(self, record: _Record, content: str) -> Row:
        where = record.where
        if not content.isascii() and (problem := undecodable(content, self._encoding)):
            return Row(where, None, content, problem)
        if "\0" in content:
            return Row(where, None, content, "a NUL byte, which is not text")
        values: dict[str, object] = dict(zip(self._header, record.cells, strict=True))
        try:
            for name, type_ in self._types:
                values[name] = typed(str(values[name]), name, type_)
        except ValueError as error:
            return Row(where, None, content, str(error))
        return Row(where, values, content)

    def _misfit(self, cells: list[str]) -> str:
        """Return why cells do not match the header, or ""."""
        header = self._header
        if len(cells) != len(header):
            names = "columns names" if self._dialect.columns else "the header has"
            return f"{len(cells)} cells, {names} {len(header)}"
        if cells[1:] == header[1:] and cells[0].removeprefix("\ufeff") == header[0]:
            return "the header again, as in files that were joined"
        return ""


def _lost(problem: str, read: int) -> str:
    """Return a message that the rest of a file cannot be read, with the number of records read."""
    records = "1 record before it was" if read == 1 else f"{read} records before it were"
    return (
        f"{problem}; where the next record begins is not certain, so {records} read, and nothing "
        "after it; correct the quotes, or give quoting='none' (--quoting none) if a quote is a "
        "character like others in this file"
    )


# --- records -----------------------------------------------------------------------------------


class _Lines:
    """The lines of a table, of which those of a record with quotes are kept."""

    def __init__(self, text: Text, quoting: str) -> None:
        self._batches = iter(text)
        self._is_quoted = quoting == "csv"
        self._batch: list[str] = []
        self._next = 0  # in the batch
        self._end = text.end
        self._kept: list[str] = []
        self._size = 0
        self.number = 0  # of the last line that was read

    def ahead(self) -> list[str]:
        """Return the first lines that are not blank, without reading them."""
        while True:
            lines = self._batch[self._next :]
            if any(line.strip(_NO_NAME) for line in lines):
                break
            batch = next(self._batches, None)
            if batch is None:
                return []
            self._batch, self._next = lines + batch, 0
        first = next(i for i, line in enumerate(lines) if line.strip(_NO_NAME))
        return lines[first : first + _HEAD_LINES]

    def skip(self) -> None:
        """Leave out all lines up to the first that is not blank, and this line."""
        first = self.ahead()[0]
        skipped = self._batch.index(first, self._next) + 1 - self._next
        self._next += skipped
        self.number += skipped

    def run(self, is_record: Callable[[str], object]) -> tuple[int, list[str]]:
        """Read the next lines that are a record each, and return the number of the first of them.

        Args:
            is_record: Whether a line with quotes is a record.
        """
        while self._next == len(self._batch):
            if not self._more():
                return self.number, []
        start = stop = self._next
        if self._is_quoted:
            for line in islice(self._batch, start, None):
                if '"' in line and (len(line) > MAX_RECORD or not is_record(line)):
                    break
                stop += 1
        else:
            stop = len(self._batch)
        lines = self._batch[start:stop]
        first = self.number + 1
        self._next, self.number = stop, self.number + len(lines)
        return first, lines

    def _more(self) -> bool:
        """Get the next lines; return False at the end."""
        self._batch, self._next = next(self._batches, []), 0
        return bool(self._batch)

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        """Return the next line with its end, and keep it for `record`."""
        if self._size > MAX_RECORD:
            raise csv.Error(f"the record is longer than {MAX_RECORD} characters")
        if self._next == len(self._batch) and not self._more():
            raise StopIteration
        line = self._batch[self._next] + self._end
        self._next += 1
        self.number += 1
        self._size += len(line)
        self._kept.append(line)
        return line

    def record(self) -> tuple[int, str]:
        """Return the number of the first line since the last record, and these lines."""
        first, raw = self.number - len(self._kept) + 1, "".join(self._kept)
        self._kept, self._size = [], 0
        return first, raw


_NO_NAME = "".join((*DELIMITERS, '" \r\ufeff'))
"""The characters of a line above the header that names nothing."""


def _delimiter(lines: _Lines, path: str, dialect: Dialect) -> str | None:
    """Return the delimiter that was given or found; None for a table without a line."""
    ahead = lines.ahead()
    if not ahead:
        return None
    named = excel_delimiter(ahead[0]) if dialect.default == "," else None
    if named is not None and dialect.delimiter in (None, named):
        lines.skip()
        return named if lines.ahead() else None
    if dialect.delimiter is not None:
        return dialect.delimiter
    if dialect.default != "," and dialect.default in ahead[0]:
        return dialect.default
    columns = None if dialect.columns is None else len(dialect.columns)
    quoted = dialect.quoting == "csv" or dialect.default != ","
    found = delimiter_of(ahead, path, default=dialect.default, quoted=quoted, columns=columns)
    if dialect.default != "," and found != dialect.default:  # the format names its delimiter
        raise InvalidDocumentError(
            f"{path}, line {lines.number + 1}: there is no {dialect.default!r} in "
            f"{shown(ahead[0])}; give delimiter={found!r} (--delimiter)"
        )
    return found


def _records(lines: _Lines, delimiter: str, quoting: str) -> Iterator[_Record]:
    """Yield records; a line without quotes is one record, and a record with wrong quotes the last.

    `csv` finds the end of a record with quotes. But in a cell that does not begin with a quote, it
    takes a quote for an ordinary character, while other programs take it for an opening quote.
    """
    csv.field_size_limit(max(MAX_RECORD, csv.field_size_limit()))
    mark = re.escape(delimiter)
    cell = rf'(?:"[^"]*+(?:""[^"]*+)*+"|[^"\r\n{mark}]*+)'
    is_valid = re.compile(rf"{cell}(?:{mark}{cell})*+(?:\r\n|\n|\r)?").fullmatch
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    is_quoted = quoting == "csv"
    while True:
        first, run = lines.run(is_valid)
        quoted = csv.reader((line for line in run if '"' in line), delimiter=delimiter)
        for number, line in enumerate(run, first):
            raw = line[:-1] if line[-1:] == "\r" else line
            cells = next(quoted) if is_quoted and '"' in line else raw.split(delimiter)
            yield _Record(number, number, raw, cells)
        if run:
            continue
        cells = []
        broken = ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            broken = f"not CSV: {error}"
        first, raw = lines.record()
        if not broken and not is_valid(raw):
            broken = "not CSV: a quote stands inside a cell that does not begin with one"
        raw = raw.removesuffix("\n").removesuffix("\r")
        yield _Record(first, lines.number, raw, cells, broken)
        if broken:
            return


# --- header ------------------------------------------------------------------------------------


def _header(
    record: _Record, path: str, dialect: Dialect, delimiter: str, encoding: str | None
) -> tuple[str, ...]:
    """Return the names of the columns, or raise `InvalidDocumentError`."""
    where = f"{path}, {record.where}"
    if record.broken:
        raise InvalidDocumentError(f"{where}: {record.broken}; nothing was read")
    if problem := undecodable(record.raw, encoding):
        raise InvalidDocumentError(f"{where}: the header is {problem}")
    names, remedy = record.cells, ""
    if dialect.assumed and all(len(name) > 1 and name[0] == name[-1] == '"' for name in names):
        remedy = "give quoting='csv' (--quoting csv)"
    if len(names) == 1 and dialect.delimiter is not None:
        other = next((d for d in DELIMITERS if d != delimiter and d in names[0]), None)
        remedy = f"give delimiter={other!r} (--delimiter)" if other else remedy
    if remedy:
        raise InvalidDocumentError(
            f"{where}: the columns are named {', '.join(map(shown, names[:10]))}; {remedy}"
        )
    return distinct_columns(names, where)
