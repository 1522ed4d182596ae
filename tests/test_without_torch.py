"""What a Python with only a database's extra does: encoders are on a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from hostile_http import HostileServer
from measured import best, measured
from scripted_encoder import scripted_encoder

BLOCKED = """
import sys
from importlib.abc import MetaPathFinder

MISSING = {"torch", "transformers", "tokenizers", "huggingface_hub", "starlette", "pyarrow"}

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
"""
"""What a Python without other extras is like."""

COMMANDS = """
from trivec.cli import main

def trivec(*arguments):
    sys.argv = ["trivec", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code
"""


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with scripted_encoder() as server:
        yield server


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    texts = {"0": "blue whale", "1": "red fox", "2": "the hen"}
    lines = [json.dumps({"id": id, "text": text}) for id, text in texts.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def python(*parts: str) -> subprocess.CompletedProcess[str]:
    """Run a program, given in parts, in a Python that lacks the packages."""
    code = "\n".join([BLOCKED, *(dedent(part) for part in parts)])
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)


def test_the_commands_work_with_an_encoder_on_a_server(
    server: HostileServer, rows: Path, tmp_path: Path
) -> None:
    collection = f"qdrant+edge:{tmp_path}/animals"
    model = f"trivec://127.0.0.1:{server.port}"
    queries, qrels = tmp_path / "queries.tsv", tmp_path / "qrels.tsv"
    queries.write_text("q\twhale\n", encoding="utf-8")
    qrels.write_text("q\t0\t1\n", encoding="utf-8")
    commands = [
        ["ingest", str(rows), collection],
        ["search", collection, "whale"],
        ["explain", collection, "whale", "0"],
        ["evaluate", collection, str(queries), "--qrels", str(qrels), "--metric", "RR"],
    ]
    done = python(
        COMMANDS,
        f"""
        for command in {commands!r}:
            assert not trivec(*command, "--model", {model!r}, "--json"), command
        assert not MISSING & set(sys.modules)
        """,
    )
    assert done.returncode == 0, done.stderr
    ingested, hits, explained, evaluated = [json.loads(line) for line in done.stdout.splitlines()]
    assert ingested["documents"] == 3
    assert hits[0]["document"]["text"] == "blue whale"
    assert [match["text"] for match in explained["lexical"]] == ["whale"]
    assert evaluated


@pytest.mark.parametrize(
    ("framework", "code"),
    [
        (
            "trivec_langchain",
            """
            from langchain_core.documents import Document
            from trivec_langchain import TrivecEmbeddings, TrivecVectorStore

            with open_store("memory:/a") as store:
                vectors = TrivecVectorStore(store, encoder)
                vectors.add_documents([Document("blue whale"), Document("red fox")])
                [best] = vectors.similarity_search("whale", k=1)
                [same] = vectors.as_retriever(search_kwargs={"k": 1}).invoke("whale")
            assert best.page_content == same.page_content == "blue whale"
            assert TrivecEmbeddings(encoder=encoder).embed_query("whale")
            """,
        ),
        (
            "trivec_llamaindex",
            """
            from llama_index.core.schema import TextNode
            from llama_index.core.vector_stores import VectorStoreQuery
            from trivec_llamaindex import TrivecEmbedding, TrivecVectorStore

            with open_store("memory:/a") as store:
                vectors = TrivecVectorStore(store, encoder)
                vectors.add([TextNode(text="blue whale", id_="0"), TextNode(text="hen", id_="1")])
                query = VectorStoreQuery(query_str="whale", similarity_top_k=1)
                assert vectors.query(query).ids == ["0"]
            assert TrivecEmbedding(encoder=encoder).get_query_embedding("whale")
            """,
        ),
    ],
    ids=["langchain", "llamaindex"],
)
def test_the_frameworks_work_with_an_encoder_on_a_server(
    server: HostileServer, framework: str, code: str
) -> None:
    done = python(
        f"""
        from trivec import open_encoder, open_store

        encoder = open_encoder("trivec://127.0.0.1:{server.port}")
        """,
        code,
        f"""
        encoder.close()
        assert {framework!r} in sys.modules
        assert not MISSING & set(sys.modules)
        """,
    )
    assert done.returncode == 0, done.stderr


def test_an_encoder_in_this_process_says_what_to_install(rows: Path, tmp_path: Path) -> None:
    collection = f"qdrant+edge:{tmp_path}/animals"
    done = python(
        COMMANDS,
        f"""
        import trivec as package
        from trivec.testing import HashEncoder

        for load in (package.Encoder.load, package.open_encoder, package.Reranker.load):
            try:
                load("BAAI/bge-m3")
            except package.TrivecError as error:
                print(type(error).__name__, error)
        with package.open_store({collection!r}) as store:
            store.create(HashEncoder().schema)
        assert trivec("search", {collection!r}, "whale") == 1
        assert trivec("search", {collection!r}, "whale", "--model", "hash") == 1
        assert trivec("serve") == trivec("serve", "demo") == 1
        assert trivec("serve", "trivec://127.0.0.1:1") == 1
        """,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for line, what in zip(lines, ("Encoder.load", "Encoder.load", "Reranker.load"), strict=True):
        assert line.startswith(f"MissingDependencyError {what} needs torch, transformers, ")
        assert "pip install 'trivec[torch]'" in line
    *searches, serve, demo, remote = done.stderr.splitlines()
    for error in searches:
        assert error.startswith("error: Encoder.load needs torch, ")
        assert "pip install 'trivec[torch]'" in error
    for error in (serve, demo):
        assert error.startswith("error: trivec serve needs a package that is not installed")
        assert error.endswith("pip install 'trivec[torch,serve]'")
    assert remote.endswith("pip install 'trivec[serve]'")


def test_a_search_is_quick_and_small(server: HostileServer, rows: Path, tmp_path: Path) -> None:
    """Over a server: 0.5 s and 110 MB where nothing else runs."""
    collection = f"qdrant+edge:{tmp_path}/animals"
    model = ["--model", f"trivec://127.0.0.1:{server.port}"]
    trivec = [sys.executable, "-c", "from trivec.cli import main; main()"]
    # As pip installs it, with byte code.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path / "byte_code")}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    first = measured([*trivec, "ingest", str(rows), collection, *model], tmp_path, environment)
    assert first.status == 0, first.stderr
    search = [*trivec, "search", collection, "whale", *model, "--json"]
    runs = [measured(search, tmp_path, environment) for _ in range(4)]
    assert [run.status for run in runs] == [0] * 4, runs
    assert json.loads(runs[-1].stdout)[0]["document"]["text"] == "blue whale"
    assert best(runs).seconds < 1.5
    assert max(run.megabytes for run in runs) < 200
