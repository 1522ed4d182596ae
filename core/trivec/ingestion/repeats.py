"""Ids that come more than once in a source, so that they are not encoded anew in every run."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trivec.document import Document, metadata_json
from trivec.ingestion.journal_file import cell

__all__ = ["PAGE", "WAITING", "Answer", "Repeats", "Seen", "select"]

Answer = Literal["encode", "touch", "unchanged", "later"]

PAGE = 1024  # ids in one statement; SQLite takes 32,766 parameters since 3.32
WAITING = 64  # documents in one page, whose texts may be long

_TABLES = """
CREATE TABLE IF NOT EXISTS replaced (
    key BLOB PRIMARY KEY, gap INTEGER NOT NULL, run INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TEMP TABLE seen (
    id TEXT PRIMARY KEY, content BLOB NOT NULL, place INTEGER NOT NULL, answer TEXT NOT NULL,
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
    """What came last of an id in this run.

    Args:
        content: The hash of its text and metadata.
        place: Its place in the source, from 0.
        answer: What was to be done with it.
        sent: The content that this run has sent to the store, if it has sent one.
    """

    content: bytes
    place: int
    answer: Answer = "later"
    sent: bytes | None = None


class Repeats:
    """What a run has met of each id, and which contents others replaced in the source.

    A source may hold several documents of one id, of which the last one stays. A run cannot know
    that the first of them is not the last, unless an earlier run wrote down that it was replaced.
    Such a document waits, in a table on the disk, until another of its id comes, until twice as
    many documents as last time have come without one (a source may be endless), or until the
    source ends. So whatever is in the table of replaced contents, the last document is written;
    the table only saves the work of writing those before it.

    The methods must be called within a transaction of the database.

    Args:
        database: The journal's file, in which the table of replaced contents stays.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.executescript(_TABLES)
        (last,) = database.execute("SELECT coalesce(max(run), 0) FROM replaced").fetchone()
        self._run = cell(last, int) + 1

    def seen(self, ids: Iterable[str]) -> dict[str, Seen]:
        """Return what came last of each of these ids, where one came."""
        query = "SELECT id, content, place, answer, sent FROM seen WHERE id IN ({})"
        return {one: Seen(*rest) for one, *rest in select(self._database, query, ids)}

    def note(self, seen: Mapping[str, Seen]) -> None:
        """Keep what came last of each id."""
        self._database.executemany(
            "REPLACE INTO seen VALUES (?, ?, ?, ?, ?)",
            ((one, s.content, s.place, s.answer, s.sent) for one, s in seen.items()),
        )

    def keep(self, id: str) -> None:
        """Note that the source has an id, though no document of it."""
        self._database.execute("INSERT OR IGNORE INTO kept VALUES (?)", (id,))

    def replace(self, gaps: Iterable[tuple[bytes, int]]) -> None:
        """Write down which contents were replaced, by their keys.

        Args:
            gaps: For each the number of documents from it to the one that replaced it.
        """
        self._database.executemany(
            "INSERT INTO replaced VALUES (?1, ?2, ?3) ON CONFLICT (key) "
            "DO UPDATE SET gap = max(gap, ?2), run = ?3",
            ((key, gap, self._run) for key, gap in gaps),
        )

    def gaps(self, keys: Iterable[bytes]) -> dict[bytes, int]:
        """Return those of these keys that are of replaced contents, with their gaps."""
        query = "SELECT key, gap FROM replaced WHERE key IN ({})"
        return {key: cell(gap, int) for key, gap in select(self._database, query, keys)}

    def forget_old(self) -> None:
        """Forget the contents that a run over the whole source has not met."""
        self._database.execute("DELETE FROM replaced WHERE run <> ?", (self._run,))

    def wait(self, documents: Iterable[tuple[Document, int]]) -> None:
        """Put documents aside, each until so many have come."""
        self._database.executemany(
            "INSERT INTO waiting (id, due, document) VALUES (?, ?, ?)",
            ((document.id, due, _as_json(document)) for document, due in documents),
        )

    def stop_waiting(self, ids: Iterable[str]) -> None:
        """Take these ids out of those that wait."""
        self._database.executemany("DELETE FROM waiting WHERE id = ?", ((one,) for one in ids))

    def waiting(self, most: int, due: int | None = None) -> list[Document]:
        """Return the first of the documents that wait.

        Args:
            most: How many at most.
            due: How many documents have come; None for those that wait for more, too.
        """
        rows = self._database.execute(
            "SELECT document FROM waiting WHERE ?1 IS NULL OR due <= ?1 ORDER BY number LIMIT ?2",
            (due, most),
        )
        return [Document(**json.loads(text)) for (text,) in rows]


def select(
    database: sqlite3.Connection, query: str, values: Iterable[Any]
) -> Iterator[tuple[Any, ...]]:
    """Run a query with `{}` in place of its parameters, for any number of them."""
    every = list(values)
    for start in range(0, len(every), PAGE):
        page = every[start : start + PAGE]
        yield from database.execute(query.format(", ".join("?" * len(page))), page).fetchall()


def _as_json(document: Document) -> str:
    return metadata_json({"id": document.id, "text": document.text, "metadata": document.metadata})
