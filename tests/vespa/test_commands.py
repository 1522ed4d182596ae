"""The commands that write files for the Vespa CLI."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from trivec import Document, open_store
from trivec.cli.app import app
from trivec.testing import HashEncoder

pytest.importorskip("vespa.package", reason="the [vespa] extra is not installed")


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_an_application_package_is_written_once(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    args = ("vespa-app", folder, "--name", "articles", "--dense", 32, "--field", "lang:str")
    done = run(*args)
    assert done.exit_code == 0, done.output
    schema = (folder / "schemas" / "articles.sd").read_text(encoding="utf-8")
    assert "x[32]" in schema
    assert (folder / "services.xml").is_file()
    again = run(*args)
    assert again.exit_code == 1
    assert "not an empty folder" in again.stderr


def test_signs_are_an_option(tmp_path: Path) -> None:
    args = ("vespa-app", tmp_path / "app", "--name", "articles", "--colbert-bits")
    refused = run(*args, 4)
    assert refused.exit_code == 1
    assert "Vespa keeps token vectors with 16, 1 bits" in " ".join(refused.stderr.split())
    assert run(*args, 1).exit_code == 0
    assert "colbert_bin" in (tmp_path / "app" / "schemas" / "articles.sd").read_text("utf-8")


def test_a_feed_comes_from_a_collection_or_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = HashEncoder()
    monkeypatch.setattr("trivec.cli.models.load_encoder", lambda *args: encoder)
    rows = [{"id": f"d{i}", "text": f"text {i}", "lang": "en"} for i in range(3)]
    source = tmp_path / "rows.jsonl"
    source.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    documents = [Document(str(r["id"]), str(r["text"]), {"lang": "en"}) for r in rows]
    with open_store("memory:/vespa-feed") as store:
        store.create(encoder.schema, fields={"lang": str})
        store.upsert(documents, encoder.encode_documents([d.text for d in documents]))
        feeds = []
        for origin, more in (("memory:/vespa-feed", ()), (source, ("--field", "lang:str"))):
            out = tmp_path / "feed.jsonl"
            done = run("vespa-feed", origin, out, "--name", "articles", "--json", *more)
            assert json.loads(done.stdout)["documents"] == 3
            feeds.append([json.loads(line) for line in out.read_text("utf-8").splitlines()])
        store.drop()
    assert feeds[0] == feeds[1]
    assert feeds[0][0]["put"].startswith("id:")
