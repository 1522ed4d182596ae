"""The commands of `trivec`: errors in one line, and exit codes."""

from __future__ import annotations

import logging
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from trivec._version import __version__
from trivec.cli.commands import all_commands
from trivec.cli.options import notes
from trivec.errors import TrivecError
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

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - the signature of typer
        super().__init__(**attributes)
        vars(self)["commands"] = all_commands()

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


def main() -> None:
    """Run the command line of this process."""
    make_safe()
    try:
        app()
    except Exception as error:
        typer.echo(printable("".join(traceback.format_exception(error))), err=True, nl=False)
        raise SystemExit(1) from error
