"""The files of an archive: which belong to it, and how they are read and written."""

from __future__ import annotations

import json
import os
import re
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError

from trivec.colbert_storage import ColbertStorage
from trivec.collection import Collection
from trivec.document import Document
from trivec.errors import StoreError
from trivec.fields import FieldType
from trivec.plain import MALFORMED, Json
from trivec.schema import Schema
from trivec.stores.folder import (
    check_vacant,
    is_full,
    make_folder,
    private_file,
    remove_files,
    telling_full,
)
from trivec.vectors import Vectors

_TABLES = """
CREATE TABLE collection (schema TEXT NOT NULL, fields TEXT NOT NULL);
CREATE TABLE documents (
    id TEXT PRIMARY KEY, text TEXT NOT NULL, metadata TEXT NOT NULL,
    part INTEGER NOT NULL, row INTEGER NOT NULL
);
CREATE INDEX place ON documents (part, row);
"""

_STORAGE = "colbert_storage"  # beside the fields of the schema

DATABASE = "documents.sqlite"
DROPPED = "documents.old"  # the database's name from the instant it is dropped
NEW_PART = "part.new"
_PART = re.compile(r"[0-9]{6,}\.safetensors")
_BEGUN = re.compile(
    r"documents(?:\.[0-9a-f]{8})?\.new(?:-journal)?|documents\.sqlite-(?:journal|wal|shm)|part\.new"
)
"""Leftovers of a write, a `create` or a `drop` that was killed."""

_DAMAGE: tuple[type[Exception], ...] = (SafetensorError, OSError, *MALFORMED)
"""The errors of reading a damaged file; `InvalidInputError` is a ValueError."""


class Place(NamedTuple):
    """A document and where its vectors are."""

    document: Document
    segment: int
    row: int


