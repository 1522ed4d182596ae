"""The commands of `trivec`: errors in one line, and exit codes."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from trivec import __version__
from trivec.cli import (
    copy,
    demo,
    doctor,
    encode,
    evaluate,
    explain,
    export,
    ingest,
    optimize,
    plan,
    search,
    serve,
    tune,
)
from trivec.cli.options import expand, notes
from trivec.entry_points import load_entry_point
from trivec.errors import MissingDependencyError, TrivecError
from trivec.terminal import make_safe, one_line, printable


class WarningNotes(logging.Handler):
    """Prints the warnings of trivec on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one warning."""
        notes.print(record.getMessage(), style="yellow", markup=False, soft_wrap=True)


_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""Click's UsageError; newer versions of typer contain their own copy of click."""


def _make_one_line(error: Exception) -> None:
    """Make an error that repeats the given arguments printable."""
    vars(error)["message"] = one_line(str(vars(error)["message"]))


_warnings = WarningNotes(logging.WARNING)


class Commands(TyperGroup):
    """Prints errors of trivec in one line, or with their traceback if `--debug` is given."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Parse the options that come before the command."""
        try:
            parsed: list[str] = super().parse_args(ctx, args)
        except _UsageError as error:
            _make_one_line(error)
            raise
        return parsed

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - the signature of click
        """Run the command; exit with 1 if it fails, with 130 if it is interrupted."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of the output is gone; click ends silently
            raise
        except (TrivecError, OSError) as error:
            if ctx.params.get("debug"):
                raise
            message = " ".join(printable(str(error)).split())
            typer.secho(f"error: {message}", fg="red", err=True)
            raise typer.Exit(1) from error
        except _UsageError as error:
            _make_one_line(error)
            raise
        except KeyboardInterrupt as error:
            typer.secho("interrupted", fg="red", err=True)
            raise typer.Exit(130) from error


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="BGE-M3's dense, sparse and ColBERT vectors in Qdrant, Milvus and Vespa.",
)


def _version(show: bool) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Handle the options that come before the command."""
    logging.getLogger("trivec").addHandler(_warnings)  # adding it twice has no effect


for command in (
    demo.demo,
    encode.encode,
    ingest.ingest,
    search.search,
    copy.copy,
    explain.explain,
    evaluate.evaluate,
    tune.tune,
    plan.plan,
    optimize.optimize,
    serve.serve,
    export.export,
    doctor.doctor,
):
    app.command()(expand(command))


def add_commands(target: typer.Typer, entries: Iterable[EntryPoint]) -> None:
    """Add the commands of other packages, which are functions that `expand` takes.

    A command that lacks a dependency raises its `MissingDependencyError` when it is called.
    """
    for entry in entries:
        try:
            command = load_entry_point(entry, f"the command {entry.name!r}")
            target.command(entry.name)(expand(command))
        except MissingDependencyError as error:
            any_arguments = {"ignore_unknown_options": True, "allow_extra_args": True}
            target.command(entry.name, context_settings=any_arguments)(_missing(error))


def _missing(error: MissingDependencyError) -> Callable[[], None]:
    def missing() -> None:
        """Not available: a package is not installed."""
        raise error

    return missing


add_commands(app, entry_points(group="trivec.commands"))


def main() -> None:
    """Run the command line of this process."""
    make_safe()
    try:
        app()
    except Exception as error:
        typer.echo(printable("".join(traceback.format_exception(error))), err=True, nl=False)
        raise SystemExit(1) from error
