"""The commands that explain, measure, tune and plan, with an encoder that needs no model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from trivec import ColbertStorage, Document, open_store
from trivec.cli.app import app
from trivec.testing import HashEncoder

TEXTS = {"a": "blue whale", "b": "red fox", "c": "a whale song", "d": "the fox and the hen"}

OUTPUTS = ("--html", "--runs")


@pytest.fixture(autouse=True)
def _hash_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivec.cli.models.load_encoder", lambda *args: HashEncoder())


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


def test_explain_a_long_document(url: str, tmp_path: Path) -> None:
    encoder, text = HashEncoder(), f"{'The owl is awake. ' * 100}A whale sings."
    with open_store(url) as store:
        store.upsert([Document("long", text)], encoder.encode_documents([text]))
    found = json.loads(run("explain", url, "whale sings", "long", "--json").stdout)
    best = found["passages"][0]
    assert text[best["start"] : best["end"]] == best["text"]
    assert "A whale sings." in best["text"]
    assert set(best) == {"start", "end", "text", "score", "sparse", "colbert"}
    assert json.loads(run("explain", url, "whale", "a", "--json").stdout)["passages"] == []
    shown = run("explain", url, "whale sings", "long").stdout
    assert "passage 1  " in shown
    assert max(map(len, shown.splitlines())) < 500
    page = tmp_path / "why.html"
    assert run("explain", url, "whale sings", "long", "--html", page).exit_code == 0
    assert page.read_text(encoding="utf-8").count(" autofocus") == 1


def test_explain_needs_a_document_that_exists(url: str) -> None:
    done = run("explain", url, "whale", "nobody")
    assert done.exit_code == 1
    assert "holds no document 'nobody'" in done.stderr


def test_explain_names_the_passages_of_a_document(url: str) -> None:
    encoder = HashEncoder()
    with open_store(url) as store:
        documents = [Document("e#0", "x", {"parent": "e"}), Document("f#0", "x", {"parent": "g"})]
        store.upsert(documents, encoder.encode_documents(["x", "x"]))
    assert "explain one of them, such as 'e#0'" in run("explain", url, "x", "e").stderr
    for id in ("f", "g", "x" * 511, "x" * 512):
        done = run("explain", url, "x", id)
        assert done.exit_code == 1
        assert "holds no document" in done.stderr
        assert "passages" not in done.stderr


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    queries = {"1": "whale song", "2": "red fox"}
    rows = [json.dumps({"_id": one, "text": text}) for one, text in queries.items()]
    (folder / "queries.jsonl").write_text("\n".join(rows), encoding="utf-8")
    judgements = "query-id\tcorpus-id\tscore\n1\tc\t1\n2\tb\t1\n"
    (folder / "qrels" / "test.tsv").write_text(judgements, encoding="utf-8")
    return folder


def test_evaluate(url: str, beir: Path, tmp_path: Path) -> None:
    page, runs = tmp_path / "chart.html", tmp_path / "runs"
    done = run("evaluate", url, beir, "--json", "--html", page, "--runs", runs)
    assert done.exit_code == 0, done.output
    rows = {row["mode"]: row for row in json.loads(done.stdout)}
    assert list(rows) == ["dense", "sparse", "colbert", "hybrid", "rrf"]
    assert rows["hybrid"]["metrics"]["RR@10"]["mean"] == 1
    assert rows["dense"]["metrics"]["RR@10"]["p"] is None
    assert page.is_file()
    assert (runs / "rrf.run").is_file()
    table = run("evaluate", url, beir, "--mode", "dense", "--mode", "hybrid", "--metric", "AP")
    assert "hybrid" in table.stdout
    assert "sparse" not in table.stdout


def test_evaluate_by_group(url: str, tmp_path: Path) -> None:
    encoder = HashEncoder()
    with open_store(url) as store:
        documents = [Document(f"e#{n}", text, {"parent": "e"}) for n, text in enumerate(["x", "y"])]
        store.upsert(documents, encoder.encode_documents(["x", "y"]))
    queries, qrels = tmp_path / "q.tsv", tmp_path / "qrels.tsv"
    queries.write_text("1\ty\n", encoding="utf-8")
    qrels.write_text("1\te\t1\n", encoding="utf-8")
    args = ("evaluate", url, queries, "--qrels", qrels, "--json", "--metric", "RR", "-k", 3)
    found = {"--group-by": 1.0, "--mode": 0.0}
    for option, value in found.items():
        done = run(*args, "--mode", "sparse", option, "parent" if value else "hybrid")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)[0]["metrics"]["RR"]["mean"] == value
    done = run(*args, "--group-by", "nothing")
    assert "'nothing' is not a declared field" in done.stderr
    unknown = run("tune", url, queries, "--qrels", qrels, "--group-by", "parent")
    assert unknown.exit_code == 2
    assert "--group-by" in unknown.stderr


def test_evaluate_from_two_files(url: str, tmp_path: Path) -> None:
    queries, qrels = tmp_path / "q.tsv", tmp_path / "qrels.tsv"
    queries.write_text("1\twhale song\n", encoding="utf-8")
    qrels.write_text("1\tc\t1\n", encoding="utf-8")
    done = run("evaluate", url, queries, "--qrels", qrels, "--json", "--metric", "RR")
    assert json.loads(done.stdout)[0]["queries"] == 1
    missing = run("evaluate", url, queries)
    assert missing.exit_code == 1
    assert "give --qrels" in missing.stderr


def test_what_cannot_be_written_is_told_before_the_work(
    url: str, beir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*args: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("trivec.cli.models.load_encoder", loaded)
    page = tmp_path / "nowhere" / "x.html"
    file = beir / "queries.jsonl"
    for args, message in (
        (("explain", url, "whale", "a", "--html", page), "there is no folder"),
        (("explain", url, "whale", "a", "--html", tmp_path), "is a folder"),
        (("evaluate", url, beir, "--html", page), "there is no folder"),
        (("evaluate", url, beir, "--runs", file / "runs"), "queries.jsonl' is not a folder"),
    ):
        done = run(*args)
        assert done.exit_code == 1
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_paths_are_no_markup(url: str, beir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a[" / "b]c"  # a closing tag
    folder.mkdir(parents=True)
    page, runs = folder / "[red]x.html", folder / "[red]runs"
    for args in (
        ("explain", url, "whale", "a", "--html", page),
        ("evaluate", url, beir, "--mode", "dense", "--html", page, "--runs", runs),
    ):
        done = run(*args)
        assert done.exit_code == 0, done.output
        told = "".join(done.stderr.split())
        assert all(str(args[i + 1]) in told for i, one in enumerate(args) if one in OUTPUTS)


def test_tune(url: str, tmp_path: Path) -> None:
    queries, qrels = tmp_path / "q.tsv", tmp_path / "qrels.tsv"
    asked = {"1": "whale song", "2": "red fox", "3": "blue whale", "4": "the hen"}
    queries.write_text("".join(f"{i}\t{q}\n" for i, q in asked.items()), encoding="utf-8")
    qrels.write_text("1\tc\t1\n2\tb\t1\n3\ta\t1\n4\td\t1\n", encoding="utf-8")
    found = json.loads(run("tune", url, queries, "--qrels", qrels, "--json").stdout)
    assert found["queries"] == [2, 2]
    assert found["warning"]
    table = run("tune", url, queries, "--qrels", qrels, "--weights", "1,0,0", "--metric", "RR")
    assert table.exit_code == 0
    assert "1,0,0" in table.stdout


def test_plan(url: str) -> None:
    storages = {row["storage"] for row in json.loads(run("plan", "--json").stdout)}
    if not {"float16 multivector", "FLOAT_VECTOR", "SPARSE_FLOAT_VECTOR"} <= storages:
        pytest.skip("a connector is not installed")
    rows = json.loads(run("plan", "--tokens", 199, "--json").stdout)
    colbert = [row for row in rows if row["storage"] == "float16 multivector"]
    assert colbert[0]["bytes_per_thousand"] == 1000 * 200 * 1024 * 2
    stored = json.loads(run("plan", url, "--json").stdout)
    dense = [row for row in stored if row["storage"] == "FLOAT_VECTOR"]
    assert dense[0]["document_bytes"] == 4 * 32
    # The texts have 2, 2, 3 and 5 words, of which the last repeats one.
    sparse = [row for row in stored if row["storage"] == "SPARSE_FLOAT_VECTOR"]
    assert sparse[0]["document_bytes"] == pytest.approx(8 * (2 + 2 + 3 + 4) / 4)
    # Shorter texts than the stored ones have no more terms than tokens.
    short = json.loads(run("plan", url, "--tokens", 2, "--json").stdout)
    sparse = [row for row in short if row["storage"] == "SPARSE_FLOAT_VECTOR"]
    assert sparse[0]["document_bytes"] == 8 * 2
    done = run("plan", "--model", "demo")
    assert "not measured" in done.stderr
    assert "defaults" in done.stdout
    assert run("plan", "--model", "nobody/model").exit_code == 1


def test_plan_needs_a_document() -> None:
    with open_store("memory:/empty") as store:
        store.create(HashEncoder().schema)
        done = run("plan", "memory:/empty")
        store.drop()
    assert done.exit_code == 1
    assert "give --tokens" in done.stderr


def test_plan_of_a_database_from_outside(lance: str, url: str) -> None:
    rows = json.loads(run("plan", lance.replace("articles", "insight"), "--json").stdout)
    assert [row["database"] for row in rows][:3] == ["lance"] * 3
    assert rows[0]["document_bytes"] == 4 * 32
    # The texts have 2, 2, 3 and 5 words, of which the last repeats one.
    assert rows[1]["document_bytes"] == pytest.approx(8 * (2 + 2 + 3 + 4) / 4)
    done = run("plan", "--tokens", 500)
    assert "t at most 100" in done.stdout
    assert "not measured" in done.stderr
    assert "defaults" in done.stdout


def test_the_options_of_a_search_are_on_every_command_that_searches(url: str, beir: Path) -> None:
    for command in ("search", "evaluate", "tune"):
        options = run(command, "--help").output
        assert all(f"--{name}" in options for name in ("weights", "candidates", "filter"))
    none = run("evaluate", url, beir, "--filter", "year > 2020", "--mode", "dense", "--json")
    assert json.loads(none.stdout)[0]["metrics"]["R@100"]["mean"] == 0


# --- plan --measure ------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> str:
    """Return the URL of an archive of twenty documents of three sentences."""
    encoder = HashEncoder()
    words = ["whale", "fox", "seal", "hen", "bear", "owl", "frog", "deer", "sea", "sky"]
    documents = [
        Document(
            f"d{i}", " ".join(f"{words[i % 10]} {w} {words[i // 3]} swims." for w in words[:4])
        )
        for i in range(20)
    ]
    url = f"archive:{tmp_path / 'saved'}"
    with open_store(url) as store:
        store.create(encoder.schema)
        store.upsert(documents, encoder.encode_documents([d.text for d in documents]))
    return url


def test_measure_with_judgements(saved: str, tmp_path: Path) -> None:
    queries, qrels, page = tmp_path / "q.tsv", tmp_path / "qrels.tsv", tmp_path / "page.html"
    queries.write_text("1\twhale fox swims\n2\tseal hen\n", encoding="utf-8")
    qrels.write_text("1\td0\t1\n2\td2\t1\n", encoding="utf-8")
    small = ("--colbert", "bits=1,pool=2", "--colbert", "bits=8,prune=1/3")
    args = ("plan", saved, "--measure", queries, "--qrels", qrels, *small)
    done = run(*args, "--json", "--html", page)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["documents"], report["questions"], report["judged"]) == (20, 2, True)
    assert [row["storage"] for row in report["storages"]] == [
        "bits=32",
        "bits=8,prune=1/3",
        "bits=1,pool=2",
    ]
    row = report["storages"][2]
    assert (row["bits"], row["pool"], row["prune"]) == (1, 2, 0)
    assert row["terabytes_100m"] == pytest.approx(100 * row["terabytes_1m"])
    quality = row["qualities"]["hybrid"]["nDCG@10"]
    low, high = quality["interval"]
    assert low <= quality["share"] <= high
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    table = run(*args)
    assert "bits=8,prune=1/3" in table.stdout
    assert "20 documents" in table.stdout


def test_measure_without_questions(saved: str) -> None:
    done = run("plan", saved, "--measure", "--colbert", "bits=1", "--sample", 15, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["documents"], report["available"], report["judged"]) == (15, 20, False)
    assert set(report["storages"][1]["qualities"]["colbert"]) == {"overlap@10", "rank correlation"}


def test_measure_a_file_of_documents(tmp_path: Path, beir: Path) -> None:
    documents = tmp_path / "documents.jsonl"
    rows = [json.dumps({"id": id, "text": text}) for id, text in TEXTS.items()]
    documents.write_text("\n".join(rows), encoding="utf-8")
    done = run("plan", documents, beir, "--measure", "--weights", "1,0,1", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["questions"] == 2
    documents.write_text("\n".join(rows).replace('"id"', '"key"'), encoding="utf-8")
    options = ("--measure", "--id-field", "key", "--json")
    given = run("plan", documents, beir / "queries.jsonl", *options)
    assert json.loads(given.stdout)["judged"] is False


def test_wrong_calls_of_measure(
    url: str, saved: str, tmp_path: Path, beir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*args: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("trivec.cli.models.load_encoder", loaded)
    with open_store("memory:/small") as store:
        store.create(HashEncoder().schema, colbert=ColbertStorage(bits=1))
    for args, message in (
        (("--measure",), "--measure needs a collection"),
        ((url, "--html", "x.html"), "--html: only with --measure"),
        ((url, beir), "a file of questions: only with --measure"),
        ((url, "--colbert", "bits=1"), "--colbert: only with --measure"),
        ((url, "--measure", "--id", "row"), "is no file, and options for files were given"),
        ((url, "--id", "row"), "options for files: only with --measure"),
        ((url, "--measure", "--tokens", 9), "not with --measure"),
        ((url, "--measure", "--colbert", "bits=3"), "bits=3"),
        ((url, "--measure", "--qrels", beir / "qrels" / "test.tsv"), "give the questions too"),
        ((url, "--measure", tmp_path / "nothing.jsonl"), "nothing.jsonl"),
        ((saved, "--measure", "--html", tmp_path / "saved" / "x.html"), "--html"),
        (("memory:/small", "--measure"), "what was left out is gone"),
    ):
        done = run("plan", *args)
        assert done.exit_code == 1, (args, done.output)
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
    with open_store("memory:/small") as store:
        store.drop()
