"""The options of reading documents, declared and checked once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict, get_args

from trivec.arguments import expect
from trivec.errors import InvalidOptionError
from trivec.fields import FieldType, field_types
from trivec.ingestion.sources.members import listed, path_of, same_name
from trivec.ingestion.sources.presets import (
    NO_PRESET,
    PRESET_NAMES,
    Preset,
    is_msmarco,
    named_preset,
    recognised,
)
from trivec.ingestion.sources.template import Template

MadeIds = Literal["row", "hash"]
Layout = Literal["nested", "flat"]

MADE_IDS: tuple[MadeIds, ...] = get_args(MadeIds)
LAYOUTS: tuple[Layout, ...] = get_args(Layout)


class MappingOptions(TypedDict, total=False):
    r"""The keyword options that say what of a record becomes a document; Ray takes them too.

    Names of members ignore case and surrounding blanks if exactly one member fits. A dotted name
    such as "author.name" is a member of an object.

    Attributes:
        id_field: The member that holds the id; "id" by default.
        id: How ids are made for a file that has none. "row": from the file's name and the number of
            the row, such as "a.csv:7". "hash": from text and metadata, so that equal records
            have one id.
        text_field: The member that holds the text, "text" by default; or several, which are joined
            by a newline. Null and empty ones are left out. Of several, those that are not named as
            texts are (text, body, content …), such as a title, are metadata too.
        text: A template instead, such as "{title}\n{text}"; a brace is written twice.
        keep: The members that become metadata; all by default. None of them if it is empty.
        drop: Members that do not become metadata.
        rename: New names of metadata by the names in the file; these are kept too.
        metadata: "nested" if the metadata is an object in the member "metadata", "flat" if it is
            all members except id and text. By default the first row decides that has more than
            id and text; rows with another layout are rejected.
        preset: A published layout, one of `PRESETS`; "none" recognises none. By default it is
            recognised if there is no id or no text under the default names.
    """

    id_field: str | None
    id: MadeIds | None
    text_field: str | Sequence[str] | None
    text: str | None
    keep: Sequence[str] | None
    drop: Sequence[str]
    rename: Mapping[str, str]
    metadata: Layout | None
    preset: str | None


class ReadOptions(MappingOptions, total=False):
    """The keyword options of `read_documents` and `Source`: those of `MappingOptions` and more.

    Attributes:
        format: One of `FORMATS`; by default from the file's name or content. Standard input is
            JSON. JSON has an object on each line, or an array of objects, or an object with such an
            array. A folder gives its files of documents, or of this format; "folder" gives its text
            files.
        encoding: The encoding of text, one of Python's; UTF-8 by default.
        columns: The names of the columns of a table without a header.
        delimiter: The character between the cells of a table, or "tab"; by default it is found in
            the first records of CSV, and a tab in TSV.
        quoting: "csv" if quotes enclose cells as in RFC 4180, the default for CSV; "none" if a
            quote is an ordinary character, the default for TSV.
        fields: Declared metadata. Cells of CSV and TSV get these types, and floats that are whole
            become ints where int is declared.
        allow_empty: Whether a source without a row is allowed.
    """

    format: str | None
    encoding: str | None
    columns: Sequence[str] | None
    delimiter: str | None
    quoting: str | None
    fields: Mapping[str, type | FieldType]
    allow_empty: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """The options of one source with their defaults, checked; `ReadOptions` describes them.

    Raises:
        InvalidOptionError: If a value is out of range, or two options contradict each other.

    Example:
        >>> SourceOptions(text_field="body").text_names
        ('body',)
        >>> SourceOptions(id="row", id_field="key")
        Traceback (most recent call last):
        trivec.errors.InvalidOptionError: id='row' makes ids and id_field='key' reads them; ...
    """

    format: str | None = None
    encoding: str | None = None
    columns: Sequence[str] | None = None
    delimiter: str | None = None
    quoting: str | None = None
    id_field: str | None = None
    id: str | None = None
    text_field: str | Sequence[str] | None = None
    text: str | None = None
    keep: Sequence[str] | None = None
    drop: Sequence[str] = ()
    rename: Mapping[str, str] = field(default_factory=dict[str, str])
    metadata: str | None = None
    preset: str | None = None
    fields: Mapping[str, type | FieldType] = field(default_factory=dict[str, type | FieldType])
    allow_empty: bool = False

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_names()
        object.__setattr__(self, "fields", field_types(self.fields or {}))
        if self.id is not None and self.id_field is not None:
            raise InvalidOptionError(
                f"id={self.id!r} makes ids and id_field={self.id_field!r} reads them; give one"
            )
        if self.template is not None and self.text_field is not None:
            raise InvalidOptionError("text and text_field both say what the text is; give one")
        self._check_metadata()

    @property
    def template(self) -> Template | None:
        """The template of the text, if it is one."""
        return None if self.text is None else Template.parse(self.text)

    @property
    def text_names(self) -> tuple[str, ...] | None:
        """The members of the text; None if neither `text` nor `text_field` is given."""
        if (template := self.template) is not None:
            return template.names
        if isinstance(self.text_field, str):
            return (self.text_field,)
        return None if self.text_field is None else tuple(self.text_field)

    def preset_of(self, names: Collection[str]) -> Preset | None:
        """Return the preset that is asked for, or that a file without id or text has.

        Args:
            names: The members of its records.

        Raises:
            InvalidOptionError: If the preset that is asked for does not fit them.
        """
        if self.preset == NO_PRESET:
            return None
        if self.preset is not None:
            preset = named_preset(self.preset, names)
            if preset is None:
                raise InvalidOptionError(
                    f"preset={self.preset!r} does not fit this file, which has {listed(names)}"
                )
            return preset
        id_fits = self.id or self.id_field or same_name("id", names)
        text_fits = self.text or self.text_field or same_name("text", names)
        return None if id_fits and text_fits else recognised(names)

    def id_name(self, preset: Preset | None) -> str:
        """Return the name of the member that holds the id, unless ids are made."""
        return self.id_field or (preset.id if preset else "id")

    def text_members(self, preset: Preset | None) -> tuple[str, ...]:
        """Return the names of the members that hold the text."""
        return self.text_names or (preset.text if preset else ("text",))

    def taken_from(self, names: Collection[str]) -> set[str]:
        """Return which members of a record with these names hold the id and the text."""
        preset = self.preset_of(names)
        ids = () if self.id is not None else (self.id_name(preset),)
        wanted = (*ids, *self.text_members(preset))
        return {path[0] for name in wanted if (path := path_of(name, names))}

    @property
    def declared(self) -> dict[str, FieldType]:
        """The declared fields by their paths."""
        return field_types(self.fields)

    @property
    def column_types(self) -> dict[str, FieldType]:
        """The types of the columns of a table: the declared fields under their names there."""
        former = {new: name for name, new in self.rename.items()}
        return {former.get(path, path): type_ for path, type_ in self.declared.items()}

    def has_no_header(self, cells: Sequence[str]) -> bool:
        """Return whether the first row of a table is recognised as data without a header."""
        told = (self.columns, self.id_field, self.text_field, self.text)
        if any(option is not None for option in told) or self.preset not in (None, "msmarco"):
            return False
        return is_msmarco(cells, asked=self.preset is not None)

    def _check_choices(self) -> None:
        choices: tuple[tuple[str, str | None, Sequence[str]], ...] = (
            ("id", self.id, MADE_IDS),
            ("metadata", self.metadata, LAYOUTS),
            ("preset", self.preset, (*PRESET_NAMES, NO_PRESET)),
        )
        for name, value, known in choices:
            if value is not None and value not in known:
                raise InvalidOptionError(f"{name}={value!r}; expected one of {', '.join(known)}")
        for name, value, what in (
            ("encoding", self.encoding, "a name such as 'utf-16'"),
            ("delimiter", self.delimiter, "a character, or 'tab'"),
        ):
            if value is not None:
                expect(value, str, name, what)
        expect(self.allow_empty, bool, "allow_empty", "True or False")

    def _check_names(self) -> None:
        if self.id_field is not None:
            expect(self.id_field, str, "id_field", "the name of a member")
        if self.text is not None:
            expect(self.text, str, "text", "a template such as '{title}\\n{text}'")
        if not isinstance(self.text_field, str):
            _check_names("text_field", self.text_field)
            if self.text_field is not None and not self.text_field:
                raise InvalidOptionError("text_field is empty; expected at least one name")
        expect(self.drop, Sequence, "drop", "a list of names")
        for name in ("columns", "keep", "drop"):
            _check_names(name, getattr(self, name))
        expect(self.rename, Mapping, "rename", "a dict such as {'Title': 'title'}")
        _check_names("rename", [*self.rename, *self.rename.values()])

    def _check_metadata(self) -> None:
        both = [name for name in self.drop if name in (*(self.keep or ()), *self.rename)]
        if both:
            raise InvalidOptionError(
                f"drop names {both[0]!r}, which keep or rename wants; name it once"
            )
        new = list(self.rename.values())
        twice = next((name for name in new if new.count(name) > 1), None)
        if twice is not None:
            raise InvalidOptionError(f"rename gives the name {twice!r} twice")


def _check_names(option: str, names: Iterable[object] | None) -> None:
    """Raise `InvalidOptionError` unless an option is a list of names."""
    if isinstance(names, str):
        raise InvalidOptionError(f"{option}={names!r}; expected a list of names, [{names!r}]")
    if names is not None:
        expect(names, Sequence, option, "a list of names")
        for name in names:
            expect(name, str, option, "names of members")
            if not name:
                raise InvalidOptionError(f"{option} holds an empty name")
