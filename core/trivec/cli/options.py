"""Options that several commands take, how they are parsed, and how results are printed.

A command declares a group of options as one parameter whose type is a dataclass below. `expand`
turns each field of the dataclass into an option of the command line.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from rich.console import Console

from trivec.colbert_storage import ColbertStorage
from trivec.errors import InvalidOptionError
from trivec.fields import FieldType
from trivec.filters import Filter
from trivec.filters.parser import parse_filter
from trivec.ingestion.sources import FORMATS, PRESETS, Source
from trivec.ingestion.sources.template import unescaped
from trivec.scores import Weights
from trivec.search import SearchOptions
from trivec.stores.registry import local_files
from trivec.stores.store import Store
from trivec.terminal import SafeConsole, json_line

notes = SafeConsole(stderr=True, highlight=False, emoji=False)
"""Prints notes on standard error; results go to standard output."""

_PIPED = 100_000  # columns of output that is not a terminal

_PRESETS = {
    "general": Weights.GENERAL,
    "model_card": Weights.MODEL_CARD,
    "long_documents": Weights.LONG_DOCUMENTS,
}

# --- single options and arguments ----------------------------------------------------------------


def _colbert_of(text: str) -> ColbertStorage:
    """Parse `--colbert`; a wrong value is an error of usage."""
    try:
        return ColbertStorage.parse(text)
    except InvalidOptionError as error:
        raise typer.BadParameter(str(error)) from error


StoreArgument = Annotated[
    str, typer.Argument(help="URL of the collection, such as qdrant+edge:./data/articles.")
]
SourcesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="JSON, CSV, TSV or Parquet files, also compressed; text files; folders of these; "
        "patterns such as 'corpus/*.parquet'; or - for standard input.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Fields = Annotated[
    list[str] | None,
    typer.Option(
        "--field", help="A metadata field that filters will use, as name:type; repeat for more."
    ),
]
Colbert = Annotated[
    ColbertStorage | None,
    typer.Option(
        "--colbert",
        parser=_colbert_of,
        metavar="bits=…,pool=…",
        help="How the collection keeps token vectors, such as bits=1,pool=2 or "
        "bits=4,prune=1/3; a collection that exists must keep them so. By default bits=16.",
    ),
]
Journal = Annotated[
    Path | None,
    typer.Option(help="A file that records what was written, so that the next run continues."),
]
OnError = Annotated[
    str,
    typer.Option(
        help="raise: stop at a document that cannot be stored; skip: continue without it."
    ),
]
FilterText = Annotated[
    str | None,
    typer.Option(
        "--filter", help="""A condition, such as 'year >= 2020 and lang in ["de", "en"]'."""
    ),
]
K = Annotated[int, typer.Option("-k", help="The number of hits for each question.")]
WeightsText = Annotated[
    str,
    typer.Option(
        "--weights",
        help=f"The weights of hybrid search: {', '.join(_PRESETS)}, or three numbers with commas.",
    ),
]

# --- groups of options ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SearchFlags:
    """The search options that every command that searches takes."""

    weights: WeightsText = "general"
    candidates: Annotated[
        int, typer.Option(help="The number of candidates from each of the two sources.")
    ] = 100
    filter: FilterText = None

    def options(self) -> SearchOptions:
        """Return the parsed options, for `Store.search`."""
        return {
            "weights": weights_of(self.weights),
            "candidates": self.candidates,
            "filter": filter_of(self.filter),
        }


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


def expand(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes each field of its dataclass parameters as an option.

    The other parameters, and the fields, are annotated for typer; the fields have defaults.
    """
    groups: dict[str, type[Any]] = {}
    options: list[inspect.Parameter] = []
    annotations = get_type_hints(command, include_extras=True)

    def add(name: str, annotation: object, default: object) -> None:
        kind = inspect.Parameter.KEYWORD_ONLY
        options.append(inspect.Parameter(name, kind, default=default, annotation=annotation))

    for name, parameter in inspect.signature(command).parameters.items():
        annotation = annotations[name]
        if isinstance(annotation, type) and is_dataclass(annotation):
            groups[name] = annotation
            hints = get_type_hints(annotation, include_extras=True)
            for field in fields(annotation):
                add(field.name, hints[field.name], field.default)
        else:
            add(name, annotation, parameter.default)

    @wraps(command)
    def expanded(**given: object) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    expanded.__annotations__ = {option.name: option.annotation for option in options}
    vars(expanded)["__signature__"] = inspect.Signature(options)
    return expanded


# --- parsing -------------------------------------------------------------------------------------


def weights_of(text: str) -> Weights:
    """Parse the name of a preset, or three numbers with commas: dense, sparse, ColBERT."""
    if text.lower() in _PRESETS:
        return _PRESETS[text.lower()]
    try:
        dense, sparse, colbert = (float(number) for number in text.split(","))
    except ValueError as error:
        raise InvalidOptionError(
            f"weights {text!r}: expected {', '.join(_PRESETS)}, or three numbers such as 1,0.3,1"
        ) from error
    return Weights(dense, sparse, colbert)


def filter_of(text: str | None) -> Filter | None:
    """Parse a condition, if there is one."""
    return None if text is None else parse_filter(text)


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


def fields_of(declarations: Iterable[str] | None) -> dict[str, FieldType]:
    """Parse declared fields, each as `name:type`."""
    declared: dict[str, FieldType] = {}
    for declaration in declarations or ():
        path, _, type_name = declaration.partition(":")
        if type_name not in list(FieldType):
            raise InvalidOptionError(
                f"field {declaration!r}: expected name:type with one of {', '.join(FieldType)}"
            )
        declared[path] = FieldType(type_name)
    return declared


# --- checks --------------------------------------------------------------------------------------


def check_search(store: Store, options: SearchOptions) -> None:
    """Check the options of a search against a collection, before a model is loaded."""
    store.search_many([], **options)
    store.count(options.get("filter"))


def inputs_of(*paths: str | Path | None, stores: Iterable[str] = ()) -> list[str | Path]:
    """Return the files and folders that a command reads; it must not write its outputs to them.

    Of the paths, "-" is standard input and None is ignored. Of the URLs of stores, those of
    embedded databases are files.
    """
    given = [path for path in paths if path is not None]
    return [*given, *(path for url in stores for path in local_files(url))]


# --- printing ------------------------------------------------------------------------------------


def output(*, highlight: bool = True) -> Console:
    """Return the console for results: as wide as the terminal, and unlimited where it is none."""
    console = SafeConsole(highlight=highlight)
    if not console.is_terminal:
        console.width = _PIPED
    return console


def print_json(value: object) -> None:
    """Print a value as one line of JSON on standard output."""
    typer.echo(json_line(value))
