"""The framework classes and the command line with an encoder on a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_http import HostileServer
from langchain_core.documents import Document as LangChainDocument
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import VectorStoreQuery
from scripted_encoder import remote, scripted_encoder
from typer.testing import CliRunner, Result

from trivec import Document, open_store
from trivec.cli.app import app
from trivec.encoders import RemoteEncoder
from trivec.testing import HashEncoder
from trivec_langchain import TrivecVectorStore as LangChainStore
from trivec_llamaindex import TrivecVectorStore as LlamaIndexStore

TEXTS = ["blue whale", "red fox", "the hen"]


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with scripted_encoder() as server:
        yield server


@pytest.fixture
def encoder(server: HostileServer) -> Iterator[RemoteEncoder]:
    with remote(server) as encoder:
        yield encoder


async def test_langchain(encoder: RemoteEncoder) -> None:
    with open_store("memory:/remote-langchain") as store:
        vector_store = LangChainStore(store, encoder)
        await vector_store.aadd_documents([LangChainDocument(text) for text in TEXTS])
        [best] = await vector_store.asimilarity_search("whale", k=1)
        assert best.page_content == "blue whale"
        assert vector_store.similarity_search("whale", k=1) == [best]
        store.drop()
    await encoder.aclose()


async def test_llamaindex(encoder: RemoteEncoder) -> None:
    with open_store("memory:/remote-llama") as store:
        vector_store = LlamaIndexStore(store, encoder)
        nodes = [TextNode(text=text, id_=str(row)) for row, text in enumerate(TEXTS)]
        await vector_store.async_add(nodes)
        question = VectorStoreQuery(query_str="whale", similarity_top_k=1)
        assert vector_store.query(question).ids == ["0"]
        assert (await vector_store.aquery(question)).ids == ["0"]
        store.drop()
    await encoder.aclose()


@pytest.fixture
def url() -> Iterator[str]:
    url = "memory:/remote-cli"
    with open_store(url) as store:
        store.create(HashEncoder().schema)
        documents = [Document(str(row), text) for row, text in enumerate(TEXTS)]
        store.upsert(documents, HashEncoder().encode_documents(TEXTS))
        yield url
        store.drop()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_commands_take_a_url(server: HostileServer, url: str, tmp_path: Path) -> None:
    model = ("--model", f"trivec://127.0.0.1:{server.port}")
    found = run("search", url, "whale", *model, "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)[0]["document"]["id"] == "0"
    explained = run("explain", url, "whale", "0", *model, "--json")
    assert explained.exit_code == 0, explained.output
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"id": "9", "text": "a grey seal"}\n', encoding="utf-8")
    written = run("ingest", rows, url, *model, "--json")
    assert written.exit_code == 0, written.output
    assert json.loads(written.stdout)["documents"] == 1
    encoded = run("encode", rows, "-o", tmp_path / "a.safetensors", *model)
    assert encoded.exit_code == 0, encoded.output


def test_what_does_not_fit_a_url_is_refused(server: HostileServer, url: str) -> None:
    model = ("--model", f"trivec://127.0.0.1:{server.port}")
    refused = run("search", url, "whale", *model, "--precision", "int8")
    assert refused.exit_code == 1
    assert "--precision int8 is for a model in this process" in refused.stderr
    with open_store("memory:/remote-cli-other") as other:
        other.create(HashEncoder(dense=32).schema.__class__(32, True, 16, "maker/other"))
        refused = run("search", "memory:/remote-cli-other", "whale", *model)
        other.drop()
    assert refused.exit_code == 1
    assert "maker/other" in refused.stderr
    server.close()
    refused = run("search", url, "whale", *model)
    assert refused.exit_code == 1
    assert "no server answers there" in refused.stderr
