"""Which model a command takes for a collection, and what it checks before the model loads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from trivec import Document, open_store
from trivec.cli.app import app
from trivec.encoders.variants import model_name
from trivec.testing import HashEncoder

OWN = "maker/model-a"
COMMANDS = ("ingest", "search", "explain", "evaluate", "tune")


class NamedEncoder(HashEncoder):
    def __init__(self, model: str) -> None:
        super().__init__()
        self.schema = replace(self.schema, model=model)


@pytest.fixture(autouse=True)
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Load no model, and return the names of those that would have been loaded."""
    names: list[str] = []

    def load(
        model: str,
        device: str,
        precision: str,
        name: str | None = None,
        max_length: int | None = None,
    ) -> HashEncoder:
        names.append(model)
        return NamedEncoder(name or model_name(model))

    monkeypatch.setattr("trivec.cli.models.load_encoder", load)
    return names


def _collection(url: str, model: str) -> None:
    encoder = NamedEncoder(model)
    with open_store(url) as store:
        store.create(encoder.schema, fields={"n": int})
        texts = ["blue whale", "red fox", "a whale song", "the hen"]
        documents = [Document(str(i), text, {"n": i}) for i, text in enumerate(texts)]
        store.upsert(documents, encoder.encode_documents(texts))


@pytest.fixture
def url() -> Iterator[str]:
    url = "memory:/models"
    _collection(url, OWN)
    yield url
    with open_store(url) as store:
        store.drop()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder with rows.jsonl, and with judgements in BEIR's layout."""
    (tmp_path / "qrels").mkdir()
    queries = {str(i): "whale song" for i in range(4)}
    rows = [json.dumps({"_id": one, "text": text}) for one, text in queries.items()]
    (tmp_path / "queries.jsonl").write_text("\n".join(rows), encoding="utf-8")
    judgements = "query-id\tcorpus-id\tscore\n" + "".join(f"{one}\t2\t1\n" for one in queries)
    (tmp_path / "qrels" / "test.tsv").write_text(judgements, encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text('{"id": "9", "text": "new"}\n', encoding="utf-8")
    return tmp_path


def run(command: str, url: str, data: Path, *options: object) -> Result:
    arguments = {
        "ingest": (data / "rows.jsonl", url),
        "search": (url, "whale"),
        "explain": (url, "whale", "0"),
        "evaluate": (url, data),
        "tune": (url, data),
    }[command]
    every = (command, *arguments, *options, *(() if command == "ingest" else ("--json",)))
    return CliRunner().invoke(app, [str(arg) for arg in every])


@pytest.mark.parametrize("command", COMMANDS)
def test_the_collections_own_model_is_taken(
    command: str, url: str, data: Path, loaded: list[str]
) -> None:
    done = run(command, url, data)
    assert (done.exit_code, loaded) == (0, [OWN]), done.output


@pytest.mark.parametrize("command", COMMANDS)
def test_another_model_is_told_before_it_loads(
    command: str, url: str, data: Path, loaded: list[str], tmp_path: Path
) -> None:
    (tmp_path / "model-b").mkdir()
    for options, other in (
        (("--model", "maker/model-b"), "maker/model-b"),
        (("--model", "another/model-a"), "another/model-a"),
        (("--model", tmp_path / "model-b"), "model-b"),
        (("--model", "demo"), "demo-model-"),
        (("--model", OWN, "--model-name", "maker/model-b"), "maker/model-b"),
    ):
        done = run(command, url, data, *options)
        assert (done.exit_code, loaded, done.stdout) == (1, [], "")
        assert f"the vectors of '{OWN}', and '{other}" in done.stderr
        assert "--model-name" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_of_the_same_model(
    command: str, url: str, data: Path, loaded: list[str], tmp_path: Path
) -> None:
    paths = ["model-a", "models--maker--model-a/snapshots/0123abc", "my-copy"]
    for path in paths:
        (tmp_path / path).mkdir(parents=True)
    for path in paths[:2]:
        done = run(command, url, data, "--model", tmp_path / path)
        assert done.exit_code == 0, done.output
    copy = tmp_path / "my-copy"
    assert run(command, url, data, "--model", copy).exit_code == 1
    done = run(command, url, data, "--model", copy, "--model-name", OWN)
    assert done.exit_code == 0, done.output
    assert loaded == [str(tmp_path / path) for path in paths]
    with open_store(url) as store:
        assert store.schema.model == OWN


@pytest.mark.parametrize("command", COMMANDS)
def test_options_in_the_name_of_a_model(
    command: str, data: Path, loaded: list[str], tmp_path: Path
) -> None:
    name = "model-a?heads=BAAI/bge-m3&truncate_dim=256"
    _collection("memory:/variant", name)
    assert run(command, "memory:/variant", data).exit_code == 0
    (tmp_path / "model-a").mkdir()
    folder = f"{tmp_path}/{name}"
    assert run(command, "memory:/variant", data, "--model", folder).exit_code == 0
    assert loaded == [name, folder]
    for other in ("model-a", "model-a?heads=BAAI/bge-m3", "model-a?dim=256"):
        done = run(command, "memory:/variant", data, "--model", other)
        assert (done.exit_code, len(loaded)) == (1, 2), done.output
    with open_store("memory:/variant") as store:
        store.drop()


def test_a_dimension_that_may_be_the_models_own(url: str, data: Path, loaded: list[str]) -> None:
    dense = HashEncoder().schema.dense
    assert run("search", url, data, "--model", f"{OWN}?truncate_dim={dense}").exit_code == 1
    assert len(loaded) == 1  # the double keeps the option in its name; a checkpoint decides
    assert run("search", url, data, "--model", f"{OWN}?truncate_dim=8").exit_code == 1
    assert len(loaded) == 1


def test_the_length_of_texts_reaches_the_model(
    url: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[object] = []

    def load(*args: object) -> HashEncoder:
        lengths.append(args[4])
        return NamedEncoder(OWN)

    monkeypatch.setattr("trivec.cli.models.load_encoder", load)
    for command in COMMANDS:
        assert run(command, url, data, "--max-length", "512").exit_code == 0
    assert lengths == [512] * len(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_collection_that_does_not_name_its_model(
    command: str, data: Path, loaded: list[str]
) -> None:
    _collection("memory:/nameless", "")
    done = run(command, "memory:/nameless", data)
    assert (done.exit_code, loaded) == (0, ["BAAI/bge-m3"])
    assert "does not say which model made its vectors; BAAI/bge-m3 is taken" in done.stderr
    assert run(command, "memory:/nameless", data, "--model", "maker/other").exit_code == 0
    with open_store("memory:/nameless") as store:
        store.drop()


def test_a_model_that_turns_out_to_be_another_one(
    url: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trivec.cli.models.load_encoder", lambda *args: HashEncoder())
    for command in COMMANDS[1:]:
        done = run(command, url, data)
        assert (done.exit_code, "'hash' makes others" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("command", "options", "problem"),
    [
        ("search", ("--mode", "nonsense"), "mode='nonsense'"),
        ("search", ("--weights", "1,2"), "weights '1,2'"),
        ("search", ("-k", 0), "k=0"),
        ("search", ("--candidates", 0), "candidates=0"),
        ("search", ("--filter", "n >="), "n >="),
        ("search", ("--filter", 'n == "x"'), "'n'"),
        ("explain", ("--weights", "1,2"), "weights '1,2'"),
        ("evaluate", ("--mode", "nonsense"), "mode='nonsense'"),
        ("evaluate", ("--reference", "nonsense"), "mode='nonsense'"),
        ("evaluate", ("--weights", "1,2"), "weights '1,2'"),
        ("evaluate", ("-k", 0), "k=0"),
        ("evaluate", ("--candidates", 0), "candidates=0"),
        ("evaluate", ("--filter", "n >="), "n >="),
        ("evaluate", ("--metric", "nonsense"), "nonsense"),
        ("tune", ("--weights", "1,2"), "weights '1,2'"),
        ("tune", ("--candidates", 0), "candidates=0"),
        ("tune", ("--filter", "n >="), "n >="),
        ("tune", ("--metric", "nonsense"), "nonsense"),
    ],
)
def test_wrong_options_are_told_before_a_model_loads(
    command: str, options: tuple[object, ...], problem: str, url: str, data: Path, loaded: list[str]
) -> None:
    done = run(command, url, data, *options)
    assert (done.exit_code, loaded, done.stdout) == (1, [], "")
    assert problem in done.stderr


def test_a_mode_that_the_collection_lacks_is_told_before_a_model_loads(
    data: Path, loaded: list[str]
) -> None:
    with open_store("memory:/dense-only") as store:
        store.create(replace(HashEncoder().schema, colbert=None))
        for command in ("search", "evaluate"):
            done = run(command, "memory:/dense-only", data, "--mode", "colbert")
            assert (done.exit_code, loaded) == (1, [])
            assert "'dense-only' lacks this part" in done.stderr
        store.drop()
