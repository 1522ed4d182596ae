"""Vectors on disk that did not fit in memory, until a store takes them."""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from io import BytesIO
from typing import IO, NamedTuple

from trivec.vectors import Vectors

SPOOL_BYTES = 8 * 1024**3
"""LlamaIndex embeds 2048 nodes before it stores the first. With 1024 tokens each, their ColBERT
vectors in float16 take 4 GiB."""

# The size of 8 ColBERT vectors. Shorter rows take as much, so that the table of rows, which is in
# memory, stays small.
_LEAST_BYTES = 16 * 1024


class _Slot(NamedTuple):
    """The position of a row in the file: its bytes, and the end of the space reserved for it."""

    start: int
    size: int
    stop: int


class Spool:
    """Rows of vectors in one temporary file; when it is full, new rows replace the oldest ones.

    The file has no name, so it disappears with the process. If the disk is full or fails, rows are
    lost and nothing is raised: the caller encodes their texts again.

    Args:
        max_bytes: The most bytes of the file; at most half of the free space on the disk is used.

    Example:
        >>> import numpy as np
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
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()
        self._next = 0
        self._lock = threading.Lock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._slots

    def put(self, key: Hashable, row: Vectors) -> None:
        """Keep one row of vectors."""
        buffer = BytesIO()
        row.write_to(buffer)
        data = buffer.getvalue()
        with self._lock:
            self._slots.pop(key, None)
            try:
                slot = self._reserve(len(data))
                if slot is None:
                    return
                file = self._opened()
                file.seek(slot.start)
                if file.write(data) < len(data):  # the disk is full
                    return
            except OSError:
                return
            self._slots[key] = slot
            self._next = slot.stop

    def get(self, key: Hashable) -> Vectors | None:
        """Return a row, or None if it was replaced or cannot be read."""
        with self._lock:
            slot = self._slots.get(key)
            if slot is None or self._file is None:
                return None
            try:
                self._file.seek(slot.start)
                data = self._file.read(slot.size)
            except OSError:
                return None
        return _from_bytes(data)

    def forget(self, key: Hashable) -> None:
        """Drop a row; dropping the last row frees the space on disk."""
        with self._lock:
            self._slots.pop(key, None)
            if not self._slots and self._file is not None:
                self._next = 0
                self._file.truncate(0)

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # closed below
            weakref.finalize(self, self._file.close)
            free = shutil.disk_usage(tempfile.gettempdir()).free
            self._max_bytes = min(self._max_bytes, free // 2)
        return self._file

    def _reserve(self, size: int) -> _Slot | None:
        """Reserve space for a row and drop the rows stored there; None if it is too large."""
        self._opened()
        reserved = max(size, _LEAST_BYTES)
        if reserved > self._max_bytes:
            return None
        start = self._next
        if start + reserved > self._max_bytes:  # back to the beginning, past the oldest rows
            while self._slots and next(iter(self._slots.values())).start >= start:
                self._slots.popitem(last=False)
            start = 0
        slot = _Slot(start, size, start + reserved)
        while self._slots:
            oldest = next(iter(self._slots.values()))
            if oldest.stop <= slot.start or oldest.start >= slot.stop:
                break
            self._slots.popitem(last=False)
        return slot


def _from_bytes(data: bytes) -> Vectors:
    """Return the vectors that `Vectors.write_to` wrote."""
    from safetensors.numpy import load

    from trivec.vector_files import assembled

    return Vectors(**assembled(load(data)))
