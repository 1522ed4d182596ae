"""Packages that are installed in a folder of the test."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

LANCE = '''
    """A database that trivec does not know."""

    from trivec.stores import Limits, StorageChoice
    from trivec.stores.memory import MemoryBackend


    class LanceBackend(MemoryBackend):
        limits = Limits(database="lance", colbert_rows=100)

        @classmethod
        def storage_choices(cls, schema, *, tokens, terms):
            d = schema.dense
            choices = [StorageChoice("lance", "dense", "fixed size list", "4 d", 4 * d, True)]
            if schema.sparse:
                choices.append(StorageChoice("lance", "sparse", "list", "8 s", 8 * terms, True))
            if schema.colbert is not None:
                size = 4 * tokens * schema.colbert
                choices.append(StorageChoice("lance", "colbert", "list", "4 t d", size, True))
            return choices
'''


def install(
    folder: Path,
    name: str,
    *,
    version: str = "1.0",
    requires: Sequence[str] = (),
    entry_points: Sequence[str] = (),
    group: str = "trivec.stores",
    code: str | None = None,
) -> None:
    """Write a distribution into a folder, as pip would install it.

    Args:
        folder: Where; it is on `sys.path` or comes there.
        name: The name of the distribution.
        version: Its version.
        requires: What it depends on.
        entry_points: Each as `name = module:object`.
        group: The group of the entry points.
        code: Its module of the same name, if it has one.
    """
    module = name.replace("-", "_")
    if code is not None:
        (folder / f"{module}.py").write_text(dedent(code), encoding="utf-8")
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    (info / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if entry_points:
        text = "\n".join([f"[{group}]", *entry_points]) + "\n"
        (info / "entry_points.txt").write_text(text, encoding="utf-8")


@contextmanager
def on_path(folder: Path) -> Iterator[None]:
    """Let Python import from a folder, and forget its modules at the end."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for file in folder.glob("*.py"):
            sys.modules.pop(file.stem, None)
