"""The best passages of stored documents, against a plain definition."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivec import ColbertStorage, Document, Vector, Weights, best_passages
from trivec.errors import InvalidInputError
from trivec.passages.positions import stored_vectors
from trivec.passages.splitting import Cuts
from trivec.passages.windows import best_apart, window_maxima
from trivec.stores.reduction import reduced, rounded, vectors_of
from trivec.testing import HashEncoder

ENCODER = HashEncoder()
WORDS = ["whale", "blue", "song", "Fox", "red", "Night", "owl", "3.14", "sea", "Sky", "old", "tree"]
TEXT = (
    "The fox is red. A blue whale sings a song at night. Owls are awake at night, too. "
    "The sea is deep, and the sky is blue. Nobody reads old books under a tree. "
    "A whale is no fish. "
)


def stored(text: str, storage: ColbertStorage | None = None) -> Vector:
    vectors = ENCODER.encode_documents([text])
    if storage is None or vectors.colbert is None:
        return vectors[0]
    return replace(vectors, colbert=rounded(reduced(vectors.colbert, storage), storage))[0]


def plain(
    query: Vector, document: Vector, text: str, most: int, weights: Weights
) -> list[tuple[int, int, float]]:
    """Return start, end and score of every window, best first, as the documentation defines it."""
    tokens, cuts = ENCODER.tokens(text), Cuts(text, ENCODER.tokens(text))
    borders = cuts.pieces(most)
    places = stored_vectors(tokens, document.storage, document.sparse or {}).tolist()
    scored: list[tuple[int, int, float]] = []
    for start in borders[:-1]:
        stop = max(border for border in borders if border <= start + most)
        ids = {token.id for token in tokens[start:stop]}
        sparse = sum(
            weight * (document.sparse or {}).get(token_id, 0.0)
            for token_id, weight in (query.sparse or {}).items()
            if token_id in ids
        )
        colbert = 0.0
        if query.colbert is not None and document.colbert is not None:
            rows = [place for place in places[start:stop] if place >= 0]
            best = [max((float(q @ document.colbert[r]) for r in rows), default=0.0)
                    for q in query.colbert]  # fmt: skip
            colbert = sum(best) / len(best)
        score = (weights.sparse * sparse + weights.colbert * colbert) / (
            weights.sparse + weights.colbert
        )
        passage = cuts.passage(start, stop)
        scored.append((passage.start, passage.end, score))
    chosen: list[tuple[int, int, float]] = []
    for window in sorted(scored, key=lambda window: -round(window[2], 5)):
        if all(window[1] <= start or window[0] >= end for start, end, _ in chosen):
            chosen.append(window)
    return [window for window in chosen if window[2] > 1e-6]


DOCUMENTS = st.lists(
    st.tuples(st.sampled_from(WORDS), st.sampled_from([" ", " ", ", ", ". ", ".\n\n"])), max_size=60
).map(lambda pairs: "".join(word + end for word, end in pairs))


@settings(deadline=None, max_examples=100)
@given(
    DOCUMENTS,
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=4),
    st.integers(1, 20),
    st.sampled_from([Weights.GENERAL, Weights(0, 1, 0), Weights(0, 0, 1), Weights(0, 0.5, 0.35)]),
    st.sampled_from(
        [None, *map(ColbertStorage.parse, ["bits=1", "pool=2", "prune=1/3", "bits=2,pool=3"])]
    ),
)
def test_the_definition(
    text: str, words: list[str], most: int, weights: Weights, storage: ColbertStorage | None
) -> None:
    if not ENCODER.tokens(text)[:-1]:
        return
    query, document = ENCODER.encode_query(" ".join(words)), stored(text, storage)
    found = best_passages(query, text, document, ENCODER, most, k=100, weights=weights)
    expected = plain(query, document, text, most, weights)
    assert [p.score for p in found if p.score > 1e-6] == pytest.approx(
        [score for _, _, score in expected], abs=1e-4
    )
    by_span = {(start, end): score for start, end, score in expected}
    for passage in found[:1]:
        assert passage.text == text[passage.start : passage.end]
        assert by_span.get((passage.start, passage.end), found[0].score) == pytest.approx(
            passage.score, abs=1e-4
        )
    for one in found:
        assert all(one is p or one.end <= p.start or one.start >= p.end for p in found)


def test_the_best_passage_answers_the_question() -> None:
    best = best_passages("whale song", Document("d", TEXT), stored(TEXT), ENCODER, 9, k=2)
    assert [passage.text for passage in best] == [
        "A blue whale sings a song at night.",
        "A whale is no fish.",
    ]
    assert best[0].score > best[1].score > 0


def test_no_forward_pass_but_that_of_the_question() -> None:
    encoder, document = HashEncoder(), stored(TEXT)
    best_passages("whale song", TEXT, document, encoder)
    assert encoder.encoded == 1
    best_passages(ENCODER.encode_query("whale"), TEXT, document, encoder)
    assert encoder.encoded == 1


def test_one_representation_is_enough() -> None:
    whole = stored(TEXT)
    query = "whale song"
    for part in (Vector(sparse=whole.sparse), Vector(colbert=whole.colbert)):
        best = best_passages(query, TEXT, part, ENCODER, 9, k=1)
        assert best[0].text == "A blue whale sings a song at night."
    best = best_passages(query, TEXT, whole, ENCODER, weights=Weights(0, 1, 0))
    assert best[0].colbert is None
    assert best_passages("zebra", TEXT, whole, ENCODER, weights=Weights(0, 1, 0)) == []
    assert best_passages("zebra", "", stored(""), ENCODER) == []


@pytest.mark.parametrize(
    ("storage", "k"), [("bits=1", 1), ("pool=2", 1), ("prune=1/3", 1), ("pool=2,prune=1/3", 3)]
)
def test_small_storage(storage: str, k: int) -> None:
    small = stored(TEXT, ColbertStorage.parse(storage))
    best = best_passages("whale song", TEXT, small, ENCODER, 9, k=k)
    assert "A blue whale sings a song at night." in [passage.text for passage in best]


@settings(deadline=None, max_examples=50)
@given(DOCUMENTS, st.integers(1, 8), st.sampled_from([0.0, 1 / 3, 0.5]))
def test_every_stored_vector_has_a_token(text: str, pool: int, prune: float) -> None:
    tokens, storage = ENCODER.tokens(text), ColbertStorage(pool=pool, prune=prune)
    document = stored(text, storage)
    assert document.colbert is not None
    places = stored_vectors(tokens, storage, document.sparse or {})
    kept = places[places >= 0]
    assert set(kept.tolist()) == set(range(len(document.colbert)))
    firsts = np.unique(kept, return_index=True)[1]
    assert (np.diff(firsts) > 0).all()


def test_the_estimate_is_near_the_truth() -> None:
    rng = np.random.default_rng(5)
    text = " ".join(f"w{i}" for i in rng.zipf(1.3, 1500) % 4000)
    vectors = ENCODER.encode_documents([text]).colbert
    assert vectors is not None
    storage = ColbertStorage(pool=2)
    truth = vectors_of(vectors, storage)
    estimate = stored_vectors(ENCODER.tokens(text), storage, {})
    count = truth.max() + 1
    firsts = [np.array([np.argmax(v == i) for i in range(count)]) for v in (truth, estimate)]
    assert np.median(np.abs(firsts[0] - firsts[1])) < 25


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vector": Vector(dense=np.ones(3))}, "the document has no sparse or colbert vectors"),
        ({"vector": stored("whale")}, "of tokens that its text does not have|2 ColBERT"),
        ({"document": TEXT + " more"}, "ColBERT vectors, and its"),
        ({"document": "Other words."}, "of tokens that its text does not have"),
        ({"query": Vector(dense=np.ones(3))}, "the query has no sparse or colbert"),
        ({"query": Vector(colbert=np.ones((2, 3)))}, "the query has 3 ColBERT dimensions"),
        ({"vector": None}, "best_passages: vector"),
        ({"query": 3}, "best_passages: query"),
        ({"document": ["text"]}, "best_passages: document"),
        ({"tokens": 0}, "best_passages: tokens"),
        ({"k": True}, "best_passages: k"),
        ({"weights": Weights(1, 0, 0)}, "leaves neither"),
        ({"weights": {"sparse": 1}}, "best_passages: weights"),
        ({"encoder": object()}, "best_passages: encoder"),
    ],
)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "query": "whale", "document": TEXT, "vector": stored(TEXT), "encoder": ENCODER, **change,
    }  # fmt: skip
    with pytest.raises(InvalidInputError, match=message):
        best_passages(**given)


@settings(deadline=None)
@given(st.data())
def test_window_maxima(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 40))
    values = np.random.default_rng(rows).standard_normal((rows, 3)).astype(np.float32)
    pairs = data.draw(st.lists(st.tuples(st.integers(0, rows), st.integers(0, rows)), max_size=20))
    spans = np.array([sorted(pair) for pair in pairs], np.int64).reshape(-1, 2)
    maxima = window_maxima(values, spans[:, 0], spans[:, 1])
    for (start, end), row in zip(spans.tolist(), maxima, strict=True):
        assert np.array_equal(row, values[start:end].max(axis=0, initial=-np.inf))
    chosen = [*best_apart(np.arange(len(spans), 0.0, -1), spans[:, 0], spans[:, 1] + 1)]
    assert chosen[:1] == [0] * bool(len(spans))
