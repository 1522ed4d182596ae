"""The commands together, and how they end: errors in one line, exit codes."""

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
    ingest,
    optimize,
    plan,
    search,
    tune,
)
from trivec.cli.options import notes
from trivec.errors import MissingDependencyError, TrivecError
from trivec.terminal import make_safe, one_line, printable

__all__ = ["app", "main"]


class Warnings(logging.Handler):
    """Prints what trivec warns of as a note of the command."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one warning."""
        notes.print(record.getMessage(), style="yellow", markup=False, soft_wrap=True)


_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""Click's, of which newer typers have a copy of their own."""


def _make_one_line(error: Exception) -> None:
    """Let the error of a command line, which repeats what was given, be printable."""
    vars(error)["message"] = one_line(str(vars(error)["message"]))


_warnings = Warnings(logging.WARNING)


class Commands(TyperGroup):
    """Prints what trivec raises on purpose in one line, unless `--debug` asks for the trace."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Read the options before the command."""
        try:
            parsed: list[str] = super().parse_args(ctx, args)
        except _UsageError as error:
            _make_one_line(error)
            raise
        return parsed

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - the signature of click
        """Run the command; exit with 1 where it fails, 130 where it is interrupted."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # whoever reads has seen enough; click ends without a word
            raise
        except (TrivecError, OSError) as error:
            if ctx.params.get("debug"):
                raise
            said = " ".join(printable(str(error)).split())
            typer.secho(f"error: {said}", fg="red", err=True)
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
    debug: Annotated[bool, typer.Option(help="Show the trace of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""
    logging.getLogger("trivec").addHandler(_warnings)  # the same one is added once


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
    doctor.doctor,
):
    app.command()(command)


def add_commands(target: typer.Typer, entries: Iterable[EntryPoint]) -> None:
    """Add the commands of connectors; one whose client is missing says so when it is called."""
    for entry in entries:
        try:
            target.command(entry.name)(entry.load())
        except MissingDependencyError as error:
            anything = {"ignore_unknown_options": True, "allow_extra_args": True}
            target.command(entry.name, context_settings=anything)(_missing(error))


def _missing(error: MissingDependencyError) -> Callable[[], None]:
    def missing() -> None:
        """Needs an extra that is not installed."""
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
