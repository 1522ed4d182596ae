"""The summary and the exit code tell a run with rejects from a run without."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from trivec import Vectors, open_store
from trivec.cli.app import app
from trivec.testing import HashEncoder

LINES = ['{"id": "1", "text": "a"}', "{", '{"id": "3"}', "[]"]


@pytest.fixture(autouse=True)
def _hash_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivec.cli.models.load_encoder", lambda *args: HashEncoder())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(LINES), encoding="utf-8")
    return path


def run(command: str, source: Path, *args: object) -> Result:
    target: list[object] = [f"memory:/outcome-{uuid4().hex}"]
    if command == "encode":
        target = ["-o", source.parent / "out"]
    elif command == "vespa-feed":
        pytest.importorskip("vespa.package", reason="the [vespa] extra is not installed")
        target = [source.parent / "out", "--name", "articles"]
    arguments = [command, source, *target, *args]
    return CliRunner().invoke(app, [str(each) for each in arguments])


def told(done: Result) -> str:
    return " ".join(done.stderr.split())


@pytest.mark.parametrize("command", ["ingest", "encode", "vespa-feed"])
@pytest.mark.parametrize(
    ("args", "exit_code", "stored"),
    [
        ("", 1, False),
        ("--on-error raise", 1, False),
        ("--on-error skip", 1, True),
        ("--rejects FILE", 0, True),
        ("--rejects FILE --on-error skip", 0, True),
        ("--rejects FILE --max-rejects 3", 0, True),
        ("--rejects FILE --max-rejects 2", 1, False),
        ("--max-rejects 3", 0, True),
        ("--max-rejects 75%", 0, True),
        ("--max-rejects 74%", 1, False),
    ],
)
def test_exit_codes(source: Path, command: str, args: str, exit_code: int, stored: bool) -> None:
    rejects = source.parent / "rejects.jsonl"
    done = run(command, source, *args.replace("FILE", str(rejects)).split())
    assert done.exit_code == exit_code, done.output
    said = {"ingest": "stored", "encode": "encoded", "vespa-feed": "written"}[command]
    if stored:
        assert f"4 records: 1 {said}, 3 rejected" in told(done)
        assert f"{source}, line 2: not JSON" in told(done)
        assert ("exit code 1, since rejects" in told(done)) == (exit_code == 1)
        kept = rejects if "FILE" in args else source.with_name("a.jsonl.rejects.jsonl")
        lines = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
        assert [line["content"] for line in lines] == LINES[1:]
        assert [line["where"] for line in lines] == [f"{source}, line {n}" for n in (2, 3, 4)]
        if command == "encode":
            assert len(Vectors.load(source.parent / "out")) == 1
    elif "max" in args:
        assert "records were rejected, more than max_rejects=" in told(done)
        assert f"{source}, line 2: not JSON" in told(done)
        assert not (source.parent / "out").exists()
    else:
        assert "error: " in told(done)
        assert not (source.parent / "out").exists()


@pytest.mark.parametrize("command", ["ingest", "encode", "vespa-feed"])
def test_counts_in_json(source: Path, command: str) -> None:
    done = run(command, source, "--max-rejects", "9", "--json")
    report = json.loads(done.stdout)
    assert (report["records"], report["failed"]) == (4, 3)


def test_rejects_of_another_command_stay(source: Path) -> None:
    assert run("ingest", source, "--on-error", "skip").exit_code == 1
    source.write_text(LINES[0], encoding="utf-8")
    assert run("encode", source).exit_code == 0
    assert source.with_name("a.jsonl.rejects.jsonl").exists()


@pytest.mark.parametrize("command", ["ingest", "encode", "vespa-feed"])
def test_options_that_contradict_each_other(source: Path, command: str) -> None:
    done = run(command, source, "--on-error", "raise", "--max-rejects", "3")
    assert (done.exit_code, "omit --max-rejects" in told(done)) == (1, True)
    done = run(command, source, "--max-rejects", "few")
    assert (done.exit_code, "max_rejects='few'" in told(done)) == (1, True)


def test_what_was_stored_before_too_many_rejects_stays(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    rows = [json.dumps({"id": str(n), "text": "x"}) for n in range(30)]
    source.write_text("\n".join([*rows, "{", *rows[:3], "{"]), encoding="utf-8")
    url = f"memory:/outcome-{uuid4().hex}"
    arguments = ["ingest", str(source), url, "--max-rejects", "1"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    with open_store(url) as store:
        assert store.count() == 30


@pytest.mark.parametrize("part_bytes", ["1", "1000"])
def test_ids_that_come_again_add_up(tmp_path: Path, part_bytes: str) -> None:
    source = tmp_path / "a.jsonl"
    rows = [json.dumps({"id": id, "text": id * 9}) for id in "abacad"]
    source.write_text("\n".join(rows), encoding="utf-8")
    done = run("ingest", source, "--part-bytes", part_bytes)
    assert done.exit_code == 0
    assert "6 records: 4 stored, 2 replaced" in told(done)


def test_what_vespa_would_refuse_is_named_with_its_line(source: Path) -> None:
    row = {"id": "5", "text": "a \x01"}
    with source.open("a", encoding="utf-8") as file:
        file.write("\n" + json.dumps(row))
    rejects = source.parent / "rejects.jsonl"
    done = run("vespa-feed", source, "--rejects", rejects)
    assert done.exit_code == 0, done.output
    assert "5 records: 1 written, 4 rejected" in told(done)
    last = json.loads(rejects.read_text(encoding="utf-8").splitlines()[-1])
    assert (last["where"], last["id"]) == (f"{source}, line 5", "5")
    source.write_text(json.dumps(row), encoding="utf-8")
    assert f"{source}, line 1: document '5'" in told(run("vespa-feed", source))
