"""Run the notebooks from top to bottom, and keep their outputs: `make notebooks`.

Each runs in a temporary copy of the folder, with a kernel of its own. What one of them encodes is
read by the others, from a folder that lives as long as the run.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

FOLDER = Path(__file__).parents[1] / "notebooks"
CELL_SECONDS = 540


def notebooks() -> list[Path]:
    """Return the notebooks, in their order."""
    return sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> NotebookNode:
    """Return a notebook as it is kept."""
    notebook: NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def run(path: Path, data: Path) -> tuple[NotebookNode, list[str]]:
    """Return a notebook with its outputs, and the files that it left beside itself.

    Args:
        path: The notebook, which is not changed.
        data: Where it finds and keeps the vectors of the demo collection.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell raises.
    """
    notebook = read(path)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "notebooks"
        shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        before = _files(copy)
        environment = {
            **os.environ,
            "TRIVEC_NOTEBOOK_DATA": str(data),
            "IPYTHONDIR": f"{scratch}/ipython",  # not the settings of whoever runs this
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "ignore:IProgress not found",  # a progress bar without its widget
        }
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            coalesce_streams=True,
            resources={"metadata": {"path": str(copy)}},
            config=Config({"KernelManager": {"transport_encryption": "auto"}}),
        )
        client.execute(env=environment)
        left = sorted(_files(copy) - before)
    _strip(notebook)
    return notebook, left


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def _strip(notebook: NotebookNode) -> None:
    """Remove what differs from run to run, or from machine to machine."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}


def main() -> None:
    """Run all notebooks, or those whose names begin with an argument, and write them back."""
    with tempfile.TemporaryDirectory() as data:
        for path in notebooks():
            if sys.argv[1:] and not path.name.startswith(tuple(sys.argv[1:])):
                continue
            print(path.name, flush=True)
            notebook, left = run(path, Path(data))
            if left:
                raise SystemExit(f"{path.name} left {', '.join(left)} behind")
            nbformat.write(notebook, path)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
