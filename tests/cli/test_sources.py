"""How the commands read files: dialects, broken records, nothing to read, rejects."""

from __future__ import annotations

import json
import re
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from trivec import Document, Vectors, open_store
from trivec.cli.app import app
from trivec.errors import CollectionNotFoundError
from trivec.testing import HashEncoder


@pytest.fixture(autouse=True)
def _hash_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivec.cli.models.load_encoder", lambda *args: HashEncoder())


@pytest.fixture
def url() -> str:
    return f"memory:/cli-{uuid4().hex}"


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def told(done: Result) -> str:
    return " ".join(done.stderr.split())


def stored(url: str, *ids: str) -> dict[str, str]:
    with open_store(url) as store:
        return {document.id: document.text for document in store.get(list(ids)).documents}


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_a_tsv_with_quotes(tmp_path: Path, url: str) -> None:
    rows = ['1\t"Little Boy', "2\tb", "3\tc", '4\tof 5"', "5\te", "6\tf"]
    source = write(tmp_path / "a.tsv", "\n".join(["id\ttext", *rows]))
    args = ("ingest", source, url, "--journal", tmp_path / "j", "--prune", "--json")
    for documents, unchanged in ((6, 0), (0, 6)):
        report = json.loads(run(*args).stdout)
        assert (report["documents"], report["unchanged"]) == (documents, unchanged)
        assert report["pruned"] == 0
    assert stored(url, "1", "4") == {"1": '"Little Boy', "4": 'of 5"'}


