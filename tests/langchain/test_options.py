"""Arguments, options and errors of the LangChain vector store, which no database changes."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from trivec import F, Schema, Store, Vectors, Weights
from trivec.document import PRIVATE_KEY
from trivec.errors import (
    InvalidDocumentError,
    InvalidFilterError,
    InvalidOptionError,
    InvalidVectorsError,
    SchemaMismatchError,
)
from trivec.search import Mode
from trivec.testing import HashEncoder
from trivec_langchain import TrivecEmbeddings, TrivecVectorStore


class SparseOnly(HashEncoder):
    """Makes lexical weights only."""

    def __init__(self) -> None:
        super().__init__()
        self.schema = Schema(dense=None, sparse=True, colbert=None)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        return super().encode_documents(texts).only(self.schema)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return super().encode_queries(texts).only(self.schema)


def ids(documents: list[Document]) -> list[str | None]:
    return [document.id for document in documents]


def test_what_is_handed_in_is_not_changed_nor_shared(vectorstore: TrivecVectorStore) -> None:
    document = Document("blue whale", metadata={"tags": ["a"]})
    [id] = vectorstore.add_documents([document])
    assert document == Document("blue whale", metadata={"tags": ["a"]})
    vectorstore.get_by_ids([id])[0].metadata["tags"].append("b")
    assert vectorstore.get_by_ids([id])[0].metadata == {"tags": ["a"]}


@pytest.mark.parametrize(
    "value", [datetime.timedelta(1), {1, 2}, b"x", object(), float("nan"), 2**70]
)
def test_what_json_cannot_hold_is_an_error_that_names_the_document(
    vectorstore: TrivecVectorStore, value: object
) -> None:
    with pytest.raises(InvalidDocumentError, match="document 'mine': metadata\\.when"):
        vectorstore.add_texts(["a"], [{"when": value}], ids=["mine"])
    assert vectorstore.get_by_ids(["mine"]) == []


def test_values_of_python_programs_come_back_plain(vectorstore: TrivecVectorStore) -> None:
    metadata = {"day": datetime.date(2024, 1, 31), "n": np.int64(3), "flag": np.True_}
    vectorstore.add_texts(["a"], [metadata], ids=["mine"])
    (back,) = vectorstore.get_by_ids(["mine"])
    assert back.metadata == {"day": "2024-01-31", "n": 3, "flag": True}
    assert (type(back.metadata["n"]), type(back.metadata["flag"])) == (int, bool)
    found = vectorstore.similarity_search("a", filter={"n": np.int64(3), "flag": np.True_})
    assert [document.id for document in found] == ["mine"]


def test_the_reserved_key_is_refused(vectorstore: TrivecVectorStore) -> None:
    with pytest.raises(InvalidDocumentError, match="reserved"):
        vectorstore.add_texts(["a"], [{PRIVATE_KEY: 1}])


def test_missing_ids_are_filled_and_returned_in_order(vectorstore: TrivecVectorStore) -> None:
    documents = [Document("one", id="a"), Document("two"), Document("three", id="c")]
    added = vectorstore.add_documents(documents)
    assert (added[0], added[2]) == ("a", "c")
    assert [d.page_content for d in vectorstore.get_by_ids(added)] == ["one", "two", "three"]
    assert vectorstore.add_documents(documents, ids=["x", None, None])[::2] == ["x", "c"]


def test_of_two_documents_with_one_id_the_last_is_kept(vectorstore: TrivecVectorStore) -> None:
    assert vectorstore.add_texts(["one", "two"], ids=["a", "a"]) == ["a", "a"]
    assert [d.page_content for d in vectorstore.get_by_ids(["a"])] == ["two"]


def test_as_many_ids_and_metadatas_as_texts(vectorstore: TrivecVectorStore) -> None:
    with pytest.raises(InvalidOptionError, match="1 ids came with 2"):
        vectorstore.add_documents([Document("a"), Document("b")], ids=["x"])
    with pytest.raises(InvalidOptionError, match="1 ids came with more"):
        vectorstore.add_texts(["a", "b"], ids=["x"])
    with pytest.raises(InvalidOptionError, match="3 ids came with 2"):
        vectorstore.add_texts(["a", "b"], ids=["x", "y", "z"])
    with pytest.raises(InvalidOptionError, match="1 metadatas came with 2"):
        vectorstore.add_texts(["a", "b"], [{}])
    with pytest.raises(InvalidOptionError, match="one string"):
        vectorstore.add_texts("whale")
    with pytest.raises(InvalidOptionError, match="ids='xyz' is one string"):
        vectorstore.add_texts(["a", "b", "c"], ids="xyz")


def test_a_generator_of_texts_is_stored(vectorstore: TrivecVectorStore) -> None:
    added = vectorstore.add_texts(f"text {i}" for i in range(5))
    assert len(set(added)) == 5
    assert len(vectorstore.get_by_ids(added)) == 5


def test_documents_are_read_as_they_are_written(
    vectorstore: TrivecVectorStore, encoder: HashEncoder
) -> None:
    ahead: list[int] = []

    def documents() -> Iterator[Document]:
        for i in range(20):
            ahead.append(i - encoder.encoded)
            yield Document(f"text {i}")

    vectorstore.add_documents(documents(), batch_size=4)
    assert max(ahead) == 3
    assert encoder.encoded == 20


async def test_a_generator_is_stored_asynchronously(vectorstore: TrivecVectorStore) -> None:
    added = await vectorstore.aadd_texts((f"text {i}" for i in range(5)), batch_size=2)
    assert len(await vectorstore.aget_by_ids(added)) == 5


def test_from_texts_and_from_documents(store: Store, encoder: HashEncoder) -> None:
    made = TrivecVectorStore.from_texts(
        ["blue whale"], encoder, [{"n": 1}], store=store, ids=["a"], mode="colbert"
    )
    made = TrivecVectorStore.from_documents([Document("red fox", id="b")], encoder, store=store)
    TrivecVectorStore.from_documents(
        [Document("seal", id="unused")], TrivecEmbeddings(encoder), store=store, ids=["c"]
    )
    assert ids(made.get_by_ids(["a", "b", "c"])) == ["a", "b", "c"]


async def test_afrom_texts_and_afrom_documents(store: Store, encoder: HashEncoder) -> None:
    made = await TrivecVectorStore.afrom_texts(["blue whale"], encoder, store=store, ids=["a"])
    made = await TrivecVectorStore.afrom_documents(
        [Document("red fox", id="b")], TrivecEmbeddings(encoder), store=store
    )
    assert ids(await made.aget_by_ids(["b", "a"])) == ["b", "a"]


def test_deleting_takes_exactly_one_thing(filled: TrivecVectorStore) -> None:
    for arguments in ({}, {"ids": ["0"], "filter": {"n": 1}}, {"ids": ["0"], "delete_all": True}):
        with pytest.raises(InvalidOptionError, match="exactly one"):
            filled.delete(**arguments)
    with pytest.raises(InvalidFilterError):
        filled.delete(filter={})
    assert filled.delete(ids=[])
    assert filled.store.count() == 5


def test_the_filter_of_the_store_always_holds(filled: TrivecVectorStore, store: Store) -> None:
    sea = TrivecVectorStore(store, HashEncoder(), filter={"kind": "sea"})
    assert {d.id for d in sea.similarity_search("fox", k=9)} == {"0", "2", "4"}
    assert {d.id for d in sea.similarity_search("fox", k=9, filter=F("n") > 0)} == {"2", "4"}
    assert sea.similarity_search("fox", k=9, filter={"kind": "land"}) == []


def test_defaults_hold_unless_the_call_says_otherwise(store: Store, encoder: HashEncoder) -> None:
    made = TrivecVectorStore(store, encoder, mode="sparse", weights=Weights(1, 0, 0), candidates=7)
    made.add_texts(["blue whale", "red fox"])
    assert len(made.similarity_search("whale")) == 1
    assert len(made.similarity_search("whale", mode="dense")) == 2
    hits = made.search_hits(["whale"], mode="hybrid")[0]
    assert {(hit.scores.sparse, hit.scores.colbert) for hit in hits} == {(None, None)}


def test_a_vector_is_searched_by_its_dense_part(
    filled: TrivecVectorStore, encoder: HashEncoder
) -> None:
    embedding = TrivecEmbeddings(encoder).embed_query("red fox at night")
    expected = filled.similarity_search("red fox at night", mode="dense")
    assert filled.similarity_search_by_vector(embedding) == expected
    assert filled.similarity_search_by_vector([10 * x for x in embedding]) == expected
    with pytest.raises(InvalidOptionError, match="dense vector only"):
        filled.similarity_search_by_vector(embedding, mode="hybrid")


async def test_a_vector_is_searched_asynchronously(
    filled: TrivecVectorStore, encoder: HashEncoder
) -> None:
    embedding = await TrivecEmbeddings(encoder).aembed_query("red fox at night")
    found = await filled.asimilarity_search_by_vector(embedding, 2, filter={"kind": "land"})
    assert ids(found) == ["3", "1"]


@pytest.mark.parametrize("name", ["filters", "K", "score_threshold"])
def test_an_unknown_option_is_not_swallowed(filled: TrivecVectorStore, name: str) -> None:
    options: Any = {name: 1}
    with pytest.raises(TypeError, match=f"unknown search option {name}"):
        filled.similarity_search("whale", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"mode": "best"}, "mode='best'"), ({"candidates": 0}, "candidates=0")],
)
def test_an_option_out_of_range_is_refused(
    filled: TrivecVectorStore, options: Any, message: str
) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        filled.similarity_search("whale", **options)


async def test_diverse_results_by_vector_and_asynchronously(
    filled: TrivecVectorStore, encoder: HashEncoder
) -> None:
    embedding = TrivecEmbeddings(encoder).embed_query("whale")
    expected = filled.max_marginal_relevance_search("whale", k=3, fetch_k=4, mode="dense")
    for found in (
        filled.max_marginal_relevance_search_by_vector(embedding, k=3, fetch_k=4),
        await filled.amax_marginal_relevance_search_by_vector(embedding, k=3, fetch_k=4),
        await filled.amax_marginal_relevance_search("whale", k=3, fetch_k=4, mode="dense"),
    ):
        assert ids(found) == ids(expected)


def test_diverse_results_obey_the_filter(filled: TrivecVectorStore) -> None:
    found = filled.max_marginal_relevance_search("fox", k=9, filter={"kind": "sea"})
    assert {d.id for d in found} == {"0", "2", "4"}


def test_relevance_of_hybrid_needs_weights_without_sparse(filled: TrivecVectorStore) -> None:
    text = "Grey seals rest on the shore."
    found = filled.similarity_search_with_relevance_scores(text, k=1, weights=Weights(1, 0, 1))
    assert found[0][1] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("mode", ["sparse", "hybrid", "rrf"])
async def test_scores_without_bounds_are_no_relevance(
    filled: TrivecVectorStore, mode: Mode
) -> None:
    with pytest.raises(ValueError, match="no relevance scores"):
        filled.similarity_search_with_relevance_scores("whale", mode=mode)
    with pytest.raises(ValueError, match="no relevance scores"):
        await filled.asimilarity_search_with_relevance_scores("whale", mode=mode)


def test_the_threshold_retriever_of_langchain_works_on_bounded_scores(
    filled: TrivecVectorStore,
) -> None:
    retriever = filled.as_retriever(
        search_type="similarity_score_threshold",
        search_kwargs={"score_threshold": 0.99, "mode": "dense"},
    )
    assert ids(retriever.invoke("Grey seals rest on the shore.")) == ["2"]


def test_plain_embeddings_make_a_dense_collection(store: Store) -> None:
    made = TrivecVectorStore(store, DeterministicFakeEmbedding(size=6))
    made.add_texts(["a", "b"], ids=["a", "b"])
    assert made.store.schema.parts == ("dense",)
    assert made.store.schema.dense == 6
    [(document, score)] = made.similarity_search_with_score("a", k=1)
    assert document.id == "a"
    assert score == pytest.approx(1, abs=1e-3)  # a cosine
    assert isinstance(made.embeddings, DeterministicFakeEmbedding)


def test_plain_embeddings_have_no_other_mode(store: Store) -> None:
    plain = DeterministicFakeEmbedding(size=6)
    with pytest.raises(InvalidOptionError, match="needs a trivec encoder"):
        TrivecVectorStore(store, plain, mode="hybrid")
    with pytest.raises(InvalidOptionError, match="needs a trivec encoder"):
        TrivecVectorStore(store, plain).similarity_search("a", mode="sparse")


def test_embeddings_of_another_dimension_are_refused(store: Store) -> None:
    TrivecVectorStore(store, DeterministicFakeEmbedding(size=6)).add_texts(["a"])
    other = TrivecVectorStore(store, DeterministicFakeEmbedding(size=7))
    with pytest.raises(SchemaMismatchError, match="dense vectors have 7 numbers"):
        other.add_texts(["b"])
    with pytest.raises(InvalidVectorsError, match="dimension 7"):
        other.similarity_search("b")


def test_an_encoder_without_dense_vectors_makes_a_retriever(store: Store) -> None:
    made = TrivecVectorStore(store, SparseOnly(), mode="sparse")
    made.add_texts(["blue whale", "red fox"], ids=["a", "b"])
    assert made.embeddings is None
    assert ids(made.as_retriever().invoke("whale")) == ["a"]


def test_what_cannot_encode_is_refused(store: Store) -> None:
    with pytest.raises(InvalidOptionError, match="must be a trivec encoder"):
        TrivecVectorStore(store, "BAAI/bge-m3")  # type: ignore[arg-type]
