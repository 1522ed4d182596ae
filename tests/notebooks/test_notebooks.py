"""Every notebook runs from top to bottom, and the file holds what it shows."""

from __future__ import annotations

import base64
import re
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from trivec.demo.model import demo_model
from trivec.errors import CheckpointError

pytest.importorskip("nbclient", reason="the dependency group `notebooks` is not installed")
pytest.importorskip("matplotlib", reason="the dependency group `notebooks` is not installed")

import run_notebooks

import vespa_standin

NOTEBOOKS = run_notebooks.notebooks()
NEEDS = {
    "02": ("qdrant_edge", "ir_measures"),
    "03": ("milvus_lite",),
    "04": ("vespa",),
    "05": ("langchain_core", "qdrant_edge"),
    "06": ("llama_index", "qdrant_edge"),
    "07": ("ir_measures",),
    "08": ("qdrant_edge", "milvus_lite"),
}
PNG_BYTES = 80_000
MACHINE = re.compile(r"/(home|root|Users|tmp|var/folders)/|[A-Z]:\\\\")

Outputs = list[dict[str, Any]]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the notebooks keep the vectors that one of them has encoded."""
    try:
        demo_model()
    except CheckpointError as error:
        pytest.skip(f"the demo model cannot be built here: {error}")
    return tmp_path_factory.mktemp("notebooks")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_the_file_holds_its_outputs(path: Path, data: Path) -> None:
    for module in NEEDS.get(path.name[:2], ()):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    found, left = run_notebooks.run(path, data)
    assert left == []
    if path.name.startswith("04"):
        vespa_standin.need()  # without it the notebook runs too, and says what it leaves out
    kept = run_notebooks.read(path)
    for new, old in zip(found.cells, kept.cells, strict=True):
        assert kinds(new.get("outputs", [])) == kinds(old.get("outputs", [])), old.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_file_is_fit_to_be_read(path: Path) -> None:
    notebook = run_notebooks.read(path)
    pictures = []
    for cell in notebook.cells:
        assert cell.metadata == {}
        for output in cell.get("outputs", []):
            assert output.output_type != "error", output
            assert output.get("name") != "stderr", output
            for kind, value in output.get("data", {"text": output.get("text")}).items():
                if kind == "image/png":
                    pictures.append(len(base64.b64decode(value)))
                else:
                    assert not MACHINE.search(value), value
                    assert tempfile.gettempdir() not in value
                    assert str(run_notebooks.FOLDER.parent) not in value
                    assert "Traceback" not in value
    assert pictures, "a notebook has a picture that teaches"
    assert max(pictures) < PNG_BYTES
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    link = re.search(
        r"\[\*\*To run it with the real weights\*\*\]\((.+?)\)", " ".join(text.split())
    )
    assert link, "a notebook has a link to how it runs with the real weights"
    assert (path.parent / link[1]).is_file()


def kinds(outputs: Outputs) -> list[list[str]]:
    """Say of each output whether it is text, HTML or a picture."""
    return [sorted(output.get("data", {output.get("name"): ""})) for output in outputs]
