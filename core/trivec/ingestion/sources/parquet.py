"""The rows of a Parquet file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trivec.errors import InvalidDocumentError, InvalidOptionError, MissingDependencyError
from trivec.ingestion.sources.records import Records, Row, distinct, distinct_columns, json_of
from trivec.plain import plain

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

BATCH_ROWS = 256


@contextmanager
def open_parquet(path: str) -> Iterator[ParquetFile]:
    """Open a Parquet file, or raise `InvalidOptionError` if it is none."""
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingDependencyError(
            "a Parquet file needs pyarrow; run: pip install 'trivec[files]'"
        ) from error
    if not Path(path).is_file():
        raise InvalidOptionError(f"there is no file {path!r}")
    try:
        file = ParquetFile(path, page_checksum_verification=True)
    except _unreadable() as error:
        raise InvalidOptionError(
            f"{path!r} is not a Parquet file, or is cut off or encrypted: {error}"
        ) from error
    with file:
        yield file


def read_parquet(file: ParquetFile, path: str, *, done: Callable[[float], None]) -> Records:
    """Return the rows of a Parquet file.

    Args:
        file: The open file.
        path: The name of the file in errors.
        done: Called with the fraction that has been read, from 0 to 1.

    Raises:
        InvalidDocumentError: If two columns have the same name.
    """
    return Records(distinct_columns(file.schema_arrow.names, path), _rows(file, path, done))


def _rows(file: ParquetFile, path: str, done: Callable[[float], None]) -> Iterator[Row]:
    total, number = file.metadata.num_rows, 0
    batches = file.iter_batches(BATCH_ROWS)
    while True:
        try:
            batch = next(batches, None)
        except _unreadable() as error:
            raise InvalidDocumentError(
                f"{path!r} cannot be read beyond row {number} of {total}: {error}"
            ) from error
        if batch is None:
            break
        for values, problem in plain_rows(batch):
            number += 1
            if problem:
                yield Row(f"row {number}", None, json_of(values), problem)
            else:
                yield Row(f"row {number}", values)
        done(number / max(1, total))
    if number != total:
        raise InvalidDocumentError(f"{path!r} has {number} rows and should have {total}")


def _unreadable() -> tuple[type[Exception], ...]:
    """Return the errors of pyarrow for a file that is damaged."""
    from pyarrow import ArrowException

    return OSError, ValueError, ArrowException


def plain_rows(table: pa.RecordBatch | pa.Table) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the rows of a table as values for a document, each with its problem, or "".

    Times in nanoseconds, for which pyarrow needs pandas, become strings with all digits, without
    pandas. A map becomes an object. `trivec.plain` describes the other types.

    >>> import pyarrow as pa
    >>> when = pa.array([1, 1000], pa.timestamp("ns", "UTC"))
    >>> for values, _ in plain_rows(pa.table({"when": when})):
    ...     print(values)
    {'when': '1970-01-01T00:00:00.000000001+00:00'}
    {'when': '1970-01-01T00:00:00.000001+00:00'}
    """
    names = table.schema.names
    for cells in zip(*map(_cells, table.columns), strict=True):
        problems = (
            f"{name!r} cannot be read: {cell.problem}"
            for name, cell in zip(names, cells, strict=True)
            if isinstance(cell, _Unreadable)
        )
        yield dict(zip(names, cells, strict=True)), next(problems, "")


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """A cell that Python cannot hold."""

    problem: str
    cell: str

    def __str__(self) -> str:
        return self.cell


def _cells(column: pa.Array | pa.ChunkedArray) -> list[object]:
    if not _is_special(column.type):
        try:
            return list(column.to_pylist())
        except (ArithmeticError, LookupError, TypeError, ValueError):
            pass  # one cell is unreadable; converting each cell finds it
    return [_cell(scalar) for scalar in column]


def _cell(scalar: pa.Scalar) -> object:
    try:
        return _plain(scalar)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        return _Unreadable(str(error), f"a {scalar.type} that cannot be read")


def _is_special(type_: pa.DataType) -> bool:
    """Return whether a type, or a nested one, needs another Python value than pyarrow returns."""
    import pyarrow as pa

    if pa.types.is_map(type_) or getattr(type_, "unit", "") == "ns":
        return True
    if pa.types.is_dictionary(type_):
        return _is_special(type_.value_type)
    return any(_is_special(type_.field(i).type) for i in range(type_.num_fields))


def _plain(scalar: pa.Scalar) -> object:
    """Return the Python value of any type, also with special types inside."""
    import pyarrow as pa

    type_ = scalar.type
    if not scalar.is_valid:
        return None
    if pa.types.is_dictionary(type_):
        return _plain(scalar.value)
    if pa.types.is_map(type_):
        return distinct([(_plain(pair[0]), _plain(pair[1])) for pair in scalar.values])
    if pa.types.is_struct(type_):
        names = [type_.field(i).name for i in range(type_.num_fields)]
        return distinct([(name, _plain(scalar[i])) for i, name in enumerate(names)])
    if pa.types.is_nested(type_):
        return [_plain(item) for item in scalar.values]
    if pa.types.is_duration(type_):
        return np.timedelta64(scalar.value, type_.unit)
    if getattr(type_, "unit", "") == "ns":
        is_time = pa.types.is_time64(type_)
        micro = pa.time64("us") if is_time else pa.timestamp("us", type_.tz)
        moment = pa.scalar(scalar.value // 1000, micro).as_py()
        return _with_nanoseconds(moment, scalar.value)
    value: object = scalar.as_py()
    return value


def _with_nanoseconds(moment: datetime | time, nanoseconds: int) -> str:
    """Return a moment as text, with the digits below a microsecond that datetime cannot hold."""
    text: str = plain(moment)
    below = nanoseconds % 1000
    if not below:
        return text
    seconds = len("HH:MM:SS" if isinstance(moment, time) else "YYYY-MM-DDTHH:MM:SS")
    zone = text[seconds:].removeprefix(f".{moment.microsecond:06d}")
    return f"{text[:seconds]}.{moment.microsecond:06d}{below:03d}{zone}"
