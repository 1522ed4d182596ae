"""No command writes over what it reads, whatever name it is given for that."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from trivec import Document, open_store
from trivec.cli.app import app
from trivec.testing import HashEncoder

ROW = '{"id": "a", "text": "blue whale"}\n'


@pytest.fixture(autouse=True)
def _hash_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivec.cli.models.load_encoder", lambda *args: HashEncoder())


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def told(done: Result) -> str:
    return " ".join(done.output.split())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(one): one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()}


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Path]:
    """A folder with a source, judgements, an archive, and what looks like a model."""
    (tmp_path / "g.jsonl").write_text(ROW, encoding="utf-8")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("blue whale", encoding="utf-8")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    beir = tmp_path / "beir"
    (beir / "qrels").mkdir(parents=True)
    (beir / "queries.jsonl").write_text('{"_id": "q", "text": "whale"}\n', encoding="utf-8")
    (beir / "qrels" / "test.tsv").write_text("q\ta\t1\n", encoding="utf-8")
    encoder = HashEncoder()
    with open_store(f"archive:{tmp_path}/saved") as store:
        store.create(encoder.schema)
        store.upsert([Document("a", "blue whale")], encoder.encode_documents(["blue whale"]))
    yield tmp_path
    with open_store("memory:/outputs") as store:
        store.drop()


COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "encode": (
        ("encode", "{t}/g.jsonl", "--model", "{t}/model", "-o", "{o}"),
        ("g.jsonl", "model/config.json", "model/new"),
    ),
    "encode a folder": (
        ("encode", "{t}/docs", "-o", "{o}"),
        ("docs/a.txt", "docs/vectors.safetensors"),
    ),
    "vespa-feed": (
        ("vespa-feed", "{t}/g.jsonl", "{o}", "--name", "n", "--model", "{t}/model"),
        ("g.jsonl", "model/config.json"),
    ),
    "vespa-feed of a store": (
        ("vespa-feed", "archive:{t}/saved", "{o}", "--name", "n"),
        ("saved/documents.sqlite", "saved/new"),
    ),
    "ingest, rejects": (
        ("ingest", "{t}/g.jsonl", "archive:{t}/saved", "--rejects", "{o}", "--model", "{t}/model"),
        ("g.jsonl", "saved/documents.sqlite", "saved/new", "model/config.json"),
    ),
    "ingest, journal": (
        ("ingest", "{t}/g.jsonl", "archive:{t}/saved", "--journal", "{o}"),
        ("g.jsonl", "saved/documents.sqlite", "saved/new"),
    ),
    "ingest a folder": (
        ("ingest", "{t}/docs", "memory:/outputs", "--journal", "{o}"),
        ("docs/a.txt", "docs/journal"),
    ),
    "copy, rejects": (
        ("copy", "archive:{t}/saved", "memory:/outputs", "--rejects", "{o}"),
        ("saved/documents.sqlite", "saved/new"),
    ),
    "copy, journal": (
        ("copy", "memory:/outputs", "archive:{t}/saved", "--journal", "{o}"),
        ("saved/documents.sqlite", "saved/new"),
    ),
    "explain": (
        ("explain", "archive:{t}/saved", "whale", "a", "--html", "{o}", "--model", "{t}/model"),
        ("saved/documents.sqlite", "saved/new", "model/config.json"),
    ),
    "evaluate, html": (
        ("evaluate", "archive:{t}/saved", "{t}/beir", "--html", "{o}"),
        ("saved/documents.sqlite", "beir/queries.jsonl", "beir/qrels/test.tsv"),
    ),
    "evaluate, two files": (
        ("evaluate", "archive:{t}/saved", "{t}/beir/queries.jsonl", "--html", "{o}",
         "--qrels", "{t}/beir/qrels/test.tsv"),
        ("beir/queries.jsonl", "beir/qrels/test.tsv"),
    ),
    "evaluate, runs": (
        ("evaluate", "archive:{t}/saved", "{t}/beir", "--model", "{t}/model", "--runs", "{o}"),
        ("saved/new", "model/runs"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_read_is_not_written(name: str, there: Path) -> None:
    args, outputs = COMMANDS[name]
    for output in outputs:
        path = there / output
        names = [path]
        if path.exists():
            soft, hard = there / "soft", there / "hard"
            soft.unlink(missing_ok=True)
            soft.symlink_to(path)
            hard.unlink(missing_ok=True)
            os.link(path, hard)
            names += [soft, hard]
        before = contents(there)
        for given in names:
            done = run(*(arg.format(t=there, o=given) for arg in args))
            assert (done.exit_code, "which is read; give another name" in told(done)) == (1, True)
            assert contents(there) == before


@pytest.mark.parametrize(
    "args",
    [
        ("encode", "{t}/g.jsonl", "-o", "{t}/o"),
        ("vespa-feed", "{t}/g.jsonl", "{t}/o", "--name", "n"),
        ("vespa-feed", "archive:{t}/saved", "{t}/o", "--name", "n"),
        ("explain", "archive:{t}/saved", "whale", "a", "--html", "{t}/o"),
        ("evaluate", "archive:{t}/saved", "{t}/beir", "--html", "{t}/o"),
        ("evaluate", "archive:{t}/saved", "{t}/beir", "--runs", "{t}/beir/runs"),
        ("ingest", "{t}/g.jsonl", "memory:/outputs", "--journal", "{t}/o"),
    ],
)
def test_other_outputs_are_written(args: tuple[str, ...], there: Path) -> None:
    done = run(*(arg.format(t=there) for arg in args), "--json")
    assert done.exit_code == 0, done.output
    written = [one for one in (there / "o", *there.glob("beir/runs/*")) if one.exists()]
    assert written
    assert {one.stat().st_mode & 0o777 for one in written} == {0o600}
    assert not list(there.glob("**/.trivec-*"))


def test_two_outputs_are_not_one_file(there: Path) -> None:
    both = there / "both"
    args = ("--journal", both, "--rejects", both)
    for command in (("ingest", there / "g.jsonl"), ("copy", f"archive:{there}/saved")):
        done = run(*command, "memory:/outputs", *args)
        assert (done.exit_code, "is also --journal" in told(done)) == (1, True)
    runs = there / "runs"
    runs.mkdir()
    page = runs / "dense.run"
    done = run("evaluate", f"archive:{there}/saved", there / "beir", "--runs", runs, "--html", page)
    assert (done.exit_code, "is also --html" in told(done)) == (1, True)


@pytest.mark.parametrize("scheme", ["qdrant+edge", "qdrant+local", "milvus+lite"])
def test_the_files_of_embedded_collections(scheme: str, there: Path) -> None:
    folder = there / "data.db"
    url = f"{scheme}:{folder}/n"
    with open_store(url) as store:
        store.create(HashEncoder().schema)
    files = [one for one in folder.rglob("*") if one.is_file()]
    files += [folder] if folder.is_file() else []
    assert files
    for file in files:
        done = run("explain", url, "whale", "a", "--html", file)
        assert (done.exit_code, "which is read; give another" in told(done)) == (1, True), file
    if scheme == "qdrant+edge":  # a folder of several collections, and of what else is there
        done = run("explain", url, "whale", "a", "--html", folder / "why.html")
        assert "holds no document 'a'" in told(done)


def test_rejects_of_the_folder_that_one_is_in(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (there / "docs" / "b.txt").write_bytes(b"\xff")
    for place, source in ((there / "docs", "."), (there, "docs/")):
        monkeypatch.chdir(place)
        done = run("ingest", source, "memory:/outputs", "--on-error", "skip")
        assert done.exit_code == 1, done.output
        rejects = there / "docs.rejects.jsonl"
        assert json.loads(rejects.read_text(encoding="utf-8"))["where"].endswith("b.txt")
        rejects.unlink()
    assert sorted(one.name for one in (there / "docs").iterdir()) == ["a.txt", "b.txt"]


def test_a_feed_that_is_cut_off_leaves_the_old_one(
    there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = there / "o"
    feed.write_bytes(b"old")
    (there / "g.jsonl").write_text(ROW + '{"id": "b", "text": "\\u0001"}\n', encoding="utf-8")
    done = run("vespa-feed", there / "g.jsonl", feed, "--name", "n")
    assert done.exit_code == 1
    assert feed.read_bytes() == b"old"
    done = run("vespa-app", there / "docs", "--name", "n")
    assert (done.exit_code, "is not an empty folder" in told(done)) == (1, True)
