"""Evidence that is added to hits which were chosen among those of a search."""

from __future__ import annotations

from typing import Any

import pytest

from trivec import Document, Store
from trivec.errors import CollectionNotFoundError, InvalidOptionError, InvalidVectorsError
from trivec.testing import HashEncoder
from trivec.vectors import Vector

TEXTS = ["A whale sings. An owl is awake.", "The fox is red. A whale.", "One owl.", ""]


@pytest.fixture
def filled(store: Store, encoder: HashEncoder) -> Store:
    store.create(encoder.schema)
    documents = [Document(str(n), text) for n, text in enumerate(TEXTS)]
    store.upsert(documents, encoder.encode_documents(TEXTS))
    return store


@pytest.mark.parametrize("mode", ["dense", "sparse", "colbert", "hybrid", "rrf"])
async def test_it_is_that_of_the_search(filled: Store, encoder: HashEncoder, mode: Any) -> None:
    queries = list(encoder.encode_queries(["a whale", "red owl"]))
    expected = filled.search_many(queries, mode=mode, evidence=2)
    plain = filled.search_many(queries, mode=mode)
    before = encoder.encoded
    assert plain != expected
    assert filled.add_evidence(queries, plain, mode=mode, evidence=2) == expected
    assert await filled.aadd_evidence(queries, plain, mode=mode, evidence=2) == expected
    assert filled.add_evidence(queries, plain, mode=mode) == plain
    assert encoder.encoded == before
    assert filled.add_evidence([], [], evidence=1) == []


def test_hits_are_any_of_a_search(filled: Store, encoder: HashEncoder) -> None:
    query = encoder.encode_query("a whale")
    hits = filled.search(query)
    expected = {hit.document.id: hit for hit in filled.search(query, evidence=1)}
    [found] = filled.add_evidence([query], [hits[::-1][:2]], evidence=1)
    assert found == [expected[hit.document.id] for hit in hits[::-1][:2]]
    filled.delete([hits[0].document.id])
    [found] = filled.add_evidence([query], [hits], evidence=1)
    assert (found[0].document, found[0].evidence) == (hits[0].document, ())


def test_what_has_no_evidence(filled: Store, encoder: HashEncoder) -> None:
    query = encoder.encode_query("a whale")
    hits = filled.search(query)
    with pytest.raises(InvalidVectorsError, match="no sparse or colbert vectors"):
        filled.add_evidence([Vector(dense=query.dense)], [hits], mode="dense", evidence=1)
    with pytest.raises(InvalidOptionError, match="evidence=-1"):
        filled.add_evidence([query], [hits], evidence=-1)
    with pytest.raises(InvalidVectorsError, match="2 queries and 1 answers"):
        filled.add_evidence([query, query], [hits], evidence=1)


def test_a_collection_that_does_not_exist_yet(store: Store, encoder: HashEncoder) -> None:
    query = encoder.encode_query("a whale")
    assert store.view(creates=True).add_evidence([query], [[]], evidence=1) == [[]]
    with pytest.raises(CollectionNotFoundError):
        store.add_evidence([query], [[]], evidence=1)


@pytest.mark.parametrize(
    ("before", "after"),
    [("title: a whale\n\n", ""), ("", "\n\ntitle: a whale"), ("whale ", " owl")],
)
def test_the_text_that_was_encoded_may_be_longer(
    store: Store, encoder: HashEncoder, before: str, after: str
) -> None:
    store.create(encoder.schema)
    text = "The owl is awake. A whale sings."
    store.upsert([Document("a", text)], encoder.encode_documents([before + text + after]))
    view = store.view(encoded=lambda document: before + document.text + after)
    query = encoder.encode_query("a whale")
    [hit] = view.search(query, evidence=3)
    assert hit.evidence
    assert all(text[e.start : e.end] == e.text for e in hit.evidence)
    other = store.view(encoded=lambda document: before + after)
    assert other.search(query, evidence=3)[0].evidence == ()
