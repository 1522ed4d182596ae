"""One collection, two frameworks and the store itself: what one writes, the others read."""

from __future__ import annotations

import subprocess
import sys

import pytest
from langchain_core.documents import Document as LangChainDocument
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from trivec import Document, F, Store
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


def test_what_langchain_writes_llamaindex_reads(store: Store, encoder: HashEncoder) -> None:
    LangChainStore(store, encoder).add_texts(
        ["A whale song.", "A fox."], [{"kind": "sea", "x": [1]}, {"kind": "land"}], ids=["a", "b"]
    )
    answer = LlamaIndexStore(store, encoder).query(QUERY)
    assert answer.nodes == [
        TextNode(id_="a", text="A whale song.", metadata={"kind": "sea", "x": [1]})
    ]


def test_what_llamaindex_writes_langchain_reads(store: Store, encoder: HashEncoder) -> None:
    node = TextNode(
        id_="a",
        text="A whale song.",
        metadata={"kind": "sea", "x": [1]},
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc")},
    )
    LlamaIndexStore(store, encoder).add([node])
    langchain = LangChainStore(store, encoder)
    expected = LangChainDocument("A whale song.", id="a", metadata={"kind": "sea", "x": [1]})
    assert langchain.similarity_search("whale song", filter=F("kind") == "sea") == [expected]
    assert langchain.get_by_ids(["a"]) == [expected]


def test_both_find_the_same_with_the_same_scores_as_the_store(
    store: Store, encoder: HashEncoder
) -> None:
    langchain, llamaindex = LangChainStore(store, encoder), LlamaIndexStore(store, encoder)
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


@pytest.mark.parametrize(
    ("package", "banned"),
    [
        ("trivec_langchain", ["llama_index", "langchain_qdrant", "langchain_milvus"]),
        ("trivec_llamaindex", ["langchain_core", "langchain"]),
    ],
)
def test_a_package_imports_its_framework_only(package: str, banned: list[str]) -> None:
    names = [*banned, "torch", "transformers", "qdrant_client", "pymilvus", "vespa"]
    code = f"import sys, {package}; print([n for n in {names!r} if n in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert found.stdout.strip() == "[]"
