"""Disks and quotas that are used up: what was acknowledged is there, and the same run finishes."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("full.py")
MIB = 1024 * 1024

STORES = {
    "archive": ("archive:{folder}/articles", "trivec"),
    "edge": ("qdrant+edge:{folder}/articles", "qdrant_edge"),
    "local": ("qdrant+local:{folder}/articles", "qdrant_client"),
    "lite": ("milvus+lite:{folder}/all.db/articles", "milvus_lite"),
}
ROOM = {
    "archive": 2,
    "edge": 70,
    "local": 2,
    "lite": 2,
}  # MiB; the embedded engine keeps 64 MiB free


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of 160 MiB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160m", "none", str(folder)]
    try:
        made = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        made = False
    if not made:
        pytest.skip("only root may mount a file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _run(url: str, journal: str = "", limit: int = 0) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), url, journal, str(limit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    return done.stdout.splitlines()


def _fill(folder: Path, free: int) -> Path:
    """Leave so many bytes on a disk."""
    status = os.statvfs(folder)
    filler = folder / "filler"
    filler.write_bytes(b"\1" * (status.f_bavail * status.f_frsize - free))
    return filler


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", STORES)
def test_a_full_disk_is_told_and_the_same_run_finishes(name: str, small_disk: Path) -> None:
    pattern, package = STORES[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    url = pattern.format(folder=small_disk)
    filler = _fill(small_disk, ROOM[name] * MIB)
    error, state = _run(url)
    assert re.match(rf"StoreFullError: the disk of {small_disk}.*make room there", error)
    acknowledged, there = map(int, re.findall(r"\d+", state))
    assert 0 < acknowledged < 400
    # What was written in part has no acknowledgement; only that store keeps such documents.
    assert there == acknowledged or name == "local"
    assert not list(small_disk.rglob("*.new"))
    again, _ = _run(url)
    assert again.startswith("StoreFullError")
    filler.unlink()
    assert _run(url) == ["done", "400 acknowledged, 400 there"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", STORES)
def test_a_limit_on_the_size_of_files_is_told(name: str, tmp_path: Path) -> None:
    """As of a quota: a write fails, though the disk says that it has room."""
    pattern, package = STORES[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    url = pattern.format(folder=tmp_path)
    limit = {"archive": 100_000, "edge": MIB, "local": MIB, "lite": MIB}[name]
    error, _ = _run(url, limit=limit)
    assert re.match(r"Store(?:Full)?Error: .*" + re.escape(str(tmp_path)), error), error
    assert _run(url) == ["done", "400 acknowledged, 400 there"]


@pytest.mark.timeout(600)
def test_a_journal_on_a_full_disk_is_told(small_disk: Path, tmp_path: Path) -> None:
    url = f"archive:{tmp_path}/articles"
    filler = _fill(small_disk, 48 * 1024)
    error, _ = _run(url, journal=str(small_disk / "run"))
    assert re.match(rf"JournalError: journal '{small_disk}/run.journal' cannot.* full", error)
    filler.unlink()
    said, state = _run(url, journal=str(small_disk / "run"))
    assert said == "done"
    assert state == "400 acknowledged, 400 there"
