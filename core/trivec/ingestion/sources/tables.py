"""The records of a table in CSV or TSV."""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from io import BufferedIOBase
from itertools import chain

from trivec.arguments import shown
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.fields import FieldType
from trivec.ingestion.sources.lines import read_lines, utf8, without_end
from trivec.ingestion.sources.records import Records, Row, distinct_columns

QUOTINGS = ("csv", "none")

MAX_RECORD = 16 * 1024 * 1024
"""The maximum characters of a record over several lines; an unclosed quote fills no memory."""

_log = logging.getLogger("trivec")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table separates its cells.

    Args:
        delimiter: The character between two cells.
        quoting: "csv": cells may be enclosed in double quotes, and may then contain delimiters,
            line ends and doubled quotes (RFC 4180). "none": a quote is an ordinary character, and
            a line is a record (text/tab-separated-values of IANA).
        assumed: Whether `quoting` was not given but follows from the format.
    """

    delimiter: str
    quoting: str
    assumed: bool = False

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n\0':
            raise InvalidOptionError(
                f"delimiter={self.delimiter!r}; expected one character, not a quote or a line end"
            )
        if self.quoting not in QUOTINGS:
            raise InvalidOptionError(
                f"quoting={self.quoting!r}; expected one of {', '.join(QUOTINGS)}"
            )


@dataclass(frozen=True, slots=True)
class _Record:
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
    stream: BufferedIOBase, path: str, dialect: Dialect, *, fields: Mapping[str, FieldType]
) -> Records:
    """Return one row per record below the header.

    Args:
        stream: The bytes.
        path: The name of the file in errors.
        dialect: How cells are separated.
        fields: The types of cells; cells of other columns are text.

    Raises:
        InvalidDocumentError: If two columns have the same name, or, while the rows are read, if
            wrong quotes leave open where the next record begins. The message says how many records
            were read.
    """
    records = _records(read_lines(stream, path), dialect)
    head = next((r for r in records if r.broken or any(map(str.strip, r.cells))), None)
    if head is None:
        return Records((), iter(()))
    header = _header(head, path, dialect)
    return Records(header, _rows(records, header, path, dialect, fields), head.where)


def _rows(
    records: Iterator[_Record],
    columns: tuple[str, ...],
    path: str,
    dialect: Dialect,
    fields: Mapping[str, FieldType],
) -> Iterator[Row]:
    header = list(columns)
    read = enclosed = 0
    for record in records:
        content = without_end(record.raw)
        if not content:
            continue
        problem = record.broken or _misfit(record.cells, header)
        # A wrong quote may have joined several records into one that spans several lines.
        if problem and (record.broken or record.last > record.first):
            problem = _lost(problem, read)
            yield Row(record.where, None, content, problem)
            raise InvalidDocumentError(f"{path}, {record.where}: {problem}")
        if problem:
            if dialect.quoting == "none" and '"' in record.raw:
                problem += (
                    "; if quotes enclose cells in this file, give quoting='csv' (--quoting csv)"
                )
            yield Row(record.where, None, content, problem)
            continue
        read += 1
        if dialect.assumed and dialect.quoting == "none" and '"' in record.raw:
            enclosed += any(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in record.cells)
        yield _row(record, header, fields, content)
    if enclosed:
        _log.warning(
            "%s: quotes around cells were kept as they are (records: %d); if they only enclose "
            "the cells, give quoting='csv' (--quoting csv)",
            path,
            enclosed,
        )


def _misfit(cells: list[str], header: list[str]) -> str:
    """Return why cells do not match the header, or ""."""
    if len(cells) != len(header):
        return f"{len(cells)} cells, the header has {len(header)}"
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


def _row(record: _Record, header: list[str], fields: Mapping[str, FieldType], content: str) -> Row:
    try:
        utf8(record.raw)
    except UnicodeDecodeError as error:
        problem = f"not in UTF-8, convert the file with iconv: {error}"
        return Row(record.where, None, content, problem)
    if "\0" in record.raw:
        return Row(record.where, None, content, "a NUL byte, which is not text")
    try:
        cells = zip(header, record.cells, strict=True)
        values = {name: _typed(cell, name, fields.get(name)) for name, cell in cells}
    except ValueError as error:
        return Row(record.where, None, content, str(error))
    return Row(record.where, values, content)


# --- records -----------------------------------------------------------------------------------


class _Lines:
    """Numbered lines, of which those of the current record are kept."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._kept: list[str] = []
        self._size = 0
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._size > MAX_RECORD:
            raise csv.Error(f"the record is longer than {MAX_RECORD} characters")
        line = next(self._lines)
        self.number += 1
        self._size += len(line)
        self._kept.append(line)
        return line

    def record(self, cells: list[str], broken: str = "") -> _Record:
        """Make a record of the lines since the last record."""
        first, raw = self.number - len(self._kept) + 1, "".join(self._kept)
        self._kept, self._size = [], 0
        return _Record(first, self.number, raw, cells, broken)


