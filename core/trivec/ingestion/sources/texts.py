"""The texts of the records of a file: a member, several joined, or a template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trivec.arguments import described
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.ingestion.sources.members import Path, listed, path_of, value_at
from trivec.ingestion.sources.options import SourceOptions
from trivec.ingestion.sources.presets import Preset
from trivec.ingestion.sources.proposals import is_text_name
from trivec.ingestion.sources.template import Template
from trivec.ingestion.sources.values import BYTES, MAX_EXACT, scalar_of, text_in
from trivec.plain import is_missing


@dataclass(frozen=True, slots=True)
class Texts:
    """Where the text comes from.

    Args:
        paths: The members of the text.
        template: The template that they fill; None if they are joined by a newline.
        names: The path of each name in the template.
        removed: The members that are no metadata.
        beside: The other members of the text.
    """

    paths: tuple[Path, ...]
    template: Template | None
    names: Mapping[str, Path]
    removed: tuple[Path, ...]
    beside: frozenset[str]

    @classmethod
    def resolve(
        cls,
        options: SourceOptions,
        preset: Preset | None,
        names: Sequence[str],
        *,
        is_table: bool,
    ) -> Texts | None:
        """Return where the texts of a file come from; None if it has no text.

        Raises:
            InvalidOptionError: If a member that an option names is not there.
        """
        template = None if options.text is None else Template.parse(options.text)
        wanted = options.text_names if template is None else template.names
        given = wanted is not None
        wanted = wanted or (preset.text if preset else ("text",))
        paths = {name: path for name in wanted if (path := path_of(name, names))}
        absent = [name for name in wanted if name not in paths]
        if len(wanted) == 1 and absent and template is None:
            return None
        if absent and given:
            option = "text" if template else "text_field"
            raise InvalidOptionError(
                f"{option}: there is no member {absent[0]!r}, only {listed(names)}"
            )
        if not is_table:  # a later row may have it
            paths |= {name: (name,) for name in absent}
        single = len(wanted) == 1 and template is None
        ordered = tuple(paths[name] for name in wanted if name in paths)
        removed = tuple(path for path in ordered if single or is_text_name(path[-1]))
        beside = frozenset(path[0] for path in ordered if len(path) == 1 and path not in removed)
        return cls(ordered, template, paths, removed, beside)

    def pair_with(self, id: Path) -> tuple[str, str] | None:
        """Return the names of id and text, if each is one member of the record."""
        single = self.template is None and len(self.paths) == 1
        if not single or len(id) > 1 or len(self.paths[0]) > 1 or id == self.paths[0]:
            return None
        return id[0], self.paths[0][0]

    def is_in(self, values: Mapping[str, Any]) -> bool:
        """Return whether one of the members is there and not null."""
        return any(not is_missing(value_at(values, path)) for path in self.paths)

    def of(self, values: Mapping[str, Any]) -> str:
        """Return the text of a row."""
        if self.template is not None:
            return self.template.fill(
                lambda name: text_of(value_at(values, self.names[name]), name)
            )
        texts = (text_of(value_at(values, path), ".".join(path)) for path in self.paths)
        return "\n".join(text for text in texts if text)


def single_text(value: object, name: str) -> object:
    """Return the only member of a text as text if it holds one, else unchanged."""
    if isinstance(value, (*BYTES, list)):
        return text_of(value, name)
    return value


def text_of(value: object, name: str) -> str:
    r"""Return a member of the text as text; a missing one is "", and a list of texts is its lines.

    Raises:
        InvalidDocumentError: If it is an object, a list of others, or binary that is no text.

    >>> text_of(["One sentence.", "Another."], "abstract")
    'One sentence.\nAnother.'
    """
    if isinstance(value, str):
        return value
    if is_missing(value):
        return ""
    if isinstance(value, BYTES):
        text = text_in(value)
        if text is None:
            raise InvalidDocumentError(f"{name!r} is binary and no text in UTF-8")
        return text
    made = scalar_of(value)
    if isinstance(made, bool):
        return "true" if made else "false"
    if isinstance(made, float) and made.is_integer() and abs(made) < MAX_EXACT:
        return str(int(made))
    if isinstance(made, str | int | float):
        return str(made)
    if isinstance(made, list) and all(isinstance(item, str) for item in made):
        return "\n".join(made)
    raise InvalidDocumentError(f"{name!r} is {described(value)}, expected text")
