"""What the LlamaIndex tests share."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

from trivec import Store
from trivec.testing import HashEncoder
from trivec_llamaindex import TrivecVectorStore


def make_node(id: str, text: str, ref: str | None = None, **metadata: object) -> TextNode:
    relationships = {} if ref is None else {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=ref)}
    return TextNode(id_=id, text=text, metadata=metadata, relationships=relationships)


@pytest.fixture
def vector_store(
    store: Store, encoder: HashEncoder, fields: Mapping[str, type]
) -> TrivecVectorStore:
    """Return an empty vector store over a fresh collection."""
    return TrivecVectorStore(store, encoder, fields=fields)


@pytest.fixture
def nodes() -> list[TextNode]:
    """Return five nodes "0" to "4" of the documents "sea" and "wood"."""
    return [
        make_node("0", "Blue whales live in the sea.", "sea", kind="sea", n=0),
        make_node("1", "Foxes live in the wood.", "wood", kind="land", n=1),
        make_node("2", "Grey seals rest on the shore.", "sea", kind="sea", n=2),
        make_node("3", "The red fox hunts at night.", "wood", kind="land", n=3),
        make_node("4", "A whale song carries far.", None, kind="sea", n=4),
    ]


@pytest.fixture
def filled(vector_store: TrivecVectorStore, nodes: list[TextNode]) -> TrivecVectorStore:
    """Return a vector store that holds the nodes."""
    vector_store.add(nodes)
    return vector_store
