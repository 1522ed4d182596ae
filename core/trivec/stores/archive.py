"""Saved vectors: a collection in a folder, of an SQLite file and safetensors parts."""

from __future__ import annotations

import heapq
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Any, Self

from trivec.collection import Collection, Page
from trivec.document import Document, metadata_json
from trivec.errors import CollectionNotFoundError, SchemaMismatchError, StoreError
from trivec.filters import Filter
from trivec.hit import Hit
from trivec.search import Search
from trivec.stores.archive_folder import ArchiveFolder, saved_collection, whole
from trivec.stores.folder import check_name, check_not_linked, remove_files
from trivec.stores.memory import candidates, rank
from trivec.stores.overflow import Overflow
from trivec.stores.store import BATCH_BYTES, Store
from trivec.stores.url import StoreUrl
from trivec.vectors import Vector, Vectors

__all__ = ["ArchiveStore"]

Execute = Callable[..., sqlite3.Cursor]

IDS = 1024  # ids in one statement; SQLite takes 32,766 parameters since 3.32


class ArchiveStore(Store):
    """A collection saved in a folder, to be copied back into a database.

    `documents.sqlite` holds ids, texts and metadata, and for each document the part and the row
    of its vectors; every write adds one part, `000001.safetensors` and so on. A part is on the
    disk before the documents refer to it, so a write that was cut off leaves nothing but a file
    that the next one overwrites. The place that replaced vectors take is given back when their
    whole part has been replaced.

    It can be searched like the others, but reads all dense and sparse vectors for each request:
    use a database.

    Args:
        folder: Where it is; made by `create`.
        name: The collection.
        colbert_overflow: Has no effect here, since any number of token vectors fits.
        batch_bytes: The most bytes of one part; 32 MiB by default.
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        *,
        colbert_overflow: Overflow = "pool",
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        super().__init__(name, colbert_overflow=colbert_overflow, batch_bytes=batch_bytes)
        self._folder = ArchiveFolder(Path(folder) / check_name(name))
        self._file = self._folder.database
        self._lock = threading.RLock()
        self._database: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None  # device and inode of its file
        self._scans = count()

    @classmethod
    def from_url(
        cls,
        url: StoreUrl,
        *,
        colbert_overflow: Overflow = "pool",
        batch_bytes: int = BATCH_BYTES,
    ) -> Self:
        """Open `archive:FOLDER/name`."""
        folder = url.path or Path()
        return cls(folder, url.name, colbert_overflow=colbert_overflow, batch_bytes=batch_bytes)

    @classmethod
    def local_files(cls, url: StoreUrl) -> tuple[Path, ...]:
        """Return the folder of an archive."""
        return ((url.path or Path()) / url.name,)

    def _describe(self) -> Collection | None:
        with self._folder.failing():
            if not self._file.is_file():
                return None
        with self._transaction() as execute:
            row = execute("SELECT schema, fields FROM collection").fetchone()
        try:
            return saved_collection(*row)
        except (TypeError, ValueError) as error:
            raise self._folder.damaged(str(error)) from error

    def _create(self, collection: Collection) -> None:
        if not self._folder.create(collection) and self._describe() != collection:
            raise SchemaMismatchError(f"collection {self.name!r} was just created otherwise")

    def _write(self, documents: Sequence[Document], vectors: Vectors) -> None:
        with self._transaction("IMMEDIATE") as execute:
            (last,) = execute("SELECT max(part) FROM documents").fetchone()
            part = self._folder.last_part(last) + 1
            self._folder.write_part(part, whole(vectors, self.schema))
            replaced = self._parts_of(execute, [document.id for document in documents])
            for row, d in enumerate(documents):
                values = (d.id, d.text, metadata_json(d.metadata), part, row)
                execute("REPLACE INTO documents VALUES (?, ?, ?, ?, ?)", values)
        self._remove(replaced)

    def _get(self, ids: Sequence[str], with_vectors: bool) -> Page:
        with self._transaction() as execute:
            query = "SELECT id, text, metadata, part, row FROM documents WHERE id IN ({})"
            rows = list(_selected(execute, query, ids))
            return self._page(rows, self.schema.parts if with_vectors else ())

    def _scan(
        self, batch_size: int, with_vectors: bool, condition: Filter | None
    ) -> Iterator[Page]:
        return self._pages(batch_size, self.schema.parts if with_vectors else (), condition)

    def _pages(
        self, batch_size: int, parts: Sequence[str], condition: Filter | None
    ) -> Iterator[Page]:
        """Yield what is there now, once each, also if it is written again meanwhile."""
        name = f"scan_{next(self._scans)}"  # in SQLite's temporary file, of this connection
        with self._transaction() as execute:
            execute(f"CREATE TEMP TABLE {name} AS SELECT id FROM documents ORDER BY part, row")
        place = 0
        while True:
            with self._transaction() as execute:
                last = place
                (place,) = execute(
                    f"SELECT max(rowid) FROM (SELECT rowid FROM {name} WHERE rowid > ? LIMIT ?)",
                    (last, batch_size),
                ).fetchone()
                if place is None:
                    execute(f"DROP TABLE {name}")
                    return
                rows = execute(
                    "SELECT id, text, metadata, part, row FROM documents WHERE id IN "
                    f"(SELECT id FROM {name} WHERE rowid > ? AND rowid <= ?)",
                    (last, place),
                ).fetchall()
                if condition is not None:
                    rows = [row for row in rows if condition.matches(self._folder.metadata(row[2]))]
                page = self._page(rows, parts)
            if page.documents:
                yield page

    def _page(self, rows: Sequence[tuple[Any, ...]], parts: Sequence[str]) -> Page:
        """Return documents, in the order of their places, with these parts of their vectors."""
        places = self._folder.places(rows)
        documents = [place.document for place in places]
        if not parts:
            return Page(documents, None)
        by_part: dict[int, list[int]] = {}
        for _, part, row in places:
            by_part.setdefault(part, []).append(row)
        batches = [
            self._folder.load_part(part, wanted, parts, self.schema)
            for part, wanted in by_part.items()
        ]
        return Page(documents, Vectors.concatenate(batches) if batches else self._no_vectors())

    def _delete(self, ids: Sequence[str]) -> None:
        with self._transaction("IMMEDIATE") as execute:
            parts = self._parts_of(execute, ids)
            for one in ids:
                execute("DELETE FROM documents WHERE id = ?", (one,))
        self._remove(parts)

    def _delete_where(self, condition: Filter) -> None:
        for page in self._scan(IDS, False, condition):
            self._delete([document.id for document in page.documents])

    def _count(self, condition: Filter | None) -> int:
        with self._transaction() as execute:
            if condition is None:
                return int(execute("SELECT count(*) FROM documents").fetchone()[0])
            rows = execute("SELECT metadata FROM documents")
            return sum(condition.matches(self._folder.metadata(m)) for (m,) in rows)

    def _search(self, queries: Sequence[Vector], search: Search) -> list[list[Hit]]:
        """Read dense and sparse vectors once for all candidates, then each query's own."""
        found: list[dict[str, list[tuple[float, str]]]] = [{} for _ in queries]
        sources = [part for part in self.schema.parts if part != "colbert"]
        for page in self._pages(IDS, sources, search.filter) if sources else ():
            assert page.vectors is not None
            in_order = sorted(range(len(page.documents)), key=lambda i: page.documents[i].id)
            vectors = page.vectors.take(in_order)  # so that equal scores come in id order
            for query, best in zip(queries, found, strict=True):
                for source in search.sources(query):
                    rows, scores = candidates(query, vectors, source, search)
                    ids = (page.documents[in_order[row]].id for row in rows.tolist())
                    both = chain(best.get(source, ()), zip((-scores).tolist(), ids, strict=True))
                    best[source] = heapq.nsmallest(search.source_limit, both)
        return [
            self._ranked(query, {one for ids in best.values() for _, one in ids}, search)
            for query, best in zip(queries, found, strict=True)
        ]

    def _ranked(self, query: Vector, ids: set[str], search: Search) -> list[Hit]:
        page = self._get(list(ids), True)
        if not page.documents or page.vectors is None:
            return []
        order = sorted(range(len(page.documents)), key=lambda i: page.documents[i].id)
        documents = [page.documents[i] for i in order]
        return rank(query, documents, page.vectors.take(order), search)

    def _drop(self) -> None:
        folder = self._folder
        with self._lock, folder.failing():
            if folder.database.is_file():
                check_not_linked(folder.path, self.name)
                if not folder.is_ours():
                    raise StoreError(
                        f"{folder.database} is another program's database, so nothing in "
                        f"{folder.path} is deleted"
                    )
                try:
                    with self._transaction("IMMEDIATE"):  # once nobody writes
                        folder.retire()
                except CollectionNotFoundError:  # another one was faster
                    pass
                except StoreError:  # it is damaged
                    folder.retire()
            self._close()
            if not folder.path.is_symlink():
                folder.clear()
                folder.remove()

    def _close(self) -> None:
        with self._lock:
            if self._database is not None:
                self._database.close()
            self._database = None

    def _check_current(self) -> None:
        """Raise `CollectionNotFoundError` if the archive was dropped while this one waited."""
        try:
            status = self._file.stat()
        except FileNotFoundError:
            status = None
        if status is None or self._opened != (status.st_dev, status.st_ino):
            raise CollectionNotFoundError(f"collection {self.name!r} was dropped meanwhile")

    def _remove(self, parts: set[int]) -> None:
        """Delete the files of parts that no document refers to any more."""
        if not parts:
            return
        # Other writers wait, so none of them gives a new part the number of a deleted one.
        with self._transaction("IMMEDIATE") as execute:
            for part in _empty(execute, parts):
                remove_files([self._folder.part(part)])

    def _parts_of(self, execute: Execute, ids: Sequence[str]) -> set[int]:
        query = "SELECT DISTINCT part FROM documents WHERE id IN ({})"
        return {self._folder.last_part(part) for (part,) in _selected(execute, query, ids)}

    @contextmanager
    def _transaction(self, kind: str = "DEFERRED") -> Iterator[Execute]:
        """Yield what runs statements, together or not at all."""
        with self._lock, self._folder.failing():
            try:
                status = self._file.stat()
            except (FileNotFoundError, NotADirectoryError) as error:
                raise CollectionNotFoundError(
                    f"collection {self.name!r} does not exist: {self._folder.path} holds no archive"
                ) from error
            if self._opened != (status.st_dev, status.st_ino):  # dropped and made anew
                self._close()
            if self._database is None:
                self._opened = (status.st_dev, status.st_ino)
                self._database = sqlite3.connect(
                    self._file, isolation_level=None, check_same_thread=False, timeout=60
                )
            database = self._database
            database.execute(f"BEGIN {kind}")
            try:
                self._check_current()
                yield database.execute
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")


def _selected(execute: Execute, query: str, ids: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for start in range(0, len(ids), IDS):
        some = ids[start : start + IDS]
        yield from execute(query.format(", ".join("?" * len(some))), tuple(some))


def _empty(execute: Execute, parts: Iterable[int]) -> list[int]:
    """Return those of these parts that no document refers to any more."""
    query = "SELECT EXISTS (SELECT 1 FROM documents WHERE part = ?)"
    return [part for part in parts if not execute(query, (part,)).fetchone()[0]]
