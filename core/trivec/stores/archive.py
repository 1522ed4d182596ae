"""Saved vectors: a collection in a folder, of an SQLite file and safetensors parts."""

from __future__ import annotations

import heapq
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain, count
from pathlib import Path
from typing import Any, Self

import numpy as np

from trivec.collection import Collection, Page
from trivec.document import Document, metadata_json
from trivec.errors import (
    CollectionNotFoundError,
    InvalidVectorsError,
    StoreError,
)
from trivec.fields import FieldType
from trivec.filters import Filter
from trivec.hit import Hit
from trivec.rows import SparseRows, TokenRows
from trivec.schema import Schema
from trivec.search import Search
from trivec.stores.memory import candidates, rank
from trivec.stores.overflow import Overflow
from trivec.stores.store import BATCH_BYTES, Store
from trivec.stores.url import StoreUrl
from trivec.vectors import Vector, Vectors

__all__ = ["ArchiveStore"]

Execute = Callable[..., sqlite3.Cursor]

IDS = 1024  # ids in one statement; SQLite takes 32,766 parameters since 3.32

_TABLES = """
CREATE TABLE collection (schema TEXT NOT NULL, fields TEXT NOT NULL);
CREATE TABLE documents (
    id TEXT PRIMARY KEY, text TEXT NOT NULL, metadata TEXT NOT NULL,
    part INTEGER NOT NULL, row INTEGER NOT NULL
);
CREATE INDEX place ON documents (part, row);
"""


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
        self._folder = Path(folder) / name
        self._file = self._folder / "documents.sqlite"
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
        if not self._file.is_file():
            return None
        with self._transaction() as execute:
            row = execute("SELECT schema, fields FROM collection").fetchone()
        fields = {path: FieldType(kind) for path, kind in json.loads(row[1]).items()}
        return Collection(Schema(**json.loads(row[0])), fields)

    def _create(self, collection: Collection) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the folder {self._folder} cannot be made: {error}") from error
        # Made under another name: a file of this name is complete.
        new = self._file.with_suffix(".new")
        new.unlink(missing_ok=True)
        database = sqlite3.connect(new, isolation_level=None)
        database.executescript(_TABLES)
        database.execute(
            "INSERT INTO collection VALUES (?, ?)",
            (json.dumps(asdict(collection.schema)), json.dumps(dict(collection.fields))),
        )
        database.close()
        new.replace(self._file)

    def _write(self, documents: Sequence[Document], vectors: Vectors) -> None:
        with self._transaction("IMMEDIATE") as execute:
            (last,) = execute("SELECT max(part) FROM documents").fetchone()
            part = (last or 0) + 1
            new = self._folder / "part.new"
            _whole(vectors, self.schema).save(new)
            with new.open("rb+") as file:
                os.fsync(file.fileno())
            new.replace(self._part(part))
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
                    rows = [row for row in rows if condition.matches(json.loads(row[2]))]
                page = self._page(rows, parts)
            if page.documents:
                yield page

    def _page(self, rows: Sequence[tuple[Any, ...]], parts: Sequence[str]) -> Page:
        """Return documents, in the order of their places, with these parts of their vectors."""
        rows = sorted(rows, key=lambda row: row[3:])
        documents = [Document(one, text, json.loads(meta)) for one, text, meta, _, _ in rows]
        if not parts:
            return Page(documents, None)
        places: dict[int, list[int]] = {}
        for row in rows:
            places.setdefault(row[3], []).append(row[4])
        batches = []
        for part, wanted in places.items():
            start = wanted[0]
            run = Vectors.load(self._part(part), start=start, stop=wanted[-1] + 1, parts=parts)
            batches.append(run.take(np.asarray(wanted, np.int64) - start))
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
            return sum(condition.matches(json.loads(metadata)) for (metadata,) in rows)

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
        with self._lock:
            try:
                with self._transaction("IMMEDIATE"):  # once nobody writes
                    self._unlink()
            except StoreError:  # there is none, or it is damaged
                self._unlink()
            self._close()
            if self._folder.is_dir() and not any(self._folder.iterdir()):
                self._folder.rmdir()

    def _unlink(self) -> None:
        self._file.unlink(missing_ok=True)
        for file in self._folder.glob("*.safetensors"):
            file.unlink()

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

    def _part(self, number: int) -> Path:
        return self._folder / f"{number:06d}.safetensors"

    def _remove(self, parts: set[int]) -> None:
        """Delete the files of parts that no document refers to any more."""
        if not parts:
            return
        # Other writers wait, so none of them gives a new part the number of a deleted one.
        with self._transaction("IMMEDIATE") as execute:
            for part in _empty(execute, parts):
                self._part(part).unlink(missing_ok=True)

    def _parts_of(self, execute: Execute, ids: Sequence[str]) -> set[int]:
        query = "SELECT DISTINCT part FROM documents WHERE id IN ({})"
        return {part for (part,) in _selected(execute, query, ids)}

    @contextmanager
    def _transaction(self, kind: str = "DEFERRED") -> Iterator[Execute]:
        """Yield what runs statements, together or not at all."""
        with self._lock:
            try:
                status = self._file.stat()
            except (FileNotFoundError, NotADirectoryError) as error:
                raise CollectionNotFoundError(
                    f"collection {self.name!r} does not exist: {self._folder} holds no archive"
                ) from error
            try:
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
            except (sqlite3.Error, OSError, InvalidVectorsError) as error:  # of a damaged part
                raise StoreError(f"the archive in {self._folder} failed: {error}") from error


def _whole(vectors: Vectors, schema: Schema) -> Vectors:
    """Return vectors with every part of the schema, so that parts can be concatenated."""
    n = len(vectors)
    dense, sparse, colbert = vectors.dense, vectors.sparse, vectors.colbert
    if dense is None and schema.dense is not None:
        dense = np.zeros((n, schema.dense), np.float32)
    if sparse is None and schema.sparse:
        sparse = SparseRows.from_dicts([{}] * n)
    if colbert is None and schema.colbert is not None:
        none = np.zeros((0, schema.colbert), np.float32)
        colbert = TokenRows(np.zeros(n + 1, np.int64), none)
    return Vectors(dense=dense, sparse=sparse, colbert=colbert)


def _selected(execute: Execute, query: str, ids: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for start in range(0, len(ids), IDS):
        some = ids[start : start + IDS]
        yield from execute(query.format(", ".join("?" * len(some))), tuple(some))


def _empty(execute: Execute, parts: Iterable[int]) -> list[int]:
    """Return those of these parts that no document refers to any more."""
    query = "SELECT EXISTS (SELECT 1 FROM documents WHERE part = ?)"
    return [part for part in parts if not execute(query, (part,)).fetchone()[0]]
