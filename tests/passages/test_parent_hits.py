"""Parents in place of the passages that a search found, and groups of hits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from trivec import Document, Hit, ScoredPassage, Scores, Store
from trivec.errors import InvalidOptionError
from trivec.hit import hit_groups
from trivec.passages.parent_hits import grouped_by_parent, parent_hits, updated_options
from trivec.passages.rewriting import keep_places
from trivec.passages.splitting import Passage
from trivec.passages.stored import passage_documents
from trivec.search import Search
from trivec.testing import HashEncoder
from trivec.twins import arun, run

TEXT = "One whale. Two owls. Three foxes. Four seals."
PARENT = Document("a", TEXT, {"lang": "en"})
# The second begins with the last sentence of the first.
OVERLAPPING = passage_documents(PARENT, [Passage(0, 20, 0, 0), Passage(11, 45, 0, 0)])


@pytest.fixture
def filled(store: Store, encoder: HashEncoder) -> Store:
    store.create(encoder.schema)
    texts = [document.text for document in OVERLAPPING]
    store.upsert(OVERLAPPING, encoder.encode_documents(texts))
    return store


def scored(text: str, within: Document, score: float) -> ScoredPassage:
    start = within.text.index(text)
    return ScoredPassage(start, start + len(text), text, score, None, score)


def hits(*evidence: tuple[ScoredPassage, ...]) -> list[Hit]:
    return [
        Hit(document, 1.0 - n, Scores(), "a", passages)
        for n, (document, passages) in enumerate(zip(OVERLAPPING, evidence, strict=True))
    ]


def test_the_evidence_of_overlapping_passages_does_not_overlap(filled: Store) -> None:
    first, second = OVERLAPPING
    found = hits(
        (scored("Two owls.", first, 0.9), scored("One whale.", first, 0.2)),
        (scored("Two owls. Three foxes.", second, 0.8), scored("Four seals.", second, 0.5)),
    )
    [[hit]] = run(parent_hits(filled, [found], 3))
    assert hit.document == PARENT
    assert (hit.score, hit.group) == (1.0, "a")
    assert [passage.text for passage in hit.evidence] == ["Two owls.", "Four seals.", "One whale."]
    for passage in hit.evidence:
        assert TEXT[passage.start : passage.end] == passage.text
    [[fewer]] = run(parent_hits(filled, [found], 1))
    assert [passage.text for passage in fewer.evidence] == ["Two owls."]


def test_the_parents_of_many_queries_are_read_at_once(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[str]] = []
    get = Store.get

    def counted(self: Store, ids: Any, **options: Any) -> Any:
        read.append(list(ids))
        return get(self, ids, **options)

    monkeypatch.setattr(Store, "get", counted)
    answers = run(parent_hits(filled, [hits((), ()), [], hits((), ())[1:]], 0))
    assert [[hit.document for hit in found] for found in answers] == [[PARENT], [], [PARENT]]
    assert all(ids.count("a#0") <= 1 for ids in read)
    assert sum("a#0" in ids for ids in read) == 1


async def test_asynchronously(filled: Store) -> None:
    assert await arun(parent_hits(filled, [hits((), ())], 0)) == run(
        parent_hits(filled, [hits((), ())], 0)
    )


def test_a_parent_that_is_incomplete_leaves_its_best_passage(filled: Store) -> None:
    filled.delete(["a#1"])
    [[hit]] = run(parent_hits(filled, [hits((), ())], 0))
    assert hit.document == OVERLAPPING[0]


def test_hits_in_their_groups() -> None:
    values: list[Any] = [1, 1, True, None, None, "1", "1", 1.0]
    found = [Hit(Document(str(n), ""), 0, Scores(), value) for n, value in enumerate(values)]
    ids = [[hit.document.id for hit in group] for group in hit_groups(found)]
    assert ids == [["0", "1"], ["2"], ["3"], ["4"], ["5", "6"], ["7"]]
    assert hit_groups([]) == []


@pytest.mark.parametrize("parents", [0, 1, "yes", None])
def test_parents_is_true_or_false(parents: Any) -> None:
    with pytest.raises(InvalidOptionError, match="parents"):
        grouped_by_parent(Search(), parents)
    assert grouped_by_parent(Search(), parents=True).group_by == "parent"


@pytest.mark.parametrize(
    ("own", "given", "expected"),
    [
        ({"parents": False}, {"parents": True}, {"parents": True, "group_by": "parent"}),
        ({"parents": True}, {"parents": False}, {"parents": False, "group_by": "parent"}),
        ({"parents": True}, {"group_by": "lang"}, {"parents": False, "group_by": "lang"}),
        ({"group_by": "lang"}, {"parents": True}, {"parents": True, "group_by": "parent"}),
        (
            {"group_by": "lang", "per_group": 3},
            {"group_by": None},
            {"group_by": None, "per_group": 1},
        ),
        (
            {"group_by": "lang", "per_group": 3},
            {"group_by": "n"},
            {"group_by": "n", "per_group": 3},
        ),
        ({}, {"group_by": None}, {"group_by": None}),
        ({}, {"per_group": 2}, {"per_group": 2}),
    ],
)
def test_options_of_a_call_over_defaults(own: Any, given: Any, expected: Any) -> None:
    before = dict(own), dict(given)
    assert updated_options(own, given) == expected
    assert (own, given) == before


def test_passages_that_are_written_again(filled: Store) -> None:
    shown = [
        replace(d, metadata={k: v for k, v in d.metadata.items() if k != "_trivec"})
        for d in OVERLAPPING
    ]
    assert run(keep_places(filled, shown)) == OVERLAPPING
    moved = replace(shown[0], metadata={**shown[0].metadata, "span": [0, 19]})
    other = replace(shown[1], text="Other.")
    unknown = Document("a#7", "Seven.", {"parent": "a", "span": [0, 6]})
    given = [moved, other, unknown, Document("b", "")]
    assert run(keep_places(filled, given)) == given
