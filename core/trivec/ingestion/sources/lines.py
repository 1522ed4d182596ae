"""The lines of a text, in batches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BufferedIOBase
from itertools import chain

from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.ingestion.sources.encoding import UTF_8, check_mark, decoder_of
from trivec.ingestion.sources.opening import BLOCK_BYTES

MAX_LINE = 512 * 1024 * 1024
"""The maximum characters of a line, so that a file without line ends does not fill the memory."""

MAX_HEAD = 4 * 1024 * 1024
"""The characters that are read to find the end of the first line."""

_UNPACK = "unpack it, and give its files or the folder"
_MAGIC = {
    rb"\x1f\x8b\x08|\x28\xb5\x2f\xfd|\xfd7zXZ\x00|BZh[1-9]1AY&SY": (
        "is compressed twice; decompress it once"
    ),
    rb"PK\x03\x04": f"is a zip archive; {_UNPACK}; if it is a spreadsheet, save it as CSV",
    rb"(?s).{257}ustar": f"is a tar archive; {_UNPACK}",
    rb"7z\xbc\xaf\x27\x1c": f"is a 7z archive; {_UNPACK}",
    rb"Rar!": f"is a rar archive; {_UNPACK}",
    rb"PAR1": "is a Parquet file; give format='parquet' (--format parquet)",
    rb"%PDF": "is a PDF file; extract its text first",
    rb"\xd0\xcf\x11\xe0": "is a file of an old Office program; save it as CSV or as text",
    rb"SQLite format 3\x00": "is an SQLite database; export a table as CSV",
    rb"ARROW1|Obj\x01": "is an Arrow or Avro file; convert it to Parquet",
}
"""The first bytes of other kinds of files, as regular expressions."""


class Text:
    r"""A text as batches of lines without their ends, or as blocks of characters.

    A line ends with "\n"; if the first line ends with "\r" alone, all lines do. Otherwise "\r" is
    an ordinary character, also at the end of a line, and so are U+2028 and U+0085. A byte that
    cannot be decoded becomes a lone surrogate, so that only its own line is rejected; see
    `undecodable`.

    Attributes:
        head (str): The beginning, with the first line if it is not very long, without a byte order
            mark.
        whole (bool): Whether the beginning is all of the text.
        end (str): The end of each line.
    """

    def __init__(self, stream: BufferedIOBase, path: str, *, encoding: str | None = None) -> None:
        self._stream = stream
        self._path = path
        self._decoder = decoder_of(encoding or UTF_8)
        data = b""
        while len(data) < 512 and (block := stream.read1(BLOCK_BYTES)):
            data += block
            if b"\n" in data and len(data) > 4:
                break  # a pipe may give no more for a long time
        _check(data, path, encoding)
        self.whole = False
        self.head = ""
        self._decode(data)
        self.head = self.head.removeprefix("\ufeff")
        while "\n" not in self.head and "\r" not in self.head[:-1] and self.more():
            if len(self.head) > MAX_HEAD:
                break
        first = self.head[: self.head.find("\n") + 1 or len(self.head)]
        self.end = "\r" if "\r" in first.removesuffix("\n").removesuffix("\r") else "\n"

    def more(self) -> bool:
        """Read more of the beginning; return False at the end of the text."""
        if not self.whole:
            if len(self.head) > MAX_LINE:
                raise InvalidDocumentError(
                    f"{self._path!r}: the first line is longer than {MAX_LINE} characters"
                )
            # Double it, so that a long line is not copied once for each block.
            want, pieces = max(len(self.head), BLOCK_BYTES), list[bytes]()
            while want > 0 and (block := self._stream.read1(BLOCK_BYTES)):
                pieces.append(block)
                want -= len(block)
                if b"\n" in block:
                    break
            self._decode(b"".join(pieces))
        return not self.whole

    def _decode(self, data: bytes) -> None:
        self.whole = not data
        self.head += self._decoder.decode(data, final=not data)

    def blocks(self) -> Iterator[str]:
        """Yield the text in blocks of any length."""
        beginning, self.head = [self.head], ""
        yield beginning.pop()  # nothing else holds it, since it may be long
        while not self.whole:
            data = self._stream.read1(BLOCK_BYTES)
            self.whole = not data
            if block := self._decoder.decode(data, final=not data):
                yield block

    def __iter__(self) -> Iterator[list[str]]:
        """Yield the lines in batches."""
        pending: list[str] = []  # the pieces of the line that has not ended
        size = 0
        for block in self.blocks():
            lines = block.split(self.end)
            if len(lines) == 1:
                pending.append(block)
                size += len(block)
                if size > MAX_LINE:
                    raise InvalidDocumentError(
                        f"{self._path!r}: a line is longer than {MAX_LINE} characters"
                    )
                continue
            lines[0] = "".join((*pending, lines[0]))
            pending = [lines.pop()]
            size = len(pending[0])
            yield lines
        if last := "".join(pending):
            yield [last]


def read_lines(stream: BufferedIOBase, path: str) -> Iterator[str]:
    """Return the lines of a text in UTF-8, without their ends; see `Text`."""
    return chain.from_iterable(Text(stream, path))


def _check(head: bytes, path: str, encoding: str | None) -> None:
    """Raise `InvalidOptionError` if the first bytes show that this is not text as expected."""
    for magic, what in _MAGIC.items():
        if re.match(magic, head):
            raise InvalidOptionError(f"{path!r} {what}")
    try:
        check_mark(head, encoding)
    except ValueError as error:
        raise InvalidOptionError(f"{path!r} {error}") from error
    first = head[: head.find(b"\n") + 1 or len(head)]
    if encoding is None and b"\0" in first:
        order = "be" if first.find(b"\0") % 2 == 0 else "le"
        raise InvalidOptionError(
            f"{path!r} begins with NUL bytes, as does text in UTF-16; "
            f"give encoding='utf-16-{order}' (--encoding utf-16-{order})"
        )
