"""The journal: a file that records what a run has written, so that the next run can resume."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from trivec.document import Document
from trivec.ingestion.contents import HASH_BYTES, content_key, content_of
from trivec.ingestion.journal_database import JournalDatabase
from trivec.ingestion.journal_file import DamagedError, cell
from trivec.ingestion.repeats import PAGE, WAITING, Seen, select
from trivec.ingestion.worklist import Acknowledged, Action, Worklist, action_for

UNFINISHED = "the run ended before all of it was written"
"""The problem of a document that takes several writes, until it is acknowledged."""


class Journal:
    """The documents that a store has acknowledged, by the hashes of their texts and metadata.

    A row is written after the store's acknowledgement. If the process dies between the two steps,
    the next run writes those documents again under the same ids, which is harmless.

    Without a path it is a temporary file, which is deleted when the journal is closed.

    Raises:
        JournalError: If the file belongs to another identity, is in use, or is not a journal.

    Example:
        >>> documents = [Document("a", "one"), Document("b", "2"), Document("c", "")]
        >>> with Journal(None, {"store": "memory:/articles"}) as journal:
        ...     journal.acknowledge([Document("a", "one"), Document("b", "two")])
        ...     work = journal.worklist(documents)
        >>> [document.id for document in work.encode], work.unchanged
        (['b', 'c'], 1)
    """

    def __init__(self, path: str | Path | None, identity: Mapping[str, str]) -> None:
        self._database = JournalDatabase(path, identity)
        self._connection = self._database.connection
        self._repeats = self._database.repeats
        self._position = 0  # of the next document in the source

    def worklists(self, chunks: Iterable[Sequence[Document]]) -> Iterator[Worklist]:
        """Yield the work for each chunk of a source, and at the end for the documents that waited.

        Of documents with the same id the last one is kept. A document that another one replaced in
        an earlier run waits for the next document with its id, and needs work if none comes.
        """
        for chunk in chunks:
            yield self.worklist(chunk)
            yield from self._waited(self._position)
        yield from self._waited(None)
        self.finish()

    def worklist(self, documents: Sequence[Document]) -> Worklist:
        """Return the work for the next documents of this run, and record their ids.

        Documents that wait are in none of the lists; see `worklists`.
        """
        last = {document.id: document for document in documents}
        known = self._rows(last)
        with self._database.transaction():
            before, first = self._repeats.seen(last), self._position
            self._position += len(documents)
            replaced, gone = 0, []
            seen = {id: replace(earlier) for id, earlier in before.items()}
            for position, document in enumerate(documents, first):
                id, content = document.id, content_of(document)
                if (other := seen.get(id)) is None:
                    seen[id] = Seen(content, position)
                    continue
                replaced += 1
                if other.content != content:
                    gone.append((content_key(id, other.content), position - other.position))
                other.content, other.position = content, position
            keys = {content_key(id, s.content): id for id, s in seen.items()}
            gaps = {keys[key]: gap for key, gap in self._repeats.gaps(keys).items()}
            self._repeats.replace(gone)
            self._repeats.stop_waiting(before)
            return self._decided(last, known, seen, replaced, gaps)

    def claim(self, documents: Sequence[Document], *, wait: bool = True) -> Worklist:
        """Return the work for documents, as `worklist` does, to one of many concurrent workers.

        A worker that was killed asks again, and gets the same work for the same documents,
        whatever was acknowledged in the meantime. Of several contents of an id one is kept, so
        that no two are on their way to the store at once: the content that the store already has,
        or else the first that comes. The other contents are left out and count as replaced. With
        `wait`, documents that others replaced in an earlier run wait for the next document with
        their id; `waiting` returns them.
        """
        versions: dict[str, dict[bytes, Document]] = {}
        for document in documents:
            versions.setdefault(document.id, {}).setdefault(content_of(document), document)
        known = self._rows(versions)
        with self._database.transaction():
            before = self._repeats.seen(versions)
            keys = {
                content_key(id, content): (id, content)
                for id, contents in versions.items()
                for content in contents
            }
            replaced_before = {keys[key] for key in self._repeats.gaps(keys)}
            actions: dict[str, Action] = {}
            chosen: dict[str, Document] = {}
            replaced, gone = len(documents), list[tuple[bytes, int]]()
            fresh: dict[str, Seen] = {}
            for id, contents in versions.items():
                claim = before.get(id)
                if claim is None or claim.action == "later":
                    content = _choice(id, contents, claim, known.get(id), replaced_before)
                    if claim is not None and claim.content != content:
                        gone.append((content_key(id, claim.content), 0))
                        replaced += 1
                    if content in contents:
                        action = action_for(content, known.get(id))
                        if wait and action != "unchanged" and (id, content) in replaced_before:
                            action = "later"
                        claim = fresh[id] = Seen(content, 0, action)
                assert claim is not None
                gone += [(content_key(id, c), 0) for c in contents if c != claim.content]
                if claim.content in contents:
                    actions[id], chosen[id] = claim.action, contents[claim.content]
                    replaced -= 1
            self._repeats.note(fresh)
            self._repeats.replace(gone)
            self._repeats.stop_waiting(fresh)
            later = [chosen[id] for id, seen in fresh.items() if seen.action == "later"]
            self._repeats.wait((document, 0) for document in later)
        return Worklist.from_actions(chosen, actions, replaced)

    def waiting(self, most: int) -> list[Document]:
        """Return the first documents that wait for others with their id, at most `most`."""
        with self._database.locked():
            return self._repeats.waiting(most)

    def keep(self, id: str) -> bool:
        """Record that the source has an id without a document; return whether the id is known."""
        known = bool(self._rows([id]))
        with self._database.transaction():
            self._repeats.keep(id)
        return known

    def finish(self) -> None:
        """Tidy up after a run that has gone through a whole source."""
        with self._database.transaction():
            self._repeats.forget_old()

    def begin(self, documents: Iterable[Document]) -> None:
        """Record documents that take several writes.

        Unless they are acknowledged later, the next run writes them again, whatever their contents
        are then.
        """
        self._record((d.id, content_of(d), UNFINISHED) for d in documents)

    def acknowledge(self, documents: Iterable[Document]) -> None:
        """Record the documents that the store has acknowledged."""
        self._record((d.id, content_of(d), None) for d in documents)

    def fail(self, document: Document, problem: str) -> None:
        """Record that the store refused a document; the next run tries it again."""
        self._record([(document.id, content_of(document), problem)])

    def failures(self) -> Iterator[tuple[str, str]]:
        """Yield the id of each document that the store refused, and the reason."""
        with self._database.locked():
            rows = self._connection.execute(
                "SELECT id, problem FROM documents WHERE problem IS NOT NULL ORDER BY id"
            ).fetchall()
            failures = [(cell(id, str), cell(problem, str)) for id, problem in rows]
        yield from failures

    def __len__(self) -> int:
        """Return the number of acknowledged documents."""
        query = "SELECT count(*) FROM documents WHERE problem IS NULL"
        with self._database.locked():
            (count,) = self._connection.execute(query).fetchone()
        return int(count)

    def newest(self) -> Iterator[list[str]]:
        """Yield the acknowledged ids in pages, the most recent first."""
        yield from self._pages(
            "SELECT -rowid, id FROM documents WHERE problem IS NULL "
            "AND (?1 IS NULL OR rowid < -?1) ORDER BY rowid DESC LIMIT ?2",
            None,
        )

    def vanished(self) -> Iterator[list[str]]:
        """Yield in pages the known ids that this run has not seen; `forget` removes them."""
        yield from self._pages(
            "SELECT id, id FROM documents WHERE id > ? AND id NOT IN (SELECT id FROM seen) "
            "AND id NOT IN (SELECT id FROM kept) ORDER BY id LIMIT ?",
            "",
        )

    def _pages(self, query: str, last: str | None) -> Iterator[list[str]]:
        """Yield ids in pages; the query returns the rows after a key, by key and id."""
        while True:
            with self._database.locked():
                rows = self._connection.execute(query, (last, PAGE)).fetchall()
                ids = [cell(id, str) for _, id in rows]
                if rows and last is not None and rows[-1][0] <= last:
                    raise DamagedError("its rows are not in order")  # reading would never end
            if not rows:
                return
            last = rows[-1][0]
            yield ids

    def forget(self, ids: Iterable[str]) -> None:
        """Forget documents, so that they count as new when they come again."""
        with self._database.transaction():
            delete = "DELETE FROM documents WHERE id = ?"
            self._connection.executemany(delete, ((id,) for id in ids))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _rows(self, ids: Iterable[str]) -> dict[str, Acknowledged]:
        query = "SELECT id, text, metadata, problem FROM documents WHERE id IN ({})"
        with self._database.locked():
            rows = select(self._connection, query, ids)
            return {id: _acknowledged(*columns) for id, *columns in rows}

    def _record(self, rows: Iterable[tuple[str, bytes, str | None]]) -> None:
        with self._database.transaction():
            # REPLACE gives a new rowid, so the order of rowids is the order of writing.
            self._connection.executemany(
                "REPLACE INTO documents VALUES (?, ?, ?, ?)",
                (
                    (id, content[:HASH_BYTES], content[HASH_BYTES:], problem)
                    for id, content, problem in rows
                ),
            )

    def _waited(self, due: int | None) -> Iterator[Worklist]:
        """Yield the work for documents that have waited in vain: they are the last of their id."""
        while True:
            with self._database.locked():
                waiting = self._repeats.waiting(WAITING, due)
            documents = {document.id: document for document in waiting}
            if not documents:
                return
            known = self._rows(documents)
            with self._database.transaction():
                self._repeats.stop_waiting(documents)
                seen = self._repeats.seen(documents)
                work = self._decided(documents, known, seen, 0, {})
            yield work

    def _decided(
        self,
        documents: Mapping[str, Document],
        known: Mapping[str, Acknowledged],
        seen: Mapping[str, Seen],
        replaced: int,
        gaps: Mapping[str, int],
    ) -> Worklist:
        """Decide on the action for documents that are the last of their id so far, and record it.

        `gaps` has, for contents that were replaced in an earlier run, how many documents were in
        between.
        """
        actions: dict[str, Action] = {}
        later = []
        for id, document in documents.items():
            now = seen[id]
            action: Action
            if now.sent is not None:  # the store will have this content, not the journal's
                if now.sent == now.content:
                    continue
                action = "encode"
            else:
                action = action_for(now.content, known.get(id))
            if action != "unchanged" and id in gaps:
                # Twice as long as last time, and a chunk more, whatever was added in between.
                later.append((document, now.position + 2 * gaps[id] + PAGE))
                continue
            if action == "unchanged" and now.action == "unchanged":
                continue  # counted before
            actions[id] = now.action = action
            if action != "unchanged":
                now.sent = now.content
        self._repeats.note(seen)
        self._repeats.wait(later)
        return Worklist.from_actions(documents, actions, replaced)


def _acknowledged(text: object, metadata: object, problem: object) -> Acknowledged:
    problem = None if problem is None else cell(problem, str)
    return Acknowledged(cell(text, bytes), cell(metadata, bytes), problem)


def _choice(
    id: str,
    versions: Mapping[bytes, Document],
    claim: Seen | None,
    row: Acknowledged | None,
    replaced_before: set[tuple[str, bytes]],
) -> bytes:
    """Return the content to keep: the store's, or one that was not replaced before, or the first.

    `claim` is the version that was kept of those that came earlier in this run.
    """
    if row is not None and row.problem is None and row.content in versions:
        return row.content
    new = next((content for content in versions if (id, content) not in replaced_before), None)
    if new is not None:
        return new
    return next(iter(versions)) if claim is None else claim.content
