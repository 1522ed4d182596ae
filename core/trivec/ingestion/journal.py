"""What a run has written, kept in a file, so that the next run goes on where it ended."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from trivec.document import Document, metadata_json
from trivec.errors import JournalError

__all__ = ["Journal", "Plan"]

FORMAT = "1"
Answer = Literal["encode", "touch", "unchanged"]

PAGE = 1024  # ids in one statement; SQLite takes 32,766 parameters since 3.32

_TABLES = """
CREATE TABLE IF NOT EXISTS identity (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    id TEXT PRIMARY KEY, text BLOB NOT NULL, metadata BLOB NOT NULL, problem TEXT
);
CREATE TEMP TABLE seen (id TEXT PRIMARY KEY, content BLOB, answer TEXT) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with some documents.

    Args:
        encode: New, with another text, failed before, or here for the second time.
        touch: Only the metadata differs from what was acknowledged.
        unchanged: How many are written already.
        replaced: How many ids came again; the last document stays.
    """

    encode: list[Document]
    touch: list[Document]
    unchanged: int
    replaced: int


class Journal:
    """Which documents a store has acknowledged, by the hashes of their texts and metadata.

    A row is written after the store's acknowledgement. Whoever is killed between the two writes
    the same documents again under the same ids, which changes nothing.

    Args:
        path: The SQLite file; None for one that lives as long as this object, out of memory.
        identity: What the rows are valid for: the store, the schema, the model, the options.

    Raises:
        JournalError: If the file is of another identity, in use, or not a journal.

    Example:
        >>> with Journal(None, {"store": "memory:/articles"}) as journal:
        ...     journal.acknowledge([Document("a", "one"), Document("b", "two")])
        ...     plan = journal.plan([Document("a", "one"), Document("b", "2"), Document("c", "")])
        >>> [document.id for document in plan.encode], plan.unchanged
        (['b', 'c'], 1)
    """

    def __init__(self, path: str | Path | None, identity: Mapping[str, str]) -> None:
        self._name = "" if path is None else str(path)
        if path is not None and not self._name:
            raise JournalError("the journal's file has an empty name; None is for no journal")
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(
                self._name, timeout=1, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise JournalError(f"journal {self._name!r} cannot be opened: {error}") from error
        try:
            self._open(identity)
        except sqlite3.Error as error:
            self._database.close()
            reason = "another run uses it" if "locked" in str(error) else str(error)
            raise JournalError(f"journal {self._name!r} cannot be used: {reason}") from error
        except JournalError:
            self._database.close()
            raise

    def _open(self, identity: Mapping[str, str]) -> None:
        execute = self._database.execute
        if self._name:
            # One run at a time; the lock goes with the process, also when it is killed.
            execute("PRAGMA locking_mode = EXCLUSIVE")
            execute("PRAGMA journal_mode = WAL")
            # In WAL mode a killed process loses nothing with NORMAL. A power cut may lose the
            # last rows, and then their documents are written once more.
            execute("PRAGMA synchronous = NORMAL")
        else:
            execute("PRAGMA journal_mode = OFF")
        execute("PRAGMA temp_store = FILE")
        tables = {name for (name,) in execute("SELECT name FROM sqlite_master")}
        if tables and "identity" not in tables:
            raise JournalError(
                f"{self._name!r} is a database, but not a journal; give another file"
            )
        self._database.executescript(_TABLES)
        wanted = {"format": FORMAT, **identity}
        with self._transaction():
            there = dict(execute("SELECT key, value FROM identity"))
            if not there:
                self._database.executemany("INSERT INTO identity VALUES (?, ?)", wanted.items())
                return
        problems = [
            f"{key} was {there.get(key, 'nothing')!r} and is {wanted.get(key, 'nothing')!r}"
            for key in sorted({*there, *wanted})
            if there.get(key) != wanted.get(key)
        ]
        if problems:
            raise JournalError(
                f"journal {self._name!r} belongs to another run: {'; '.join(problems)}. "
                "Give each pair of source and store a journal of its own"
            )

    def plan(self, documents: Sequence[Document]) -> Plan:
        """Say what is to be done with the next documents of this run, and note their ids."""
        last = {document.id: document for document in documents}
        known = self._rows(last)
        with self._transaction():
            again = {one for (one,) in self._select("SELECT id FROM seen WHERE id IN ({})", last)}
            self._database.executemany(
                "INSERT OR IGNORE INTO seen (id) VALUES (?)", ((one,) for one in last)
            )
        # Of an id that came before, another document may still be on its way to the store.
        answers: dict[str, Answer] = {
            one: "encode" if one in again else _answer(document, known.get(one))
            for one, document in last.items()
        }
        return _planned(last, answers, len(documents) - len(last) + len(again))

    def claim(self, documents: Sequence[Document]) -> Plan:
        """Say what is to be done, as `plan` does, to one of many who may be killed and ask again.

        Documents that come again get the answer that they had, whatever was acknowledged since.
        Of an id with several contents the first one stays, so that no two are on their way to
        the store at once; the others are left out and count as replaced.
        """
        first = {document.id: document for document in reversed(documents)}
        contents = {one: _text_hash(d) + _metadata_hash(d) for one, d in first.items()}
        known = self._rows(first)
        with self._transaction():
            query = "SELECT id, content, answer FROM seen WHERE id IN ({})"
            claims = {one: (content, answer) for one, content, answer in self._select(query, first)}
            fresh = {
                one: (contents[one], _answer(document, known.get(one)))
                for one, document in first.items()
                if one not in claims
            }
            self._database.executemany(
                "INSERT INTO seen VALUES (?, ?, ?)", ((one, *claim) for one, claim in fresh.items())
            )
        claims |= fresh
        mine = {one: claims[one][1] for one in first if claims[one][0] == contents[one]}
        return _planned(first, mine, len(documents) - len(mine))

    def acknowledge(self, documents: Iterable[Document]) -> None:
        """Record what the store has acknowledged."""
        self._record((d.id, _text_hash(d), _metadata_hash(d), None) for d in documents)

    def fail(self, document: Document, problem: str) -> None:
        """Record that the store refused a document; the next run tries it again."""
        self._record([(document.id, _text_hash(document), _metadata_hash(document), problem)])

    def failures(self) -> Iterator[tuple[str, str]]:
        """Yield the id of each document that the store refused, and why."""
        with self._locked():
            rows = self._database.execute(
                "SELECT id, problem FROM documents WHERE problem IS NOT NULL ORDER BY id"
            ).fetchall()
        yield from rows

    def __len__(self) -> int:
        """How many documents are acknowledged."""
        query = "SELECT count(*) FROM documents WHERE problem IS NULL"
        with self._locked():
            (count,) = self._database.execute(query).fetchone()
        return int(count)

    def newest(self) -> Iterator[list[str]]:
        """Yield the acknowledged ids in pages, the last written first."""
        below = None
        while True:
            with self._locked():
                rows = self._database.execute(
                    "SELECT rowid, id FROM documents WHERE problem IS NULL "
                    "AND (?1 IS NULL OR rowid < ?1) ORDER BY rowid DESC LIMIT ?2",
                    (below, PAGE),
                ).fetchall()
            if not rows:
                return
            below = rows[-1][0]
            yield [one for _, one in rows]

    def vanished(self) -> Iterator[list[str]]:
        """Yield in pages the known ids that this run has not planned; they stay until `forget`."""
        after = ""
        while True:
            with self._locked():
                rows = self._database.execute(
                    "SELECT id FROM documents WHERE id > ? AND id NOT IN (SELECT id FROM seen) "
                    "ORDER BY id LIMIT ?",
                    (after, PAGE),
                ).fetchall()
            if not rows:
                return
            after = rows[-1][0]
            yield [one for (one,) in rows]

    def forget(self, ids: Iterable[str]) -> None:
        """Forget documents, so that the next plan takes them for new."""
        with self._transaction():
            self._database.executemany(
                "DELETE FROM documents WHERE id = ?", ((one,) for one in ids)
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _rows(self, ids: Iterable[str]) -> dict[str, tuple[bytes, bytes, str | None]]:
        query = "SELECT id, text, metadata, problem FROM documents WHERE id IN ({})"
        with self._locked():
            rows = self._select(query, ids)
            return {one: (text, metadata, problem) for one, text, metadata, problem in rows}

    def _record(self, rows: Iterable[tuple[str, bytes, bytes, str | None]]) -> None:
        with self._transaction():
            # REPLACE gives a new rowid, so the order of rowids is the order of writing.
            self._database.executemany("REPLACE INTO documents VALUES (?, ?, ?, ?)", rows)

    def _select(self, query: str, ids: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        every = list(ids)
        for start in range(0, len(every), PAGE):
            page = every[start : start + PAGE]
            yield from self._database.execute(query.format(", ".join("?" * len(page))), page)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise JournalError(
                    f"journal {self._name!r} cannot be read or written: {error}"
                ) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._locked():
            self._database.execute("BEGIN")
            try:
                yield
                self._database.execute("COMMIT")
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")


def _answer(document: Document, row: tuple[bytes, bytes, str | None] | None) -> Answer:
    """Compare a document with its row."""
    text, metadata, problem = row or (b"", b"", None)
    if problem is not None or text != _text_hash(document):
        return "encode"
    return "unchanged" if metadata == _metadata_hash(document) else "touch"


def _planned(
    documents: Mapping[str, Document], answers: Mapping[str, Answer], replaced: int
) -> Plan:
    sorted_out: dict[Answer, list[Document]] = {"encode": [], "touch": [], "unchanged": []}
    for one, answer in answers.items():
        sorted_out[answer].append(documents[one])
    return Plan(sorted_out["encode"], sorted_out["touch"], len(sorted_out["unchanged"]), replaced)


def _text_hash(document: Document) -> bytes:
    return hashlib.blake2b(document.text.encode(), digest_size=16).digest()


def _metadata_hash(document: Document) -> bytes:
    canonical = metadata_json(document.metadata, sort_keys=True)
    return hashlib.blake2b(canonical.encode(), digest_size=16).digest()
