"""The commands by name; the module of each is imported when the command is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
import typer.main

from trivec.cli.options import expand
from trivec.entry_points import load_entry_point
from trivec.errors import MissingDependencyError

GROUP = "trivec.commands"

OWN = tuple(
    EntryPoint(name, f"trivec.cli.{name}:{name}", GROUP)
    for name in (
        *("demo", "encode", "ingest", "search", "copy", "explain", "evaluate", "tune", "plan"),
        *("optimize", "serve", "export", "doctor"),
    )
)
"""trivec's own commands, in the order of the help."""


class CommandTable(Mapping[str, Any]):
    """Commands of click by name, each made when it is first asked for.

    Args:
        entries: Where the commands are: functions that `expand` takes.
    """

    def __init__(self, entries: Iterable[EntryPoint]) -> None:
        self._entries = {entry.name: entry for entry in entries}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - typer may have its own click
        return command(self._entries[name])

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def all_commands() -> CommandTable:
    """Return trivec's own commands and those of other packages."""
    return CommandTable([*OWN, *entry_points(group=GROUP)])


@lru_cache
def command(entry: EntryPoint) -> Any:  # noqa: ANN401 - typer may have its own click
    """Return a command of click.

    A command that lacks a dependency raises its `MissingDependencyError` when it is called.

    Args:
        entry: Where its function is.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    try:
        function = load_entry_point(entry, f"the command {entry.name!r}")
        app.command(entry.name)(expand(function))
    except MissingDependencyError as error:
        any_arguments = {"ignore_unknown_options": True, "allow_extra_args": True}
        app.command(entry.name, context_settings=any_arguments)(_missing(error))
    return typer.main.get_command(app)


def _missing(error: MissingDependencyError) -> Callable[[], None]:
    def missing() -> None:
        """Not available: a package is not installed."""
        raise error

    return missing
