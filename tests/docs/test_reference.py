"""The reference pages hold every public name, and the page of the command line every option."""

from __future__ import annotations

import importlib
import re
import runpy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main

from trivec.cli.app import app

ROOT = Path(__file__).parents[2]
DIRECTIVE = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
PACKAGES = (
    *("trivec", "trivec.encoders", "trivec.reranking", "trivec.serving", "trivec.stores"),
    "trivec.testing",
    *("trivec_qdrant", "trivec_milvus", "trivec_vespa"),
    *("trivec_langchain", "trivec_llamaindex", "trivec_ray"),
)


def _documented() -> list[object]:
    found: list[object] = []
    for page in (ROOT / "docs" / "reference").glob("*.md"):
        for target in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            try:
                one: Any = importlib.import_module(target)
            except ModuleNotFoundError:
                module, _, name = target.rpartition(".")
                one = getattr(importlib.import_module(module), name)
            names = (
                [name for name in vars(one) if name[0] != "_"]
                if isinstance(one, ModuleType)
                else []
            )
            found += [getattr(one, name) for name in names] or [one]
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_in_the_reference(package: str) -> None:
    module = importlib.import_module(package)
    documented = _documented()
    missing = [
        name
        for name in module.__all__
        if name != "__version__" and not any(getattr(module, name) is one for one in documented)
    ]
    assert missing == []


def test_the_page_of_the_command_line_has_every_command_and_option() -> None:
    page = runpy.run_path(str(ROOT / "scripts" / "cli_page.py"))["page"]()
    group: Any = typer.main.get_command(app)
    sections = re.split(r"^## trivec ", page, flags=re.MULTILINE)[1:]
    assert [section.partition("\n")[0] for section in sections] == list(group.commands)
    for section, command in zip(sections, group.commands.values(), strict=True):
        assert command.help in section
        for parameter in command.params:
            if getattr(parameter, "hidden", False):  # the old name of an option
                continue
            assert parameter.help in section
            for option in parameter.opts:
                shown = option if option.startswith("-") else option.upper()
                assert shown in section