def _records(lines: Iterator[str], dialect: Dialect) -> Iterator[_Record]:
    """Yield records; a line without quotes is one record, and a record with wrong quotes the last.

    `csv` finds the end of a record with quotes. But in a cell that does not begin with a quote, it
    takes a quote for an ordinary character, while other programs take it for an opening quote.
    """
    csv.field_size_limit(max(MAX_RECORD, csv.field_size_limit()))
    cell = rf'(?:"[^"]*+(?:""[^"]*+)*+"|[^"\r\n{re.escape(dialect.delimiter)}]*+)'
    valid = re.compile(rf"{cell}(?:{re.escape(dialect.delimiter)}{cell})*+(?:\r\n|\n|\r)?")
    kept = _Lines(lines)
    for line in kept:
        if dialect.quoting == "none" or '"' not in line:
            yield kept.record(without_end(line).split(dialect.delimiter))
            continue
        cells: list[str] = []
        broken = ""
        try:
            cells = next(csv.reader(chain([line], kept), delimiter=dialect.delimiter, strict=True))
        except csv.Error as error:
            broken = f"not CSV: {error}"
        record = kept.record(cells, broken)
        if not broken and not valid.fullmatch(record.raw):
            broken = "not CSV: a quote stands inside a cell that does not begin with one"
        yield replace(record, broken=broken)
        if broken:
            return


# --- header and cells --------------------------------------------------------------------------


def _header(record: _Record, path: str, dialect: Dialect) -> tuple[str, ...]:
    """Return the names of the columns, or raise `InvalidDocumentError`."""
    where = f"{path}, {record.where}"
    remedy = _remedy(record, dialect)
    if record.broken:
        raise InvalidDocumentError(f"{where}: {record.broken}; {remedy or 'nothing was read'}")
    try:
        utf8(record.raw)
    except UnicodeDecodeError as error:
        raise InvalidDocumentError(
            f"{where}: the header is not in UTF-8, convert the file with iconv: {error}"
        ) from error
    if remedy:
        raise InvalidDocumentError(
            f"{where}: the columns are named {', '.join(map(shown, record.cells[:10]))}; {remedy}"
        )
    return distinct_columns(record.cells, where)


def _remedy(record: _Record, dialect: Dialect) -> str:
    """Return the option with which the header has names without delimiters and quotes, or ""."""
    raw = without_end(record.raw)
    if dialect.delimiter not in raw:
        for delimiter in (",", ";", "\t", "|"):
            if delimiter in raw:
                return f"give delimiter={delimiter!r} (--delimiter)"
    if dialect.assumed and all(len(c) > 1 and c[0] == c[-1] == '"' for c in record.cells):
        return "give quoting='csv' (--quoting csv)"
    return ""


def _typed(cell: str, name: str, type_: FieldType | None) -> object:
    """Parse a cell as the type of a declared field; an empty cell is null, except as text."""
    if type_ in (None, FieldType.STR):
        return cell
    if not cell.strip():
        return None
    try:
        match type_:
            case FieldType.INT | FieldType.FLOAT if "_" in cell:
                raise ValueError(cell)  # only Python reads 1_0 as a number
            case FieldType.INT:
                return int(cell)
            case FieldType.FLOAT:
                return float(cell)
            case FieldType.BOOL:
                return {"true": True, "1": True, "false": False, "0": False}[cell.strip().lower()]
            case FieldType.LIST_STR | FieldType.LIST_INT:
                items = json.loads(cell)
                if not isinstance(items, list):
                    raise ValueError(cell)
                return items
            case _:
                return cell
    except (ValueError, KeyError, RecursionError) as error:
        raise ValueError(f"{name!r} is declared {type_}, got {shown(cell)}") from error
