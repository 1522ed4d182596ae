"""The lines of a text, once it is certain that it is text in UTF-8."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from trivec.errors import InvalidOptionError

BLOCK_BYTES = 64 * 1024

_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
"""What a text in another encoding begins with; the longer marks stand first."""

_MAGIC = {
    rb"\x1f\x8b": "is compressed with gzip",
    rb"\x28\xb5\x2f\xfd": "is compressed with zstd",
    rb"\xfd7zXZ\x00": "is compressed with xz",
    rb"BZh[1-9]1AY&SY": "is compressed with bzip2",
    rb"PK\x03\x04": "is a zip file, as spreadsheets are too",
    rb"PAR1": "is a Parquet file",
}
"""What files of other kinds begin with, as regular expressions."""


def read_lines(stream: BinaryIO, path: str) -> Iterator[str]:
    r"""Yield the lines of a text in UTF-8 with their ends, without a byte order mark.

    A line ends with "\n" or "\r\n". Only if the first line ends with "\r" alone, all of them do;
    elsewhere "\r" is an ordinary character. A byte that is no UTF-8 is a lone surrogate, so that
    only its own line is refused; see `utf8`.

    Args:
        stream: The bytes.
        path: Named in the error.

    Raises:
        InvalidOptionError: If this is no text in UTF-8.
    """
    blocks: list[bytes] = []
    ended = False
    while not ended and (block := _read(stream)):
        after = blocks[-1:] and blocks[-1].endswith(b"\r")
        blocks.append(block)
        ended = b"\n" in block or b"\r" in block[:-1] or bool(after)
    head = b"".join(blocks)
    first = head[: head.find(b"\n") + 1 or len(head)]
    _check(first, path)
    head = head.removeprefix(b"\xef\xbb\xbf")
    lone = b"\r" in first.removesuffix(b"\n").removesuffix(b"\r")
    for line in _split(head, stream, b"\r" if lone else b"\n"):
        yield line.decode(errors="surrogateescape")


def utf8(text: str) -> str:
    """Return a line that `read_lines` gave, if it is text in UTF-8.

    Raises:
        UnicodeDecodeError: If it holds bytes that are no UTF-8.
    """
    return text if text.isascii() else text.encode(errors="surrogateescape").decode()


def without_end(line: str) -> str:
    r"""Return a line without its "\n", "\r\n" or "\r"."""
    return line.removesuffix("\n").removesuffix("\r")


def _check(first: bytes, path: str) -> None:
    """Raise `InvalidOptionError` if the first line says that this is no text in UTF-8."""
    for magic, what in _MAGIC.items():
        if re.match(magic, first):
            raise InvalidOptionError(
                f"{path!r} {what}, although it is read as text; give it the suffix of what it is, "
                "or decompress it first"
            )
    marked = next((name for mark, name in _MARKS.items() if first.startswith(mark)), None)
    if marked or b"\0" in first:
        begins = "begins like" if marked else "begins with NUL bytes, as does"
        encoding = marked or "UTF-16"
        raise InvalidOptionError(
            f"{path!r} {begins} text in {encoding}, expected UTF-8; "
            f"convert it: iconv -f {encoding} -t UTF-8"
        )


def _read(stream: BinaryIO) -> bytes:
    """Return what is there at once; nothing is the end."""
    block: bytes = stream.read1(BLOCK_BYTES)  # type: ignore[attr-defined]  # all of ours have it
    return block


def _split(block: bytes, stream: BinaryIO, end: bytes) -> Iterator[bytes]:
    begun: list[bytes] = []
    while block:
        first, *whole = block.split(end)
        begun.append(first)
        if whole:
            yield b"".join(begun) + end
            begun = [whole.pop()]
            for line in whole:
                yield line + end
        block = _read(stream)
    if last := b"".join(begun):
        yield last
