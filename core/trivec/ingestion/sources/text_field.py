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
        names: The paths of the members of the text, in their order, by their names in options.
        template: The template that they fill; None if they are joined by a newline.
        removed: The members that are no metadata.
        beside: The other members of the text, also of that of a preset.
    """

    names: Mapping[str, Path]
    template: Template | None
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
        template, wanted = options.template, options.text_members(preset)
        given = options.text_names is not None
        paths = {name: path for name in wanted if (path := path_of(name, names))}
        absent = [name for name in wanted if name not in paths]
        if len(wanted) == 1 and absent and template is None:
            return None
        if absent and given:
            option = "text" if template else "text_field"
            raise InvalidOptionError(
                f"{option}: there is no member {absent[0]!r}, only {listed(names)}"
            )
        if is_table:
            wanted = tuple(paths)
        single = len(wanted) == 1 and template is None
        members = {name: paths.get(name, (name,)) for name in wanted}  # a later row may have it
        ordered = tuple(members.values())
        removed = tuple(path for path in ordered if single or is_text_name(path[-1]))
        others = {name for name in (preset.text if preset else ()) if name in names}
        others |= {path[0] for path in ordered if len(path) == 1}
        beside = frozenset(others - {path[0] for path in removed})
        return cls(members, template, removed, beside)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The members of the text, in their order."""
        return tuple(self.names.values())

    def pair_with(self, id: Path) -> tuple[str, str] | None:
        """Return the names of id and text, if each is one member of the record."""
        names = [path[0] for path in (id, *self.paths) if not path[1:]]
        if self.template is not None or len(self.paths) > 1 or len(set(names)) < 2:
            return None
        return names[0], names[1]

    def of(self, values: Mapping[str, Any]) -> str | None:
        """Return the text of a row; None if all its members are missing or null."""
        texts: dict[str, str] = {}
        for name, path in self.names.items():
            value = values.get(path[0]) if len(path) == 1 else value_at(values, path)
            if type(value) is str:
                texts[name] = value
            elif not is_missing(value):
                texts[name] = text_of(value, name)
        if not texts:
            return None
        if self.template is None:
            return "\n".join(filter(None, texts.values()))
        return self.template.fill(texts)


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
