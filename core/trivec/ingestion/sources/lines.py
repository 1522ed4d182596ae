"""The lines of a text, after a check that it is UTF-8."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BufferedIOBase

from trivec.errors import InvalidOptionError

BLOCK_BYTES = 64 * 1024

_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
"""The byte order marks of other encodings; longer marks come first."""

_MAGIC = {
    rb"\x1f\x8b": "is compressed with gzip",
    rb"\x28\xb5\x2f\xfd": "is compressed with zstd",
    rb"\xfd7zXZ\x00": "is compressed with xz",
    rb"BZh[1-9]1AY&SY": "is compressed with bzip2",
    rb"PK\x03\x04": "is a zip file, as spreadsheets are too",
    rb"PAR1": "is a Parquet file",
}
"""The first bytes of other kinds of files, as regular expressions."""


def read_lines(stream: BufferedIOBase, path: str) -> Iterator[str]:
    r"""Yield the lines of a text in UTF-8 with their line ends, without a byte order mark.

    A line ends with "\n" or "\r\n". If the first line ends with "\r" alone, all lines do; otherwise
    "\r" is an ordinary character. A byte that is not UTF-8 becomes a lone surrogate, so that only
    its own line is rejected; see `utf8`. Another encoding is an `InvalidOptionError`.
    """
    blocks: list[bytes] = []
    ended = False
    while not ended and (block := stream.read1(BLOCK_BYTES)):
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
    """Return a line of `read_lines`; raise `UnicodeDecodeError` if it is not valid UTF-8."""
    return text if text.isascii() else text.encode(errors="surrogateescape").decode()


def without_end(line: str) -> str:
    r"""Return a line without its "\n", "\r\n" or "\r"."""
    return line.removesuffix("\n").removesuffix("\r")


def _check(first: bytes, path: str) -> None:
    """Raise `InvalidOptionError` if the first line shows that this is not text in UTF-8."""
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


def _split(block: bytes, stream: BufferedIOBase, end: bytes) -> Iterator[bytes]:
    pending: list[bytes] = []  # the pieces of the line that has not ended
    while block:
        first, *others = block.split(end)
        pending.append(first)
        if others:
            yield b"".join(pending) + end
            pending = [others.pop()]
            for line in others:
                yield line + end
        block = stream.read1(BLOCK_BYTES)
    if last := b"".join(pending):
        yield last
