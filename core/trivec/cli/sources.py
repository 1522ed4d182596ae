"""The options of the commands that read documents from files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from trivec.errors import InvalidOptionError
from trivec.fields import FieldType
from trivec.ingestion.sources import FORMATS, PRESETS, Source
from trivec.ingestion.sources.template import unescaped

SourcesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="JSON, CSV, TSV or Parquet files, also compressed; text files; folders of these; "
        "patterns such as 'corpus/*.parquet'; or - for standard input.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class SourceFlags:
    """How a file of documents is read; the names are those of `SourceOptions`."""

    id_field: Annotated[
        str | None, typer.Option(help="The member that holds the id; 'id' by default.")
    ] = None
    id: Annotated[
        str | None,
        typer.Option(
            "--id",
            help="Make ids where the file has none: row, from its name and the number of the row; "
            "hash, from text and metadata.",
        ),
    ] = None
    text_field: Annotated[
        list[str] | None,
        typer.Option(
            help="The member that holds the text, 'text' by default; or several with commas, "
            "which are joined by a newline."
        ),
    ] = None
    text: Annotated[
        str | None,
        typer.Option("--text", help=r"A template instead, such as '{title}\n{text}'."),
    ] = None
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", help="Members that become metadata, with commas; by default all."),
    ] = None
    drop: Annotated[
        list[str] | None,
        typer.Option("--drop", help="Members that do not become metadata, with commas."),
    ] = None
    rename: Annotated[
        list[str] | None,
        typer.Option("--rename", help="A new name of metadata, as old=new; repeat for more."),
    ] = None
    metadata: Annotated[
        str | None,
        typer.Option(
            help="nested: the metadata is the object in the member 'metadata'; flat: all other "
            "members are metadata. By default as in the first row."
        ),
    ] = None
    preset: Annotated[
        str | None,
        typer.Option(
            help=f"The layout of published files: {', '.join(PRESETS)}. By default it is "
            "recognised if a file has no 'id' or no 'text'; none turns that off."
        ),
    ] = None
    format: Annotated[
        str | None,
        typer.Option(help=f"One of {', '.join(FORMATS)}; by default from the file's name."),
    ] = None
    encoding: Annotated[
        str | None, typer.Option(help="The encoding of text, such as utf-16; by default UTF-8.")
    ] = None
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns", help="The columns of CSV or TSV without a header, such as id,text."
        ),
    ] = None
    delimiter: Annotated[
        str | None,
        typer.Option(
            help="The character between cells, or tab; by default it is found in the first records."
        ),
    ] = None
    quoting: Annotated[
        str | None,
        typer.Option(
            help="csv: quotes enclose cells; none: a quote is a plain character. By default csv "
            "for CSV and none for TSV."
        ),
    ] = None
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Accept a source without any document.")
    ] = False

    def open(
        self, sources: Sequence[str], declared: Mapping[str, FieldType] | None = None
    ) -> Source:
        """Open files, patterns, folders or "-" as one source with its declared fields."""
        given = {name: value for name, value in vars(self).items() if value not in (None, False)}
        for name in ("columns", "text_field", "keep", "drop"):
            if name in given:
                given[name] = names_of(given[name])
        if self.rename:
            given["rename"] = renames_of(self.rename)
        if self.text is not None:
            given["text"] = unescaped(self.text)
        return Source(sources, fields=declared or {}, **given)


def names_of(texts: Iterable[str]) -> list[str]:
    """Parse names of members, several with commas.

    >>> names_of(["title, text", "lang"]), names_of([""])
    (['title', 'text', 'lang'], [])
    """
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def renames_of(texts: Iterable[str]) -> dict[str, str]:
    """Parse new names, each as `old=new`."""
    renamed: dict[str, str] = {}
    for text in texts:
        for each in text.split(","):
            old, equals, new = (part.strip() for part in each.rpartition("="))
            if not old or not equals or not new or old in renamed:
                raise InvalidOptionError(
                    f"rename {each!r}: expected old=new, with each old name once (--rename)"
                )
            renamed[old] = new
    return renamed