class ArchiveFolder:
    """The files of one archive.

    A folder is an archive if it holds the database `documents.sqlite` with the tables of an
    archive. Only then do files such as `000001.safetensors` beside it belong to the archive.

    Args:
        path: The folder, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / DATABASE

    def segment(self, number: int) -> Path:
        """Return the file of a segment of vectors."""
        return self.path / f"{number:06d}.safetensors"

    def create(self, collection: Collection) -> bool:
        """Make the database, whole or not at all; return False if another one was first.

        Raises:
            StoreError: If the folder holds files of others, or cannot be written.
        """
        make_folder(self.path)
        with self.failing():
            self.clear()
            if self.database.is_file():
                return False
            check_vacant(self.path, _is_begun)
            remove_files(self._named(_BEGUN))
            new = self.path / f"documents.{secrets.token_hex(4)}.new"
            try:
                private_file(new)
                storage = {} if collection.colbert is None else {_STORAGE: str(collection.colbert)}
                with closing(sqlite3.connect(new, isolation_level=None)) as database:
                    database.executescript(_TABLES)
                    database.execute(
                        "INSERT INTO collection VALUES (?, ?)",
                        (
                            json.dumps(asdict(collection.schema) | storage),
                            json.dumps(dict(collection.fields)),
                        ),
                    )
                return _publish(new, self.database)
            finally:
                new.unlink(missing_ok=True)

    def write_segment(self, number: int, vectors: Vectors) -> None:
        """Write a segment, which is on the disk before it has its name.

        Raises:
            StoreError: If it cannot be written; nothing of it stays.
        """
        new = self.path / NEW_PART
        with self.failing():
            try:
                private_file(new)
                with new.open("wb") as file:
                    vectors.write_to(file)
                    file.flush()
                    os.fsync(file.fileno())
                new.replace(self.segment(number))
            except BaseException:
                new.unlink(missing_ok=True)
                raise

    def load_segment(
        self, number: int, rows: Sequence[int], parts: Sequence[str], schema: Schema
    ) -> Vectors:
        """Return rows of a segment.

        Args:
            number: The segment.
            rows: The rows, ascending.
            parts: Which of the three representations to read.
            schema: What the collection holds.

        Raises:
            StoreError: If the file is missing, damaged, or another collection's.
        """
        file = self.segment(number)
        start, stop = rows[0], rows[-1] + 1
        try:
            run = Vectors.load(file, start=start, stop=stop, parts=parts)
            if len(run) != stop - start:
                raise ValueError(f"it has no row {rows[-1]}")
            _check_fits(run, parts, schema)
            return run.take(np.asarray(rows, np.int64) - start)
        except _DAMAGE as error:
            raise self.damaged(f"{file.name}: {error}") from error

    def places(self, rows: Sequence[tuple[object, ...]]) -> list[Place]:
        """Return the documents of rows of the database, in the order of their places.

        Raises:
            StoreError: If a row is not what `upsert` wrote.
        """
        places = []
        for id, text, metadata, segment, row in rows:
            try:
                if not isinstance(segment, int) or segment < 1:
                    raise ValueError(f"its vectors are in part {segment!r}")
                if not isinstance(row, int) or row < 0:
                    raise ValueError(f"its vectors are in row {row!r} of part {segment!r}")
                document = Document(id, text, self.metadata(metadata))  # type: ignore[arg-type]
                places.append(Place(document, segment, row))
            except _DAMAGE as error:
                raise self.damaged(f"document {str(id)[:80]!r}: {error}") from error
        return sorted(places, key=lambda place: place[1:])

    def metadata(self, text: object) -> dict[str, Json]:
        """Return the metadata that a row of the database holds.

        Raises:
            StoreError: If it is not what `upsert` wrote.
        """
        try:
            value = json.loads(text)  # type: ignore[arg-type]
            if not isinstance(value, dict):
                raise ValueError(f"{str(value)[:80]!r} is no metadata")
        except _DAMAGE as error:
            raise self.damaged(f"metadata: {error}") from error
        return value

    def last_segment(self, value: object) -> int:
        """Return the number of the last segment that the database names; 0 for none."""
        if value is None:
            return 0
        if not isinstance(value, int):
            raise self.damaged(f"part {value!r}")
        return value

    def damaged(self, what: str) -> StoreError:
        """Return the error for an archive that cannot be read."""
        return StoreError(
            f"the archive in {self.path} is damaged: {what}. Put the files of a copy back, or drop "
            "it and write it again"
        )

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Translate the errors of SQLite, safetensors and the disk into `StoreError`."""
        with telling_full(self.path):
            try:
                yield
            except (sqlite3.Error, SafetensorError, OSError) as error:
                if is_full(error):
                    raise
                if type(error) is sqlite3.DatabaseError or "no such" in str(error):
                    raise self.damaged(f"{DATABASE}: {error}") from error
                raise StoreError(f"the archive in {self.path} failed: {error}") from error

    def is_ours(self) -> bool:
        """Return whether the database has the tables of an archive.

        Raises:
            StoreError: If it cannot be read.
        """
        try:
            return _has_our_tables(self.database)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"{self.database} cannot be read ({error}), so nothing in {self.path} is deleted: "
                "it may be another program's. If it was an archive, delete the folder yourself"
            ) from error

    def retire(self) -> None:
        """Rename the database: from this instant on, there is no archive."""
        self.database.replace(self.path / DROPPED)
        # SQLite would take a journal of the old database for one of a new database.
        remove_files(self.path / f"{DATABASE}-{end}" for end in ("journal", "wal", "shm"))

    def clear(self) -> None:
        """Delete the files that a dropped archive left, and no others."""
        dropped = self.path / DROPPED
        if not dropped.is_file() or dropped.is_symlink():
            return
        with closing(sqlite3.connect(dropped, isolation_level=None, timeout=60)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")  # once nobody else clears it
                ours = _our_tables(database)
            except sqlite3.DatabaseError:
                return
            if ours and dropped.exists():
                remove_files(self._named(_PART))
                remove_files(self._named(_BEGUN))
                remove_files([dropped])

    def remove(self) -> None:
        """Remove the folder if nothing is left in it."""
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    def _named(self, pattern: re.Pattern[str]) -> list[Path]:
        return [entry for entry in self.path.iterdir() if pattern.fullmatch(entry.name)]


def saved_collection(schema: str, fields: str) -> Collection:
    """Return the collection of a row that `create` wrote.

    Raises:
        ValueError: If it is no such row.
    """
    try:
        types = {path: FieldType(type) for path, type in json.loads(fields).items()}
        parts = json.loads(schema)
        storage = parts.pop(_STORAGE, None)
        colbert = None if storage is None else ColbertStorage.parse(storage)
        return Collection(Schema(**parts), types, colbert)
    except _DAMAGE as error:
        raise ValueError(f"its description: {error}") from error


def _is_begun(entry: Path) -> bool:
    return _BEGUN.fullmatch(entry.name) is not None and not entry.is_dir()


def _publish(new: Path, database: Path) -> bool:
    """Give a new database its name, unless another one has it."""
    try:
        os.link(new, database)
    except FileExistsError:
        return False
    except OSError:  # a file system without links, or somebody cleared the folder
        if database.exists():
            return False
        new.replace(database)
    return True


def _has_our_tables(database: Path) -> bool:
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as opened:
        return _our_tables(opened)


def _our_tables(database: sqlite3.Connection) -> bool:
    rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {"collection", "documents"} <= {name for (name,) in rows}


def _check_fits(vectors: Vectors, parts: Sequence[str], schema: Schema) -> None:
    """Raise ValueError unless vectors have these parts, as the schema says."""
    present = {
        "dense": None if vectors.dense is None else vectors.dense.shape[1],
        "sparse": vectors.sparse is not None,
        "colbert": None if vectors.colbert is None else vectors.colbert.dim,
    }
    wanted = {"dense": schema.dense, "sparse": schema.sparse, "colbert": schema.colbert}
    for part in parts:
        if present[part] != wanted[part]:
            raise ValueError(f"{part} is {present[part]}, expected {wanted[part]}")
