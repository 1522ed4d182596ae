"""The page of the command line, made from its commands while the documentation is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.core import TyperArgument, TyperOption

from trivec.cli.app import app

PATH = "reference/cli.md"
INTRODUCTION = """# Command line

Made from the commands themselves; `trivec COMMAND --help` says the same. `--json` prints results
as JSON on standard output; what a command does meanwhile goes to standard error. An error ends
with exit code 1 and one line, or with its trace after `trivec --debug COMMAND`.
"""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the page (a hook of MkDocs)."""
    files.append(File.generated(config, PATH, content=page()))
    return files


def page() -> str:
    """Return the page in Markdown."""
    group: Any = typer.main.get_command(app)
    parts = [INTRODUCTION]
    for name, command in group.commands.items():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
        places = " ".join(_place(argument) for argument in arguments)
        parts += [
            f"## trivec {name}",
            command.help,
            f"```sh\ntrivec {name} {places}".rstrip() + " [OPTIONS]\n```",
        ]
        if arguments:
            rows = ((_place(p), "", p) for p in arguments)
            parts.append(_table("argument", rows))
        rows = ((", ".join([*p.opts, *p.secondary_opts]), _kind(p), p) for p in options)
        parts.append(_table("option", rows))
    return "\n\n".join(parts) + "\n"


def _place(argument: TyperArgument) -> str:
    name = (argument.name or "").upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _kind(option: TyperOption) -> str:
    return "" if option.is_flag else f" {(option.name or '').upper()}"


def _table(title: str, rows: Iterator[tuple[str, str, Any]]) -> str:
    lines = [f"| {title} | default | meaning |", "| --- | --- | --- |"]
    for name, kind, param in rows:
        value = param.default
        shown = "" if value is None or value is False or value == () else f"`{value}`"
        if param.required:
            shown = "required"
        text = (param.help or "").replace("|", "\\|")
        lines.append(f"| `{name}{kind}` | {shown} | {text} |")
    return "\n".join(lines)
