"""The encodings of text files: which of Python's codecs can be given, and how they are applied."""

from __future__ import annotations

import codecs
import re

from trivec.errors import InvalidOptionError

UTF_8 = "utf-8"

_ESCAPE = "trivec.undecodable"
_NO_TEXT = {"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"}
"""Codecs for single names and for source code."""

_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"\xef\xbb\xbf": "utf-8",
}
"""Byte order marks; longer ones come first."""

_UNDECODABLE = re.compile("[\udc00-\udcff]")


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Turn each byte that cannot be decoded into a lone surrogate from U+DC00 to U+DCFF."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(chr(0xDC00 + byte) for byte in wrong), error.end


codecs.register_error(_ESCAPE, _escaped)


def check_encoding(encoding: str) -> str:
    """Return Python's name of an encoding of text, or raise `InvalidOptionError`.

    >>> check_encoding("Latin-1")
    'iso8859-1'
    >>> check_encoding("rot13")
    Traceback (most recent call last):
    trivec.errors.InvalidOptionError: encoding='rot13' is not an encoding of text; ...
    """
    try:
        name = codecs.lookup(encoding).name
        b"a".decode(name, "ignore")  # a LookupError for codecs between bytes, or between texts
    except (LookupError, UnicodeError, ValueError) as error:
        raise InvalidOptionError(
            f"encoding={encoding!r} is not an encoding of text; give one of Python's, such as "
            "utf-8, utf-16, cp1252, latin-1 or shift_jis"
        ) from error
    if name.replace("-", "_") in _NO_TEXT:
        raise InvalidOptionError(
            f"encoding={encoding!r} is not an encoding of files; give one such as utf-8 or cp1252"
        )
    return "utf-8" if name == "utf-8-sig" else name


def decoder_of(encoding: str) -> codecs.IncrementalDecoder:
    """Return a decoder that turns bytes which are wrong into lone surrogates."""
    return codecs.getincrementaldecoder(encoding)(_ESCAPE)


def decode(data: bytes, encoding: str | None) -> str:
    """Return a whole text without its byte order mark.

    Raises:
        ValueError: If it is not in this encoding, which is UTF-8 if None is given.
    """
    check_mark(data[:4], encoding)
    text = data.decode(encoding or UTF_8, _ESCAPE)
    if problem := undecodable(text, encoding):
        raise ValueError(problem)
    return text.removeprefix("\ufeff")


def undecodable(text: str, encoding: str | None) -> str:
    r"""Return the problem of a text that holds bytes which could not be decoded, or "".

    >>> undecodable("gr\udcfcn", None).partition(";")[0]
    'not in UTF-8: byte 0xfc at character 3'
    """
    if text.isascii():
        return ""
    try:
        text.encode()
        return ""
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) - 0xDC00
        name = encoding or "UTF-8"
        problem = f"not in {name}: byte 0x{byte:02x} at character {error.start + 1}"
        if encoding in (None, UTF_8):
            problem += (
                "; if the whole file is in another encoding, name it, often encoding='cp1252' "
                "(--encoding cp1252)"
            )
        return problem


def visible(text: str) -> str:
    r"""Return a text in which bytes that could not be decoded are escaped.

    >>> visible(b"gr\xfcn".decode(errors="surrogateescape"))
    'gr\\xfcn'
    """
    if text.isascii():
        return text
    return _UNDECODABLE.sub(lambda match: f"\\x{ord(match[0]) - 0xDC00:02x}", text)


def check_mark(head: bytes, encoding: str | None) -> None:
    """Raise `ValueError` if the byte order mark of a text, or its lack, does not fit an encoding.

    Args:
        head: The first bytes.
        encoding: The encoding that was given, or None.
    """
    marked = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
    if encoding in ("utf-16", "utf-32"):
        if head and marked != encoding:
            raise ValueError(
                f"begins without a byte order mark; give encoding='{encoding}-le' or "
                f"'{encoding}-be' (--encoding {encoding}-le)"
            )
    elif marked and marked != (encoding or UTF_8) and not (encoding or "").startswith(marked):
        if marked == UTF_8:
            raise ValueError(
                f"begins with the byte order mark of UTF-8, and encoding={encoding!r} was given; "
                "leave it out"
            )
        raise ValueError(
            f"begins like text in {marked.upper()}; give encoding={marked!r} (--encoding {marked})"
        )
