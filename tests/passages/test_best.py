"""The best passages of stored documents, against a plain definition."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trivec import ColbertStorage, Document, Vector, Vectors, Weights, best_passages
from trivec.colbert_storage import Overflow
from trivec.document import PRIVATE_KEY
from trivec.errors import InvalidInputError
from trivec.passages.positions import stored_vectors
from trivec.passages.splitting import Cuts
from trivec.passages.windows import best_apart, window_maxima
from trivec.rows import SparseRows, TokenRows
from trivec.stores.overflow import fit_rows
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
    """Return start, end and score of the best windows as the documentation defines them."""
    tokens, cuts = ENCODER.tokens(text), Cuts(text, ENCODER.tokens(text))
    borders = cuts.pieces(most)
    places = stored_vectors(tokens, document.storage, document.sparse or {}).tolist()
    is_lexical = weights.sparse > 0 and bool(query.sparse) and bool(document.sparse)
    is_estimate = bool(document.storage and (document.storage.prune or document.storage.pool > 1))
    is_estimate = is_estimate and (-1 in places or len({*places}) < len(places))
    reach, trust = (32, 0.2) if is_lexical and is_estimate else (0, 1.0)
    windows = [
        (start, stop)
        for i, start in enumerate(borders[:-1])
        for stop in borders[i + 1 :]
        if stop <= start + most or stop == borders[i + 1]
    ]
    longest = {
        start: max(stop for other, stop in windows if other == start) for start, _ in windows
    }
    ids_of = {window: {token.id for token in tokens[slice(*window)]} for window in windows}
    frequency = Counter(token_id for window in longest.items() for token_id in ids_of[window])
    count = len(longest) + 1
    asked = None if query.colbert is None else query.colbert[: max(1, len(query.colbert) - 1)]
    scored: list[tuple[int, int, float]] = []
    for (start, stop), ids in ids_of.items():
        sparse = sum(
            weight
            * (document.sparse or {}).get(token_id, 0.0)
            * math.log(count / frequency[token_id])
            / math.log(count)
            for token_id, weight in (query.sparse or {}).items()
            if token_id in ids
        )
        colbert = 0.0
        if asked is not None and document.colbert is not None:
            near = places[max(0, start - reach) : stop + reach]
            rows = [place for place in near if place >= 0]
            best = [max((float(q @ document.colbert[r]) for r in rows), default=0.0)
                    for q in asked]  # fmt: skip
            colbert = sum(best) / len(best)
        score = (weights.sparse * sparse + trust * weights.colbert * colbert) / (
            weights.sparse + trust * weights.colbert
        )
        scored.append((start, stop, score))
    chosen: list[tuple[int, int, float]] = []
    while scored := [
        (start, stop, score)
        for start, stop, score in scored
        if score > 1e-6 and all(stop <= first or start >= last for first, last, _ in chosen)
    ]:
        begin, end, best_score = max(scored, key=lambda window: round(window[2], 6))
        inside = [window for window in scored if begin <= window[0] and window[1] <= end]
        # Rounding must not decide whether a shorter window is good enough.
        assume(all(abs(score - 0.99 * best_score) > 1e-5 for *_, score in inside))
        near = [window for window in inside if window[2] >= 0.99 * best_score]
        chosen.append(min(near, key=lambda window: window[1] - window[0]))
    passages = [(cuts.passage(start, stop), score) for start, stop, score in chosen]
    return [(passage.start, passage.end, score) for passage, score in passages]


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
        ({"vector": stored("whale")}, "lexical weights of 1 tokens"),
        ({"vector": stored("whale"), "overflow": "drop"}, "2 ColBERT vectors, and its 40 tokens"),
        ({"document": TEXT + " more", "overflow": "error"}, "ColBERT vectors, and its"),
        ({"document": TEXT[4:]}, "of tokens that its text does not have|has 40 ColBERT vectors"),
        ({"document": "whale " + TEXT, "overflow": "truncat"}, "overflow='truncat'; expected"),
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


# --- documents with fewer vectors than tokens ----------------------------------------------------

LONG = " ".join(f"The {name} lives in sector{i}, near w{i}." for i, name in enumerate(WORDS * 9))


def shortened(text: str, limit: int, overflow: Overflow, storage: str = "bits=16") -> Vector:
    """Return vectors as a database keeps them that holds `limit` token vectors of a document."""
    vectors = ENCODER.encode_documents([text])
    assert vectors.colbert is not None
    kept = ColbertStorage.parse(storage)
    rows, _ = fit_rows(reduced(vectors.colbert, kept), limit, overflow)
    return replace(vectors, colbert=rounded(rows, kept))[0]


@pytest.mark.parametrize("storage", ["bits=16", "bits=1,pool=2", "prune=1/3"])
@pytest.mark.parametrize("overflow", ["pool", "truncate", "drop"])
@pytest.mark.parametrize("limit", [1, 2, 3, 40, 300])
def test_texts_that_were_too_long_for_the_database(
    limit: int, overflow: Overflow, storage: str
) -> None:
    document = shortened(LONG, limit, overflow, storage)
    assert document.colbert is not None
    assert len(document.colbert) == (0 if overflow == "drop" else limit)
    for weights in (Weights.GENERAL, Weights(0, 1, 0.1)):
        best = best_passages(
            "sector70 w70", LONG, document, ENCODER, 9, weights=weights, overflow=overflow
        )
        assert all(passage.text == LONG[passage.start : passage.end] for passage in best)
    assert "sector70" in best[0].text
    if overflow != "drop":
        with pytest.raises(InvalidInputError, match=r"ColBERT vectors, and its \d+ tokens"):
            best_passages("sector70", LONG, document, ENCODER, 9, overflow="error")


def test_the_first_tokens_of_a_truncated_text_are_exact() -> None:
    whole, cut = stored(LONG), shortened(LONG, 300, "truncate")
    weights = Weights(0, 0, 1)
    for words in ("sector3 w3", "sector20 w20"):
        one = best_passages(words, LONG, whole, ENCODER, 9, k=1, weights=weights)
        assert one == best_passages(
            words, LONG, cut, ENCODER, 9, k=1, weights=weights, overflow="truncate"
        )
    # Behind them there are no vectors, so these passages score 0.
    behind = len(" ".join(LONG.split()[:300]))
    scored = best_passages(
        "sector90", LONG, cut, ENCODER, 9, k=99, weights=weights, overflow="truncate"
    )
    assert 0 < max(passage.start for passage in scored) < behind


def test_a_text_whose_vectors_were_dropped_has_lexical_scores() -> None:
    whole, dropped = stored(LONG), shortened(LONG, 300, "drop")
    assert [p.text for p in best_passages("sector70", LONG, dropped, ENCODER, 9)] == [
        p.text for p in best_passages("sector70", LONG, whole, ENCODER, 9, weights=Weights(0, 1, 0))
    ]
    with pytest.raises(InvalidInputError, match="the document has no colbert vectors"):
        best_passages("sector70", LONG, dropped, ENCODER, 9, weights=Weights(0, 0, 1))


# --- passages of late chunking -------------------------------------------------------------------


def late(rows: slice, storage: str = "bits=16", *, words: str = TEXT) -> tuple[Document, Vector]:
    """Return a passage of late chunking: the vectors of some tokens of a text, without `</s>`."""
    vectors, tokens = ENCODER.encode_documents([words]), ENCODER.tokens(words)[rows]
    assert vectors.colbert is not None
    assert vectors.colbert.weights is not None
    own = TokenRows.from_arrays([vectors.colbert.values[rows]])
    own = replace(own, weights=vectors.colbert.weights[rows])
    kept = ColbertStorage.parse(storage)
    weights = {token.id: dict(vectors[0].sparse or {})[token.id] for token in tokens}
    batch = Vectors(sparse=SparseRows.from_dicts([weights]), colbert=reduced(own, kept))
    text = words[tokens[0].start : tokens[-1].end]
    return Document("d#1", text, {"parent": "d", PRIVATE_KEY: {"passage": 1}}), batch[0]


@pytest.mark.parametrize("storage", ["bits=16", "pool=2", "prune=1/3", "bits=16,pool=3,prune=1/2"])
@pytest.mark.parametrize("rows", [slice(4, 38), slice(4, 5), slice(4, 6), slice(11, 20)])
def test_passages_of_late_chunking(rows: slice, storage: str) -> None:
    document, vector = late(rows, storage)
    best = best_passages("blue whale song", document, vector, ENCODER, 9, overflow="error")
    assert all(passage.text == document.text[passage.start : passage.end] for passage in best)
    if rows == slice(4, 38):
        assert any("A blue whale sings a song" in passage.text for passage in best)


@pytest.mark.parametrize("storage", ["bits=16", "pool=2", "prune=1/3"])
@pytest.mark.parametrize("more", range(-5, 6))
def test_the_first_tokens_of_a_passage_may_be_others(more: int, storage: str) -> None:
    """The passage by itself has other first tokens than its slice of the text."""
    document, vector = late(slice(0, 38), storage)
    begin = ENCODER.tokens(document.text)[max(0, -more)].start
    text = "Ab " * more + document.text[begin:]
    changed = replace(document, text=text)
    if abs(more) > 4:
        if storage == "bits=16":
            with pytest.raises(InvalidInputError, match="give the text that was stored"):
                best_passages("whale song", changed, vector, ENCODER, 9, overflow="error")
        return
    best = best_passages("sings a song", changed, vector, ENCODER, 9, k=9, overflow="error")
    assert any("sings a song at night" in passage.text for passage in best)
    if storage == "bits=16":
        assert "sings a song at night" in best[0].text


def test_vectors_of_another_text_are_refused_for_passages_too() -> None:
    document, vector = late(slice(4, 38))
    for text in (
        "",
        "x",
        "Other words in it.",
        TEXT * 2,
        document.text + " and then so on it goes",
    ):
        with pytest.raises(InvalidInputError, match="give the text that was stored"):
            best_passages("whale", replace(document, text=text), vector, ENCODER, overflow="error")
    with pytest.raises(InvalidInputError, match="ColBERT vectors, and its"):
        best_passages("whale", document.text, vector, ENCODER, overflow="error")


def test_the_instruction_before_a_text_has_vectors_too() -> None:
    class Instructed(HashEncoder):
        options: ClassVar = {"document_instruction": "Find this text: "}
        max_length: int | None = None

    encoder = Instructed()
    vector = encoder.encode_documents(["Find this text: " + TEXT])[0]
    assert best_passages("whale song", TEXT, vector, encoder, 9, overflow="error") == best_passages(
        "whale song", TEXT, stored(TEXT), ENCODER, 9
    )
    encoder.max_length = 41  # and so 37 tokens of the text, the instruction and 2 special ones
    cut = TEXT.replace(" is no fish. ", "")
    vector = encoder.encode_documents(["Find this text: " + cut])[0]
    best = best_passages("whale", TEXT, vector, encoder, 40, overflow="error")
    assert max(passage.end for passage in best) == len(cut.strip())


def test_words_behind_the_vectors_of_a_truncated_text_are_found() -> None:
    """A passage without vectors is not worse than all that have some."""
    cut = shortened(LONG, 300, "truncate")
    best = best_passages("the sector90 lives near", LONG, cut, ENCODER, 9, overflow="truncate")
    assert "sector90," in best[0].text
    assert best[0].colbert is None
    assert best[1].colbert is not None
    assert best[0].score > best[1].score
    # Without a word of the question, a passage without vectors has nothing for it.
    scored = best_passages("sector3", LONG, cut, ENCODER, 9, k=99, overflow="truncate")
    assert all(passage.colbert is not None for passage in scored)
