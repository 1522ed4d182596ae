"""The shape of a file: which members of its records are the id, the text and the metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from trivec.document import Document
from trivec.errors import InvalidDocumentError
from trivec.ingestion.sources.ids import Ids, content_id
from trivec.ingestion.sources.members import same_name, without
from trivec.ingestion.sources.options import SourceOptions
from trivec.ingestion.sources.presets import Preset, Unwrap
from trivec.ingestion.sources.proposals import missing
from trivec.ingestion.sources.selection import Selection
from trivec.ingestion.sources.text_field import Texts, single_text
from trivec.ingestion.sources.values import MetadataValues
from trivec.plain import is_missing

METADATA = "metadata"
TYPED_FORMATS = ("parquet", "arrow")
"""The formats whose values may be of types that JSON does not have."""

_SAY = "say which with metadata='nested' or 'flat' (--metadata)"


class Shape:
    r"""Makes documents of the rows of one file, all by the same rule.

    In the layout "nested" the metadata is one object, in the member "metadata", and a row has no
    other members except id and text. In the layout "flat" every other member is metadata, also a
    member named "metadata". The first row with more than id and text decides on the layout; a later
    row that does not match it is an error. `resolve` makes a shape.

    Example:
        >>> row = {"_id": 7, "title": "Whales", "text": "The blue whale", "metadata": {}}
        >>> shape = Shape.resolve(
        ...     SourceOptions(), None, [row], format="jsonl", file="a.jsonl", report=print
        ... )
        read as BEIR: id from _id, text from title and text; preset='none' (--preset none) ...
        >>> shape.document(row)
        Document(id='7', text='Whales\nThe blue whale', metadata={'title': 'Whales'})
    """

    def __init__(
        self,
        ids: Ids,
        text: Texts,
        options: SourceOptions,
        *,
        values: MetadataValues,
        typed: bool,
        unwrap: Unwrap | None = None,
    ) -> None:
        self._ids = ids
        self._text = text
        self._values = values
        self._typed = typed
        self._unwrap = unwrap
        self._selection: Selection | None = None
        self._layout = options.metadata or ("nested" if unwrap else None)
        # Whether "metadata" is an ordinary member, according to the option or an earlier row.
        self._ordinary = options.metadata == "flat"
        # The id and the text, if each is one member of the record.
        self._pair = None if ids.path is None else text.pair_with(ids.path)
        # The same where every other member is metadata as it is, which is known after the first
        # document: then a row takes the quick way.
        self._quick: tuple[str, str] | None = None
        self._removed = [*([] if ids.path is None else [ids.path]), *text.removed]

    @classmethod
    def resolve(
        cls,
        options: SourceOptions,
        columns: Sequence[str] | None,
        head: Sequence[Mapping[str, Any]],
        *,
        format: str,
        file: str,
        report: Callable[[str], None],
        strict: bool = True,
    ) -> Self:
        """Return the shape of a file.

        Args:
            options: The options of the source.
            columns: The names of its columns; None if only its rows have names.
            head: The first rows that could be read.
            format: The format of the file.
            file: Its name in ids that are made of rows.
            report: Called with what was recognised, and with columns whose values change.
            strict: Whether one of these rows has every member of the metadata that an option names.

        Raises:
            InvalidDocumentError: If there is no id or no text; the message proposes options.
            InvalidOptionError: If none of the rows has a member that an option names.
        """
        if format == "text":  # the names of its members are fixed
            options = replace(options, id=None, id_field="id", text=None, text_field="text")
        names = list(columns) if columns is not None else _names(head)
        preset = options.preset_of(names)
        unwrap = None if preset is None else preset.unwrap
        if unwrap is not None:
            head = [unwrap(row) for row in head]
            names = _names(head)
        ids = Ids.resolve(options, preset, names, file)
        text = Texts.resolve(options, preset, names, is_table=columns is not None)
        if ids is None or text is None:
            raise InvalidDocumentError(
                missing(
                    names,
                    head[0] if head else None,
                    id=(options.id_field or "id") if ids is None else None,
                    text=(options.text_names or ("text",))[0] if text is None else None,
                    are_columns=columns is not None,
                )
            )
        shape = cls(
            ids,
            text,
            options,
            values=MetadataValues(options.declared, report),
            typed=format in TYPED_FORMATS,
            unwrap=unwrap,
        )
        rows = [metadata for row in head if (metadata := shape._guessed(row))]
        if columns is not None and not rows:
            rows = [shape._without_taken(dict.fromkeys(names))]
        taken = [path[0] for path in shape._removed if len(path) == 1]
        shape._selection = Selection.resolve(options, rows, taken=taken, strict=strict)
        if note := _note(options, preset, ids, text, names):
            report(note)
        return shape

    def document(self, values: Mapping[str, Any], number: int = 0) -> Document:
        """Make a document of a row.

        Args:
            values: The members of the row.
            number: The number of the row in its file, from 1, of which an id may be made.

        Raises:
            InvalidDocumentError: If it has no id or no text, another layout than earlier rows, or a
                value that cannot be kept.
        """
        if self._quick is not None:
            document = _quick_document(values, *self._quick)
            if document is not None:
                return document
        if self._unwrap is not None:
            values = self._unwrap(values)
        id, text, rest = self._taken(values)
        if type(id) is not str:
            id = self._ids.made(id, number)
        layout = self._layout
        if layout != "flat" or METADATA in rest:
            layout = layout or self._layout_of(rest)
            metadata = self._nested(rest) if layout == "nested" else self._flat(rest)
        else:
            metadata = rest
        document = self._finished(id, text, metadata)
        self._layout = layout  # only a valid document decides on the layout
        if not self._ordinary and METADATA in rest:
            self._ordinary = len(rest) - len(self._text.beside & rest.keys()) > 1
        if layout == "flat" and self._plainly:
            self._quick = self._pair
        return document

    def _taken(self, values: Mapping[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
        """Return the id and the text as they are, and the other members."""
        if self._pair is None:
            id, text = self._ids.value(values, self._lacking), self._text.of(values)
            if text is None:
                raise self._lacking()
            return id, text, self._without_taken(values)
        rest = dict(values)
        try:
            id, text = rest.pop(self._pair[0]), rest.pop(self._pair[1])
        except KeyError:
            raise self._lacking() from None
        return id, text if type(text) is str else single_text(text, self._pair[1]), rest

    @property
    def _plainly(self) -> bool:
        """Whether metadata in the layout "flat" is stored as it is."""
        return not (self._selection or self._typed or self._unwrap or self._values.has_ints)

    def _finished(self, id: str | None, text: str, metadata: Mapping[str, Any]) -> Document:
        """Return the document of an id, or of none if it is made by hash."""
        if self._selection is not None:
            metadata = self._selection.of(metadata)
        if self._typed:
            metadata = self._values.converted(metadata)
        if self._values.has_ints:
            metadata = self._values.with_ints(metadata)
        try:
            document = Document("-" if id is None else id, text, metadata)
        except InvalidDocumentError:
            # JSON has only few such values, so that they need no search in each row.
            converted = self._values.converted(metadata)
            if converted is metadata:
                raise
            document = Document("-" if id is None else id, text, converted)
        return document if id is not None else replace(document, id=content_id(document))

    def _lacking(self) -> InvalidDocumentError:
        """Return the error of a row without an id or a text."""
        names = [".".join(path) for path in self._text.paths]
        texts = " or ".join(map(repr, names))
        if self._ids.path is None:
            return InvalidDocumentError(f"expected an object with {texts}")
        return InvalidDocumentError(
            f"expected an object with {'.'.join(self._ids.path)!r} and {texts}"
        )

    def _without_taken(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the members that are neither id nor text."""
        rest = dict(values)
        for path in self._removed:
            if len(path) == 1:
                rest.pop(path[0], None)
            else:
                rest = without(rest, path)
        return rest

    def _guessed(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the metadata of a row without a check."""
        rest = self._without_taken(row)
        layout = self._layout or self._layout_of(rest)
        if layout == "nested" and isinstance(rest.get(METADATA), Mapping):
            return self._nested(rest)
        return {} if layout == "nested" else rest

    # --- layouts -----------------------------------------------------------------------------

    def _layout_of(self, rest: Mapping[str, Any]) -> str | None:
        """Return the layout of a row; None if it has only id and text."""
        others = rest.keys() - self._text.beside
        if not others:
            return None
        return "nested" if others == {METADATA} else "flat"

    def _nested(self, rest: Mapping[str, Any]) -> Mapping[str, Any]:
        beside = {name: value for name, value in rest.items() if name in self._text.beside}
        other = next((name for name in rest if name != METADATA and name not in beside), None)
        if other is not None:
            raise InvalidDocumentError(
                f"{other!r} stands beside {METADATA!r}, where this file has its metadata; {_SAY}"
            )
        metadata = rest.get(METADATA)
        if is_missing(metadata):
            return beside
        if not isinstance(metadata, Mapping):
            raise InvalidDocumentError(
                f"{METADATA!r} is a {type(metadata).__name__}, expected an object; "
                "metadata='flat' (--metadata flat) treats it as an ordinary member"
            )
        return {**beside, **metadata} if beside else metadata

    def _flat(self, rest: Mapping[str, Any]) -> Mapping[str, Any]:
        lone = self._layout_of(rest) == "nested" and isinstance(rest[METADATA], Mapping)
        if lone and not self._ordinary:
            raise InvalidDocumentError(
                f"an object {METADATA!r} holds all metadata of this row, "
                f"and rows before it have theirs beside id and text; {_SAY}"
            )
        return rest


def _quick_document(values: Mapping[str, Any], id_name: str, text_name: str) -> Document | None:
    """Return the document of an ordinary row; None if the row needs a closer look."""
    if METADATA in values:
        return None
    rest = dict(values)
    id, text = rest.pop(id_name, None), rest.pop(text_name, None)
    if type(id) is int:
        id = str(id)
    if type(id) is not str or type(text) is not str:
        return None
    try:
        return Document(id, text, rest)
    except InvalidDocumentError:
        return None


# --- presets -------------------------------------------------------------------------------------


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _note(
    options: SourceOptions,
    preset: Preset | None,
    ids: Ids,
    text: Texts,
    names: Sequence[str],
) -> str:
    """Return what was recognised, for one line of a log."""
    if preset is not None and options.preset is None:
        id = "the row" if ids.path is None else ".".join(ids.path)
        if ids.rule == "hash":
            id += ", or a hash where it is null" if ids.path else "a hash"
        texts = " and ".join(".".join(path) for path in text.paths)
        return (
            f"read as {preset.title}: id from {id}, text from {texts}; preset='none' "
            "(--preset none) turns this off"
        )
    title = same_name("title", names)
    chosen = options.text_field or options.text or options.preset
    if title is None or chosen or title in text.beside:
        return ""
    name = text.paths[0][0]
    return (
        f"{title!r} becomes metadata and is not encoded; text_field=[{title!r}, {name!r}] "
        f"(--text-field {title},{name}) encodes it too"
    )
