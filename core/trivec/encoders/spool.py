"""Vectors on disk that did not fit in memory, until somebody stores them for good."""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from typing import IO, NamedTuple

import numpy as np

from trivec.rows import SparseRows, TokenRows
from trivec.vectors import Vectors

__all__ = ["SPOOL_BYTES", "Spool"]

SPOOL_BYTES = 8 * 1024**3
"""LlamaIndex embeds 2048 nodes before it stores the first: 4 GiB of ColBERT vectors in float16 if
each has 1024 tokens."""

# ColBERT vectors of 8 tokens. Shorter rows count as much, so that the table of the rows, which is
# in memory, stays small.
_LEAST_BYTES = 16 * 1024


class _Place(NamedTuple):
    """Where a row lies in the file: its bytes, and the end of the room that it takes."""

    start: int
    size: int
    stop: int


class Spool:
    """Rows of vectors in one temporary file; where it is full, the oldest give way.

    The file has no name, so it is gone with the process. A disk that is full or fails loses rows
    and raises nothing: whoever misses one encodes its text again.

    Args:
        max_bytes: The most bytes of the file; never more than half of what the disk has free.

    Example:
        >>> spool = Spool()
        >>> spool.put("whale", Vectors(dense=np.eye(1, 4)))
        >>> spool.get("whale").dense
        array([[1., 0., 0., 0.]], dtype=float32)
        >>> spool.forget("whale")
        >>> "whale" in spool
        False
    """

    def __init__(self, max_bytes: int = SPOOL_BYTES) -> None:
        self._max_bytes = max_bytes
        self._file: IO[bytes] | None = None
        self._places: OrderedDict[Hashable, _Place] = OrderedDict()
        self._next = 0
        self._lock = threading.Lock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._places

    def put(self, key: Hashable, row: Vectors) -> None:
        """Keep one row of vectors."""
        data = _to_bytes(row)
        with self._lock:
            self._places.pop(key, None)
            try:
                place = self._room(len(data))
                if place is None:
                    return
                file = self._opened()
                file.seek(place.start)
                if file.write(data) < len(data):  # the disk is full
                    return
            except OSError:
                return
            self._places[key] = place
            self._next = place.stop

    def get(self, key: Hashable) -> Vectors | None:
        """Return a row, or None where it has given way."""
        with self._lock:
            place = self._places.get(key)
            if place is None or self._file is None:
                return None
            try:
                self._file.seek(place.start)
                data = self._file.read(place.size)
            except OSError:
                return None
        return _from_bytes(data)

    def forget(self, key: Hashable) -> None:
        """Give up a row; the last one gives its room on the disk back."""
        with self._lock:
            self._places.pop(key, None)
            if not self._places and self._file is not None:
                self._next = 0
                self._file.truncate(0)

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # closed below
            weakref.finalize(self, self._file.close)
            free = shutil.disk_usage(tempfile.gettempdir()).free
            self._max_bytes = min(self._max_bytes, free // 2)
        return self._file

    def _room(self, size: int) -> _Place | None:
        """Return where the next row goes; rows that lie there give way."""
        self._opened()
        room = max(size, _LEAST_BYTES)
        if room > self._max_bytes:
            return None
        start = self._next
        if start + room > self._max_bytes:  # around to the beginning, past the oldest rows
            while self._places and next(iter(self._places.values())).start >= start:
                self._places.popitem(last=False)
            start = 0
        place = _Place(start, size, start + room)
        while self._places:
            oldest = next(iter(self._places.values()))
            if oldest.stop <= place.start or oldest.start >= place.stop:
                break
            self._places.popitem(last=False)
        return place


def _to_bytes(row: Vectors) -> bytes:
    from safetensors.numpy import save

    columns = {}
    if row.dense is not None:
        columns["dense"] = np.ascontiguousarray(row.dense)
    if row.sparse is not None:
        columns["indices"] = np.ascontiguousarray(row.sparse.indices)
        columns["values"] = np.ascontiguousarray(row.sparse.values)
    if row.colbert is not None:
        columns["colbert"] = np.ascontiguousarray(row.colbert.values)
    data: bytes = save(columns)
    return data


def _from_bytes(data: bytes) -> Vectors:
    from safetensors.numpy import load

    columns = load(data)
    sparse = colbert = None
    if "indices" in columns:
        indptr = np.array([0, len(columns["indices"])])
        sparse = SparseRows(indptr, columns["indices"], columns["values"])
    if "colbert" in columns:
        colbert = TokenRows(np.array([0, len(columns["colbert"])]), columns["colbert"])
    return Vectors(dense=columns.get("dense"), sparse=sparse, colbert=colbert)
