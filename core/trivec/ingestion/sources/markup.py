"""The visible text of HTML."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trivec.errors import MissingDependencyError
from trivec.ingestion.sources.encoding import check_encoding, decode

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_UNSEEN = ["script", "style", "noscript", "template", "svg", "iframe", "object", "head"]
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "br",
        "caption",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "nav",
        "ol",
        "option",
        "p",
        "pre",
        "section",
        "select",
        "summary",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "ul",
    ]
)
_CELLS = frozenset(("td", "th"))
_CHARSET = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_CHARSET_BYTES = 4096
_BLANKS = re.compile(r"\s+")


def html_text(data: bytes, encoding: str | None = None) -> tuple[str, str]:
    r"""Return the title of an HTML page and its visible text, a line for each block.

    Args:
        data: The page.
        encoding: Its encoding; by default what the page says, or UTF-8.

    Raises:
        MissingDependencyError: If selectolax is not installed.
        ValueError: If the page is not in its encoding.

    >>> html_text(b"<title>Sea</title><h1>Whales</h1><p>The <b>blue</b> whale")
    ('Sea', 'Whales\nThe blue whale')
    """
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError as error:
        raise MissingDependencyError(
            "an HTML file needs selectolax; run: pip install 'trivec[html]'"
        ) from error
    page = LexborHTMLParser(decode(data, encoding or _charset(data)))
    title = page.css_first("title")
    name = "" if title is None else _line(title.text())
    page.strip_tags(_UNSEEN)
    root = page.body or page.root
    lines = ("" if root is None else _text(root)).split("\n")
    return name, "\n".join(line for line in map(_line, lines) if line)


def _text(root: LexborNode) -> str:
    """Return the text below an element, with line ends around each block."""
    pieces: list[str] = []
    waiting: list[LexborNode | str] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            pieces.append(node)
        elif node.tag == "-text":
            pieces.append(_BLANKS.sub(" ", node.text_content or ""))
        else:
            around = "\n" if node.tag in _BLOCKS else " " if node.tag in _CELLS else ""
            pieces.append(around)
            waiting.append(around)
            waiting.extend(reversed(list(node.iter(include_text=True))))
    return "".join(pieces)


def _charset(data: bytes) -> str | None:
    """Return the encoding that a page names; None for UTF-8 and if it has a byte order mark."""
    match = _CHARSET.search(data[:_CHARSET_BYTES])
    if match is None or data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return None
    name = match[1].decode("ascii", "replace")
    if name.lower().startswith("utf-16"):  # a page whose name of it can be read is in UTF-8
        return None
    return {"iso-8859-1": "cp1252", "latin1": "cp1252"}.get(name.lower()) or _known(name)


def _known(name: str) -> str | None:
    try:
        return check_encoding(name)
    except ValueError:
        return None


def _line(text: str) -> str:
    return " ".join(text.split())
