"""What a run has written, kept in a file, so that the next run goes on where it ended."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from trivec.document import Document
from trivec.errors import JournalError
from trivec.ingestion.contents import HASH_BYTES, content_key, content_of
from trivec.ingestion.journal_file import DamagedError, cell, check_file, check_order
from trivec.ingestion.repeats import PAGE, WAITING, Answer, Repeats, Seen, select
from trivec.outputs import make_file
from trivec.schema import same_model

__all__ = ["PAGE", "Journal", "Plan"]

FORMAT = "1"

_LATER_KEYS = ("precision",)
"""What journals of earlier versions do not say; they take over what the first run says."""

_TABLES = """
CREATE TABLE IF NOT EXISTS identity (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    id TEXT PRIMARY KEY, text BLOB NOT NULL, metadata BLOB NOT NULL, problem TEXT
);
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with some documents.

    Args:
        encode: New, with another text, failed before, or on the heels of another one of its id.
        touch: Only the metadata differs from what was acknowledged.
        unchanged: How many are written already.
        replaced: How many had an id that comes more than once.
    """

    encode: list[Document]
    touch: list[Document]
    unchanged: int
    replaced: int


class Journal:
    """Which documents a store has acknowledged, by the hashes of their texts and metadata.

    A row is written after the store's acknowledgement. If the process dies between the two, the
    next run writes the same documents again under the same ids, which changes nothing.

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
        file = "" if path is None else os.path.abspath(path)  # also one named ":memory:"
        if file:
            check_file(Path(file))
            with suppress(OSError, ValueError):  # SQLite says what is wrong
                make_file(file)
        try:
            self._database = sqlite3.connect(
                file, timeout=1, isolation_level=None, check_same_thread=False
            )
        except (sqlite3.Error, ValueError) as error:  # no folder; a NUL in the name
            raise JournalError(f"journal {self._name!r} cannot be opened: {error}") from error
        try:
            self._open(identity)
        except (sqlite3.Error, DamagedError) as error:
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
        self._database.executescript(_TABLES)
        self._check_identity({"format": FORMAT, **identity})
        self._repeats = Repeats(self._database)
        self._come = 0

    def _check_identity(self, wanted: Mapping[str, str]) -> None:
        with self._transaction():
            rows = self._database.execute("SELECT key, value FROM identity").fetchall()
            there = {cell(key, str): cell(value, str) for key, value in rows}
            problems = [
                f"{key} was {there.get(key, 'nothing')!r} and is {wanted.get(key, 'nothing')!r}"
                for key in sorted({*there, *wanted})
                if there and not _fits(key, there.get(key), wanted.get(key))
            ]
            if problems:
                raise JournalError(
                    f"journal {self._name!r} belongs to another run: {'; '.join(problems)}. "
                    "Give each pair of source and store a journal of its own"
                )
            self._database.executemany(
                "REPLACE INTO identity VALUES (?, ?)",
                ((key, value) for key, value in wanted.items() if not there.get(key)),
            )

    def plans(self, chunks: Iterable[Sequence[Document]]) -> Iterator[Plan]:
        """Say what is to be done with each chunk of a source, and at its end with what waited.

        Of documents with the same id the last one stays. Those that others replaced in an earlier
        run wait for another of their id, and are planned when none comes.
        """
        for chunk in chunks:
            yield self.plan(chunk)
            yield from self._planned_late(self._come)
        yield from self._planned_late(None)
        self.finish()

    def plan(self, documents: Sequence[Document]) -> Plan:
        """Say what is to be done with the next documents of this run, and note their ids.

        Those that wait are in none of the lists; see `plans`.
        """
        last = {document.id: document for document in documents}
        known = self._rows(last)
        with self._transaction():
            before, first = self._repeats.seen(last), self._come
            self._come += len(documents)
            replaced, gone = 0, []
            seen = {one: replace(s) for one, s in before.items()}
            for place, document in enumerate(documents, first):
                one, content = document.id, content_of(document)
                if (other := seen.get(one)) is None:
                    seen[one] = Seen(content, place)
                    continue
                replaced += 1
                if other.content != content:
                    gone.append((content_key(one, other.content), place - other.place))
                other.content, other.place = content, place
            keys = {content_key(one, s.content): one for one, s in seen.items()}
            gaps = {keys[key]: gap for key, gap in self._repeats.gaps(keys).items()}
            self._repeats.replace(gone)
            self._repeats.stop_waiting(before)
            return self._decided(last, known, seen, replaced, gaps)

    def claim(self, documents: Sequence[Document], *, wait: bool = True) -> Plan:
        """Say what is to be done, as `plan` does, to one of many who may be killed and ask again.

        Documents that come again get the answer that they had, whatever was acknowledged since.
        Of an id with several contents one stays, so that no two are on their way to the store at
        once: the one that the store has already, or else the first that comes. The others are
        left out and count as replaced.

        Args:
            documents: The next ones.
            wait: Whether those that others replaced in an earlier run wait for others of their
                id, to be had from `waiting`.
        """
        versions: dict[str, dict[bytes, Document]] = {}
        for document in documents:
            versions.setdefault(document.id, {}).setdefault(content_of(document), document)
        known = self._rows(versions)
        with self._transaction():
            before = self._repeats.seen(versions)
            keys = {content_key(one, c): (one, c) for one, some in versions.items() for c in some}
            old = {keys[key] for key in self._repeats.gaps(keys)}
            answers: dict[str, Answer] = {}
            chosen: dict[str, Document] = {}
            replaced, gone = len(documents), list[tuple[bytes, int]]()
            fresh: dict[str, Seen] = {}
            for one, some in versions.items():
                claim = before.get(one)
                if claim is None or claim.answer == "later":
                    content = _choice(one, some, claim, known.get(one), old)
                    if claim is not None and claim.content != content:
                        gone.append((content_key(one, claim.content), 0))
                        replaced += 1
                    if content in some:
                        answer = _answer(content, known.get(one))
                        if wait and answer != "unchanged" and (one, content) in old:
                            answer = "later"
                        claim = fresh[one] = Seen(content, 0, answer)
                assert claim is not None
                gone += [(content_key(one, c), 0) for c in some if c != claim.content]
                if claim.content in some:
                    answers[one], chosen[one] = claim.answer, some[claim.content]
                    replaced -= 1
            self._repeats.note(fresh)
            self._repeats.replace(gone)
            self._repeats.stop_waiting(fresh)
            later = [chosen[one] for one, s in fresh.items() if s.answer == "later"]
            self._repeats.wait((document, 0) for document in later)
        return _planned(chosen, answers, replaced)

    def waiting(self, most: int) -> list[Document]:
        """Return the first of the documents that wait for others of their id."""
        with self._locked():
            return self._repeats.waiting(most)

    def keep(self, id: str) -> bool:
        """Note that the source has an id, though no document of it; return whether it is known."""
        known = bool(self._rows([id]))
        with self._transaction():
            self._repeats.keep(id)
        return known

    def finish(self) -> None:
        """Tidy up after a run that has planned a whole source."""
        with self._transaction():
            self._repeats.forget_old()

    def acknowledge(self, documents: Iterable[Document]) -> None:
        """Record what the store has acknowledged."""
        self._record((d.id, content_of(d), None) for d in documents)

    def fail(self, document: Document, problem: str) -> None:
        """Record that the store refused a document; the next run tries it again."""
        self._record([(document.id, content_of(document), problem)])

    def failures(self) -> Iterator[tuple[str, str]]:
        """Yield the id of each document that the store refused, and why."""
        with self._locked():
            rows = self._database.execute(
                "SELECT id, problem FROM documents WHERE problem IS NOT NULL ORDER BY id"
            ).fetchall()
            found = [(cell(one, str), cell(problem, str)) for one, problem in rows]
        yield from found

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
                ids = [cell(one, str) for _, one in rows]
                check_order(not rows or below is None or rows[-1][0] < below)
            if not ids:
                return
            below = rows[-1][0]
            yield ids

    def vanished(self) -> Iterator[list[str]]:
        """Yield in pages the known ids that this run has not met; they stay until `forget`."""
        after = ""
        while True:
            with self._locked():
                rows = self._database.execute(
                    "SELECT id FROM documents WHERE id > ? AND id NOT IN (SELECT id FROM seen) "
                    "AND id NOT IN (SELECT id FROM kept) ORDER BY id LIMIT ?",
                    (after, PAGE),
                ).fetchall()
                ids = [cell(one, str) for (one,) in rows]
                check_order(not ids or after < ids[-1])
            if not ids:
                return
            after = ids[-1]
            yield ids

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
            rows = {one: _row(*rest) for one, *rest in select(self._database, query, ids)}
        return rows

    def _record(self, rows: Iterable[tuple[str, bytes, str | None]]) -> None:
        with self._transaction():
            # REPLACE gives a new rowid, so the order of rowids is the order of writing.
            self._database.executemany(
                "REPLACE INTO documents VALUES (?, ?, ?, ?)",
                (
                    (one, content[:HASH_BYTES], content[HASH_BYTES:], problem)
                    for one, content, problem in rows
                ),
            )

    def _planned_late(self, due: int | None) -> Iterator[Plan]:
        """Plan what has waited in vain: it is the last of its id."""
        while True:
            with self._locked():
                documents = {
                    document.id: document for document in self._repeats.waiting(WAITING, due)
                }
            if not documents:
                return
            known = self._rows(documents)
            with self._transaction():
                self._repeats.stop_waiting(documents)
                seen = self._repeats.seen(documents)
                plan = self._decided(documents, known, seen, 0, {})
            yield plan

    def _decided(
        self,
        documents: Mapping[str, Document],
        known: Mapping[str, _Row],
        seen: Mapping[str, Seen],
        replaced: int,
        gaps: Mapping[str, int],
    ) -> Plan:
        """Answer for each document, which is the last of its id so far, and note the answers."""
        answers: dict[str, Answer] = {}
        later = []
        for one, document in documents.items():
            now = seen[one]
            answer: Answer
            if now.sent is not None:  # what the journal has is not what the store will have
                if now.sent == now.content:
                    continue
                answer = "encode"
            else:
                answer = _answer(now.content, known.get(one))
            if answer != "unchanged" and one in gaps:
                # Twice as long as last time, and a chunk more, whatever was added in between.
                later.append((document, now.place + 2 * gaps[one] + PAGE))
                continue
            if answer == "unchanged" and now.answer == "unchanged":
                continue  # counted before
            answers[one] = now.answer = answer
            if answer != "unchanged":
                now.sent = now.content
        self._repeats.note(seen)
        self._repeats.wait(later)
        return _planned(documents, answers, replaced)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except (sqlite3.Error, DamagedError) as error:
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


