"""Scores of a few documents, from stored vectors or fresh ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from uuid import uuid4

import pytest

from trivec import Document, Schema, Store, Vectors, Weights, open_store, score
from trivec.errors import InvalidOptionError, InvalidVectorsError
from trivec.reranking import Candidate, Rescorer
from trivec.testing import HashEncoder

TEXTS = ["blue whale", "grey seal", "red fox", "whale song"]
QUERY = "song of the blue whale"


class LengthScorer:
    """A cross-encoder that likes long texts."""

    def score(self, text_pairs: list[tuple[str, str]]) -> Sequence[float]:
        return [len(text) for _, text in text_pairs]


@pytest.fixture
def stored() -> Iterator[Store]:
    encoder = HashEncoder()
    with open_store(f"memory:/rerank_{uuid4().hex}") as store:
        store.create(encoder.schema)
        documents = [Document(str(i), text) for i, text in enumerate(TEXTS)]
        store.upsert(documents, encoder.encode_documents(TEXTS))
        yield store
        store.drop()


def expected(part: str) -> list[float]:
    encoder = HashEncoder()
    query = encoder.encode_query(QUERY)
    scores = [score(query, vector) for vector in encoder.encode_documents(TEXTS)]
    return [getattr(one, part) for one in scores]


@pytest.mark.parametrize("mode", ["dense", "sparse", "colbert", "hybrid"])
def test_scores_are_those_of_the_definition(mode: str, encoder: HashEncoder) -> None:
    reranker = Rescorer(encoder, mode=mode)  # type: ignore[arg-type]
    assert reranker.scores(QUERY, [Candidate(text) for text in TEXTS]) == pytest.approx(
        expected(mode)
    )
    assert encoder.encoded == len(TEXTS) + 1


def test_stored_vectors_are_not_made_again(stored: Store, encoder: HashEncoder) -> None:
    reranker = Rescorer(encoder, store=stored)
    candidates = [Candidate(text, str(i), text) for i, text in enumerate(TEXTS)]
    assert reranker.scores(QUERY, candidates) == pytest.approx(expected("colbert"))
    assert encoder.encoded == 1


async def test_the_asynchronous_twin_scores_alike(stored: Store, encoder: HashEncoder) -> None:
    reranker = Rescorer(encoder, store=stored, mode="hybrid", weights=Weights.GENERAL)
    candidates = [Candidate(text, str(i), text) for i, text in enumerate(TEXTS)]
    assert await reranker.ascores(QUERY, candidates) == pytest.approx(expected("hybrid"))
    assert encoder.encoded == 1


def test_another_text_under_a_stored_id_is_encoded(stored: Store, encoder: HashEncoder) -> None:
    reranker = Rescorer(encoder, store=stored)
    candidates = [Candidate(TEXTS[1], "0", TEXTS[1]), Candidate(TEXTS[0], None, TEXTS[0])]
    whole = expected("colbert")
    assert reranker.scores(QUERY, candidates) == pytest.approx([whole[1], whole[0]])
    assert encoder.encoded == 3


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_texts_with_one_id_the_stored_one_is_not_encoded(
    stored: Store, encoder: HashEncoder, order: tuple[int, int]
) -> None:
    whole = expected("colbert")
    candidates = [Candidate(TEXTS[i], "0", TEXTS[i]) for i in order]
    scores = Rescorer(encoder, store=stored).scores(QUERY, candidates)
    assert scores == pytest.approx([whole[i] for i in order])
    assert encoder.encoded == 2


def test_stored_vectors_without_the_part_are_not_used(encoder: HashEncoder) -> None:
    with open_store(f"memory:/rerank_{uuid4().hex}") as store:
        store.create(Schema(dense=32, sparse=True, colbert=None))
        reranker = Rescorer(encoder, store=store)
        candidates = [Candidate(text, str(i), text) for i, text in enumerate(TEXTS)]
        assert reranker.scores(QUERY, candidates) == pytest.approx(expected("colbert"))
        store.drop()


def test_a_cross_encoder_replaces_the_encoder() -> None:
    reranker = Rescorer(cross_encoder=LengthScorer())
    assert reranker.scores(QUERY, [Candidate("abc"), Candidate("a")]) == [3.0, 1.0]


async def test_a_cross_encoder_is_awaited_too() -> None:
    reranker = Rescorer(cross_encoder=LengthScorer())
    assert await reranker.ascores(QUERY, [Candidate("abc")]) == [3.0]


def test_no_candidates_cost_nothing(encoder: HashEncoder) -> None:
    assert Rescorer(encoder).scores(QUERY, []) == []
    assert encoder.encoded == 0


def test_exactly_one_scorer_is_required(encoder: HashEncoder) -> None:
    with pytest.raises(InvalidOptionError, match="either"):
        Rescorer()
    with pytest.raises(InvalidOptionError, match="either"):
        Rescorer(encoder, cross_encoder=LengthScorer())
    with pytest.raises(InvalidOptionError, match="mode='rrf'"):
        Rescorer(encoder, mode="rrf")  # type: ignore[arg-type]


class DenseOnly(HashEncoder):
    """Makes no ColBERT vectors."""

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return replace(super().encode_queries(texts), colbert=None)


def test_an_encoder_without_the_part_is_refused() -> None:
    with pytest.raises(InvalidVectorsError, match="colbert"):
        Rescorer(DenseOnly()).scores(QUERY, [Candidate("a")])
