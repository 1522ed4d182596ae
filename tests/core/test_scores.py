"""The scores against their definition written out in plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import trivec.scores
from trivec import Scores, Vector, Vectors, Weights, score
from trivec.errors import InvalidOptionError, InvalidVectorsError
from trivec.rows import SparseRows, TokenRows
from trivec.scores import score_many

SPARSE = st.dictionaries(st.integers(0, 12), st.floats(0.0078125, 1, width=32), max_size=6)


def plain(query: Vector, document: Vector) -> tuple[float, float, float]:
    dense = sparse = colbert = 0.0
    if query.dense is not None and document.dense is not None:
        dense = sum(float(a) * float(b) for a, b in zip(query.dense, document.dense, strict=True))
    for index, weight in (query.sparse or {}).items():
        sparse += weight * (document.sparse or {}).get(index, 0.0)
    if query.colbert is not None and document.colbert is not None and len(document.colbert):
        best = [max(float(q @ d) for d in document.colbert) for q in query.colbert]
        colbert = sum(best) / len(best) if best else 0.0
    return dense, sparse, colbert


@st.composite
def vectors(draw: st.DrawFn) -> Vector:
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    return Vector(
        dense=rng.standard_normal(3) if draw(st.booleans()) else None,
        sparse=draw(SPARSE),
        colbert=rng.standard_normal((draw(st.integers(0, 4)), 2)) if draw(st.booleans()) else None,
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(vectors(), st.lists(vectors(), max_size=6))
def test_the_definition(query: Vector, documents: list[Vector]) -> None:
    batch = Vectors.from_rows(documents, dense=3, sparse=True, colbert=2)
    weights = Weights(1, 0.3, 2)
    many = score_many(query, batch, weights)
    for i, document in enumerate(documents):
        one = score(query, document, weights)
        expected = plain(query, document)
        got = (one.dense, one.sparse, one.colbert)
        assert got == pytest.approx(expected, abs=1e-5)
        dense, sparse, colbert = expected
        assert one.hybrid == pytest.approx((dense + 0.3 * sparse + 2 * colbert) / 3.3, abs=1e-5)
        row = many.row(i)
        assert (row.dense, row.sparse, row.colbert) == pytest.approx(got, abs=1e-6)


def test_negative_similarities_stay_negative() -> None:
    query = Vector(colbert=np.array([[1.0, 0.0]]))
    batch = Vectors(
        colbert=TokenRows.from_arrays([np.array([[-0.6, 0.8]]), np.array([[-1.0, 0], [-0.9, 0]])])
    )
    colbert = score_many(query, batch, Weights(0, 0, 1)).colbert
    assert colbert is not None
    assert colbert.tolist() == pytest.approx([-0.6, -0.9])


def test_the_weights_of_zero_are_not_computed() -> None:
    query = Vector(dense=np.ones(2), sparse={1: 0.5}, colbert=np.ones((1, 2)))
    assert score(query, query, Weights(0, 1, 0)) == Scores(sparse=0.25, hybrid=0.25)


def test_many_documents_are_scored_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = [rng.standard_normal((n, 4)) for n in (3, 0, 1, 7, 2, 0, 5)]
    batch = Vectors(colbert=TokenRows.from_arrays(rows))
    query = Vector(colbert=rng.standard_normal((3, 4)))
    whole = score_many(query, batch, Weights(0, 0, 1)).colbert
    monkeypatch.setattr(trivec.scores, "_MAX_SIMILARITIES", 12)
    chunked = score_many(query, batch, Weights(0, 0, 1)).colbert
    np.testing.assert_allclose(np.asarray(chunked), np.asarray(whole), atol=1e-6)


def test_sums_far_apart_do_not_blur_small_ones() -> None:
    rows = [{1: 1000.0}] * 1000 + [{1: 1e-6}, {2: 1.0}]
    batch = Vectors(sparse=SparseRows.from_dicts(rows))
    sparse = score_many(Vector(sparse={1: 1.0}), batch, Weights(0, 1, 0)).sparse
    assert sparse is not None
    assert sparse[1000] == pytest.approx(1e-6, rel=1e-3)
    assert sparse[1001] == 0.0


def test_equal_documents_have_equal_scores() -> None:
    rows = [{1: 0.1, 2: 0.3, 7: 0.7}, {}, {3: 0.9}] * 100
    found = score_many(
        Vector(sparse={1: 0.3, 2: 0.1, 7: 0.2}), Vectors(sparse=SparseRows.from_dicts(rows))
    )
    assert found.sparse is not None
    assert [len(set(found.sparse[i::3].tolist())) for i in range(3)] == [1, 1, 1]
    assert found.sparse[1] == found.sparse[2] == 0


@pytest.mark.parametrize(("dim", "tokens", "asked"), [(32, 7, 16), (100, 3, 9), (64, 5, 1)])
def test_a_score_does_not_depend_on_the_place_in_a_batch(dim: int, tokens: int, asked: int) -> None:
    rng = np.random.default_rng(dim)

    def unit(rows: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        values = rng.standard_normal((rows, dim))
        return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)

    one = Vectors(
        dense=unit(1),
        sparse=SparseRows.from_dicts([{1: 0.3, 5: 0.2}]),
        colbert=TokenRows.from_arrays([unit(tokens)]),
    )
    query = Vector(dense=unit(1)[0], sparse={1: 0.31, 5: 0.2}, colbert=unit(asked))
    for count in (1, 2, 203):
        scores = score_many(query, one.take([0] * count))
        alone = score(query, one[0])
        for part in ("dense", "sparse", "colbert"):
            assert set(getattr(scores, part).tolist()) == {getattr(alone, part)}, part


def test_other_dimensions_are_refused() -> None:
    with pytest.raises(InvalidVectorsError, match="2 dense dimensions, the documents 3"):
        score(Vector(dense=np.ones(2)), Vector(dense=np.ones(3)))
    with pytest.raises(InvalidVectorsError, match="ColBERT"):
        score(Vector(colbert=np.ones((1, 2))), Vector(colbert=np.ones((1, 3))))


@pytest.mark.parametrize("weights", [(-1, 1, 1), (0, 0, 0), (float("nan"), 1, 1), (1, 1, np.inf)])
def test_bad_weights(weights: tuple[float, float, float]) -> None:
    with pytest.raises(InvalidOptionError):
        Weights(*weights)


def test_presets() -> None:
    assert Weights(1, 0.3, 1) == Weights.GENERAL
    assert Weights(0.4, 0.2, 0.4) == Weights.MODEL_CARD
    assert Weights(0.15, 0.5, 0.35) == Weights.LONG_DOCUMENTS
