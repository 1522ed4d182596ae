"""The commands that explain, measure, tune and plan, with an encoder that needs no model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from trivec import Document, open_store
from trivec.cli.app import app
from trivec.testing import HashEncoder

TEXTS = {"a": "blue whale", "b": "red fox", "c": "a whale song", "d": "the fox and the hen"}


@pytest.fixture(autouse=True)
def _hash_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ("explain",):
        monkeypatch.setattr(f"trivec.cli.{command}.load_encoder", lambda *args: HashEncoder())


@pytest.fixture
def url() -> Iterator[str]:
    encoder = HashEncoder()
    with open_store("memory:/insight") as store:
        store.create(encoder.schema)
        documents = [Document(one, text) for one, text in TEXTS.items()]
        store.upsert(documents, encoder.encode_documents(list(TEXTS.values())))
        yield "memory:/insight"
        store.drop()


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_explain(url: str, tmp_path: Path) -> None:
    found = json.loads(run("explain", url, "whale", "a", "--json").stdout)
    assert found["document"]["id"] == "a"
    assert found["score"] == pytest.approx(sum(share["value"] for share in found["shares"]))
    assert [match["text"] for match in found["lexical"]] == ["whale"]
    assert "shared token" in run("explain", url, "whale", "a").stdout
    page = tmp_path / "why.html"
    done = run("explain", url, "whale", "a", "--weights", "0,1,0", "--html", page)
    assert done.exit_code == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_explain_needs_a_document_that_exists(url: str) -> None:
    done = run("explain", url, "whale", "nobody")
    assert done.exit_code == 1
    assert "holds no document 'nobody'" in done.stderr
