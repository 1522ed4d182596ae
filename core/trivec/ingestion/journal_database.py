"""The SQLite database of a journal: opened by one run at a time, for one identity."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from trivec.errors import JournalError
from trivec.ingestion.journal_file import DamagedError, cell, check_file
from trivec.ingestion.repeats import Repeats
from trivec.outputs import make_file
from trivec.schema import same_model

FORMAT = "1"

_LATER_KEYS = ("precision",)
"""Keys that journals of earlier versions lack; such a journal takes over the first run's value."""

_EARLIER = {"colbert_storage": ("bits=16", "bits=32"), "precision": ("float32",)}
"""The values that a journal, a collection or an encoder stands for that does not record the key."""

_MAY_BE_UNKNOWN = ("revision",)
"""Keys that are compared where both record them: an encoder in the process does not know its own
commit, and the server of the same model may."""

_TABLES = """
CREATE TABLE IF NOT EXISTS identity (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    id TEXT PRIMARY KEY, text BLOB NOT NULL, metadata BLOB NOT NULL, problem TEXT
);
"""


class JournalDatabase:
    """An open database; every use happens within `locked` or `transaction`."""

    def __init__(self, path: str | Path | None, identity: Mapping[str, str]) -> None:
        self._name = "" if path is None else str(path)
        if path is not None and not self._name:
            raise JournalError("the journal's file has an empty name; None is for no journal")
        self._lock = threading.Lock()
        file = "" if path is None else os.path.abspath(path)  # also a file named ":memory:"
        if file:
            check_file(Path(file))
            with suppress(OSError, ValueError):  # SQLite reports what is wrong
                make_file(file)
        try:
            self.connection = sqlite3.connect(
                file, timeout=1, isolation_level=None, check_same_thread=False
            )
        except (sqlite3.Error, ValueError) as error:  # no folder; a NUL in the name
            raise JournalError(f"journal {self._name!r} cannot be opened: {error}") from error
        try:
            self._open(identity)
        except (sqlite3.Error, DamagedError) as error:
            self.connection.close()
            reason = "another run uses it" if "locked" in str(error) else str(error)
            raise JournalError(f"journal {self._name!r} cannot be used: {reason}") from error
        except JournalError:
            self.connection.close()
            raise

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Use the database in one thread only; errors become JournalErrors."""
        with self._lock:
            try:
                yield
            except (sqlite3.Error, DamagedError) as error:
                raise JournalError(
                    f"journal {self._name!r} cannot be read or written: {error}"
                ) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Lock the database, and change all or nothing."""
        with self.locked():
            self.connection.execute("BEGIN")
            try:
                yield
                self.connection.execute("COMMIT")
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self.connection.close()

    def _open(self, identity: Mapping[str, str]) -> None:
        execute = self.connection.execute
        if self._name:
            # One run at a time; the lock ends with the process, also when it is killed.
            execute("PRAGMA locking_mode = EXCLUSIVE")
            execute("PRAGMA journal_mode = WAL")
            # In WAL mode a killed process loses nothing with NORMAL. A power cut may lose the
            # last rows, and then their documents are written again.
            execute("PRAGMA synchronous = NORMAL")
        else:
            execute("PRAGMA journal_mode = OFF")
        execute("PRAGMA temp_store = FILE")
        self.connection.executescript(_TABLES)
        self._check_identity({"format": FORMAT, **identity})
        self.repeats = Repeats(self.connection)

    def _check_identity(self, wanted: Mapping[str, str]) -> None:
        with self.transaction():
            rows = self.connection.execute("SELECT key, value FROM identity")
            stored = {cell(key, str): cell(value, str) for key, value in rows}
            problems = [
                f"{key} was {_shown(key, stored)!r} and is {_shown(key, wanted)!r}"
                for key in sorted({*stored, *wanted})
                if stored and not _fits(key, stored.get(key), wanted.get(key))
            ]
            if problems:
                raise JournalError(
                    f"journal {self._name!r} belongs to another run: {'; '.join(problems)}. "
                    "Give each pair of source and store a journal of its own"
                )
            self.connection.executemany(
                "REPLACE INTO identity VALUES (?, ?)",
                ((key, value) for key, value in wanted.items() if not stored.get(key)),
            )


def _fits(key: str, stored: str | None, wanted: str | None) -> bool:
    """Return whether a run can use a journal with this value, which may be missing."""
    if key == "model":
        return same_model(stored or "", wanted or "")
    if stored == wanted or (stored is None and key in _LATER_KEYS):
        return True
    if key in _MAY_BE_UNKNOWN and None in (stored, wanted):
        return True
    return None in (stored, wanted) and (stored or wanted) in _EARLIER.get(key, ())


def _shown(key: str, identity: Mapping[str, str]) -> str:
    return identity.get(key, _EARLIER.get(key, ("nothing",))[0])
