"""Docstrings as this project writes them, in the form that mkdocstrings reads (an extension).

Griffe knows examples under the title "Examples:" only, and takes a doctest elsewhere for text.
"""

from __future__ import annotations

import re

from griffe import Extension, Object

TITLE = re.compile(r"^Example:$", re.MULTILINE)
BARE = re.compile(r"(?<=\n\n)(>>> (?:.+\n?)+)")


class Doctests(Extension):
    """Gives every doctest the title that griffe looks for."""

    def on_instance(self, *, obj: Object, **kwargs: object) -> None:
        """Rewrite the docstring of an object that was just read."""
        if obj.docstring is not None:
            obj.docstring.value = titled(obj.docstring.value)


def titled(text: str) -> str:
    r"""Return a docstring with its doctests under "Examples:".

    >>> titled("Add.\n\n>>> 1 + 1\n2")
    'Add.\n\nExamples:\n    >>> 1 + 1\n    2'
    """
    text = TITLE.sub("Examples:", text)
    return BARE.sub(lambda found: "Examples:\n    " + found[1].replace("\n", "\n    "), text)
