"""Whether a file is a journal, found out without changing a byte of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from trivec.errors import JournalError

__all__ = ["DamagedError", "cell", "check_file", "check_order"]

T = TypeVar("T")

_MAGIC = b"SQLite format 3\0"
_TABLES = {
    "identity": ["key", "value"],
    "documents": ["id", "text", "metadata", "problem"],
    "replaced": ["key", "gap", "run"],
}
"""The tables of a journal with their columns; a run that was killed may have made only some."""


class DamagedError(Exception):
    """A row holds what no journal writes."""


def cell(value: object, kind: type[T]) -> T:
    """Return a value of a row, whose kind a damaged file may have changed.

    Raises:
        DamagedError: If it is of another kind.
    """
    if not isinstance(value, kind):
        raise DamagedError(f"a row is damaged: {type(value).__name__} instead of {kind.__name__}")
    return value


def check_order(rises: bool) -> None:
    """Raise `DamagedError` unless a page follows the one before, so that reading them ends."""
    if not rises:
        raise DamagedError("its rows are not in order")


def check_file(path: Path) -> None:
    """Raise unless a journal may be kept in a file: in none yet, an empty one, or a journal.

    Args:
        path: The file. It is opened for reading only.

    Raises:
        JournalError: If something else lies there, which stays as it is.
    """
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
    """Return why a file that is there can be no journal; nothing if it is one."""
    if not path.is_file():
        return "it is no file; give the name of a file for the journal"
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return "it is not a journal; give another file"
    # Without the log beside it, the file is read as it lies there: no lock, no file beside it.
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
    names = [str(name) for (name,) in database.execute("SELECT name FROM sqlite_master")]
    return {
        name: [
            str(column)
            for (column,) in database.execute("SELECT name FROM pragma_table_info(?)", (name,))
        ]
        for name in names
        if not name.startswith("sqlite_")
    }