def test_a_broken_record_ends_the_run(tmp_path: Path, url: str) -> None:
    lines = ["2,the true two", '1,"He said "hello" to', '2,them and left"', "3,ok"]
    source = write(tmp_path / "a.csv", "\n".join(["id,text", *lines, ""]))
    done = run("ingest", source, url, "--on-error", "skip")
    assert done.exit_code == 1
    assert "a.csv, line 3: not CSV" in told(done)
    assert "1 record before it was read, and nothing after it" in told(done)
    assert stored(url, "1", "2", "3") == {"2": "the true two"}
    (line,) = (tmp_path / "a.csv.rejects.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["content"] == lines[1]


@pytest.mark.parametrize("command", ["ingest", "encode", "vespa-feed"])
def test_options_of_reading(tmp_path: Path, url: str, command: str) -> None:
    target: tuple[object, ...] = (url,)
    if command == "encode":
        target = ("-o", tmp_path / "out")
    elif command == "vespa-feed":
        pytest.importorskip("vespa.package", reason="the [vespa] extra is not installed")
        target = (tmp_path / "out", "--name", "articles")
    content = 'key\tbody\tmetadata\n1\t"a\ttab"\t5\n'
    source = write(tmp_path / "a.dat", content.replace("\t", ";").replace("a;tab", "a\ttab"))
    options = "--format tsv --delimiter ; --quoting csv --id-field key --text-field body"
    args = (command, source, *target, *options.split(), "--metadata", "flat", "--json")
    done = run(*args)
    assert done.exit_code == 0, done.stderr
    if command == "encode":
        assert len(Vectors.load(tmp_path / "out")) == 1
    elif command == "ingest":
        with open_store(url) as store:
            assert store.get(["1"]).documents == [Document("1", "a\ttab", {"metadata": "5"})]
    else:
        (line,) = (tmp_path / "out").read_text(encoding="utf-8").splitlines()
        assert json.loads(line)["fields"]["text"] == "a\ttab"


@pytest.mark.parametrize("command", ["ingest", "encode", "vespa-feed"])
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_nothing_to_read(
    tmp_path: Path, url: str, command: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    target: tuple[object, ...] = (url,) if command == "ingest" else ("-o", out)
    if command == "vespa-feed":
        pytest.importorskip("vespa.package", reason="the [vespa] extra is not installed")
        target = (out, "--name", "articles")
    loaded: list[object] = []

    def load(*args: object) -> HashEncoder:
        loaded.append(args)
        return HashEncoder()

    monkeypatch.setattr("trivec.cli.models.load_encoder", load)
    source = tmp_path / "shards"
    if kind == "folder":
        source.mkdir()
        write(source / "a.pdf", "")
    else:
        source = write(tmp_path / "a.jsonl", "")
    done = run(command, source, *target)
    assert done.exit_code == 1
    assert f"nothing was read from '{source}'" in told(done)
    assert ("1 *.pdf" in told(done)) == (kind == "folder")
    assert (loaded, out.exists()) == ([], False)
    allowed = run(command, source, *target, "--allow-empty")
    assert allowed.exit_code == 0, allowed.output
    assert "0 documents" in told(allowed) or "0 texts" in told(allowed)


@pytest.mark.parametrize("command", ["ingest", "encode", "vespa-feed"])
def test_many_files_and_what_becomes_of_their_members(
    tmp_path: Path, url: str, command: str
) -> None:
    out = tmp_path / "out"
    target: tuple[object, ...] = (url,) if command == "ingest" else ("-o", out)
    if command == "vespa-feed":
        pytest.importorskip("vespa.package", reason="the [vespa] extra is not installed")
        target = (out, "--name", "articles")
    rows = [{"key": n, "title": f"T{n}", "body": "x", "lang": "en", "size": n} for n in range(4)]
    for n, row in enumerate(rows):
        write(tmp_path / f"{'ab'[n % 2]}{n}.jsonl", json.dumps(row) + "\n")
    sources = (tmp_path / "a*.jsonl", tmp_path / "b1.jsonl", tmp_path / "b3.jsonl")
    options = (
        *("--id-field", "key", "--text", r"{title}\n{body}", "--drop", "size"),
        *("--rename", "lang=language"),
    )
    done = run(command, *sources, *target, *options, "--json")
    assert done.exit_code == 0, done.stderr
    if command == "encode":
        assert len(Vectors.load(out)) == 4
    elif command == "ingest":
        with open_store(url) as store:
            found = store.get(["0", "3"]).documents
        assert found == [
            Document(str(n), f"T{n}\nx", {"title": f"T{n}", "language": "en"}) for n in (0, 3)
        ]
    else:
        lines = out.read_text(encoding="utf-8").splitlines()
        assert json.loads(lines[0])["fields"]["text"] == "T0\nx"
        assert len(lines) == 4


def test_the_first_record_says_what_would_work(tmp_path: Path, url: str) -> None:
    source = write(tmp_path / "a.jsonl", '{"_id": 1, "headline": "T", "body": "x"}\n')
    done = run("ingest", source, url)
    assert done.exit_code == 1
    assert "found '_id', 'headline', 'body'; try" in told(done)
    assert "(--id-field _id --text-field body)" in told(done)
    done = run("ingest", source, url, "--id-field", "_id", "--text-field", "headline,body")
    assert done.exit_code == 0, done.stderr
    assert stored(url, "1") == {"1": "T\nx"}


def test_rejects_of_a_pattern_lie_beside_its_folder(tmp_path: Path, url: str) -> None:
    (tmp_path / "corpus").mkdir()
    write(tmp_path / "corpus" / "a.jsonl", '{"id": 1}\n{"id": 2, "text": "x"}\n')
    done = run("ingest", tmp_path / "corpus" / "*.jsonl", url, "--on-error", "skip")
    assert done.exit_code == 1
    assert "2 records: 1 stored, 1 rejected" in told(done)
    assert (tmp_path / "corpus.rejects.jsonl").exists()


def test_nothing_on_standard_input(url: str) -> None:
    done = CliRunner().invoke(app, ["ingest", "-", url], input="")
    assert done.exit_code == 1
    assert "nothing was read from standard input" in told(done)
    with open_store(url) as store, pytest.raises(CollectionNotFoundError):
        store.count()


def test_what_a_folder_passed_over_is_told(tmp_path: Path, url: str) -> None:
    for name in ("a.txt", "b.pdf", "c.pdf"):
        write(tmp_path / name, name)
    done = run("ingest", tmp_path, url)
    assert done.exit_code == 0
    assert f"{tmp_path}: passed over: 2 *.pdf" in told(done)
    assert len(re.findall("passed over", done.stderr)) == 1


def test_a_clean_run_leaves_no_rejects_of_an_earlier_one(tmp_path: Path, url: str) -> None:
    source = write(tmp_path / "a.jsonl", '{"id": "1", "text": "a"}\n{"id": "2"\n')
    rejects = tmp_path / "a.jsonl.rejects.jsonl"
    assert run("ingest", source, url, "--on-error", "skip").exit_code == 1
    assert rejects.exists()
    write(source, '{"id": "1", "text": "a"}\n{"id": "2", "text": "b"}\n')
    assert run("ingest", source, url, "--on-error", "skip").exit_code == 0
    assert not rejects.exists()


def test_rejects_go_nowhere_where_they_would_destroy(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "a.jsonl", '{"id": "1", "text": "a"}\n')
    mine = write(tmp_path / "mine.jsonl", "notes\n")
    link = tmp_path / "a.jsonl.rejects.jsonl"
    for args, message in (
        (("--rejects", mine), "holds something else than rejects"),
        (("--rejects", source), "which is read; give another name"),
    ):
        done = run("ingest", source, url, *args)
        assert (done.exit_code, message in told(done)) == (1, True)
    link.symlink_to(mine)
    done = run("ingest", source, url)
    assert (done.exit_code, "is a link" in told(done)) == (1, True)
    assert mine.read_text(encoding="utf-8") == "notes\n"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "copy.rejects.jsonl").symlink_to(tmp_path / "nothing")
    linked = run("copy", "memory:/x", "memory:/y")
    assert (linked.exit_code, "is a link" in told(linked)) == (1, True)
    copied = run("copy", "memory:/x", "memory:/y", "--rejects", mine)
    assert (copied.exit_code, "holds something else than rejects" in told(copied)) == (1, True)
