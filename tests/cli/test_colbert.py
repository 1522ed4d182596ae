"""`--colbert`: how a command keeps the token vectors of a collection that it creates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from trivec import ColbertStorage, Schema, open_store
from trivec.cli.app import app
from trivec.testing import HashEncoder

TEXTS = ["the blue whale lives in the sea", "red fox", "grey seals rest on the shore at night"]


@pytest.fixture(autouse=True)
def _hash_encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("trivec.cli.models.load_encoder", lambda *args: HashEncoder())
    monkeypatch.chdir(tmp_path)  # where a copy writes rejected documents


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = [json.dumps({"id": str(i), "text": text}) for i, text in enumerate(TEXTS)]
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def storage_of(url: str) -> ColbertStorage | None:
    with open_store(url) as store:
        return store.describe().colbert


@pytest.mark.parametrize("text", ["bits=1,pool=2", "bits=4,prune=1/3", "bits=32"])
@pytest.mark.parametrize("in_url", [False, True])
def test_ingest(source: Path, tmp_path: Path, text: str, in_url: bool) -> None:
    url = f"archive:{tmp_path}/a"
    args = [f"{url}?colbert={text}"] if in_url else [url, "--colbert", text]
    done = run("ingest", source, *args)
    assert done.exit_code == 0, done.output
    assert storage_of(url) == ColbertStorage.parse(text)
    with open_store(url) as store:
        vectors = store.get(["0"], with_vectors=True).vectors
    assert vectors is not None
    assert vectors.colbert is not None
    assert len(vectors.colbert.values) == ColbertStorage.parse(text).kept(8)  # 7 words and the end
    assert run("ingest", source, *args).exit_code == 0
    assert run("search", url, "whale").exit_code == 0


def test_a_journal_holds_however_the_storage_is_given(source: Path, tmp_path: Path) -> None:
    url, journal = f"archive:{tmp_path}/a", tmp_path / "journal"
    for args in ([url, "--colbert", "bits=1"], [f"{url}?colbert=bits=1"], [url]):
        done = run("ingest", source, *args, "--journal", journal, "--json")
        assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["unchanged"] == len(TEXTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bits=3", "bits=3; expected 32"),
        ("pool=0", "pool=0; expected how many"),
        ("prune=2", "prune=2.0; expected"),
        ("dims=64", "expected some of"),
        ("bits=1,bits=2", "expected some of"),
        ("bits=one", "integers"),
        ("", "expected some of"),
    ],
)
def test_a_bad_value_is_an_error_of_usage(
    source: Path, tmp_path: Path, text: str, message: str
) -> None:
    url = f"archive:{tmp_path}/a"
    for args in (
        ("ingest", source, url),
        ("copy", "memory:/nothing", url),
        ("demo", "--store", url),
    ):
        done = run(*args, "--colbert", text)
        assert done.exit_code == 2, done.output
        told = " ".join(done.stderr.replace("│", " ").split())
        assert message in told
        assert "'--colbert'" in told
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_what_does_not_fit_is_refused_and_nothing_is_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"archive:{tmp_path}/a"
    done = run("ingest", source, f"{url}?colbert=bits=1", "--colbert", "bits=2")
    assert done.exit_code == 1
    assert "given as 'bits=1' and as 'bits=2'" in done.stderr
    done = run("ingest", source, f"{url}?colbert=bits=3")
    assert (done.exit_code, "bits=3; expected" in done.stderr) == (1, True)
    odd = HashEncoder(colbert=7)
    monkeypatch.setattr("trivec.cli.models.load_encoder", lambda *args: odd)
    done = run("ingest", source, url, "--colbert", "bits=4")
    assert done.exit_code == 1
    assert "multiple of 2, got 7" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_a_collection_that_exists_keeps_its_storage(source: Path, tmp_path: Path) -> None:
    url = f"archive:{tmp_path}/a"
    assert run("ingest", source, url, "--colbert", "bits=1,pool=2").exit_code == 0
    for args in (("ingest", source, url), ("copy", "archive:" + str(tmp_path / "a"), url)):
        done = run(*args, "--colbert", "bits=2")
        assert done.exit_code == 1
    done = run("ingest", source, url, "--colbert", "bits=2")
    assert "as 'bits=1,pool=2', expected 'bits=2'" in done.stderr
    assert storage_of(url) == ColbertStorage(bits=1, pool=2)


def test_copy_shrinks_on_the_way(source: Path, tmp_path: Path) -> None:
    full, small = f"archive:{tmp_path}/full", f"archive:{tmp_path}/small"
    assert run("ingest", source, full).exit_code == 0
    run("copy", full, small, "--colbert", "bits=2,pool=2")
    assert storage_of(small) == ColbertStorage(bits=2, pool=2)
    with open_store(small) as store:
        assert store.count() == len(TEXTS)


def test_the_demo_has_a_collection_for_each_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    from trivec.cli.demo import _embedded

    names = {
        _embedded("demo", storage)
        for storage in (None, ColbertStorage(), ColbertStorage(bits=4, pool=2))
    }
    assert len(names) == 3
    assert any(name.endswith("/demo-bits-4-pool-2") for name in names)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("bits=1,pool=2", "bits=1, pool=2, prune=0: 4 bytes for each kept vector"),
        ("bits=4,prune=1/3", "bits=4, pool=1, prune=0.3333: 10 bytes for each kept vector"),
        ("bits=16", "bits=16, pool=1, prune=0: 32 bytes for each kept vector"),
    ],
)
def test_doctor_shows_the_storage(tmp_path: Path, text: str, value: str) -> None:
    url = f"archive:{tmp_path}/a"
    with open_store(url, colbert=text) as store:
        store.create(HashEncoder().schema)
    rows: list[dict[str, Any]] = json.loads(run("doctor", url, "--json").stdout)
    assert {row["name"]: row["value"] for row in rows}["token vectors"] == value
    assert value in run("doctor", url).stdout
    done = run("doctor", f"{url}?colbert=bits=2")
    assert done.exit_code == 1
    assert "expected 'bits=2'" in done.stdout


def test_doctor_of_a_collection_without_token_vectors(tmp_path: Path) -> None:
    url = f"archive:{tmp_path}/a"
    with open_store(url) as store:
        store.create(Schema(dense=4, sparse=True, colbert=None))
    rows = json.loads(run("doctor", url, "--json").stdout)
    assert "token vectors" not in {row["name"] for row in rows}
