"""Texts made of several members of a record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter

from trivec.errors import InvalidOptionError

_ESCAPES = {r"\n": "\n", r"\t": "\t", r"\\": "\\"}


@dataclass(frozen=True, slots=True)
class Template:
    r"""A text with the names of members in braces.

    Only names are replaced: there are no formats, conversions, indices and attributes, so nothing
    of the values is executed.

    Args:
        parts: Each literal text with the name that follows it, or "" at the end.

    Example:
        >>> template = Template.parse("{title}\n{author.name}: {{{text}}}")
        >>> template.names
        ('title', 'author.name', 'text')
        >>> template.fill({"title": "Whales", "author.name": "M", "text": "Blue"})
        'Whales\nM: {Blue}'
    """

    parts: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, template: str) -> Template:
        """Parse a template.

        Raises:
            InvalidOptionError: If a brace is not closed, or holds anything else than a name.
        """
        try:
            parsed = list(Formatter().parse(template))
        except ValueError as error:
            raise InvalidOptionError(
                f"text={template!r}: {error}; a brace that is a character is written twice"
            ) from error
        parts: list[tuple[str, str]] = []
        for literal, name, format, conversion in parsed:
            if name is not None and (not name.strip() or format or conversion or "[" in name):
                inside = f"{name}{'!' * bool(conversion)}{conversion or ''}"
                inside += f":{format}" if format else ""
                raise InvalidOptionError(
                    f"text={template!r}: expected the name of a member in braces, such as {{title}}"
                    f" or {{author.name}}, got {{{inside}}}"
                )
            parts.append((literal, name or ""))
        if not any(name for _, name in parts):
            raise InvalidOptionError(
                f"text={template!r} names no member; expected a template such as "
                "'{title}\\n{text}'"
            )
        return cls(tuple(parts))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the members, each once."""
        return tuple(dict.fromkeys(name for _, name in self.parts if name))

    def fill(self, texts: Mapping[str, str]) -> str:
        """Return the text with those of the members; one that is not there is empty."""
        return "".join([literal + texts.get(name, "") for literal, name in self.parts])


def unescaped(template: str) -> str:
    r"""Return a template as a shell passes it with its newlines and tabs.

    >>> unescaped(r"{title}\n{text}") == "{title}\n{text}"
    True
    """
    return re.sub(r"\\[nt\\]", lambda match: _ESCAPES[match[0]], template)
