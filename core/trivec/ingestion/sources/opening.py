"""Files as decompressed streams of bytes that know how much of them has been read."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Self, cast

from trivec.errors import (
    InvalidDocumentError,
    InvalidInputError,
    InvalidOptionError,
    MissingDependencyError,
)
from trivec.ingestion.sources.compression import (
    MAGIC_BYTES,
    SUFFIXES,
    compression_of,
    damages,
    decompressed,
)

STDIN = "-"
BLOCK_BYTES = 256 * 1024


def plain_suffix(path: str) -> str:
    """Return the suffix of a file's name without the suffixes of compression.

    >>> plain_suffix("articles.JSONL.zst")
    '.jsonl'
    """
    name = Path(path)
    while name.suffix.lower() in SUFFIXES:
        name = name.with_suffix("")
    return name.suffix.lower()


class OpenFile:
    """A file, or standard input, opened and decompressed.

    Reading a zstd frame takes as much memory as its window: at most 8 MiB with zstd's ordinary
    levels up to 19, 128 MiB with `--ultra` or `--long`, 2 GiB with `--long=31`. xz takes as much as
    its dictionary: 64 MiB with `xz -9`.

    Raises:
        InvalidOptionError: If the file does not exist or cannot be opened.
        InvalidDocumentError: At the end of a `with`, if the file was cut off or damaged, or the
            disk failed.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        if path == STDIN:
            self._raw = cast("io.BufferedIOBase", sys.stdin.buffer)
            self._size = 0
        else:
            if not Path(path).exists():
                raise InvalidOptionError(f"there is no file {path!r}")
            try:
                self._raw = Path(path).open("rb")  # noqa: SIM115 - __exit__ closes it
            except OSError as error:
                raise InvalidOptionError(f"{path!r} cannot be opened: {error}") from error
            self._size = Path(path).stat().st_size  # 0 for a pipe
        try:
            self._counted = _Counted(self._raw)
            self._compression = compression_of(self._counted.head, Path(path).suffix.lower())
            self.stream: io.BufferedIOBase = self._counted
            if self._compression:
                self.stream = decompressed(self._counted, self._compression, path)
        except MissingDependencyError:
            self._close()
            raise
        except OSError as error:
            self._close()
            raise InvalidOptionError(f"{path!r} cannot be read: {error}") from error

    @property
    def head(self) -> bytes:
        """The first bytes of the file, still compressed."""
        return self._counted.head

    def fraction(self) -> float | None:
        """Return how much has been read, from 0 to 1; None for standard input."""
        if not self._size or self._raw.closed:
            return None
        return min(1.0, self._counted.position / self._size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._compression and isinstance(error, InvalidInputError):
            error = self._damage_ahead() or error
        if self._path != STDIN and self._compression:
            self.stream.close()
        self._close()
        if isinstance(error, EOFError):
            raise InvalidDocumentError(
                f"{self._path!r} ends in the middle; it was cut off"
            ) from error
        if self._compression and isinstance(error, damages(self._compression)):
            raise InvalidDocumentError(
                f"{self._path!r} is damaged and cannot be decompressed: {error}"
            ) from error
        if isinstance(error, OSError):
            raise InvalidDocumentError(f"{self._path!r} cannot be read on: {error}") from error

    def _close(self) -> None:
        if self._path != STDIN:
            self._raw.close()

    def _damage_ahead(self) -> Exception | None:
        """Return the error of further decompression, which may explain why a row is wrong."""
        try:
            self.stream.read(1)
        except EOFError as error:
            return error
        except damages(self._compression) as error:
            return error
        except (InvalidDocumentError, ValueError):  # already being raised, or already closed
            pass
        return None


class _Counted(io.BufferedIOBase):
    """Bytes of which the first are known before they are read, and of which each is counted."""

    def __init__(self, raw: io.BufferedIOBase) -> None:
        self._raw = raw
        self.head = b""
        while len(self.head) < MAGIC_BYTES and (block := raw.read1(BLOCK_BYTES)):
            self.head += block
        self._left = self.head  # of the head
        self.position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return `size` bytes, fewer at the end of the file, or all bytes."""
        if not self._left:
            data = self._raw.read(size)
        elif size is None or size < 0:
            data, self._left = self._left + self._raw.read(), b""
        else:
            data, self._left = self._left[:size], self._left[size:]
            if len(data) < size:
                data += self._raw.read(size - len(data))
        self.position += len(data)
        return data

    def read1(self, size: int = -1, /) -> bytes:
        """Return the bytes that one call of the system gives, `size` at most."""
        if self._left:
            size = len(self._left) if size < 0 else size
            data, self._left = self._left[:size], self._left[size:]
        else:
            data = self._raw.read1(size)
        self.position += len(data)
        return data
