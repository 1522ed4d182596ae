"""What the demo says about its results follows from them."""

from __future__ import annotations

import pytest

from trivec import Document, Hit, Scores, Weights, explain, score
from trivec.demo.lesson import matches, representations, shares, verdict
from trivec.search import Mode
from trivec.testing import HashEncoder
from trivec.vectors import Vector

EQUAL = Weights(1, 1, 1)


def hit(name: str, dense: float, sparse: float, colbert: float) -> Hit:
    total = (dense + sparse + colbert) / 3
    return Hit(Document(name, ""), total, Scores(dense, sparse, colbert, total))


@pytest.mark.parametrize(
    ("lifted", "part"),
    [
        ((0.9, 0.1, 0.3), "dense: +0.033 (sparse +0.000, ColBERT +0.000)"),
        ((0.8, 0.4, 0.2), "sparse: +0.100 (dense +0.000, ColBERT -0.033)"),
        ((0.7, 0.1, 0.6), "ColBERT: +0.100 (dense -0.033, sparse +0.000)"),
    ],
)
def test_the_part_that_lifts_the_answer_is_named(
    lifted: tuple[float, float, float], part: str
) -> None:
    hits = [hit("answer", *lifted), hit("other", 0.8, 0.1, 0.3)]
    said = verdict({"dense": 3, "sparse": 1, "hybrid": 1}, hits, {"answer"}, EQUAL)
    assert said == (
        "The answer is at rank 3 with dense, first with sparse, first with all three. "
        f"What puts it before the next hit is {part}"
    )


def test_the_next_hit_is_not_another_answer() -> None:
    hits = [hit("answer", 0.8, 0, 0.5), hit("too", 0.7, 0, 0.5), hit("other", 0.8, 0, 0.2)]
    said = verdict({"dense": 1, "sparse": None, "hybrid": 1}, hits, {"answer", "too"}, EQUAL)
    assert "ColBERT: +0.100" in said


def test_an_answer_that_is_not_first_is_told_so() -> None:
    hits = [hit("other", 0.9, 0, 0.3), hit("answer", 0.8, 0, 0.3)]
    said = verdict({"dense": 2, "sparse": None, "hybrid": 2}, hits, {"answer"}, EQUAL)
    assert "at rank 2 with all three" in said
    assert said.endswith("What puts the first hit before it is dense: +0.033 "
                         "(sparse +0.000, ColBERT +0.000)")  # fmt: skip


def test_an_answer_that_nothing_found_is_told_so() -> None:
    ranks: dict[Mode, int | None] = {"dense": None, "sparse": None, "hybrid": None}
    said = verdict(ranks, [hit("other", 0.9, 0, 0.3)], {"answer"}, EQUAL)
    assert said.count("not in the first 10") == 3
    assert "What puts" not in said


def test_the_heaviest_tokens_are_named_and_absent_parts_are_not() -> None:
    encoder = HashEncoder()
    tokens = encoder.tokens("a whale")
    weights = {tokens[0].id: 0.25, tokens[1].id: 0.5}
    assert representations(Vector(sparse=weights), tokens) == [
        "sparse: a weight for each of 2 tokens, for the exact words; the heaviest: whale 0.50, "
        "a 0.25"
    ]


def test_shares_and_matches_are_those_of_the_score() -> None:
    encoder = HashEncoder()
    explanation = explain("whale song", "The whale", encoder)
    whole = score(encoder.encode_query("whale song"), encoder.encode_documents(["The whale"])[0])
    assert shares(explanation).startswith(f"{whole.hybrid:.3f} = ")
    assert matches(explanation)[0] == "shared tokens: whale"
    assert matches(explanation)[1].startswith("tokens that met: whale → whale 1.00")
    assert matches(explain("fox", "", encoder)) == ["shared tokens: none", "tokens that met: none"]
