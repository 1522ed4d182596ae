"""The contract catches every mutant of a correct backend, and holds its flags strictly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import mutant_contract
import pytest
from mutant_contract import FLAGS
from mutants import CAUGHT_BY
from plain_backend import PlainBackend


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run for each mutant the test that must catch it.

    They run in a process of their own, since they are to fail.
    """
    folder = tmp_path_factory.mktemp("mutants")
    file = Path(mutant_contract.__file__)
    tests = [f"Test{mutant.__name__}::{test}" for mutant, test in CAUGHT_BY.items()]
    tests = [f"{file}::{test}" for test in (*tests, *FLAGS)]
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
    cases = ElementTree.parse(report).iter("testcase")
    return {f"{_last_part(case)}::{case.get('name')}": _outcome(case) for case in cases}


def _last_part(case: ElementTree.Element) -> str:
    return case.get("classname", "").rpartition(".")[2]


def _outcome(case: ElementTree.Element) -> str:
    outcomes = {"failure": "failed", "skipped": "expected failure", "error": "error"}
    return next((outcomes[child.tag] for child in case if child.tag in outcomes), "passed")


@pytest.mark.parametrize("mutant", CAUGHT_BY, ids=lambda mutant: mutant.__name__)
def test_a_mutant_is_caught_by_its_test(
    mutant: type[PlainBackend], outcomes: dict[str, str]
) -> None:
    assert outcomes[f"Test{mutant.__name__}::{CAUGHT_BY[mutant]}"] == "failed"


@pytest.mark.parametrize("test", FLAGS)
def test_flags_are_strict(test: str, outcomes: dict[str, str]) -> None:
    assert outcomes[test] == FLAGS[test]
