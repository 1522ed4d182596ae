"""LangChain's indexing API: every key encoder with every way to clean up."""

from __future__ import annotations

from typing import Literal

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import IndexingResult, InMemoryRecordManager, aindex, index

from trivec import Store
from trivec_langchain import TrivecVectorStore

KeyEncoder = Literal["sha1", "sha256", "sha512", "blake2b"]
Cleanup = Literal["incremental", "full", "scoped_full"] | None

# LangChain warns that SHA-1, its default, is no protection against an attacker.
pytestmark = pytest.mark.filterwarnings("ignore:Using SHA-1:UserWarning")

FIRST = [Document(f"text {i}", metadata={"source": "ab"[i % 2]}) for i in range(6)]
# From source "a" one text changed and one is gone; "b" does not come again.
SECOND = [
    Document("text 0", metadata={"source": "a"}),
    Document("text 2, changed", metadata={"source": "a"}),
]
LEFT = {None: 7, "incremental": 5, "scoped_full": 5, "full": 2}
"""How many documents are left after both."""


@pytest.fixture
def store(every_store: Store) -> Store:
    return every_store


@pytest.mark.parametrize("cleanup", [None, "incremental", "full", "scoped_full"])
@pytest.mark.parametrize("key_encoder", ["sha1", "sha256", "sha512", "blake2b"])
def test_index(vectorstore: TrivecVectorStore, key_encoder: KeyEncoder, cleanup: Cleanup) -> None:
    manager = InMemoryRecordManager("test")
    manager.create_schema()

    def run(documents: list[Document]) -> IndexingResult:
        return index(
            documents,
            manager,
            vectorstore,
            cleanup=cleanup,
            source_id_key="source",
            key_encoder=key_encoder,
        )

    assert run(FIRST)["num_added"] == 6
    assert run(FIRST)["num_skipped"] == 6
    again = run(SECOND)
    assert (again["num_added"], again["num_skipped"]) == (1, 1)
    assert vectorstore.store.count() == LEFT[cleanup]
    texts = {d.page_content for d in vectorstore.similarity_search("text", k=10)}
    assert "text 2, changed" in texts
    assert ("text 2" in texts) == (cleanup is None)
    found = vectorstore.similarity_search("text 2, changed", k=1)[0]
    assert found.metadata == {"source": "a"}


@pytest.mark.parametrize(
    ("key_encoder", "cleanup"),
    [("sha1", None), ("sha256", "incremental"), ("sha512", "full"), ("blake2b", "scoped_full")],
)
async def test_aindex(
    vectorstore: TrivecVectorStore, key_encoder: KeyEncoder, cleanup: Cleanup
) -> None:
    manager = InMemoryRecordManager("test")
    await manager.acreate_schema()
    for documents in (FIRST, SECOND):
        await aindex(
            documents,
            manager,
            vectorstore,
            cleanup=cleanup,
            source_id_key="source",
            key_encoder=key_encoder,
        )
    assert await vectorstore.store.acount() == LEFT[cleanup]
