"""Options that several commands take, how they are parsed, and how results are printed.

A command declares a group of options as one parameter whose type is a dataclass below. `expand`
turns each field of the dataclass into an option of the command line.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import Field, dataclass, fields, is_dataclass
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
GroupBy = Annotated[
    str | None,
    typer.Option(
        help="A declared field, or parent, the document that a passage is of; the best hits of "
        "the -k best groups are returned."
    ),
]
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


def expand(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes each field of its dataclass parameters as an option.

    The other parameters, and the fields, are annotated for typer; the fields have defaults. A
    dataclass of the library says the text of the help in the metadata of its fields; those without
    are no options.
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
            for field in _flags(annotation):
                hint, text = hints[field.name], field.metadata.get("help")
                described = Annotated[hint, typer.Option(help=text)] if text else hint
                add(field.name, described, field.default)
        else:
            add(name, annotation, parameter.default)

    @wraps(command)
    def expanded(**given: object) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in _flags(group)})
        command(**given)

    expanded.__annotations__ = {option.name: option.annotation for option in options}
    vars(expanded)["__signature__"] = inspect.Signature(options)
    return expanded


def _flags(group: type[Any]) -> list[Field[Any]]:
    """Return the fields of a dataclass that are options of the command line."""
    declared = fields(group)
    return [field for field in declared if "help" in field.metadata] or list(declared)


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
    console = SafeConsole(highlight=highlight, emoji=False)
    if not console.is_terminal:
        console.width = _PIPED
    return console


def print_json(value: object) -> None:
    """Print a value as one line of JSON on standard output."""
    typer.echo(json_line(value))
