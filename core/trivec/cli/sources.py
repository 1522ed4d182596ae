"""The options of the commands that read documents from files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from trivec.fields import FieldType
from trivec.ingestion.sources import FORMATS, Source

SourceArgument = Annotated[
    str,
    typer.Argument(
        help="A JSON Lines, CSV, TSV or Parquet file, also compressed as gz or zst; a folder of "
        "text files; or - for standard input."
    ),
]


@dataclass(frozen=True, kw_only=True)
class SourceFlags:
    """How a file of documents is read; the names are those of the arguments of `Source`."""

    id_field: Annotated[str, typer.Option(help="The member that holds the id.")] = "id"
    text_field: Annotated[str, typer.Option(help="The member that holds the text.")] = "text"
    format: Annotated[
        str | None,
        typer.Option(help=f"One of {', '.join(FORMATS)}; by default from the file's name."),
    ] = None
    delimiter: Annotated[
        str | None,
        typer.Option(help="The character between cells; by default a comma in CSV, a tab in TSV."),
    ] = None
    quoting: Annotated[
        str | None,
        typer.Option(
            help="csv: quotes enclose cells; none: a quote is a plain character. By default csv "
            "for CSV and none for TSV."
        ),
    ] = None
    metadata: Annotated[
        str | None,
        typer.Option(
            help="nested: the metadata is the object in the member 'metadata'; flat: all other "
            "members are metadata. By default as in the first row."
        ),
    ] = None
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Accept a source without any document.")
    ] = False

    def open(self, path: str, declared: Mapping[str, FieldType] | None = None) -> Source:
        """Open a source of documents: a file, a folder, or "-", with its declared fields."""
        return Source(path, fields=declared, **asdict(self))
