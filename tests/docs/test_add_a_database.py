"""The package of the page on adding a database: installed elsewhere, it passes the contract.

Nothing there is a file of this repository: trivec and the package are installed into a folder, and
the tests run in another one, with the libraries of the environment beside them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "howto" / "add-a-database.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LIBRARIES = sysconfig.get_paths()["purelib"]

MYPY = """
[mypy]
strict = true
follow_imports = silent
[mypy-torch.*,transformers.*,huggingface_hub.*,tokenizers.*,safetensors.*,scipy.*,typer.*,rich.*]
follow_imports = skip
"""

WHERE = """
import sys
from pathlib import Path

import trivec


def test_nothing_comes_from_the_repository() -> None:
    root, libraries, site = {root!r}, {libraries!r}, {site!r}
    paths = [p for p in sys.path if p.startswith(root) and p != libraries]
    assert paths == []
    assert Path(trivec.__file__).is_relative_to(site)
    modules = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
    assert [f for f in modules if f.startswith(root) and not f.startswith(libraries)] == []
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the package, as the page says."""
    folder = tmp_path_factory.mktemp("trivec-sqlite")
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    python = [code for language, code in blocks if language == "python"]
    (folder / "pyproject.toml").write_text(next(c for kind, c in blocks if kind == "toml"))
    (folder / "trivec_sqlite.py").write_text(python[0])
    (folder / "tests").mkdir()
    contract = next(code for code in python if "StoreContract" in code)
    (folder / "tests" / "test_sqlite.py").write_text(contract)
    return folder


def _run(command: Sequence[str | Path], folder: Path, *paths: Path | str) -> str:
    """Run a command elsewhere and return what it prints."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "MYPYPATH": os.pathsep.join(map(str, paths)),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    return done.stdout


def test_a_package_of_its_own_passes_the_contract(package: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    uv = shutil.which("uv", path=sysconfig.get_path("scripts"))
    pip: list[str] = [sys.executable, "-m", "pip"] if uv is None else [uv, "pip"]
    _run([*pip, "install", "--no-deps", "--target", site, ROOT, package], tmp_path)
    where = {"root": f"{ROOT}{os.sep}", "libraries": LIBRARIES, "site": str(site)}
    (package / "tests" / "test_where.py").write_text(dedent(WHERE).format(**where))
    command = [sys.executable, "-S", "-P", "-m", "pytest", "-q", "-W", "error"]
    command += ["-p", "no:asyncio", "-p", "no:cacheprovider", "tests"]
    told = _run(command, package, site, LIBRARIES)
    passed = re.search(r"(\d+) passed", told)
    assert passed is not None, told
    assert int(passed[1]) > 200
    assert "failed" not in told


def test_the_class_of_the_page_is_typed_and_short(package: Path, tmp_path: Path) -> None:
    code = (package / "trivec_sqlite.py").read_text()
    start = code.index("class SqliteBackend")
    assert code[start : code.index("\n\n\n", start)].count("\n") < 200
    assert all(len(line) <= 100 for line in code.splitlines())
    (tmp_path / "mypy.ini").write_text(MYPY)
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "mypy",
        "trivec_sqlite.py",
        "tests/test_sqlite.py",
    ]
    command += ["--config-file", tmp_path / "mypy.ini", "--cache-dir", tmp_path / "cache"]
    assert "Success" in _run(command, package, ROOT / "core")
