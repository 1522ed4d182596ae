"""Decompression of gzip, zstd, bzip2 and xz as streams, by the first bytes or the file's name."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from trivec.errors import InvalidDocumentError, MissingDependencyError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from zstandard import ZstdDecompressionObj

SUFFIXES = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2", ".xz": "xz", ".lzma": "xz"}
"""The compression by the suffix of a file's name."""

MAGIC_BYTES = 10
"""The first bytes of a file that `compression_of` needs."""

_MAGIC = {
    "gzip": rb"\x1f\x8b\x08",
    "zstd": rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18",
    "bzip2": rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)",
    "xz": rb"\xfd7zXZ\x00",
}

READ_BYTES = 64 * 1024
ZSTD_BYTES = 1024
"""The compressed zstd bytes that are read at once; few, since all that they expand to is held."""
MAX_WINDOW = 2**31
"""The maximum window of a zstd frame in bytes, as `zstd --long=31` needs it, and memory for xz."""
MAX_HEADER = 18
"""The maximum bytes of a zstd frame before its first block (RFC 8878, 3.1.1.1)."""


class DamagedError(Exception):
    """Compressed bytes that are not as their format says."""


def compression_of(head: bytes, suffix: str) -> str:
    r"""Return the name of a compression, or "".

    The first bytes decide; the suffix of the name decides where they say nothing.

    >>> compression_of(b"\x1f\x8b\x08\0\0\0\0\0", ".jsonl"), compression_of(b"", ".xz")
    ('gzip', 'xz')
    """
    for name, magic in _MAGIC.items():
        if re.match(magic, head, re.DOTALL):
            return name
    return SUFFIXES.get(suffix, "")


def decompressed(raw: io.BufferedIOBase, compression: str, path: str) -> io.BufferedIOBase:
    """Return a stream of the content.

    While it is read, it raises `EOFError` if the content is cut off, and one of `damages` if it is
    damaged. Bytes after the end that are no further content are damage too.

    Args:
        raw: The compressed bytes.
        compression: A name of `compression_of`.
        path: The name of the file in errors.

    Raises:
        MissingDependencyError: If the package for zstd is missing.
    """
    if compression == "gzip":
        return gzip.GzipFile(fileobj=raw)
    if compression == "bzip2":
        return io.BufferedReader(_Parts(raw, bz2.BZ2Decompressor), READ_BYTES)
    if compression == "xz":
        return io.BufferedReader(_Parts(raw, _lzma, padding=b"\0"), READ_BYTES)
    try:
        import zstandard  # noqa: F401 - tells early that it is missing
    except ImportError as error:
        raise MissingDependencyError(
            "a .zst file needs zstandard; run: pip install 'trivec[files]'"
        ) from error
    return io.BufferedReader(_Frames(raw, path), READ_BYTES)


def damages(compression: str) -> tuple[type[Exception], ...]:
    """Return the exceptions that say that compressed bytes are damaged."""
    if compression == "gzip":
        return zlib.error, gzip.BadGzipFile
    if compression == "zstd":
        import zstandard

        return (zstandard.ZstdError,)
    return (DamagedError,)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _lzma() -> _Decompressor:
    return lzma.LZMADecompressor(memlimit=MAX_WINDOW)


class _Parts(io.RawIOBase):
    """The content of bzip2 or xz streams in sequence, as parallel compressors write them.

    The readers of the standard library ignore what follows the last stream.
    """

    def __init__(
        self, raw: io.BufferedIOBase, new: Callable[[], _Decompressor], *, padding: bytes = b""
    ) -> None:
        self._raw = raw
        self._new = new
        self._padding = padding  # may stand between two streams
        self._stream: _Decompressor | None = None  # the stream that has not ended yet
        self._unused = b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer and return the number of bytes; 0 at the end."""
        view = memoryview(buffer)
        while True:
            data = b""
            if self._stream is None:
                data = self._next_stream()
                if not data:
                    return 0
                self._stream = self._new()
            elif self._stream.needs_input:
                data = self._raw.read(READ_BYTES)
                if not data:
                    raise EOFError
            try:
                content = self._stream.decompress(data, len(view))
            except (OSError, ValueError, lzma.LZMAError) as error:
                raise DamagedError(str(error)) from error
            if self._stream.eof:
                self._unused, self._stream = self._stream.unused_data, None
            if content:
                view[: len(content)] = content
                return len(content)

    def _next_stream(self) -> bytes:
        """Return the first bytes of the next stream, or b"" at the end of the file."""
        data, self._unused = self._unused or self._raw.read(READ_BYTES), b""
        while self._padding and data and not data.strip(self._padding):
            data = self._raw.read(READ_BYTES)
        return data.lstrip(self._padding) if self._padding else data


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
            data = self._unused or self._raw.read(ZSTD_BYTES)
            if not data and self._frame is not None:
                raise EOFError
            if not data:
                return 0
            if self._frame is None:
                if len(data) < MAX_HEADER:
                    data += self._raw.read(ZSTD_BYTES)
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
