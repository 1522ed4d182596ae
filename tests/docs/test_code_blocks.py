"""The Python in README and docs runs, unless it says that it needs a server.

A block after the comment `<!-- needs a server -->` or `<!-- needs the model -->` is only compiled.
Blocks of one file share their names, also those inside comments, which only prepare; they run in an
empty folder, and `Encoder.load` gives an encoder that needs no model.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from trivec import Encoder
from trivec.stores import memory
from trivec.testing import HashEncoder
from trivec_qdrant.engines import opening

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"(<!-- needs (?:a server|the model) -->\s*)?^```python\n(.*?)^```", re.DOTALL | re.MULTILINE
)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if BLOCK.search(p.read_text())], ids=lambda p: p.stem
)
def test_the_python_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "_tables", {})  # what lives in this process, no page shares
    monkeypatch.setattr(opening, "_memory", [])
    monkeypatch.setattr(Encoder, "load", lambda *args, **options: HashEncoder())
    monkeypatch.setitem(sys.modules, "page", ModuleType("page"))  # where dataclasses look it up
    names: dict[str, object] = {"__name__": "page"}
    for needs, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        compiled = compile(code, str(page), "exec")
        if not needs:
            exec(compiled, names)


def test_readme_names_every_command() -> None:
    from trivec.cli.commands import all_commands

    readme = PAGES[0].read_text(encoding="utf-8")
    for name in all_commands():
        assert f"trivec {name}" in readme
