"""The commands that write files for the Vespa CLI."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from trivec import Document, open_store
from trivec.cli.app import app
from trivec.colbert_storage import ColbertStorage
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


def test_how_token_vectors_are_kept_is_an_option(tmp_path: Path) -> None:
    args = ("vespa-app", tmp_path / "app", "--name", "articles", "--colbert")
    refused = run(*args, "bits=3")
    assert refused.exit_code == 1
    assert "bits=3; expected 32, 16, 8, 4, 2 or 1" in " ".join(refused.stderr.split())
    refused = run(*args, "bits=1", "--colbert-dimension", 12)
    assert refused.exit_code == 1
    assert "multiple of 8" in " ".join(refused.stderr.split())
    assert run(*args, "bits=1,pool=2").exit_code == 0
    schema = (tmp_path / "app" / "schemas" / "articles.sd").read_text("utf-8")
    assert "colbert_codes type tensor<int8>(dt{}, x[128])" in schema
    assert "colbert_rep" not in schema


def test_a_feed_prunes_and_pools_once(tmp_path: Path) -> None:
    encoder = HashEncoder()
    text = "one two three four five six seven eight"
    feeds: list[dict[str, object]] = []
    out = tmp_path / "feed.jsonl"
    with (
        open_store("memory:/vespa-full") as full,
        open_store("memory:/vespa-small", colbert="bits=1,pool=2,prune=1/4") as small,
    ):
        for store in (full, small):
            store.create(encoder.schema)
            store.upsert([Document("a", text)], encoder.encode_documents([text]))
        kept = small.get(["a"], with_vectors=True).vectors
        # Rows that a store returns hold no lexical weights to prune by; those of an encoder do.
        origins = [
            ("memory:/vespa-full", "bits=1,pool=2"),
            ("memory:/vespa-small", "bits=1,pool=2,prune=1/4"),
        ]
        for origin, storage in origins:
            done = run("vespa-feed", origin, out, "--name", "articles", "--colbert", storage)
            assert done.exit_code == 0, done.output
            feeds.append(json.loads(out.read_text("utf-8"))["fields"])
        refused = run("vespa-feed", "memory:/vespa-small", out, "--name", "articles")
        assert refused.exit_code == 1
        assert "cannot be kept" in " ".join(refused.stderr.split())
        full.drop()
        small.drop()
    assert kept is not None
    assert kept.colbert is not None
    tokens = encoder.encode_documents([text]).colbert
    assert tokens is not None
    counts = [len(fields["colbert_factors"]) for fields in feeds]  # type: ignore[arg-type]
    pooled = ColbertStorage(bits=1, pool=2).kept(len(tokens.values))
    assert counts == [pooled, len(kept.colbert.values)]


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
