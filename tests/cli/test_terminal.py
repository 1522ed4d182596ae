"""What servers, files and archives say is shown, and commands nothing to the terminal."""

from __future__ import annotations

import json
import logging
import os
import pty
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from trivec import Document, open_store
from trivec.cli.app import app
from trivec.errors import StoreError
from trivec.stores.memory import MemoryBackend
from trivec.testing import HashEncoder

EVIL = (
    "\x1b[31mred\x1b]0;title\x07\x08\x9b2J\x85\x7f\r"
    "\u202eoverride\u202c\u2066isolate\u2069\u200e\u200f\u061c\u206f\u2028\u2029"
)
ID = "".join(c for c in EVIL if ord(c) >= 0xA0 or (c.isprintable() and c != " "))
"""What of it an id may hold, in which control characters are refused."""

UNSAFE = {c for c in EVIL if not c.isprintable()} - {" "}


class EvilEncoder(HashEncoder):
    """An encoder whose model has a hostile name."""

    def __init__(self) -> None:
        super().__init__()
        self.schema = replace(self.schema, model=f"m{EVIL}")


@pytest.fixture(autouse=True)
def _encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivec.cli.models.load_encoder", lambda *args: EvilEncoder())


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def unsafe(text: str) -> set[str]:
    return {c for c in text if c in UNSAFE}


@pytest.fixture
def archive(tmp_path: Path) -> str:
    encoder = EvilEncoder()
    url = f"archive:{tmp_path}/saved"
    with open_store(url) as store:
        store.create(encoder.schema, fields={"f": str})
        documents = [
            Document(
                f"{one}{ID}", f"blue whale {one} {EVIL}", {f"f{EVIL}": EVIL, "parent": one + EVIL}
            )
            for one in "abcd"
        ]
        store.upsert(documents, encoder.encode_documents([d.text for d in documents]))
    with closing(sqlite3.connect(tmp_path / "saved" / "documents.sqlite")) as database, database:
        database.execute("UPDATE collection SET fields = ?", (json.dumps({f"f{EVIL}": "str"}),))
    return url


@pytest.fixture
def judged(tmp_path: Path) -> tuple[Path, Path]:
    queries, qrels = tmp_path / "q.jsonl", tmp_path / "qrels.jsonl"
    rows = [{"id": f"{i}{EVIL}", "text": f"whale {i} {EVIL}"} for i in range(4)]
    queries.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    judgements = [{"query_id": f"{i}{EVIL}", "doc_id": f"a{ID}", "relevance": 1} for i in range(4)]
    qrels.write_text("".join(json.dumps(row) + "\n" for row in judgements), encoding="utf-8")
    return queries, qrels


def test_every_command_of_a_hostile_archive(
    archive: str, judged: tuple[Path, Path], tmp_path: Path
) -> None:
    queries, qrels = judged
    one = f"a{ID}"
    commands: tuple[tuple[object, ...], ...] = (
        ("search", archive, "whale"),
        ("search", archive, f"whale {EVIL}", "--mode", "sparse"),
        ("search", archive, f"whale {EVIL}", "--evidence", 2),
        ("search", archive, "whale", "--group-by", f"f{EVIL}"),
        ("search", archive, "whale", "--group-by", "parent", "--per-group", 2, "-k", 3),
        ("explain", archive, f"whale {EVIL}", one),
        ("explain", archive, "whale", f"nobody{EVIL}"),
        ("evaluate", archive, queries, "--qrels", qrels),
        ("evaluate", archive, queries, "--qrels", qrels, "--runs", tmp_path / f"runs{EVIL}"),
        ("evaluate", archive, queries, "--qrels", qrels, "--html", tmp_path / f"why{EVIL[:-1]}"),
        ("tune", archive, queries, "--qrels", qrels),
        ("plan", archive),
        ("doctor", archive),
        ("copy", archive, f"archive:{tmp_path}/copied", "--rejects", tmp_path / f"r{EVIL}"),
        ("search", archive, "whale", "--filter", f'f{EVIL} == "x"'),
        ("search", archive, "whale", "--model", f"other{EVIL}"),
        ("search", archive, "whale", f"--unknown{EVIL}"),
        ("search", archive, "whale", f"unexpected{EVIL}"),
        ("search", archive, "whale", "-k", EVIL),
        (f"unknown{EVIL}",),
        (f"--unknown{EVIL}",),
    )
    for command in commands:
        done = run(*command)
        assert done.output, command
        assert not unsafe(done.output), (command[0], done.output)


