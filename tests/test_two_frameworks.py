"""One collection, two frameworks and the command line: what one writes, the others read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document as LangChainDocument
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from typer.testing import CliRunner

from trivec import Document, F, Store, open_store
from trivec.cli.app import app
from trivec.document import public_metadata
from trivec.testing import HashEncoder
from trivec_langchain import TrivecVectorStore as LangChainStore
from trivec_llamaindex import TrivecVectorStore as LlamaIndexStore

QUERY = VectorStoreQuery(
    query_str="whale song",
    similarity_top_k=5,
    mode=VectorStoreQueryMode.HYBRID,
    filters=MetadataFilters(filters=[MetadataFilter(key="kind", value="sea")]),
)


@pytest.fixture
def store(every_store: Store) -> Store:
    return every_store


@pytest.fixture
def langchain(store: Store, encoder: HashEncoder, fields: Mapping[str, type]) -> LangChainStore:
    return LangChainStore(store, encoder, fields=fields)


@pytest.fixture
def llamaindex(store: Store, encoder: HashEncoder, fields: Mapping[str, type]) -> LlamaIndexStore:
    return LlamaIndexStore(store, encoder, fields=fields)


def make_node(id: str, text: str, metadata: dict[str, Any]) -> TextNode:
    source = RelatedNodeInfo(node_id="doc")
    return TextNode(
        id_=id, text=text, metadata=metadata, relationships={NodeRelationship.SOURCE: source}
    )


def test_what_langchain_writes_llamaindex_reads_and_deletes(
    langchain: LangChainStore, llamaindex: LlamaIndexStore
) -> None:
    langchain.add_texts(
        ["A whale song.", "A fox."], [{"kind": "sea", "x": [1]}, {"kind": "land"}], ids=["a", "b"]
    )
    node = TextNode(id_="a", text="A whale song.", metadata={"kind": "sea", "x": [1]})
    assert llamaindex.query(QUERY).nodes == [node]
    assert llamaindex.get_nodes(["a"]) == [node]
    llamaindex.add([make_node("c", "A seal.", {})])
    llamaindex.delete("doc")
    llamaindex.delete_nodes(filters=QUERY.filters)
    assert [document.id for document in langchain.similarity_search("whale")] == ["b"]


def test_what_llamaindex_writes_langchain_reads_and_deletes(
    langchain: LangChainStore, llamaindex: LlamaIndexStore
) -> None:
    llamaindex.add([make_node("a", "A whale song.", {"kind": "sea", "x": [1]})])
    expected = LangChainDocument("A whale song.", id="a", metadata={"kind": "sea", "x": [1]})
    assert langchain.similarity_search("whale song", filter=F("kind") == "sea") == [expected]
    assert langchain.get_by_ids(["a"]) == [expected]
    assert langchain.delete(filter={"kind": "sea"})
    assert llamaindex.get_nodes() == []


def test_both_find_the_same_with_the_same_scores_as_the_store(
    langchain: LangChainStore, llamaindex: LlamaIndexStore, store: Store, encoder: HashEncoder
) -> None:
    langchain.add_texts(["A whale song.", "A seal."], [{"kind": "sea"}] * 2, ids=["a", "b"])
    llamaindex.add([TextNode(id_="c", text="A blue whale.", metadata={"kind": "sea"})])
    vectors = encoder.encode_documents(["The whale fall."])
    store.upsert([Document("d", "The whale fall.", {"kind": "sea"})], vectors)
    hits = store.search(encoder.encode_query("whale song"), k=5, filter=F("kind") == "sea")
    assert len(hits) == 4
    found = langchain.similarity_search_with_score("whale song", k=5, filter={"kind": "sea"})
    assert [d.id for d, _ in found] == [hit.document.id for hit in hits]
    assert [score for _, score in found] == pytest.approx([hit.score for hit in hits])
    answer = llamaindex.query(QUERY)
    assert answer.ids == [hit.document.id for hit in hits]
    assert answer.similarities == pytest.approx([hit.score for hit in hits])
    assert {str(public_metadata(hit.document)) for hit in hits} == {"{'kind': 'sea'}"}


# --- the command line --------------------------------------------------------------------------


@pytest.fixture(params=["memory:/two_frameworks", "qdrant+edge:{folder}/two_frameworks"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Yield the address of a collection, for a command line that needs no model."""
    monkeypatch.setattr("trivec.cli.models.load_encoder", lambda *args: HashEncoder())
    url = request.param.format(folder=tmp_path)
    yield url
    with open_store(url) as store:
        store.drop()


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_what_the_frameworks_write_the_command_line_finds(url: str, encoder: HashEncoder) -> None:
    with open_store(url) as store:
        LangChainStore(store, encoder).add_texts(["A whale song."], [{"kind": "sea"}], ids=["a"])
        LlamaIndexStore(store, encoder).add(
            [
                make_node("b", "A blue whale song.", {"kind": "sea"}),
                make_node("c", "A whale song on land.", {"kind": "land"}),
            ]
        )
    hits = json.loads(run("search", url, "whale song", "--filter", 'kind == "sea"', "--json"))
    found = {hit["document"]["id"]: hit["document"] for hit in hits}
    assert {id: document["text"] for id, document in found.items()} == {
        "a": "A whale song.",
        "b": "A blue whale song.",
    }
    assert found["a"]["metadata"] == {"kind": "sea"}


def test_what_the_command_line_writes_the_frameworks_find(
    url: str, encoder: HashEncoder, tmp_path: Path
) -> None:
    rows = [
        {"id": "a", "text": "A whale song.", "kind": "sea"},
        {"id": "b", "text": "A whale song on land.", "kind": "land"},
    ]
    source = tmp_path / "rows.jsonl"
    source.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    run("ingest", source, url, "--field", "kind:str")
    with open_store(url) as store:
        langchain = LangChainStore(store, encoder)
        assert langchain.similarity_search("whale song", filter={"kind": "sea"}) == [
            LangChainDocument("A whale song.", id="a", metadata={"kind": "sea"})
        ]
        assert LlamaIndexStore(store, encoder).query(QUERY).nodes == [
            TextNode(id_="a", text="A whale song.", metadata={"kind": "sea"})
        ]
