"""The command line, with an encoder that needs no model."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from installed import install, on_path
from rich.console import Console
from typer.testing import CliRunner, Result

from trivec import Document, Hit, Schema, Vectors, open_store
from trivec.cli.app import app
from trivec.cli.hits import hits_table
from trivec.cli.options import fields_of, weights_of
from trivec.encoders.cpu import this_processor
from trivec.encoders.placement import place
from trivec.errors import InvalidOptionError, StoreError
from trivec.ingestion.report import IngestInterrupted, IngestReport
from trivec.scores import Scores, Weights
from trivec.testing import HashEncoder

ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "blue whale", "lang": "en", "year": 2020},
    {"id": "b", "text": "red fox", "lang": "en", "year": 2024},
    {"id": "c", "text": "blauer Wal", "lang": "de", "year": 2024},
]


@pytest.fixture(autouse=True)
def _hash_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivec.cli.models.load_encoder", lambda *args: HashEncoder())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n", encoding="utf-8")
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def url(source: Path) -> Any:
    url = "memory:/cli"
    done = run("ingest", source, url, "--field", "lang:str", "--field", "year:int")
    assert done.exit_code == 0, done.output
    yield url
    with open_store(url) as store:
        store.drop()


def test_ingest_then_search(url: str) -> None:
    done = run("search", url, "whale", "--json", "-k", 2)
    assert done.exit_code == 0
    hits = json.loads(done.stdout)
    assert hits[0]["document"] == {
        "id": "a",
        "text": "blue whale",
        "metadata": {"lang": "en", "year": 2020},
    }
    assert set(hits[0]["scores"]) == {"dense", "sparse", "colbert", "hybrid"}
    table = run("search", url, "whale").stdout
    assert "blue whale" in table
    assert all(name in table for name in ("score", "dense", "sparse", "colbert"))
    assert f"{hits[0]['score']:.4f}" in table


LONG_ID = "https://example.com/" + "the-biggest-animal/" * 4
SCORES = Scores(0.899, 0.086, 0.605, 0.6652)


@pytest.mark.parametrize("width", [48, 80, 120, 1000])
def test_numbers_and_ids_are_whole_at_any_width(width: int) -> None:
    hits = [Hit(Document(LONG_ID, "blue whale " * 9), 0.6652, SCORES)]
    hits.append(Hit(Document("[b]:fox:", "x"), -12.5, Scores(0.5)))
    out = StringIO()
    Console(file=out, width=width).print(hits_table(hits, width))
    lines = out.getvalue().splitlines()
    assert lines[1].split()[:4] == ["0.6652", "0.899", "0.086", "0.605"]
    place = lines[0].index("id")
    folded = "".join((line[place:].split() or [""])[0] for line in lines[1:-1])
    assert folded == LONG_ID
    assert lines[-1].split()[:3] == ["-12.5000", "0.500", "[b]:fox:"]
    assert ("blue" in lines[1]) == (width >= 80)


def test_what_is_piped_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    encoder = HashEncoder()
    text = "blue whale " * 12
    with open_store("memory:/cli-long") as store:
        store.create(encoder.schema)
        store.upsert([Document(LONG_ID, text)], encoder.encode_documents([text]))
        line = run("search", "memory:/cli-long", "whale").stdout.splitlines()[1]
        store.drop()
    assert line.endswith(f"{LONG_ID}  {text.strip()}")


def test_the_table_has_no_control_characters() -> None:
    hits = [Hit(Document("x", "whale \x1b[31mRED\x1b]0;title\x07 \x9b\n\tend"), 1.0, SCORES)]
    out = StringIO()
    Console(file=out, width=80).print(hits_table(hits, 80))
    assert "whale �[31mRED�]0;title� � end" in out.getvalue()


def test_search_options(url: str) -> None:
    args = ("search", url, "whale", "--json", "--filter", 'year >= 2022 and lang in ["de"]')
    hits = json.loads(run(*args, "--mode", "dense").stdout)
    assert [hit["document"]["id"] for hit in hits] == ["c"]
    assert hits[0]["scores"]["sparse"] is None
    only_sparse = json.loads(run("search", url, "fox", "--json", "--weights", "0,1,0").stdout)
    assert [hit["document"]["id"] for hit in only_sparse] == ["b"]


def test_ingest_reports_as_json(source: Path) -> None:
    done = run("ingest", source, "memory:/cli-json", "--json")
    assert json.loads(done.stdout)["documents"] == 3
    with open_store("memory:/cli-json") as store:
        store.drop()


def test_encode(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "vectors.safetensors"
    done = run("encode", source, "-o", out, "--json")
    assert json.loads(done.stdout) == {
        "records": 3,
        "texts": 3,
        "failed": 0,
        "bytes": out.stat().st_size,
        "output": str(out),
    }
    assert len(Vectors.load(out)) == 3


def test_encode_says_first_that_it_cannot_write(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*args: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("trivec.cli.models.load_encoder", loaded)
    for out, message in (
        (tmp_path / "nowhere" / "v.safetensors", "there is no folder"),
        (tmp_path, "is a folder"),
    ):
        done = run("encode", source, "-o", out)
        assert done.exit_code == 1
        assert message in done.stderr


def test_names_are_no_markup(source: Path, tmp_path: Path) -> None:
    done = run("encode", source, "-o", tmp_path / "[red]v:whale:.safetensors")
    assert done.exit_code == 0, done.output
    assert "[red]v:whale:.safetensors" in "".join(done.stderr.split())
    with source.open("a", encoding="utf-8") as file:
        file.write('{"id": "bad"\n')
    args = ("--on-error", "skip", "--rejects", tmp_path / "[red]r.jsonl")
    done = run("ingest", source, "memory:/cli-markup", *args)
    assert "[red]r.jsonl" in done.stderr
    with open_store("memory:/cli-markup") as store:
        store.drop()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ('{"id": "x"}', "line 2: expected an object with 'id' and 'text'"),
        ('{"id": "", "text": "x"}', "line 2: document id ''"),
        ('{"id": "x", "text": 3}', "line 2: document 'x'"),
    ],
)
def test_a_bad_line_is_named(source: Path, line: str, message: str) -> None:
    text = source.read_text(encoding="utf-8").splitlines()
    source.write_text("\n".join([text[0], line, *text[1:]]), encoding="utf-8")
    done = run("ingest", source, "memory:/cli-bad")
    assert done.exit_code == 1
    assert message in done.stderr
    assert "Traceback" not in done.output
    with open_store("memory:/cli-bad") as store:
        store.drop()


def test_ingest_goes_on_with_a_journal(source: Path, tmp_path: Path) -> None:
    journal = tmp_path / "rows.journal"
    args = ("ingest", source, "memory:/cli-journal", "--journal", journal)
    assert run(*args).exit_code == 0
    again = run(*args)
    assert "0 documents" in again.stderr
    assert "3 were written before and have not changed" in again.stderr
    source.write_text("\n".join(json.dumps(row) for row in ROWS[:2]), encoding="utf-8")
    report = json.loads(run(*args, "--prune", "--json").stdout)
    assert (report["unchanged"], report["pruned"]) == (2, 1)
    with open_store("memory:/cli-journal") as store:
        assert store.count() == 2
        store.drop()


def test_ingest_writes_rejects(source: Path, tmp_path: Path) -> None:
    with source.open("a", encoding="utf-8") as file:
        file.write('{"id": "bad"\n{"id": "d", "text": "worse", "year": "soon"}\n')
    rejects = tmp_path / "rejects.jsonl"
    args = ("--on-error", "skip", "--rejects", rejects, "--field", "year:int")
    done = run("ingest", source, "memory:/cli-rejects", *args)
    assert done.exit_code == 0
    assert "5 records: 3 stored, 2 rejected" in done.stderr
    assert "2 could not be stored" in done.stderr
    assert f"{source}, line 5, document 'd': " in " ".join(done.stderr.split())
    assert "line 4: not JSON" in done.stderr
    lines = [json.loads(line) for line in rejects.read_text(encoding="utf-8").splitlines()]
    assert [(line["where"], line["id"]) for line in lines] == [
        (f"{source}, line 4", ""),
        (f"{source}, line 5", "d"),
    ]
    assert {line["content"][:8] for line in lines} == {'{"id": "', '{"id":"d'}
    with open_store("memory:/cli-rejects") as store:
        assert store.count() == 3
        store.drop()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("search", "memory:/nothing", "x"), "does not exist"),
        (("search", "nope:/x", "x"), "unknown store scheme"),
        (("ingest", "nothing.jsonl", "memory:/x"), "there is no file 'nothing.jsonl'"),
    ],
)
def test_errors_in_one_line(args: tuple[str, ...], message: str) -> None:
    done = run(*args)
    assert done.exit_code == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_errors_after_the_collection_is_known(url: str) -> None:
    for option, value, message in (
        ("--mode", "best", "mode='best'"),
        ("--weights", "heavy", "expected general"),
        ("--filter", "year >=", "expected a value"),
        ("--filter", "year == 'x'", "declared int"),
    ):
        done = run("search", url, "x", option, value)
        assert done.exit_code == 1
        assert message in done.stderr


def test_debug_shows_the_trace() -> None:
    done = run("--debug", "search", "nope:/x", "x")
    assert isinstance(done.exception, InvalidOptionError)


def test_an_interrupt_has_its_own_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trivec.cli.search.open_store", interrupted)
    assert run("search", "memory:/x", "x").exit_code == 130


def test_an_interrupted_run_reports_what_is_done(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise IngestInterrupted(IngestReport(documents=7, requests=2))

    monkeypatch.setattr("trivec.cli.ingest.run", interrupted)
    done = run("ingest", source, "memory:/cli-interrupted")
    assert done.exit_code == 130
    assert "7 documents, 0.0 MB in 2 writes" in done.stderr
    with open_store("memory:/cli-interrupted") as store:
        store.drop()


def test_a_reader_that_has_seen_enough_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(url: str) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("trivec.cli.search.open_store", closed)
    done = run("search", "memory:/x", "x")
    assert (done.exit_code, done.output) == (1, "")


def test_secrets_of_an_error_are_not_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(url: str) -> None:
        raise StoreError("refused\nby the server")

    monkeypatch.setattr("trivec.cli.search.open_store", refused)
    assert run("search", "memory:/x", "x").stderr == "error: refused by the server\n"


def test_every_command_has_help() -> None:
    overview = run("--help").output
    for command in ("demo", "encode", "ingest", "search", "doctor"):
        assert command in overview
        done = run(command, "--help")
        assert done.exit_code == 0
        assert "--json" in done.output


def test_optimize_says_what_it_gave_back(tmp_path: Path) -> None:
    url = f"qdrant+edge:{tmp_path}/articles"
    with open_store(url) as store:
        store.create(Schema(dense=2, sparse=False, colbert=None))
    assert re.fullmatch(r"\d.* on the disk before, \d.* now\n", run("optimize", url).stdout)
    report = json.loads(run("optimize", url, "--json").stdout)
    assert report["bytes_before"] > 0
    with open_store("memory:/optimized") as store:
        store.create(Schema(dense=2, sparse=False, colbert=None))
        done = run("optimize", "memory:/optimized")
        assert done.stdout == "nothing to do: this database optimises by itself\n"
        store.drop()
    assert run("optimize", "memory:/optimized").exit_code == 1


def test_doctor_looks_at_the_machine_and_at_stores(url: str) -> None:
    done = run("doctor", url, "--json")
    assert done.exit_code == 0, done.output
    found = {(row["subject"], row["name"]): row["value"] for row in json.loads(done.stdout)}
    precision, _, reason = found["machine", "precision auto"].partition(": ")
    assert precision == place("auto", "auto").precision
    assert reason == place("auto", "auto").reason
    assert float(found["machine", "float32 products now"].split()[0]) > 0
    assert found["machine", "processor"] == this_processor().name
    assert found[url, "documents"] == "3"
    assert found[url, "fields"] == "lang: str, year: int"
    assert ("store", "memory") in found
    missing = run("doctor", "memory:/nothing")
    assert missing.exit_code == 1
    assert "does not exist" in missing.stdout


def test_doctor_lists_what_installed_backends_require(lance: str) -> None:
    rows = json.loads(run("doctor", "--json").stdout)
    versions = {row["name"]: row["value"] for row in rows if row["subject"] == "version"}
    assert versions["lance-client"] == "2.7"
    assert "lance-gpu" not in versions
    assert {"trivec", "python", "torch", "numpy", "qdrant-client", "pymilvus"} <= set(versions)
    assert len([row for row in rows if row["name"] == "trivec"]) == 1
    stores = {row["name"]: row["value"] for row in rows if row["subject"] == "store"}
    assert stores["lance"] == "trivec_lance, installed"


def test_doctor_says_which_package_lacks_its_client(tmp_path: Path) -> None:
    entry = "lance = trivec_lance:LanceBackend [gpu]"
    requires = ["lance-client", "lance-gpu; extra == 'gpu'"]
    install(
        tmp_path, "trivec-lance", requires=requires, entry_points=[entry], code="import lance_no"
    )
    with on_path(tmp_path):
        rows = json.loads(run("doctor", "--json").stdout)
    found = {(row["subject"], row["name"]): row["value"] for row in rows}
    assert found["version", "lance-client"] == found["version", "lance-gpu"] == "not installed"
    assert "pip install 'trivec-lance[gpu]'" in found["store", "lance"]


def test_a_command_from_outside(tmp_path: Path) -> None:
    code = """
        from trivec.cli.options import AsJson, SearchFlags, print_json

        def lance(flags: SearchFlags, as_json: AsJson = False) -> None:
            print_json([flags.candidates, flags.weights])
    """
    entries = ("lance = trivec_lance:lance", "lance-gpu = trivec_lance_gpu:lance")
    install(tmp_path, "trivec-lance", entry_points=entries, group="trivec.commands", code=code)
    with on_path(tmp_path):
        assert json.loads(run("lance", "--candidates", "7").stdout) == [7, "general"]
        missing = run("lance-gpu", "--anything")
        assert "lance-gpu" in run("--help").stdout
    assert missing.exit_code == 1
    assert "pip install 'trivec-lance'" in missing.stderr


def test_the_old_name_of_a_condition_says_the_new_one() -> None:
    done = run("copy", "memory:/x", "memory:/y", "--where", "year >= 2020")
    assert done.exit_code == 1
    assert "--where has another name now: --filter" in done.stderr
    assert "--where" not in run("copy", "--help").output


def test_a_command_without_its_client_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['vespa'] = None\n"
        "from trivec.cli import main\n"
        "sys.argv[1:] = {argv}\n"
        "main()"
    )
    done = [
        subprocess.run(
            [sys.executable, "-c", code.format(argv=argv)],
            capture_output=True,
            text=True,
            check=False,
        )
        for argv in (["--help"], ["vespa-app", str(tmp_path / "app"), "--name", "articles"])
    ]
    assert done[0].returncode == 0, done[0].stderr
    assert "search" in done[0].stdout
    assert done[1].returncode == 1
    assert "pip install 'trivec[vespa]'" in done[1].stderr
    assert "Traceback" not in done[1].stderr


def test_version() -> None:
    assert run("--version").stdout.strip() == __import__("trivec").__version__


def test_weights_and_fields_as_text() -> None:
    assert weights_of("model_card") == Weights.MODEL_CARD
    assert weights_of("1, 0.5,0") == Weights(1, 0.5, 0)
    assert fields_of(["tags:list[str]", "a.b:int"]) == {"tags": "list[str]", "a.b": "int"}
    with pytest.raises(InvalidOptionError, match=r"lang.*name:type"):
        fields_of(["lang"])
