"""The rows of a file in each format, with where they stand in it."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, BinaryIO

from trivec.errors import InvalidDocumentError, InvalidOptionError, MissingDependencyError
from trivec.fields import FieldType

__all__ = ["Row", "json_value", "read_csv", "read_folder", "read_jsonl", "read_parquet"]

TEXT_SUFFIXES = (".txt", ".md", ".rst", ".text")
PARQUET_ROWS = 256


@dataclass(frozen=True, slots=True)
class Row:
    """One row: where it stands, its members, or what is wrong with it and how it reads."""

    where: str
    values: dict[str, Any] | None
    content: str
    problem: str = ""


def read_jsonl(stream: BinaryIO) -> Iterator[Row]:
    """Yield one row per line that is not blank; each line is decoded on its own."""
    for number, line in enumerate(stream, start=1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.strip():
            continue
        where, content = f"line {number}", line.decode(errors="replace").rstrip("\r\n")
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:  # no JSON, or no UTF-8
            yield Row(where, None, content, f"not JSON: {error}")
            continue
        if isinstance(values, dict):
            yield Row(where, values, content)
        else:
            yield Row(where, None, content, "expected an object")


def read_csv(
    stream: BinaryIO, path: str, *, delimiter: str, fields: Mapping[str, FieldType]
) -> Iterator[Row]:
    """Yield one row per record under a header; cells of declared fields get their type.

    Raises:
        InvalidDocumentError: If two columns have the same name; the message has the path.
    """
    csv.field_size_limit(2**31 - 1)  # the default of 128 KiB is less than a book
    # A byte that is no UTF-8 becomes a lone surrogate, which no document may hold: only its row
    # is refused, instead of the file.
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    records = csv.reader(text, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        try:
            record = next(records, None)
        except csv.Error as error:
            yield Row(f"line {records.line_num}", None, "", f"not CSV: {error}")
            continue
        if record is None:
            text.detach()
            return
        if header is None:
            if any(name.strip() for name in record):
                header = record
                _check_names(header, f"{path}, line {records.line_num}")
            continue
        if not record:
            continue
        where = f"line {records.line_num}"
        content = json.dumps(record, ensure_ascii=True)
        if len(record) != len(header):
            yield Row(where, None, content, f"{len(record)} cells, the header has {len(header)}")
            continue
        try:
            cells = zip(header, record, strict=True)
            values = {name: _typed(cell, name, fields.get(name)) for name, cell in cells}
        except ValueError as error:
            yield Row(where, None, content, str(error))
            continue
        yield Row(where, values, content)


def read_parquet(path: str, done: Callable[[float], None]) -> Iterator[Row]:
    """Yield one row per row; `done` is told how much has been read, from 0 to 1."""
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingDependencyError(
            "a Parquet file needs pyarrow; run: pip install 'trivec[files]'"
        ) from error
    if not Path(path).is_file():
        raise InvalidOptionError(f"there is no file {path!r}")
    try:
        file = ParquetFile(path)
    except OSError as error:  # pyarrow's errors are OSError and ValueError at once
        raise InvalidOptionError(f"{path!r} is not a Parquet file: {error}") from error
    except ValueError as error:
        raise InvalidOptionError(f"{path!r} is not a Parquet file: {error}") from error
    with file:
        total, number = max(1, file.metadata.num_rows), 0
        for batch in file.iter_batches(PARQUET_ROWS):
            for values in batch.to_pylist():
                number += 1
                plain = {name: json_value(value) for name, value in values.items()}
                yield Row(f"row {number}", plain, json.dumps(plain, default=str))
            done(number / total)


def read_folder(path: str) -> Iterator[Row]:
    """Yield one row per text file below a folder, in the order of their names."""
    unlisted: list[OSError] = []
    for folder, folders, names in os.walk(path, onerror=unlisted.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith(".") or Path(name).suffix.lower() not in TEXT_SUFFIXES:
                continue
            file = Path(folder, name)
            where = file.relative_to(path).as_posix()
            try:
                text = file.read_text(encoding="utf-8-sig")
            except (UnicodeDecodeError, OSError) as error:
                yield Row(where, None, "", f"not text in UTF-8: {error}")
                continue
            yield Row(where, {"id": where, "text": text}, where)
    for problem in unlisted:
        where = Path(problem.filename).relative_to(path).as_posix()
        yield Row(where, None, "", f"a folder that cannot be listed: {problem}")


def _check_names(header: list[str], where: str) -> None:
    for name in header:
        if header.count(name) > 1:
            raise InvalidDocumentError(
                f"{where}: {header.count(name)} columns are named {name!r}; "
                "each needs a name of its own"
            )


def _typed(cell: str, name: str, kind: FieldType | None) -> object:
    """Read a cell as the type of a declared field; an empty one is null, except as text."""
    if kind in (None, FieldType.STR):
        return cell
    if not cell.strip():
        return None
    try:
        match kind:
            case FieldType.INT:
                return int(cell)
            case FieldType.FLOAT:
                return float(cell)
            case FieldType.BOOL:
                return {"true": True, "1": True, "false": False, "0": False}[cell.strip().lower()]
            case FieldType.LIST_STR | FieldType.LIST_INT:
                return json.loads(cell)
            case _:
                return cell
    except (ValueError, KeyError) as error:
        raise ValueError(f"{name!r} is declared {kind}, got {cell!r}") from error


def json_value(value: object) -> object:
    """Write dates and times as ISO 8601; what else JSON lacks is refused later, by name."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: json_value(item) for name, item in value.items()}
    if isinstance(value, list):
        return [json_value(item) for item in value]
    return value
