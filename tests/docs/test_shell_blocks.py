"""The `trivec` commands in README and docs exist, with every option that they are given."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from trivec.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
SEPARATORS = (";", "|", "||", "&&")


def _commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each call of `trivec`, without what a shell does around it."""
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&")
            lexer.whitespace_split = True
            call: list[str] = []
            for word in [*lexer, ";"]:
                if word not in SEPARATORS:
                    call.append(word)
                    continue
                if call[:1] == ["trivec"]:
                    yield call[1:]
                call = []


def _problem(words: list[str]) -> str:
    """Return what the command line's own parser finds wrong with a call; it runs nothing."""
    group: Any = typer.main.get_command(app)
    name, *rest = [word for word in words if word != "--debug"]
    if name not in group.commands:
        return f"No such command {name!r}"
    try:
        with group.commands[name].make_context(name, rest):
            return ""
    except Exception as error:  # typer has its parser's errors in a private module
        return str(error)


@pytest.mark.parametrize("page", [p for p in PAGES if [*_commands(p)]], ids=lambda p: p.stem)
def test_the_commands_of_a_page_exist(page: Path) -> None:
    for words in _commands(page):
        assert not _problem(words), f"{page.name}: {' '.join(words)}"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("serch x y", "No such command 'serch'"),
        ("search x y --filtre z", "No such option: --filtre"),
        ("search x", "Missing parameter: query"),
        ("encode x", "Missing parameter: output"),
        ("doctor a b c --json", ""),
        ("ingest - memory:/x --prune --field a:str", ""),
    ],
)
def test_a_wrong_command_is_noticed(words: str, problem: str) -> None:
    found = _problem(words.split())
    assert problem in found
    assert bool(problem) == bool(found)


def test_the_calls_of_a_block_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\nzcat a.gz | trivec ingest - b  # a comment\n"
        "trivec demo; trivec search c \\\n    'two words'\necho trivec\n```\n"
    )
    assert [*_commands(page)] == [["ingest", "-", "b"], ["demo"], ["search", "c", "two words"]]
