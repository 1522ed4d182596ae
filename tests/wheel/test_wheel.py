"""The wheel in an empty environment with only a database's extra; encoders are on a server.

The packages come from the registry that uv is set up for; without it the tests are skipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hash_server import Server, hash_server
from measured import Measured, best, measured

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
UNREACHABLE = re.compile(
    r"failed to fetch|error sending request|dns error|timed out|network connectivity", re.IGNORECASE
)


@dataclass
class Environment:
    """An environment in which the wheel is installed."""

    folder: Path

    def run(self, *arguments: str) -> Measured:
        """Run a command of trivec there, without the variables of this environment."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        command = [str(self.folder / "venv" / "bin" / "trivec"), *arguments]
        return measured(command, self.folder, kept)

    def output(self, *arguments: str) -> str:
        """Return the output of a command that succeeds."""
        done = self.run(*arguments)
        assert done.status == 0, done.stderr
        return done.stdout

    def error(self, *arguments: str) -> str:
        """Return the line with which a command fails."""
        done = self.run(*arguments)
        assert done.status == 1, done.stdout
        [line] = done.stderr.splitlines()
        return line


def uv(*arguments: str | Path) -> None:
    """Run uv; skip the tests if the registry cannot be reached."""
    done = subprocess.run([UV, *arguments], capture_output=True, text=True, timeout=200, cwd=ROOT)
    if done.returncode and UNREACHABLE.search(done.stderr):
        pytest.skip(f"the registry of packages cannot be reached: {done.stderr[-500:]}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    if not UV.exists():
        pytest.skip(f"{UV} is missing; `make setup` installs it")
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "--quiet", "--wheel", "--out-dir", folder, ROOT)
    [wheel] = folder.glob("*.whl")
    uv("venv", "--quiet", "--python", sys.executable, folder / "venv")
    python = folder / "venv" / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    uv(
        *("pip", "install", "--quiet", "--python", python, "--constraint", constraints),
        f"{wheel}[qdrant]",
    )
    yield Environment(folder)
    shutil.rmtree(folder / "venv")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Yield a server in the environment of the tests."""
    with hash_server() as server:
        yield server


@pytest.fixture(scope="module")
def model(server: Server) -> list[str]:
    return ["--model", f"trivec://127.0.0.1:{server.port}"]


@pytest.fixture(scope="module")
def collection(installed: Environment, model: list[str]) -> str:
    """Return a collection that was written there."""
    rows, url = installed.folder / "rows.jsonl", f"qdrant+edge:{installed.folder}/animals"
    texts = ["blue whale", "red fox", "the hen"]
    lines = [json.dumps({"id": str(row), "text": text}) for row, text in enumerate(texts)]
    rows.write_text("\n".join(lines) + "\n", encoding="utf-8")
    report = json.loads(installed.output("ingest", str(rows), url, *model, "--json"))
    assert report["documents"] == 3
    return url


def test_a_search_is_quick_and_small(
    installed: Environment, collection: str, model: list[str]
) -> None:
    runs = [installed.run("search", collection, "whale", *model, "--json") for _ in range(3)]
    assert [run.status for run in runs] == [0] * 3, runs
    assert json.loads(runs[-1].stdout)[0]["document"]["text"] == "blue whale"
    assert best(runs).seconds < 1.5
    assert max(run.megabytes for run in runs) < 200


def test_it_explains(installed: Environment, collection: str, model: list[str]) -> None:
    shown = json.loads(installed.output("explain", collection, "whale", "0", *model, "--json"))
    assert [match["text"] for match in shown["lexical"]] == ["whale"]


def test_the_help_and_the_doctor_work(installed: Environment) -> None:
    assert "search" in installed.output("--help")
    rows = json.loads(installed.output("doctor", "--json"))
    values = {(row["subject"], row["name"]): row["value"] for row in rows}
    assert values["version", "torch"] == "not installed"
    assert "pip install 'trivec[torch]'" in values["machine", "precision auto"]
    assert values["store", "qdrant+edge"] == "trivec_qdrant.store, installed"
    assert "pip install 'trivec[milvus]'" in values["store", "milvus"]


def test_what_needs_torch_says_what_to_install(installed: Environment, collection: str) -> None:
    error = installed.error("search", collection, "whale")
    assert error.startswith("error: Encoder.load needs torch, transformers, ")
    assert "pip install 'trivec[torch]'" in error
    assert installed.error("demo").endswith("pip install 'trivec[demo,qdrant]'")
    assert installed.error("serve").endswith("pip install 'trivec[torch,serve]'")
    assert installed.error("export", "BAAI/bge-m3", "out").endswith("'trivec[torch,onnx]'")
