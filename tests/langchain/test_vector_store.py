"""What LangChain users rely on, beyond the standard tests, on every store."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from trivec import F, Store, Weights
from trivec.errors import InvalidDocumentError, InvalidFilterError, InvalidOptionError
from trivec.search import Mode
from trivec.testing import HashEncoder
from trivec_langchain import TrivecEmbeddings, TrivecRetriever, TrivecVectorStore

MODES: list[Mode] = ["dense", "sparse", "colbert", "hybrid", "rrf"]


@pytest.fixture
def store(every_store: Store) -> Store:
    return every_store


def ids(documents: list[Document]) -> list[str | None]:
    return [document.id for document in documents]


# --- documents ---------------------------------------------------------------------------------


def test_metadata_comes_back_unchanged(vectorstore: TrivecVectorStore) -> None:
    metadata: dict[str, Any] = {
        "_id": "mine",
        "pk": 7,
        "text": "not the text",
        "score": 0.5,
        "nested": {"list": [1, 2.5, "x", None, True], "empty": {}},
        "none": None,
    }
    [id] = vectorstore.add_documents([Document("blue whale", metadata=metadata)])
    for found in (
        vectorstore.get_by_ids([id])[0],
        vectorstore.similarity_search("whale")[0],
        vectorstore.max_marginal_relevance_search("whale")[0],
    ):
        assert found == Document("blue whale", metadata=metadata, id=id)


def test_keys_that_differ_from_document_to_document_are_kept(
    vectorstore: TrivecVectorStore,
) -> None:
    vectorstore.add_texts(["one"], [{"a": 1}], ids=["1"])
    vectorstore.add_texts(["two", "three"], [{"b": 2}, {}], ids=["2", "3"])
    found = vectorstore.get_by_ids(["1", "2", "3"])
    assert [document.metadata for document in found] == [{"a": 1}, {"b": 2}, {}]


@pytest.mark.parametrize(
    "id", ["1", "a b/c?d=e#f", "北京 🐋", "f" * 128, "x" * 512, 'it\'s "x" \\']
)
def test_any_string_is_an_id(vectorstore: TrivecVectorStore, id: str) -> None:
    assert vectorstore.add_texts(["blue whale"], ids=[id]) == [id]
    assert ids(vectorstore.get_by_ids([id])) == [id]
    assert ids(vectorstore.similarity_search("whale")) == [id]
    assert vectorstore.delete([id])
    assert vectorstore.get_by_ids([id]) == []


def test_deleting_by_filter_and_all(filled: TrivecVectorStore) -> None:
    assert filled.delete(filter={"kind": "sea"})
    assert sorted(d.id or "" for d in filled.get_by_ids(list("01234"))) == ["1", "3"]
    assert filled.delete(delete_all=True)
    assert filled.store.count() == 0
    filled.add_texts(["again"], ids=["x"])
    assert filled.store.count() == 1


async def test_deleting_asynchronously(filled: TrivecVectorStore) -> None:
    assert await filled.adelete(["0"])
    assert await filled.adelete(filter=F("kind") == "sea")
    assert await filled.store.acount() == 2
    assert await filled.adelete(delete_all=True)
    assert await filled.store.acount() == 0
    with pytest.raises(InvalidOptionError, match="exactly one"):
        await filled.adelete()


# --- search ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_every_mode_is_the_stores_own(
    filled: TrivecVectorStore, encoder: HashEncoder, mode: Mode
) -> None:
    question = "whales in the sea"
    expected = filled.store.search(
        encoder.encode_query(question), k=3, mode=mode, filter=F("n") != 4, weights=Weights(1, 1, 0)
    )
    options: Any = {"mode": mode, "filter": {"n": {"$ne": 4}}, "weights": Weights(1, 1, 0)}
    scored = filled.similarity_search_with_score(question, 3, **options)
    assert ids([d for d, _ in scored]) == [hit.document.id for hit in expected]
    assert [s for _, s in scored] == pytest.approx([hit.score for hit in expected])
    assert scored == await filled.asimilarity_search_with_score(question, 3, **options)
    assert filled.similarity_search(question, 3, **options) == [d for d, _ in scored]
    assert await filled.asimilarity_search(question, 3, **options) == [d for d, _ in scored]
    assert [hit.document.id for hit in filled.search_hits([question], 3, **options)[0]] == [
        d.id for d, _ in scored
    ]


def test_all_hits_are_had_however_many(vectorstore: TrivecVectorStore) -> None:
    vectorstore.add_texts([f"whale number {i}" for i in range(130)])
    for mode in MODES:
        found = vectorstore.similarity_search("whale", k=120, mode=mode)
        assert len({d.id for d in found}) == 120, mode


@pytest.mark.parametrize("text", ["", " ", "?!…", "​"])
def test_a_text_without_words_is_stored_and_asked(
    vectorstore: TrivecVectorStore, text: str
) -> None:
    vectorstore.add_texts([text, "blue whale"], ids=["empty", "whale"])
    assert [d.page_content for d in vectorstore.get_by_ids(["empty"])] == [text]
    assert len(vectorstore.similarity_search(text, mode="dense")) == 2
    assert len(vectorstore.similarity_search(text, mode="hybrid")) == 2
    assert vectorstore.similarity_search(text, mode="sparse") == []
    assert ids(vectorstore.similarity_search("whale", mode="sparse")) == ["whale"]


@pytest.mark.parametrize("value", ["a' or 1==1 or '", 'a" or true or "b', "x\\", "@x", "%_", "{x}"])
def test_values_are_never_read_as_part_of_a_query(
    vectorstore: TrivecVectorStore, value: str
) -> None:
    vectorstore.add_texts(["one", "two"], [{"tag": value}, {"tag": "other"}], ids=["1", "2"])
    assert ids(vectorstore.similarity_search("one", filter={"tag": value})) == ["1"]
    assert ids(vectorstore.similarity_search("one", filter={"tag": {"$ne": value}})) == ["2"]


# --- diversity and relevance -------------------------------------------------------------------

ALIKE = ["whale sea", "whale song", "whale song sea", "fox whale", "fox den"]


def test_lambda_1_is_nearest_and_0_is_most_different_as_in_langchains_own_store(
    vectorstore: TrivecVectorStore, encoder: HashEncoder
) -> None:
    vectorstore.add_texts(ALIKE, ids=[str(i) for i in range(5)])
    own = InMemoryVectorStore(TrivecEmbeddings(encoder))
    own.add_texts(ALIKE, ids=[str(i) for i in range(5)])
    for lambda_mult in (0.0, 0.3, 0.5, 0.8, 1.0):
        expected = own.max_marginal_relevance_search("whale", k=3, lambda_mult=lambda_mult)
        found = vectorstore.max_marginal_relevance_search("whale", k=3, lambda_mult=lambda_mult)
        assert ids(found) == ids(expected), lambda_mult
    near = vectorstore.max_marginal_relevance_search("whale", k=3, lambda_mult=1)
    assert {d.page_content for d in near} == set(ALIKE[:3])
    different = vectorstore.max_marginal_relevance_search("whale", k=2, lambda_mult=0)
    assert different[1].page_content == "fox den"


@pytest.mark.parametrize("mode", ["dense", "colbert"])
async def test_relevance_is_1_for_the_same_text_and_lies_between_0_and_1(
    filled: TrivecVectorStore, mode: Mode
) -> None:
    text = "Grey seals rest on the shore."
    found = filled.similarity_search_with_relevance_scores(text, k=5, mode=mode)
    assert found[0][0].id == "2"
    assert found[0][1] == pytest.approx(1, abs=1e-3)
    assert all(0 <= score < 0.99 for _, score in found[1:])
    assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)
    above = await filled.asimilarity_search_with_relevance_scores(
        text, k=5, mode=mode, score_threshold=0.99
    )
    assert ids([d for d, _ in above]) == ["2"]


# --- a filter that bounds the vector store -------------------------------------------------------


@pytest.fixture
def sea(filled: TrivecVectorStore) -> TrivecVectorStore:
    """Return a vector store over the same collection, bound to its animals of the sea."""
    return TrivecVectorStore(filled.store, HashEncoder(), filter={"kind": "sea"})


async def test_nothing_outside_the_filter_is_found_or_returned(sea: TrivecVectorStore) -> None:
    embedding = TrivecEmbeddings(HashEncoder()).embed_query("fox")
    every = [str(i) for i in range(5)]
    threshold: dict[str, Any] = {
        "search_type": "similarity_score_threshold",
        "score_threshold": 0.0,
    }
    for found in (
        sea.similarity_search("fox", k=9),
        await sea.asimilarity_search("fox", k=9, filter=(F("n") > 0) | (F("kind") == "sea")),
        sea.similarity_search_by_vector(embedding, k=9),
        sea.max_marginal_relevance_search("fox", k=9),
        await sea.amax_marginal_relevance_search_by_vector(embedding, k=9),
        sea.get_by_ids(every),
        await sea.aget_by_ids(every),
        sea.as_retriever(k=9).invoke("fox"),
        sea.as_retriever(k=9, mode="dense", **threshold).invoke("fox"),
        TrivecRetriever(vectorstore=sea, k=9).batch(["fox"])[0],
        sea.search("fox", "mmr", k=9),
    ):
        assert set(ids(found)) == {"0", "2", "4"}
    assert sea.similarity_search("fox", k=9, filter={"kind": "land"}) == []


async def test_nothing_outside_the_filter_is_deleted(
    filled: TrivecVectorStore, sea: TrivecVectorStore
) -> None:
    every = [str(i) for i in range(5)]
    assert sea.delete(["1", "3"])
    assert await sea.adelete(["1", "3"])
    assert sea.delete(filter={"kind": "land"})
    assert await sea.adelete(filter=F("n") < 2)
    assert ids(filled.get_by_ids(every)) == ["1", "2", "3", "4"]
    with pytest.raises(InvalidFilterError):
        sea.delete(filter={})
    assert sea.delete(["2", "3"])
    assert ids(filled.get_by_ids(every)) == ["1", "3", "4"]
    assert sea.delete(delete_all=True)
    assert await sea.adelete(delete_all=True)
    assert ids(filled.get_by_ids(every)) == ["1", "3"]


async def test_nothing_outside_the_filter_is_written(
    filled: TrivecVectorStore, sea: TrivecVectorStore
) -> None:
    before = filled.get_by_ids(["1"])
    for ids_, metadata in ((["new"], {"kind": "land"}), (["new"], {}), (["1"], {"kind": "sea"})):
        with pytest.raises(InvalidDocumentError, match=f"document '{ids_[0]}'"):
            sea.add_texts(["a seal"], [metadata], ids=ids_)
        with pytest.raises(InvalidDocumentError, match=f"document '{ids_[0]}'"):
            await sea.aadd_documents([Document("a seal", metadata=metadata)], ids=ids_)
    assert filled.get_by_ids(["1"]) == before
    assert filled.get_by_ids(["new"]) == []
    assert sea.add_texts(["a seal", "a whale"], [{"kind": "sea"}] * 2, ids=["new", "2"])
    assert [d.page_content for d in filled.get_by_ids(["new", "2"])] == ["a seal", "a whale"]
