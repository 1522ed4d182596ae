"""`trivec ingest --passages`: long texts as passages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from trivec import Document, open_store, read_parents
from trivec.cli.app import app
from trivec.fields import FieldType
from trivec.testing import HashEncoder

TEXTS = ["The blue whale sings at night. " * 30, "", "A red fox."]


@pytest.fixture(autouse=True)
def _hash_encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("trivec.cli.models.load_encoder", lambda *args: HashEncoder())
    monkeypatch.chdir(tmp_path)  # where rejected documents are written


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "rows.jsonl", [{"id": str(i), "text": t} for i, t in enumerate(TEXTS)])


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.mark.parametrize("text", ["32", "tokens=32,overlap=8", "tokens=32,late=true"])
def test_ingest(source: Path, tmp_path: Path, text: str) -> None:
    url, journal = f"archive:{tmp_path}/a", tmp_path / "journal"
    args = ("ingest", source, url, "--passages", text, "--journal", journal, "--field", "n:int")
    done = run(*args, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    with open_store(url) as store:
        assert (report["documents"], report["passages"]) == (3, store.count())
        assert report["passages"] > 5
        assert dict(store.fields) == {"n": FieldType.INT, "parent": FieldType.STR}
        parents = read_parents(store, ["0", "1", "2"])
        assert parents == [Document(str(i), text) for i, text in enumerate(TEXTS)]
    again = run(*args)
    assert again.exit_code == 0, again.output
    assert "3 were written before" in again.stderr
    found = run("search", url, "a red fox", "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)[0]["document"]["id"] == "2#0"


def test_the_summary_says_how_many_passages(source: Path, tmp_path: Path) -> None:
    done = run("ingest", source, f"archive:{tmp_path}/a", "--passages", "64")
    assert "3 documents in 6 passages, " in done.stderr
    assert " passages" not in run("ingest", source, f"archive:{tmp_path}/b").stderr


@pytest.mark.parametrize("text", ["", "0", "x", "256,overlap=256", "tokens=1.5", "late=yes", "-3"])
def test_a_wrong_value_is_an_error_of_usage(source: Path, tmp_path: Path, text: str) -> None:
    done = run("ingest", source, f"archive:{tmp_path}/a", f"--passages={text}")
    assert done.exit_code == 2
    assert "'--passages'" in done.stderr.replace("\n", " ")
    assert not (tmp_path / "a").exists()


def test_a_collection_that_exists_keeps_its_fields(source: Path, tmp_path: Path) -> None:
    url = f"archive:{tmp_path}/a"
    with open_store(url) as store:
        store.create(HashEncoder().schema, fields={"n": int})
    done = run("ingest", source, url, "--passages", "32", "--field", "n:int")
    assert done.exit_code == 0, done.output
    with open_store(url) as store:
        assert dict(store.fields) == {"n": FieldType.INT}


@pytest.mark.parametrize("type", ["int", "list[str]", "datetime"])
def test_the_field_of_the_parent_is_text(source: Path, tmp_path: Path, type: str) -> None:
    url = f"archive:{tmp_path}/a"
    done = run("ingest", source, url, "--passages", "32", "--field", f"parent:{type}")
    assert done.exit_code != 0
    assert "parent" in done.stderr
    assert not (tmp_path / "a").exists()
    done = run("ingest", source, url, "--passages", "32", "--field", "parent:str")
    assert done.exit_code == 0, done.output


def test_a_column_with_the_name_of_the_parent_is_rejected_with_its_line(tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "x"}, {"id": "b", "text": "y", "parent": "p"}]
    source, url = write(tmp_path / "rows.jsonl", rows), f"archive:{tmp_path}/a"
    args = ("ingest", source, url, "--passages", "32", "--metadata", "flat")
    done = run(*args, "--max-rejects", "1")
    assert done.exit_code == 0, done.output
    message = done.stderr.replace("\n", " ")
    assert "line 2" in message
    assert "rename the field" in message
    again = run(*args, "--rename", "parent=document_parent")
    assert again.exit_code == 0, again.output
    with open_store(url) as store:
        assert read_parents(store, ["b"]) == [Document("b", "y", {"document_parent": "p"})]
