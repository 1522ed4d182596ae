"""Files as decompressed streams of bytes that know how much of them has been read."""

from __future__ import annotations

import contextlib
import gzip
import io
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

from trivec.errors import (
    InvalidDocumentError,
    InvalidInputError,
    InvalidOptionError,
    MissingDependencyError,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from zstandard import ZstdDecompressionObj

STDIN = "-"
COMPRESSED = (".gz", ".zst")
READ_BYTES = 1024
"""The compressed zstd bytes that are read at once; few, since all that they expand to is held."""
MAX_WINDOW = 2**31
"""The maximum window of a zstd frame in bytes, as `zstd --long=31` needs it."""
MAX_HEADER = 18
"""The maximum bytes of a zstd frame before its first block (RFC 8878, 3.1.1.1)."""


def plain_suffix(path: str) -> str:
    """Return the suffix of a file's name without the suffixes of compression.

    >>> plain_suffix("articles.JSONL.zst")
    '.jsonl'
    """
    name = Path(path)
    while name.suffix.lower() in COMPRESSED:
        name = name.with_suffix("")
    return name.suffix.lower()


class OpenFile:
    """A file, or standard input, opened and decompressed.

    Reading a zstd frame takes as much memory as its window: at most 8 MiB with zstd's ordinary
    levels up to 19, 128 MiB with `--ultra` or `--long`, 2 GiB with `--long=31`.

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
        self._damage: tuple[type[Exception], ...] = (zlib.error, gzip.BadGzipFile)
        try:
            self.stream = self._decompressed(Path(path).suffix.lower())
        except MissingDependencyError:
            self._raw.close()
            raise

    def _decompressed(self, suffix: str) -> io.BufferedIOBase:
        if suffix == ".gz":
            return gzip.GzipFile(fileobj=self._raw)
        if suffix == ".zst":
            try:
                import zstandard
            except ImportError as error:
                raise MissingDependencyError(
                    "a .zst file needs zstandard; run: pip install 'trivec[files]'"
                ) from error
            self._damage = (zstandard.ZstdError,)
            return io.BufferedReader(_Frames(self._raw, self._path))
        return self._raw

    def fraction(self) -> float | None:
        """Return how much has been read, from 0 to 1; None for standard input."""
        if not self._size or self._raw.closed:
            return None
        return min(1.0, self._raw.tell() / self._size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.stream is not self._raw and isinstance(error, InvalidInputError):
            error = self._damage_ahead() or error
        if self._path != STDIN:
            self.stream.close()
            self._raw.close()
        if isinstance(error, EOFError):
            raise InvalidDocumentError(
                f"{self._path!r} ends in the middle; it was cut off"
            ) from error
        if isinstance(error, self._damage):
            raise InvalidDocumentError(
                f"{self._path!r} is damaged and cannot be decompressed: {error}"
            ) from error
        if isinstance(error, OSError):
            raise InvalidDocumentError(f"{self._path!r} cannot be read on: {error}") from error

    def _damage_ahead(self) -> Exception | None:
        """Return the error of further decompression, which may explain why a row is wrong."""
        try:
            self.stream.read(1)
        except EOFError as error:
            return error
        except self._damage as error:
            return error
        except InvalidDocumentError:  # the error that is already being raised
            pass
        return None


class _Frames(io.RawIOBase):
    """The content of zstd frames in sequence; raises `EOFError` if the last frame is cut off.

    The reader of zstandard would take the end of the file for the end of the frame.
    """

    def __init__(self, raw: io.BufferedIOBase, path: str) -> None:
        import zstandard

        self._raw = raw
        self._path = path
        self._zstd = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        self._frame: ZstdDecompressionObj | None = None  # the frame that has not ended yet
        self._unused = b""
        self._held = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer and return the number of bytes; 0 at the end."""
        while not self._held:
            data = self._unused or self._raw.read(READ_BYTES)
            if not data and self._frame is not None:
                raise EOFError
            if not data:
                return 0
            if self._frame is None:
                if len(data) < MAX_HEADER:
                    data += self._raw.read(READ_BYTES)
                self._check(data)
            frame = self._frame or self._zstd.decompressobj()
            self._held = memoryview(frame.decompress(data))
            self._unused = frame.unused_data
            self._frame = None if frame.eof else frame
        view = memoryview(buffer)
        size = min(len(view), len(self._held))
        view[:size], self._held = self._held[:size], self._held[size:]
        return size

    def _check(self, data: bytes) -> None:
        """Raise `InvalidDocumentError` if this frame needs too much memory or a dictionary."""
        import zstandard

        if not data.startswith(zstandard.FRAME_HEADER) or len(data) < MAX_HEADER:
            return  # decompression reports what is not a frame, or cut off
        descriptor, window = data[4:6]
        if not descriptor & 0x20 and 2 ** (10 + (window >> 3)) * (8 + window % 8) // 8 > MAX_WINDOW:
            raise InvalidDocumentError(
                f"{self._path!r} needs more than {MAX_WINDOW} bytes of memory to be decompressed; "
                "compress it again with at most zstd --long=31"
            )
        with contextlib.suppress(zstandard.ZstdError):
            if zstandard.get_frame_parameters(data).dict_id:
                raise InvalidDocumentError(
                    f"{self._path!r} was compressed with a dictionary, which is not at hand; "
                    "compress it again without one"
                )
