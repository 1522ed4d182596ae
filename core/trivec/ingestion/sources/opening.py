"""Files as streams of bytes, decompressed, that know how far they have been read."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from trivec.errors import InvalidOptionError, MissingDependencyError

__all__ = ["STDIN", "OpenFile", "plain_suffix"]

STDIN = "-"
COMPRESSED = (".gz", ".zst")


def plain_suffix(path: str) -> str:
    """Return what a file's name ends with, apart from its compression.

    >>> plain_suffix("articles.JSONL.zst")
    '.jsonl'
    """
    one = Path(path)
    while one.suffix.lower() in COMPRESSED:
        one = one.with_suffix("")
    return one.suffix.lower()


class OpenFile:
    """A file, or standard input, opened and decompressed.

    Args:
        path: The file, gz and zst by its name, or "-".

    Raises:
        InvalidOptionError: If there is no such file.
        MissingDependencyError: If zstandard is needed and not installed.
    """

    def __init__(self, path: str) -> None:
        if path == STDIN:
            self._raw: BinaryIO = sys.stdin.buffer
            self._size = 0
        else:
            if not Path(path).is_file():
                raise InvalidOptionError(f"there is no file {path!r}")
            self._raw = Path(path).open("rb")  # noqa: SIM115 - __exit__ closes it
            self._size = Path(path).stat().st_size
        self._path = path
        try:
            self.stream = self._decompressed(Path(path).suffix.lower())
        except MissingDependencyError:
            self._raw.close()
            raise

    def _decompressed(self, suffix: str) -> BinaryIO:
        if suffix == ".gz":
            return cast("BinaryIO", gzip.GzipFile(fileobj=self._raw))
        if suffix == ".zst":
            try:
                import zstandard
            except ImportError as error:
                raise MissingDependencyError(
                    "a .zst file needs zstandard; run: pip install 'trivec[files]'"
                ) from error
            reader = zstandard.ZstdDecompressor().stream_reader(self._raw, read_across_frames=True)
            return cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", reader)))
        return self._raw

    def fraction(self) -> float | None:
        """Return how much has been read, from 0 to 1; None for standard input."""
        if not self._size or self._raw.closed:
            return None
        return min(1.0, self._raw.tell() / self._size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._path != STDIN:
            self.stream.close()
            self._raw.close()
