"""The demo's work and its output, with an encoder that needs no model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from trivec import Store, open_store
from trivec.cli.app import app
from trivec.demo.collection import DemoCollection, load_collection
from trivec.demo.run import measure, update
from trivec.testing import HashEncoder

pytest.importorskip("ir_measures", reason="the [demo] extra is not installed")


@pytest.fixture(scope="module")
def collection() -> DemoCollection:
    whole = load_collection()
    return replace(whole, questions=whole.questions[:12])


@pytest.fixture
def store() -> Iterator[Store]:
    with open_store("memory:/demo-run") as store:
        yield store
        store.drop()


def test_only_what_is_missing_is_encoded(
    collection: DemoCollection, encoder: HashEncoder, store: Store
) -> None:
    report, reused = update(collection, encoder, store)
    assert (report.documents, reused) == (len(collection.documents), 0)
    first = collection.documents[0]
    store.delete([first.id])
    changed = replace(collection.documents[1], text="other words")
    store.upsert([changed], encoder.encode_documents([changed.text]))
    stale = replace(first, id="stale")
    store.upsert([stale], encoder.encode_documents([stale.text]))
    report, reused = update(collection, encoder, store)
    assert (report.documents, reused) == (2, len(collection.documents) - 2)
    assert store.count() == len(collection.documents)
    assert store.get([first.id, changed.id]).documents == collection.documents[:2]


def test_every_mode_is_measured(
    collection: DemoCollection, encoder: HashEncoder, store: Store
) -> None:
    update(collection, encoder, store)
    results = measure(collection, encoder, store).results
    assert [r.mode for r in results] == ["dense", "sparse", "colbert", "hybrid", "rrf"]
    for result in results:
        assert result.milliseconds > 0
        assert all(
            len(result.hits[q.id]) == 10 or result.mode == "sparse" for q in collection.questions
        )


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivec.cli.models.ModelFlags.load_for", lambda *args: HashEncoder())
    runner = CliRunner()
    done = runner.invoke(app, ["demo", "--store", "memory:/demo-cli"])
    assert done.exit_code == 0, done.output
    for mode in ("dense", "sparse", "colbert", "hybrid", "rrf"):
        assert mode in done.stdout
    told = " ".join(done.stdout.split())
    for representation in ("dense: one vector of 32", "sparse: a weight for", "vectors of 16"):
        assert representation in told
    assert told.count("The answer is") == told.count("first hit:") == 3  # one of each kind shown
    again = runner.invoke(app, ["demo", "--store", "memory:/demo-cli", "--json"])
    assert "0 documents encoded and written" in again.stderr
    results = json.loads(again.stdout)
    assert [r["mode"] for r in results] == ["dense", "sparse", "colbert", "hybrid", "rrf"]
    assert all(0 <= q["ndcg@10"] <= 1 for r in results for q in r["questions"])
    with open_store("memory:/demo-cli") as store:
        store.drop()
