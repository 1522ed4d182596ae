"""Folders of embedded stores that were damaged at random: nothing but `TrivecError` comes out."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("damage.py")
SEEDS = int(os.environ.get("TRIVEC_FAULT_SEEDS", "40"))

STORES = {
    "archive": ("archive:{folder}", "trivec"),
    "edge": ("qdrant+edge:{folder}", "qdrant_edge"),
    "local": ("qdrant+local:{folder}/name", "qdrant_client"),
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", STORES)
def test_damage_is_told(name: str, tmp_path: Path) -> None:
    pattern, package = STORES[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    whole, folder = tmp_path / "whole", tmp_path / "damaged"
    made = [sys.executable, str(SCRIPT), "fill", pattern.format(folder=whole)]
    subprocess.run(made, check=True, timeout=120)
    words = [pattern.format(folder=folder), str(whole), str(folder), "0", str(SEEDS)]
    with (tmp_path / "errors.txt").open("w") as errors:  # where the engine says that it panics
        done = subprocess.run(
            [sys.executable, str(SCRIPT), *words],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=False,
        )
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("wrong")] == []
    assert lines[-1] == "end", f"the process ended with {done.returncode} at {lines[-1]}"