_Row = tuple[bytes, bytes, str | None]


def _row(text: object, metadata: object, problem: object) -> _Row:
    return (
        cell(text, bytes),
        cell(metadata, bytes),
        None if problem is None else cell(problem, str),
    )


def _fits(key: str, there: str | None, wanted: str | None) -> bool:
    """Return whether an entry of the file is what a run asks for, as far as it is known."""
    if key == "model":
        return same_model(there or "", wanted or "")
    return there == wanted or (there is None and key in _LATER_KEYS)


def _answer(content: bytes, row: _Row | None) -> Answer:
    """Compare a content with what the journal has of its id."""
    text, metadata, problem = row or (b"", b"", None)
    if problem is not None or text != content[:HASH_BYTES]:
        return "encode"
    return "unchanged" if metadata == content[HASH_BYTES:] else "touch"


def _choice(
    id: str,
    versions: Mapping[bytes, Document],
    claim: Seen | None,
    row: _Row | None,
    old: set[tuple[str, bytes]],
) -> bytes:
    """Return the content that stays: the store's, or one that was not replaced, or the first."""
    if row is not None and row[2] is None and row[0] + row[1] in versions:
        return row[0] + row[1]
    new = next((content for content in versions if (id, content) not in old), None)
    if new is not None:
        return new
    return next(iter(versions)) if claim is None else claim.content


def _planned(
    documents: Mapping[str, Document], answers: Mapping[str, Answer], replaced: int
) -> Plan:
    sorted_out: dict[Answer, list[Document]] = {
        "encode": [],
        "touch": [],
        "unchanged": [],
        "later": [],
    }
    for one, answer in answers.items():
        sorted_out[answer].append(documents[one])
    return Plan(sorted_out["encode"], sorted_out["touch"], len(sorted_out["unchanged"]), replaced)
