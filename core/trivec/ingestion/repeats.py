"""Ids that come more than once in a source, so that not every run encodes them again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trivec.document import Document
from trivec.ingestion.contents import document_json
from trivec.ingestion.journal_file import cell
from trivec.ingestion.worklist import Action

PAGE = 1024  # ids in one statement; SQLite takes 32,766 parameters since 3.32
WAITING = 64  # documents in one page, whose texts may be long

_TABLES = """
CREATE TABLE IF NOT EXISTS replaced (
    key BLOB PRIMARY KEY, gap INTEGER NOT NULL, run INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TEMP TABLE seen (
    id TEXT PRIMARY KEY, content BLOB NOT NULL, position INTEGER NOT NULL, action TEXT NOT NULL,
    sent BLOB
) WITHOUT ROWID;
CREATE TEMP TABLE kept (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE waiting (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, due INTEGER NOT NULL,
    document TEXT NOT NULL
);
CREATE INDEX temp.waiting_due ON waiting (due);
"""


@dataclass(slots=True)
class Seen:
    """The last document with an id that came in this run.

    Args:
        content: The hash of its text and metadata.
        position: Its position in the source, from 0.
        action: The action that was decided for it.
        sent: The content that this run has sent to the store, if any.
    """

    content: bytes
    position: int
    action: Action = "later"
    sent: bytes | None = None


class Repeats:
    """The ids that a run has seen, and the contents that later documents replaced in the source.

    A source may hold several documents with one id, of which the last one is kept. A run cannot
    know that the first of them is not the last, unless an earlier run recorded that it was
    replaced. Such a document waits, in a table on the disk, until the next document with its id
    comes, until twice as many documents as last time have come without it (a source may be
    endless), or until the source ends. So the last document is always written, whatever the table
    of replaced contents holds; the table only saves the work of writing those before it.

    The methods must be called within a transaction of the database.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.executescript(_TABLES)
        (last,) = database.execute("SELECT coalesce(max(run), 0) FROM replaced").fetchone()
        self._run = cell(last, int) + 1

    def seen(self, ids: Iterable[str]) -> dict[str, Seen]:
        """Return the last document that came of each of these ids, if any."""
        query = "SELECT id, content, position, action, sent FROM seen WHERE id IN ({})"
        return {id: Seen(*columns) for id, *columns in select(self._database, query, ids)}

    def note(self, seen: Mapping[str, Seen]) -> None:
        """Record the last document of each id."""
        self._database.executemany(
            "REPLACE INTO seen VALUES (?, ?, ?, ?, ?)",
            ((id, s.content, s.position, s.action, s.sent) for id, s in seen.items()),
        )

    def keep(self, id: str) -> None:
        """Record that the source has an id without a document."""
        self._database.execute("INSERT OR IGNORE INTO kept VALUES (?)", (id,))

    def replace(self, gaps: Iterable[tuple[bytes, int]]) -> None:
        """Record the keys of replaced contents, and how many documents later they were replaced."""
        self._database.executemany(
            "INSERT INTO replaced VALUES (?1, ?2, ?3) ON CONFLICT (key) "
            "DO UPDATE SET gap = max(gap, ?2), run = ?3",
            ((key, gap, self._run) for key, gap in gaps),
        )

    def gaps(self, keys: Iterable[bytes]) -> dict[bytes, int]:
        """Return the keys that belong to replaced contents, with their gaps."""
        query = "SELECT key, gap FROM replaced WHERE key IN ({})"
        return {key: cell(gap, int) for key, gap in select(self._database, query, keys)}

    def forget_old(self) -> None:
        """Forget the contents that a run over the whole source has not seen."""
        self._database.execute("DELETE FROM replaced WHERE run <> ?", (self._run,))

    def wait(self, documents: Iterable[tuple[Document, int]]) -> None:
        """Put documents aside, each until the given number of documents has come."""
        self._database.executemany(
            "INSERT INTO waiting (id, due, document) VALUES (?, ?, ?)",
            ((document.id, due, document_json(document)) for document, due in documents),
        )

    def stop_waiting(self, ids: Iterable[str]) -> None:
        """Stop waiting for the documents with these ids."""
        self._database.executemany("DELETE FROM waiting WHERE id = ?", ((id,) for id in ids))

    def waiting(self, most: int, due: int | None = None) -> list[Document]:
        """Return the first documents that wait and are due; all are if `due` is None."""
        rows = self._database.execute(
            "SELECT document FROM waiting WHERE ?1 IS NULL OR due <= ?1 ORDER BY number LIMIT ?2",
            (due, most),
        )
        return [Document(**json.loads(text)) for (text,) in rows]


def select(
    database: sqlite3.Connection, query: str, values: Iterable[Any]
) -> Iterator[tuple[Any, ...]]:
    """Run a query in which `{}` stands for the parameters, with at most `PAGE` values at a time."""
    parameters = list(values)
    for start in range(0, len(parameters), PAGE):
        page = parameters[start : start + PAGE]
        yield from database.execute(query.format(", ".join("?" * len(page))), page).fetchall()
