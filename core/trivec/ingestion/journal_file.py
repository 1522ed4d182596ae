"""Check that a file is a journal, without changing it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from trivec.errors import JournalError

T = TypeVar("T")

_MAGIC = b"SQLite format 3\0"
_TABLES = {
    "identity": ["key", "value"],
    "documents": ["id", "text", "metadata", "problem"],
    "replaced": ["key", "gap", "run"],
}
"""The tables of a journal with their columns; a killed run may have created only some."""


class DamagedError(Exception):
    """A row holds values that a journal never writes."""


def cell(value: object, expected: type[T]) -> T:
    """Return a value of a row; raise `DamagedError` if it has another type than expected."""
    if not isinstance(value, expected):
        given = type(value).__name__
        raise DamagedError(f"a row is damaged: {given} instead of {expected.__name__}")
    return value


def check_file(path: Path) -> None:
    """Raise `JournalError` unless a file does not exist, is empty, or is a journal."""
    try:
        if not path.exists() or (path.is_file() and not path.stat().st_size):
            return
        problem = _problem(path)
    except (OSError, ValueError, sqlite3.Error) as error:
        locked = isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
        problem = "another run uses it" if locked else str(error)
    if problem:
        raise JournalError(
            f"journal {str(path)!r} cannot be used: {problem}; the file was left as it is"
        )


def _problem(path: Path) -> str:
    """Return why an existing file is not a journal; "" if it is one."""
    if not path.is_file():
        return "it is not a file; give the name of a file for the journal"
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return "it is not a journal; give another file"
    # Without a write-ahead log beside it, the file is read as it is: no lock, no new file.
    log = Path(f"{path}-wal")
    mode = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    uri = f"{path.absolute().as_uri()}?{mode}"
    with closing(sqlite3.connect(uri, uri=True, timeout=1)) as database:
        tables = _tables(database)
        marks = [
            database.execute(f"PRAGMA {mark}").fetchone()[0]
            for mark in ("application_id", "user_version")
        ]
    if any(marks) or any(_TABLES.get(name) != columns for name, columns in tables.items()):
        return "it is a database, but not a journal; give another file"
    return ""


def _tables(database: sqlite3.Connection) -> Mapping[str, list[str]]:
    tables: dict[str, list[str]] = {}
    for (name,) in database.execute("SELECT name FROM sqlite_master"):
        if not str(name).startswith("sqlite_"):
            columns = database.execute("SELECT name FROM pragma_table_info(?)", (name,))
            tables[str(name)] = [str(column) for (column,) in columns]
    return tables