@pytest.mark.parametrize("name", ["search", "explain", "doctor", "evaluate", "tune"])
def test_json_is_equal_when_it_is_read(name: str, archive: str, judged: tuple[Path, Path]) -> None:
    queries, qrels = judged
    one = f"a{ID}"
    args: dict[str, tuple[object, ...]] = {
        "search": ("search", archive, "größte whale", "-k", 4),
        "explain": ("explain", archive, f"whale größte {EVIL}", one),
        "doctor": ("doctor", archive),
        "evaluate": ("evaluate", archive, queries, "--qrels", qrels),
        "tune": ("tune", archive, queries, "--qrels", qrels),
    }
    done = run(*args[name], "--json")
    assert done.exit_code == 0, done.output
    assert not unsafe(done.stdout)
    found = json.loads(done.stdout)
    if name == "search":
        with open_store(archive) as store:
            stored = store.get([hit["document"]["id"] for hit in found]).documents
        assert [hit["document"] for hit in found] == [
            {"id": d.id, "text": d.text, "metadata": d.metadata} for d in stored
        ]
    if name == "explain":
        assert found["document"]["id"] == one
        assert "größte" in done.stdout


def test_hostile_errors_and_warnings(
    archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: MemoryBackend, declared: object) -> None:
        logging.getLogger("trivec.stores").warning("warned: %s", EVIL)
        raise StoreError(f"the server said {EVIL}\nerror: forged")

    monkeypatch.setattr(MemoryBackend, "describe", failing)
    url = "memory:/hostile"
    source = tmp_path / "a.jsonl"
    source.write_text('{"id": "a", "text": "b"}\n', encoding="utf-8")
    for command in (
        ("search", url, "whale"),
        ("ingest", source, url),
        ("copy", url, "memory:/other"),
        ("plan", url),
        ("doctor", url),
        ("explain", url, "whale", "a"),
        ("vespa-feed", url, tmp_path / "feed", "--name", "n"),
    ):
        done = run(*command)
        assert done.exit_code == 1
        assert "the server said" in " ".join(done.output.split())
        assert not unsafe(done.output), (command[0], done.output)
        assert "\nerror: forged" not in done.output


def test_rejects_and_files_with_hostile_names(tmp_path: Path) -> None:
    source = tmp_path / f"a{EVIL}.jsonl"
    rows = [{"id": f"a{ID}", "text": ["no text"]}, {"id": f"b{ID}", "text": "whale", EVIL: 1}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for args in (("--on-error", "skip"), ("--on-error", "skip", "--json"), ()):
        done = run("ingest", source, "memory:/hostile-names", *args)
        assert done.output
        assert not unsafe(done.output), done.output
    source.write_text('{"id": "a", "text": "b"}\n', encoding="utf-8")
    for more in ((), ("--json",)):
        out = tmp_path / f"o{EVIL}"
        done = run("encode", source, "-o", out, *more)
        assert done.exit_code == 0, done.output
        assert not unsafe(done.output)
    with open_store("memory:/hostile-names") as store:
        store.drop()


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"id": "a", "text": "b"}\n', encoding="utf-8")
    out = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    done = run("encode", source, "-o", out, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["output"] == out
    assert run("encode", source, "-o", out).exit_code == 0


def test_what_libraries_print_and_traces(tmp_path: Path) -> None:
    code = f"""
        import logging, sys, warnings
        sys.argv = ["trivec", "--debug", "search", "memory:/x", "whale"]
        from trivec.cli import app, main, search
        evil = {EVIL!r}
        def failing(url):
            logging.getLogger("grpc").warning("logged %s", evil)
            warnings.warn("warned " + evil)
            raise {{error}}("raised " + evil)
        sys.modules["trivec.cli.search"].open_store = failing
        main()
    """
    for error in ("RuntimeError", "OSError"):
        controller, terminal = pty.openpty()
        done = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code).replace("{error}", error)],
            stdout=terminal, stderr=terminal,
        )  # fmt: skip
        os.close(terminal)
        said = b""
        while True:
            try:
                part = os.read(controller, 4096)
            except OSError:  # how Linux says that the other side is closed
                break
            if not part:
                break
            said += part
        os.close(controller)
        assert done.wait(60) == 1
        text = said.decode().replace("\r\n", "\n")
        for what in ("logged", "warned", "raised"):
            assert f"{what} \N{REPLACEMENT CHARACTER}[31mred" in text
        assert not unsafe(text)
