"""The folder of an embedded collection: opening, describing, shrinking and deleting it."""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from trivec.errors import StoreError
from trivec.stores.folder import (
    check_free,
    check_vacant,
    free_bytes,
    make_folder,
    private_file,
    told_size,
)
from trivec_qdrant.engines import shard_files
from trivec_qdrant.engines.shard_files import CONFIG, OURS, UNFINISHED, allocated_bytes

MARGIN = 64 * 1024 * 1024
"""Bytes that stay free on the disk of a shard.

The engine writes into memory that is mapped to files with holes. If the disk has no room when a
hole is filled, the system ends the process (SIGBUS) without an error. Other writes than the one
that was checked may fill two files of 32 MiB at once, the log and one storage."""

RESERVE = 8 * 1024 * 1024
"""The part of the margin that deletions may use: they take little, and make room."""

WRITE_FACTOR = 4
"""The most bytes on the disk for each byte of a write: 1.4 in the log (5 bytes for a float32), 1 in
the storage, 1 in the index. Replaced points stay until the next flush."""

FLUSH_BYTES = 64 * 1024 * 1024
"""After so many bytes of writes the log is shortened and replaced blocks are given back: 0.05 s,
where writing them takes 1 s. Without it, 300 documents of 24 KB written 20 times over take 210 MB
instead of 44 to 71."""

DEAD_POINTS = 1000  # with fewer, the engine does not rewrite a segment

_log = logging.getLogger("trivec")


class Shard:
    """The folder of one collection, opened on first use and by one process only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._shard: edge.EdgeShard | None = None
        self._unflushed = FLUSH_BYTES  # so that the first write looks at what was there

    def open(self) -> edge.EdgeShard | None:
        """Return the shard, or None if there is none."""
        with self._lock:
            if self._shard is None and self._exists():
                needed = RESERVE + shard_files.bytes_to_open(self.folder)
                check_free(self.folder, needed, "opening a collection")
                self._shard = edge.EdgeShard.load(str(self.folder))
            return self._shard

    def _exists(self) -> bool:
        """Return whether there is a collection whose creation was finished."""
        return (self.folder / CONFIG).is_file() and not self._is_unfinished()

    def _is_unfinished(self) -> bool:
        return (self.folder / UNFINISHED).is_file() and not (self.folder / OURS).is_file()

    def create(self, config: edge.EdgeConfig) -> edge.EdgeShard:
        """Create the shard; others see it after `finish`.

        Raises:
            StoreError: If the folder holds other files.
        """
        with self._lock:
            make_folder(self.folder)
            shard_files.check_unlocked(self.folder)
            if self._is_unfinished():
                shard_files.remove_shard(self.folder)
                make_folder(self.folder)
            check_vacant(self.folder, lambda entry: False)
            check_free(self.folder, MARGIN, "creating a collection")
            private_file(self.folder / UNFINISHED)
            self._shard = edge.EdgeShard.create(str(self.folder), config)
            shard_files.make_private(self.folder)
            return self._shard

    def finish(self, metadata: dict[str, Any]) -> None:
        """Write the metadata beside the shard, atomically, which finishes the creation."""
        shard_files.make_private(self.folder)
        part = self.folder / UNFINISHED
        with part.open("w", encoding="utf-8") as file:
            json.dump(metadata, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.folder / OURS)

    def abandon(self) -> None:
        """Delete an unfinished creation."""
        with self._lock:
            self._release()
            if self._is_unfinished():
                shard_files.remove_shard(self.folder)

    def drop(self) -> None:
        """Delete the shard, if there is one, and nothing else.

        Raises:
            StoreError: If another process has it open.
        """
        with self._lock:
            if not self._exists() and not self._is_unfinished():
                return
            if self._shard is None:
                shard_files.check_unlocked(self.folder)
            self._release()
            shard_files.remove_shard(self.folder)

    def config(self) -> dict[str, Any]:
        """Return the engine's description of the vectors, from its file."""
        return self._read(CONFIG)

    def metadata(self) -> dict[str, Any]:
        """Return the metadata that `finish` wrote, or an empty dict."""
        return self._read(OURS) if (self.folder / OURS).exists() else {}

    def _read(self, name: str) -> dict[str, Any]:
        value: object = json.loads((self.folder / name).read_text("utf-8"))
        if not isinstance(value, dict):
            raise StoreError(f"{self.folder / name} is damaged: it holds {str(value)[:80]}")
        return value

    def check_room(self, size: int, *, deleting: bool = False) -> None:
        """Raise StoreFullError for a write of so many bytes that might fill the disk."""
        needed = WRITE_FACTOR * size + (RESERVE if deleting else MARGIN)
        check_free(self.folder, needed, "deleting" if deleting else "a write")

    def wrote(self, size: int) -> None:
        """Count written bytes, and give back disk after every `FLUSH_BYTES`."""
        with self._lock:
            self._unflushed += size
            if self._unflushed >= FLUSH_BYTES and self._shard is not None:
                self._unflushed = 0
                self._shard.flush()
                self._vacuum(self._shard)

    def _vacuum(self, shard: edge.EdgeShard) -> None:
        """Rewrite the living points once as many are dead, in proportion to the gain."""
        living = shard.info().points_count
        dead = shard_files.points_of_all_times(self.folder) - living
        if dead < max(DEAD_POINTS, living):
            return
        needed = allocated_bytes(self.folder) + MARGIN
        if free_bytes(self.folder) < needed:
            _log.warning(
                "%s: %d of %d points are deleted, and it takes %s of free disk to give their place "
                "back",
                *(self.folder, dead, dead + living, told_size(needed)),
            )
            return
        self._optimize(shard)

    def optimize(self) -> tuple[int, int]:
        """Build the indexes and give back disk; return the bytes before and after.

        Raises:
            StoreFullError: If there is no room for a second copy meanwhile.
        """
        with self._lock:
            shard = self.open()
            if shard is None:
                raise StoreError(f"{self.folder} holds no collection")
            shard.flush()
            before = allocated_bytes(self.folder)
            check_free(self.folder, before + MARGIN, "optimising")
            self._optimize(shard)
            return before, allocated_bytes(self.folder)

    def _optimize(self, shard: edge.EdgeShard) -> None:
        shard.optimize()
        shard.flush()  # only then are the old segments deleted
        shard_files.make_private(self.folder)

    def close(self) -> None:
        """Write everything out and let other processes open the folder."""
        with self._lock:
            shard, self._shard = self._shard, None
            self._unflushed = FLUSH_BYTES
            if shard is not None:
                try:
                    shard.flush()
                finally:
                    shard.close()

    def _release(self) -> None:
        """Close the shard before its files are deleted; a failure does not matter."""
        try:
            self.close()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
