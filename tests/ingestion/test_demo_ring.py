"""The demo's collection with its real model: ingestion killed in the middle, and a ring of copies.

Both by the command line. All tests share one collection, which the killed run leaves behind.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import trivec.demo.collection
from trivec import Document, Encoder, Hit, Store, Vector
from trivec.cli.app import app
from trivec.demo.collection import FIELDS, DemoCollection, load_collection
from trivec.demo.model import demo_model
from trivec.errors import CheckpointError
from trivec.search import MODES

PASSAGES = Path(trivec.demo.collection.__file__).with_name("collection") / "passages.jsonl"
RING = ("edge", "milvus-lite", "milvus-double", "vespa", "archive", "memory", "edge")
K = 10
TOLERANCE = 2e-3
"""What a score may change by, stored in 16 bits."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def collection() -> DemoCollection:
    return load_collection()


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    try:
        return Encoder.load(demo_model(), precision="float32")
    except CheckpointError as error:
        pytest.skip(f"the demo model cannot be built here: {error}")


@pytest.fixture(scope="module")
def killed(
    databases: Any, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, dict[str, int]]:
    """Return the collection of a run that was killed and run again, and the second's report."""
    journal = tmp_path_factory.mktemp("demo") / "demo.journal"
    url = databases.url("edge", "ring0")
    command = [sys.executable, "-c", "from trivec.cli import main; main()"]
    command += ["ingest", str(PASSAGES), url, "--journal", str(journal), "--json"]
    command += ["--model", "demo", "--precision", "float32", "--part-bytes", "1500"]
    for name, kind in FIELDS.items():
        command += ["--field", f"{name}:{kind.__name__}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
        _wait_for_commits(journal, 5, first)
        first.kill()
    assert first.returncode < 0
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    return databases.collection("edge", "ring0"), json.loads(second.stdout)


def _wait_for_commits(journal: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a journal has grown so many times; it is locked, so nothing more can be read."""
    log = journal.with_name(f"{journal.name}-wal")
    sizes: set[int] = set()
    while len(sizes) < count:
        assert process.poll() is None, process.stderr and process.stderr.read()
        if log.exists():
            sizes.add(log.stat().st_size)
        time.sleep(0.005)


def _everything(store: Store) -> tuple[dict[str, Document], dict[str, Vector]]:
    documents: dict[str, Document] = {}
    vectors: dict[str, Vector] = {}
    for page in store.scan(with_vectors=True):
        assert page.vectors is not None
        for document, vector in zip(page.documents, page.vectors, strict=True):
            assert document.id not in documents
            documents[document.id], vectors[document.id] = document, vector
    return documents, vectors


def test_ingestion_killed_in_the_middle_ends_like_an_undisturbed_one(
    killed: Any, collection: DemoCollection, encoder: Encoder
) -> None:
    store, report = killed
    total = len(collection.documents)
    assert 0 < report["unchanged"] < total
    assert report["unchanged"] + report["documents"] == store.count() == total
    documents, found = _everything(store)
    assert documents == {document.id: document for document in collection.documents}
    undisturbed = encoder.encode_documents([document.text for document in collection.documents])
    for document, wanted in zip(collection.documents, undisturbed, strict=True):
        got = found[document.id]
        assert wanted.dense is not None
        assert got.dense is not None
        assert wanted.colbert is not None
        assert got.colbert is not None
        # Texts are packed with other neighbours, which changes the last bits.
        np.testing.assert_allclose(got.dense, wanted.dense, atol=1e-5)
        np.testing.assert_allclose(got.colbert, wanted.colbert, atol=1e-3)  # float16
        assert got.sparse == pytest.approx(wanted.sparse, abs=1e-5)


def test_a_ring_of_copies_gives_the_same_answers(
    killed: Any, databases: Any, collection: DemoCollection, encoder: Encoder
) -> None:
    stops = [databases.collection(kind, f"ring{i}") for i, kind in enumerate(RING)]
    # The command line finds the config server of a real Vespa by its port; here it is deployed.
    stops[RING.index("vespa")].create(encoder.schema, fields=FIELDS)
    for one, other in pairwise(stops):
        done = CliRunner().invoke(app, ["copy", one.address, other.address, "--json"])
        assert done.exit_code == 0, (other.address, done.output)
        report = json.loads(done.stdout)
        assert report["written"]["documents"] == len(collection.documents)
        assert report["problems"] == []
    questions = encoder.encode_queries([question.text for question in collection.questions])
    for mode in MODES:
        before = stops[0].search_many(questions, mode=mode, k=K)
        after = stops[-1].search_many(questions, mode=mode, k=K)
        for question, was, now in zip(collection.questions, before, after, strict=True):
            _assert_same_top(was, now, f"{question.id}, {mode}")


def _assert_same_top(was: list[Hit], now: list[Hit], question: str) -> None:
    """Compare two top tens; documents nearer than 16 bits can tell apart may change places."""
    assert len(was) == len(now), question
    for one, other in ((was, now), (now, was)):
        there = {hit.document.id: hit for hit in other}
        for hit, in_place in zip(one, other, strict=True):
            assert hit.score == pytest.approx(in_place.score, abs=TOLERANCE), question
            if same := there.get(hit.document.id):
                assert hit.document == same.document
                assert hit.score == pytest.approx(same.score, abs=TOLERANCE), question
            else:  # tied with the tenth
                assert hit.score == pytest.approx(other[-1].score, abs=TOLERANCE), question
