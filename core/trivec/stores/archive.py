"""Saved vectors: a collection in a folder, with an SQLite file and segments in safetensors."""

from __future__ import annotations

import heapq
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple, Self

from typing_extensions import override

from trivec.collection import Collection, Page
from trivec.document import Document, metadata_json
from trivec.errors import CollectionNotFoundError, SchemaMismatchError, StoreError
from trivec.fields import FieldType
from trivec.filters import Filter
from trivec.hit import Hit
from trivec.search import Search
from trivec.stores.archive_folder import ArchiveFolder, saved_collection
from trivec.stores.backend import Backend
from trivec.stores.folder import check_name, check_not_linked, remove_files
from trivec.stores.limits import Limits
from trivec.stores.memory import Rows, candidates, rank
from trivec.stores.options import StoreOptions
from trivec.stores.url import StoreUrl
from trivec.vectors import Vector, Vectors

Execute = Callable[..., sqlite3.Cursor]

IDS = 1024  # ids in one statement; SQLite takes 32,766 parameters since 3.32


class _Cursor(NamedTuple):
    """The position of a scan: the table of its ids, and the last row that was read."""

    table: str
    row: int


class ArchiveBackend(Backend[Collection]):
    """A collection saved in a folder, to be copied back into a database.

    `documents.sqlite` holds ids, texts and metadata, and for each document the segment and the
    row of its vectors; every write adds a segment, `000001.safetensors` and so on. It is on the
    disk before the documents refer to it, so a write that was cut off leaves nothing but a file
    that the next one overwrites. The space of replaced vectors is given back when their whole
    segment has been replaced.

    It can be searched like the others, but reads all dense and sparse vectors for each request:
    use a database.

    Args:
        folder: Where it is; made by `create`.
        name: The collection.
    """

    # Vectors of 16 and 32 bits are kept in the type in which they come.
    limits = Limits(database="archive:", colbert_bits=(16, 32, 8, 4, 2, 1))

    def __init__(self, folder: str | Path, name: str) -> None:
        super().__init__(check_name(name))
        self._folder = ArchiveFolder(Path(folder) / name)
        self._file = self._folder.database
        self._lock = threading.RLock()
        self._database: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None  # device and inode of its file
        self._scans = count()
        self._ended: set[str] = set()  # tables of scans that have come to their end

    @classmethod
    @override
    def from_url(cls, url: StoreUrl, options: StoreOptions) -> Self:
        """Open `archive:FOLDER/name`."""
        return cls(url.path or Path(), url.name)

    @classmethod
    @override
    def local_files(cls, url: StoreUrl) -> tuple[Path, ...]:
        """Return the folder of an archive."""
        return ((url.path or Path()) / url.name,)

    @override
    def describe(self, declared: Mapping[str, FieldType]) -> Collection | None:
        with self._folder.failing():
            if not self._file.is_file():
                return None
        with self._transaction() as execute:
            row = execute("SELECT schema, fields FROM collection").fetchone()
        try:
            return saved_collection(*row)
        except (TypeError, ValueError) as error:
            raise self._folder.damaged(str(error)) from error

    @override
    def create(self, collection: Collection, *, adopt: bool) -> Collection:
        if not self._folder.create(collection) and self.describe({}) != collection:
            raise SchemaMismatchError(f"collection {self.name!r} was just created otherwise")
        return collection

    @override
    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        with self._transaction("IMMEDIATE") as execute:
            (last,) = execute("SELECT max(part) FROM documents").fetchone()
            segment = self._folder.last_segment(last) + 1
            self._folder.write_segment(segment, vectors.filled(collection.schema))
            replaced = self._segments_of(execute, [document.id for document in documents])
            for row, d in enumerate(documents):
                values = (d.id, d.text, metadata_json(d.metadata), segment, row)
                execute("REPLACE INTO documents VALUES (?, ?, ?, ?, ?)", values)
        self._remove(replaced)

    @override
    def get(self, collection: Collection, ids: Sequence[str], with_vectors: bool) -> Page:
        with self._transaction() as execute:
            query = "SELECT id, text, metadata, part, row FROM documents WHERE id IN ({})"
            rows = list(_selected(execute, query, ids))
            return self._page(collection, rows, collection.schema.parts if with_vectors else ())

    @override
    def scan_page(
        self,
        collection: Collection,
        cursor: object,
        limit: int,
        with_vectors: bool,
        condition: Filter | None,
    ) -> tuple[Page, object]:
        parts = collection.schema.parts if with_vectors else ()
        return self._scanned(collection, cursor, limit, parts, condition)

    def _scanned(
        self,
        collection: Collection,
        cursor: object,
        limit: int,
        parts: Sequence[str],
        condition: Filter | None,
    ) -> tuple[Page, _Cursor | None]:
        """Return a page of the documents that existed at the first one, also if rewritten since."""
        if isinstance(cursor, _Cursor):
            table, last = cursor
        else:  # in SQLite's temporary file, of this connection
            table, last = f"scan_{next(self._scans)}", 0
            with self._transaction() as execute:
                for ended in tuple(self._ended):
                    execute(f"DROP TABLE IF EXISTS {ended}")
                self._ended.clear()
                execute(f"CREATE TEMP TABLE {table} AS SELECT id FROM documents ORDER BY part, row")
        with self._transaction() as execute:
            (end,) = execute(
                f"SELECT max(rowid) FROM (SELECT rowid FROM {table} WHERE rowid > ? LIMIT ?)",
                (last, limit),
            ).fetchone()
            if end is None:
                self._ended.add(table)  # and not dropped now: the last page may be asked for again
                return Page([], None), None
            rows = execute(
                "SELECT id, text, metadata, part, row FROM documents WHERE id IN "
                f"(SELECT id FROM {table} WHERE rowid > ? AND rowid <= ?)",
                (last, end),
            ).fetchall()
            if condition is not None:
                rows = [row for row in rows if condition.matches(self._folder.metadata(row[2]))]
            return self._page(collection, rows, parts), _Cursor(table, end)

    def _pages(
        self, collection: Collection, parts: Sequence[str], condition: Filter | None
    ) -> Iterator[Page]:
        cursor: _Cursor | None = None
        while True:
            page, cursor = self._scanned(collection, cursor, IDS, parts, condition)
            if page.documents:
                yield page
            if cursor is None:
                return

    def _page(
        self, collection: Collection, rows: Sequence[tuple[Any, ...]], parts: Sequence[str]
    ) -> Page:
        """Return documents in the order of their segments, with these representations."""
        places = self._folder.places(rows)
        documents = [place.document for place in places]
        if not parts:
            return Page(documents, None)
        by_segment: dict[int, list[int]] = {}
        for _, segment, row in places:
            by_segment.setdefault(segment, []).append(row)
        batches = [
            self._folder.load_segment(segment, wanted, parts, collection.schema)
            for segment, wanted in by_segment.items()
        ]
        return Page(documents, Vectors.concatenate(batches) if batches else None)

    @override
    def delete(self, collection: Collection, ids: Sequence[str]) -> None:
        with self._transaction("IMMEDIATE") as execute:
            segments = self._segments_of(execute, ids)
            for id in ids:
                execute("DELETE FROM documents WHERE id = ?", (id,))
        self._remove(segments)

    @override
    def delete_where(self, collection: Collection, condition: Filter) -> None:
        for page in self._pages(collection, (), condition):
            self.delete(collection, [document.id for document in page.documents])

    @override
    def count(self, collection: Collection, condition: Filter | None) -> int:
        with self._transaction() as execute:
            if condition is None:
                return int(execute("SELECT count(*) FROM documents").fetchone()[0])
            rows = execute("SELECT metadata FROM documents")
            return sum(condition.matches(self._folder.metadata(m)) for (m,) in rows)

    @override
    def search(
        self, collection: Collection, queries: Sequence[Vector], search: Search
    ) -> list[list[Hit]]:
        """Read dense and sparse vectors once for all candidates, then each query's own."""
        found: list[dict[str, list[tuple[float, str]]]] = [{} for _ in queries]
        sources = [part for part in collection.schema.parts if part != "colbert"]
        for page in self._pages(collection, sources, search.filter) if sources else ():
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
            self._ranked(collection, query, {id for b in best.values() for _, id in b}, search)
            for query, best in zip(queries, found, strict=True)
        ]

    def _ranked(
        self, collection: Collection, query: Vector, ids: set[str], search: Search
    ) -> list[Hit]:
        page = self.get(collection, list(ids), True)
        if not page.documents or page.vectors is None:
            return []
        order = sorted(range(len(page.documents)), key=lambda i: page.documents[i].id)
        documents = [page.documents[i] for i in order]
        return rank(query, Rows(documents, page.vectors.take(order)), search)

    @override
    def drop(self) -> None:
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
            self.close()
            if not folder.path.is_symlink():
                folder.clear()
                folder.remove()

    @override
    def close(self) -> None:
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

    def _remove(self, segments: set[int]) -> None:
        """Delete the files of segments that no document refers to any more."""
        if not segments:
            return
        # Other writers wait, so none of them gives a new segment the number of a deleted one.
        with self._transaction("IMMEDIATE") as execute:
            for segment in _empty(execute, segments):
                remove_files([self._folder.segment(segment)])

    def _segments_of(self, execute: Execute, ids: Sequence[str]) -> set[int]:
        query = "SELECT DISTINCT part FROM documents WHERE id IN ({})"
        return {self._folder.last_segment(segment) for (segment,) in _selected(execute, query, ids)}

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
                self.close()
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


def _empty(execute: Execute, segments: Iterable[int]) -> list[int]:
    """Return the segments that no document refers to any more."""
    query = "SELECT EXISTS (SELECT 1 FROM documents WHERE part = ?)"
    return [segment for segment in segments if not execute(query, (segment,)).fetchone()[0]]
