"""Ingestion and copies killed at random instants, as by `kill -9`, and run again.

Two rounds for each store; `make soak` runs thirty.
"""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from trivec import Document, Store, Vector, open_store
from trivec.ingestion.journal import Journal
from trivec.stores.registry import store_schemes

ROUNDS = int(os.environ.get("TRIVEC_SOAK_ROUNDS", "2"))
WORKER = Path(__file__).with_name("worker.py")
COUNT = 600
PARTS = 25  # a whole run has 30

STORES = {
    "archive": ("archive:{folder}/articles", "trivec"),
    "edge": ("qdrant+edge:{folder}/articles", "qdrant_edge"),
    "milvus-lite": ("milvus+lite:{folder}/articles.db/articles", "milvus_lite"),
}


def _start(*words: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _finish(*words: str | Path) -> str:
    """Run to the end; return the last line."""
    with _start(*words) as process:
        out, _ = process.communicate(timeout=200)
    assert process.returncode == 0, out
    return out.splitlines()[-1]


def _kill(rng: random.Random, *words: str | Path) -> bool:
    """Run, and kill at a random instant; return whether that was before the end."""
    with _start(*words) as process:
        assert process.stdout is not None
        for _ in range(rng.randint(1, PARTS)):
            process.stdout.readline()
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
    return process.returncode == -signal.SIGKILL


def _everything(store: Store) -> dict[str, tuple[Document, Vector]]:
    found: dict[str, tuple[Document, Vector]] = {}
    for page in store.scan(with_vectors=True):
        assert page.vectors is not None
        for document, vector in zip(page.documents, page.vectors, strict=True):
            assert document.id not in found
            found[document.id] = (document, vector)
    return found


def _assert_same(url: str, clean: str) -> None:
    with open_store(url) as killed, open_store(clean) as undisturbed:
        assert killed.count() == undisturbed.count() == COUNT
        got, wanted = _everything(killed), _everything(undisturbed)
    assert got.keys() == wanted.keys()
    for one, (document, vector) in wanted.items():
        same, other = got[one]
        assert same == document
        assert other.sparse == vector.sparse
        assert other.dense is not None
        assert vector.dense is not None
        assert other.colbert is not None
        assert vector.colbert is not None
        np.testing.assert_array_equal(other.dense, vector.dense)
        np.testing.assert_array_equal(other.colbert, vector.colbert)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("work", ["ingest", "copy"])
@pytest.mark.parametrize("name", STORES)
def test_killed_at_random_instants_and_run_again(name: str, work: str, tmp_path: Path) -> None:
    pattern, package = STORES[name]
    if pattern.partition(":")[0] not in store_schemes() or not importlib.util.find_spec(package):
        pytest.skip(f"{name} is not installed")
    source = f"archive:{tmp_path}/source"
    if work == "copy":
        _finish("ingest", source, tmp_path / "source.journal", str(COUNT))

    def run(folder: str) -> tuple[str, list[str | Path]]:
        """Return the collection in a new folder, and what the worker is told to fill it."""
        (tmp_path / folder).mkdir()
        url, journal = pattern.format(folder=tmp_path / folder), tmp_path / folder / "a.journal"
        if work == "copy":
            return url, ["copy", source, url, journal]
        return url, ["ingest", url, journal, str(COUNT)]

    clean, words = run("clean")
    assert _finish(*words) == f"done {COUNT} 0"
    killed = 0
    for number in range(ROUNDS):
        rng = random.Random(number)
        url, words = run(str(number))
        killed += sum(_kill(rng, *words) for _ in range(rng.randint(1, 2)))
        said, written, unchanged = _finish(*words).split()
        assert (said, int(written) + int(unchanged)) == ("done", COUNT)
        _assert_same(url, clean)
        assert _finish(*words) == f"done 0 {COUNT}"
    assert killed >= ROUNDS / 2


@pytest.mark.timeout(600)
def test_a_killed_journal_has_what_it_acknowledged(tmp_path: Path) -> None:
    rng = random.Random(0)
    for number in range(ROUNDS):
        path = tmp_path / f"{number}.journal"
        with _start("journal", path, str(COUNT)) as process:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(rng.randint(1, COUNT - 1))]
            process.kill()
            said += process.stdout.read().splitlines(keepends=True)
        acknowledged = {line.strip() for line in said if line.endswith("\n")}
        with Journal(path, {"store": "none"}) as journal:
            there = {one for page in journal.newest() for one in page}
        assert acknowledged <= there
        assert len(there) <= len(acknowledged) + 1
