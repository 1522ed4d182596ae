"""Every mutant of a correct backend is caught, by the test that is about its rule."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import mutant_contract
import pytest
from mutants import CAUGHT_BY
from plain_backend import PlainBackend


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run for each mutant the test that must catch it.

    They run in a process of their own, since they are to fail.
    """
    folder = tmp_path_factory.mktemp("mutants")
    file = Path(mutant_contract.__file__)
    tests = [f"{file}::Test{mutant.__name__}::{test}" for mutant, test in CAUGHT_BY.items()]
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    command += [f"--rootdir={folder}", "-c", os.devnull, f"--junitxml={report}", *tests]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return {
        f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}": (
            "failed" if case.find("failure") is not None else "passed" if not len(case) else "error"
        )
        for case in ElementTree.parse(report).iter("testcase")
    }


@pytest.mark.parametrize("mutant", CAUGHT_BY, ids=lambda mutant: mutant.__name__)
def test_a_mutant_is_caught_by_its_test(
    mutant: type[PlainBackend], outcomes: dict[str, str]
) -> None:
    assert outcomes[f"Test{mutant.__name__}::{CAUGHT_BY[mutant]}"] == "failed"
