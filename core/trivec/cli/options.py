"""Options that several commands take, and how they are read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from trivec.errors import CheckpointError, InvalidOptionError
from trivec.fields import FieldType
from trivec.ingestion.sources import FORMATS
from trivec.scores import Weights
from trivec.stores.registry import local_files
from trivec.terminal import SafeConsole, json_line

if TYPE_CHECKING:
    from trivec.encoders.encoder import Encoder

__all__ = [
    "AllowEmpty",
    "AsJson",
    "Delimiter",
    "Device",
    "Format",
    "IdField",
    "Journal",
    "Layout",
    "Model",
    "OnErrorOption",
    "Precision",
    "Quoting",
    "SourceArgument",
    "StoreArgument",
    "TextField",
    "as_precision",
    "fields_of",
    "inputs_of",
    "load_encoder",
    "notes",
    "output",
    "print_json",
    "weights_of",
]

Model = Annotated[
    str, typer.Option(help="Hub id or folder of the model; 'demo' for the small demo model.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")]
Precision = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16 or int8.")]
SourceArgument = Annotated[
    str,
    typer.Argument(
        help="JSON Lines, CSV, TSV or Parquet, also gz or zst; a folder of text; - for stdin."
    ),
]
IdField = Annotated[str, typer.Option(help="The member that holds the id.")]
TextField = Annotated[str, typer.Option(help="The member that holds the text.")]
Format = Annotated[
    str | None, typer.Option(help=f"One of {', '.join(FORMATS)}; by default from the name.")
]
Delimiter = Annotated[
    str | None, typer.Option(help="What separates cells; a comma in CSV, a tab in TSV by default.")
]
Quoting = Annotated[
    str | None,
    typer.Option(help="csv: quotes enclose cells; none: they do not. By default as the format."),
]
Layout = Annotated[
    str | None,
    typer.Option(
        "--metadata",
        help="nested: in an object 'metadata'; flat: all members; by default as the first row.",
    ),
]
AllowEmpty = Annotated[
    bool, typer.Option("--allow-empty", help="Take a source that holds nothing for no error.")
]
Journal = Annotated[
    Path | None,
    typer.Option(help="A file that remembers what is written, so that the next run goes on."),
]
OnErrorOption = Annotated[
    str, typer.Option(help="raise ends at what cannot be stored; skip goes on without it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
StoreArgument = Annotated[
    str, typer.Argument(help="URL of the collection, such as qdrant+edge:./data/articles.")
]

notes = SafeConsole(stderr=True, highlight=False, emoji=False)
"""Where commands say what they do; results go to standard output."""

_PIPED = 100_000  # cells of a line that no terminal shows

_PRESETS = {
    "general": Weights.GENERAL,
    "model_card": Weights.MODEL_CARD,
    "long_documents": Weights.LONG_DOCUMENTS,
}


def as_precision(text: str) -> Literal["auto", "float32", "bfloat16", "float16", "int8"]:
    """Return the precision of this name, or raise `InvalidOptionError` for an unknown one."""
    match text:
        case "auto" | "float32" | "bfloat16" | "float16" | "int8":
            return text
    raise InvalidOptionError(
        f"precision={text!r}; expected auto, float32, bfloat16, float16 or int8"
    )


def load_encoder(model: str, device: str, precision: str, name: str | None = None) -> Encoder:
    """Load a model, building the demo model where its name is "demo".

    Args:
        model: The hub id or folder.
        device: Where it runs.
        precision: The numbers of its matrix products.
        name: What it is called in a collection; None for the name of the folder or on the hub.
    """
    from trivec.encoders.encoder import Encoder

    if model == "demo":
        from trivec.demo.model import demo_model

        model = str(demo_model(progress=lambda step: notes.print(f"[dim]{step}[/dim]")))
    try:
        return Encoder.load(model, device=device, precision=as_precision(precision), name=name)
    except CheckpointError as error:
        if "/" in model or Path(model).is_dir():
            raise
        raise CheckpointError(
            f"{error}; if a collection was made by a model in a folder called {model!r}, give the "
            "folder's path as --model"
        ) from error


def weights_of(text: str) -> Weights:
    """Read a preset's name, or three numbers with commas: dense, sparse, ColBERT."""
    if text.lower() in _PRESETS:
        return _PRESETS[text.lower()]
    try:
        dense, sparse, colbert = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InvalidOptionError(
            f"weights {text!r}: expected {', '.join(_PRESETS)}, or three numbers such as 1,0.3,1"
        ) from error
    return Weights(dense, sparse, colbert)


def fields_of(declarations: Iterable[str]) -> dict[str, FieldType]:
    """Read `name:type` for each declared field."""
    fields = {}
    for declaration in declarations:
        path, _, kind = declaration.partition(":")
        if kind not in list(FieldType):
            raise InvalidOptionError(
                f"field {declaration!r}: expected name:type with one of {', '.join(FieldType)}"
            )
        fields[path] = FieldType(kind)
    return fields


def inputs_of(
    *files: str | Path | None, stores: Iterable[str] = (), model: str | None = None
) -> list[str | Path]:
    """Return what a command reads from this machine's disks, which no output may be.

    Args:
        files: Files and folders; "-" is standard input, None is none.
        stores: The URLs of collections, whose files are meant if they are embedded.
        model: The model that was asked for; its folder is meant if it is one.
    """
    inputs = [one for one in files if one is not None]
    for url in stores:
        inputs += local_files(url)
    if model and (folder := Path(model).expanduser()).is_dir():
        inputs.append(folder)
    return inputs


def output(*, highlight: bool = True) -> Console:
    """Return the console of results, as wide as the terminal; where it is none, nothing is cut."""
    out = SafeConsole(highlight=highlight)
    if not out.is_terminal:
        out.width = _PIPED
    return out


def print_json(value: object) -> None:
    """Print a value as one line of JSON on standard output."""
    typer.echo(json_line(value))
