"""Passages as documents: made of a parent, and put together again."""

from __future__ import annotations

import random
from typing import Any

import pytest

from trivec import Document, Passages
from trivec.errors import InvalidDocumentError
from trivec.passages.splitting import Passage, split
from trivec.passages.stored import (
    AHEAD,
    is_passage_of,
    look_up,
    parent_id_of,
    parent_of,
    passage_documents,
    passage_id,
)
from trivec.testing import HashEncoder
from trivec.twins import drive

PIECES = (
    *("word ", "แมวดำ ", "القطة. ", "黒い猫。", "काली। ", "\n\n", " \t\u3000", "e\u0301"),
    *("👩\u200d👧", "...", ""),
)


def _stored(parent: Document, tokens: int = 16, overlap: int = 4) -> list[Document]:
    options = Passages(tokens=tokens, overlap=overlap)
    return passage_documents(parent, split(parent.text, HashEncoder().tokens(parent.text), options))


def test_any_text_is_put_together_again() -> None:
    several = 0
    for seed in range(300):
        rng = random.Random(seed)
        text = "".join(rng.choices(PIECES, k=rng.choice([0, 1, 3, 30, 200])))
        parent = Document("a#1", text, {"n": 1, "_trivec": {"node": 3}} if seed % 2 else {})
        passages = _stored(parent, overlap=rng.choice([0, 1, 8, 15]))
        several += len(passages) > 2
        rng.shuffle(passages)
        assert parent_of(passages) == parent
        for passage in passages:
            start, end = passage.metadata["span"]
            assert passage.text == text[start:end]
            assert is_passage_of(passage, "a#1")
            assert not is_passage_of(passage, "a")
            assert parent_id_of(passage) == "a#1"
    assert several > 50


@pytest.mark.parametrize(
    "spans",
    [[(0, 10)], [(3, 7)], [(0, 4), (4, 10)], [(1, 6), (3, 9)], [(2, 3), (8, 9)], [(0, 9), (2, 10)]],
)
def test_gaps_and_overlaps(spans: list[tuple[int, int]]) -> None:
    parent = Document("a", "0123456789")
    passages = passage_documents(parent, [Passage(start, end, 0, 1) for start, end in spans])
    assert [passage.id for passage in passages] == [passage_id("a", n) for n in range(len(spans))]
    assert parent_of(passages) == parent
    assert all(
        "before" not in p.metadata["_trivec"] or p.metadata["_trivec"]["before"] for p in passages
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda passages: [],
        lambda passages: passages[1:],
        lambda passages: passages[:-1],
        lambda passages: [*passages, passages[0]],
        lambda passages: [*passages[:-1], Document("other", "x")],
        lambda passages: [*passages[:-1], *_stored(Document("b", passages[0].text * 3))],
        lambda passages: [Document("a#0", "short", passages[0].metadata), *passages[1:]],
        lambda passages: [*_stored(Document("a", "one"))[:1], *passages[1:]],
    ],
)
def test_other_passages_cannot_be_put_together(damage: Any) -> None:
    passages = _stored(Document("a", "some words in a text that is long enough. " * 9))
    assert len(passages) > 3
    with pytest.raises(InvalidDocumentError, match="put"):
        parent_of(damage(passages))


@pytest.mark.parametrize(
    "change",
    [
        {"parent": "b"},
        {"parent": None},
        {"span": None},
        {"span": [0]},
        {"span": [0, -1]},
        {"span": [0, True]},
        {"span": [0.0, 4.0]},
        {"_trivec": None},
        {"_trivec": {}},
        {"_trivec": {"passage": 0}},
        {"_trivec": {"passage": 1, "passages": 2}},
        {"_trivec": {"passage": 0, "passages": 0}},
        {"_trivec": {"passage": False, "passages": 1}},
        {"_trivec": {"passage": "0", "passages": 1}},
    ],
)
def test_what_is_no_passage(change: dict[str, Any]) -> None:
    (passage,) = _stored(Document("a", "text"))
    assert is_passage_of(passage, "a")
    other = Document(passage.id, "text", {**passage.metadata, **change})
    assert not is_passage_of(other, "a")
    assert not is_passage_of(Document("a#00", "text", passage.metadata), "a")
    assert not is_passage_of(Document("a", "text", passage.metadata), "a")


def _found(
    stored: dict[str, Document], expected: dict[str, int]
) -> tuple[dict[str, set[int]], int]:
    read = 0

    def get(ids: list[str]) -> list[Document]:
        nonlocal read
        assert 0 < len(ids) <= 256
        assert len(set(ids)) == len(ids)
        read += len(ids)
        return [stored[id] for id in ids if id in stored]

    found = drive(look_up(expected), get)
    return {id: set(numbered) for id, numbered in found.items()}, read


def test_a_search_for_passages_reads_little_where_there_are_none() -> None:
    assert _found({}, {"a": 0, "b": 0}) == ({"a": set(), "b": set()}, 2)
    assert _found({}, {"a": 3}) == ({"a": set()}, 3 + AHEAD)
    assert _found({}, {"a" * 511: 0}) == ({"a" * 511: set()}, 0)
    assert _found({}, {}) == ({}, 0)
    assert _found({"b": Document("b", "")}, {"b": 0}) == ({"b": set()}, 1)


def test_a_search_finds_all_passages_whatever_was_expected() -> None:
    spans = [Passage(i, i + 1, i, i + 1) for i in range(900)]
    passages = passage_documents(Document("a", "x" * 900), spans)
    stored = {passage.id: passage for passage in passages}
    for expected in (0, 1, 40, 900, 2000):
        assert _found(stored, {"a": expected, "b": 0})[0] == {"a": set(range(900)), "b": set()}
    del stored["a#5"], stored["a#899"]
    assert _found(stored, {"a": 0})[0] == {"a": set(range(899)) - {5}}
    # The first ones are of a shorter text, as after a run that was killed.
    short = passage_documents(Document("a", "x" * 3), spans[:3])
    stored |= {passage.id: passage for passage in short}
    assert _found(stored, {"a": 0})[0] == {"a": set(range(899)) - {5}}


def test_a_document_that_claims_to_be_one_of_very_many_passages_costs_little() -> None:
    (passage,) = _stored(Document("a", "text"))
    private = {"passage": 0, "passages": 10**12}
    stored = {"a#0": Document("a#0", "text", {**passage.metadata, "_trivec": private})}
    found, read = _found(stored, {"a": 0})
    assert found == {"a": {0}}
    assert read < 5000
