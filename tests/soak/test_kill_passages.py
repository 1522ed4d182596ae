"""Changed documents that are stored as passages, killed while they are ingested again.

Two rounds for each store; `make soak` runs thirty.
"""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import versions

from trivec import open_store, read_parents
from trivec.stores.registry import store_schemes

ROUNDS = int(os.environ.get("TRIVEC_SOAK_ROUNDS", "2"))
SHORT, LATE = "tokens=16", "tokens=32,overlap=8,late=true"
STEPS = {SHORT: 60, LATE: 25}  # a little less than a whole run has

STORES = {
    "archive": ("archive:{folder}/articles", "trivec"),
    "edge": ("qdrant+edge:{folder}/articles", "qdrant_edge"),
    "milvus-lite": ("milvus+lite:{folder}/articles.db/articles", "milvus_lite"),
}


def _kill(rng: random.Random, *words: str) -> bool:
    """Run, and kill at a random instant; return whether that was before the end."""
    command = [sys.executable, str(versions.__file__), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(rng.randint(1, STEPS[words[-1]])):
            process.stdout.readline()
        time.sleep(rng.uniform(0, 0.01))
        process.kill()
    return process.returncode == -signal.SIGKILL


def _assert_only(url: str, version: str) -> None:
    """Check that a collection has the passages of one version, each once, and nothing else."""
    documents = versions.documents(version)
    with open_store(url) as store:
        assert read_parents(store, [document.id for document in documents]) == documents
        passages = [passage for page in store.scan() for passage in page.documents]
    counts = Counter(passage.metadata["parent"] for passage in passages)
    assert counts.keys() == {document.id for document in documents}
    assert len({passage.id for passage in passages}) == len(passages)
    for passage in passages:
        assert passage.metadata["_trivec"]["passages"] == counts[passage.metadata["parent"]]
        assert passage.metadata["version"] == version


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("name", "options"),
    [("archive", SHORT), ("archive", LATE), ("edge", SHORT), ("milvus-lite", LATE)],
)
def test_no_passage_of_an_old_text_stays(name: str, options: str, tmp_path: Path) -> None:
    pattern, package = STORES[name]
    if pattern.partition(":")[0] not in store_schemes() or not importlib.util.find_spec(package):
        pytest.skip(f"{name} is not installed")
    folder, first = tmp_path / "work", tmp_path / "first"
    url, journal = pattern.format(folder=folder), folder / "a.journal"
    folder.mkdir()
    versions.ingest_version(url, journal, "one", options)
    _assert_only(url, "one")
    folder.rename(first)
    killed = 0
    for number in range(ROUNDS):
        rng = random.Random(f"{number} {options}")
        shutil.copytree(first, folder)
        killed += sum(
            _kill(rng, url, str(journal), "two", options) for _ in range(rng.randint(1, 2))
        )
        # The source may have changed again, or back to what the journal knows.
        last = rng.choice(["two", "two", "one", "three"])
        versions.ingest_version(url, journal, last, options)
        _assert_only(url, last)
        again = versions.ingest_version(url, journal, last, options)
        assert (again.documents, again.pruned) == (0, 0)
        shutil.rmtree(folder)
    assert killed >= ROUNDS / 2
