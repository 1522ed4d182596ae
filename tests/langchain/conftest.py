"""What the LangChain tests share."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from trivec import Store
from trivec.testing import HashEncoder
from trivec_langchain import TrivecVectorStore

TEXTS = [
    "Blue whales live in the sea.",
    "Foxes live in the wood.",
    "Grey seals rest on the shore.",
    "The red fox hunts at night.",
    "A whale song carries far.",
]


@pytest.fixture
def vectorstore(
    store: Store, encoder: HashEncoder, fields: Mapping[str, type]
) -> TrivecVectorStore:
    """Return an empty vector store over a fresh collection."""
    return TrivecVectorStore(store, encoder, fields=fields)


@pytest.fixture
def filled(vectorstore: TrivecVectorStore) -> TrivecVectorStore:
    """Return a vector store that holds TEXTS as "0" to "4", with metadata."""
    vectorstore.add_texts(
        TEXTS,
        [{"n": i, "kind": "sea" if i in (0, 2, 4) else "land"} for i in range(len(TEXTS))],
        ids=[str(i) for i in range(len(TEXTS))],
    )
    return vectorstore
