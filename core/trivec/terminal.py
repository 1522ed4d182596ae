"""Safe text for a terminal: foreign text cannot control it."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_BIDIRECTIONAL = (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x2070))
_SEPARATORS = (0x2028, 0x2029)
_SURROGATES = range(0xD800, 0xE000)  # for example from bytes in a file's name that are not UTF-8
_UNSAFE = (*range(0x20), *range(0x7F, 0xA0), *_BIDIRECTIONAL, *_SEPARATORS, *_SURROGATES)

_REPLACED = dict.fromkeys(_UNSAFE, "\N{REPLACEMENT CHARACTER}")
_REPLACED_IN_TEXT = {code: to for code, to in _REPLACED.items() if code not in (0x09, 0x0A)}
_ESCAPED = {code: f"\\u{code:04x}" for code in _UNSAFE}


def printable(text: str) -> str:
    r"""Replace characters that control a terminal or change the direction of text.

    These are the control characters of ASCII and Latin-1, the marks, embeddings, overrides and
    isolates of the bidirectional algorithm (UAX #9), the separators of lines and paragraphs, and
    lone surrogates, which cannot be encoded. Other characters keep their positions, and line ends
    and tabs stay.

    >>> printable("a\x1b[31m red\n")
    'a�[31m red\n'
    """
    return text.translate(_REPLACED_IN_TEXT)


def one_line(text: str) -> str:
    r"""Replace what `printable` replaces, and line ends and tabs too, so that it stays one line.

    >>> one_line("a\nb")
    'a�b'
    """
    return text.translate(_REPLACED)


def json_line(value: object) -> str:
    r"""Return a value as one line of JSON that escapes the characters that `printable` replaces.

    Letters of all languages stay readable, and parsing returns the same value.

    >>> json_line({"größe": "a\x9b\u202e"})
    '{"größe": "a\\u009b\\u202e"}'
    """
    return json.dumps(value, ensure_ascii=False).translate(_ESCAPED)


class SafeConsole(Console):
    """A rich console that shows all text as `printable` does, with rich's own colours."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render an object to safe segments."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


class _Record(logging.LogRecord):
    def getMessage(self) -> str:
        return printable(super().getMessage())


def make_safe() -> None:
    """Make this process print log messages and warnings of libraries as `printable` does.

    Only the command line calls this, since it owns its process.
    """
    logging.setLogRecordFactory(_Record)
    shown = warnings.formatwarning

    def formatted(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        return printable(shown(message, category, filename, lineno, line))

    warnings.formatwarning = formatted
