"""Docstrings as this project writes them, in the form that mkdocstrings reads (an extension).

Griffe knows examples under the title "Examples:" only, and takes a doctest elsewhere for text. The
sections that LangChain asks of its classes, such as "Add Documents:", it takes for notes.
"""

from __future__ import annotations

import re
from textwrap import dedent

from griffe import Extension, Object

EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
BARE = re.compile(r"(?<=\n\n)(>>> (?:.+\n?)+)")
KNOWN = ("Args", "Attributes", "Examples", "Raises", "Returns", "Yields")
SECTION = re.compile(rf"^(?!{'|'.join(KNOWN)})([A-Z][^\n>]*):\n((?:(?: {{4}}.*)?(?:\n|\Z))+)", re.M)
CODE_BLOCK = re.compile(r"^\.\. code-block:: bash\n\n((?: {4}.*\n?)+)", re.MULTILINE)
DOCTEST = re.compile(r"^(>>> (?:.+\n?)+)", re.MULTILINE)
DEFINITION = re.compile(r"^(\w+): (.+)\n((?: {4}.*\n?)+)", re.MULTILINE)


class Doctests(Extension):
    """Gives every doctest the title that griffe looks for."""

    def on_instance(self, *, obj: Object, **kwargs: object) -> None:
        """Rewrite the docstring of an object that was just read."""
        if obj.docstring is not None:
            obj.docstring.value = titled(obj.docstring.value)


def titled(text: str) -> str:
    r"""Return a docstring with its doctests under "Examples:", and other sections as text.

    >>> titled("Add.\n\n>>> 1 + 1\n2")
    'Add.\n\nExamples:\n    >>> 1 + 1\n    2'
    >>> titled("Add.\n\nSearch with filter:\n    >>> 1 + 1\n    2\n")
    'Add.\n\n**Search with filter**\n\n```pycon\n>>> 1 + 1\n2\n```\n\n'
    """
    text = EXAMPLE.sub("Examples:", text)
    text = BARE.sub(lambda found: "Examples:\n" + _indented(found[1]), text)
    return SECTION.sub(lambda found: f"**{found[1]}**\n\n{_markdown(dedent(found[2]))}\n\n", text)


def _markdown(body: str) -> str:
    """Return the body of a section in Markdown: its commands, doctests and definitions."""
    body = CODE_BLOCK.sub(lambda found: f"```sh\n{dedent(found[1]).strip()}\n```\n", body)
    body = DOCTEST.sub(lambda found: f"```pycon\n{found[1].strip()}\n```\n", body)
    body = DEFINITION.sub(
        lambda found: f"- **{found[1]}** (`{found[2]}`): {' '.join(found[3].split())}\n", body
    )
    return body.strip()


def _indented(text: str) -> str:
    return "    " + text.replace("\n", "\n    ")
