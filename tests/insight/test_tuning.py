"""Tuning finds weights that are better, ranks as stores do, and knows noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import StringIO

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from trivec import Document, Hit, Store, Vector, Vectors, Weights, open_store, tune
from trivec.collection import Collection
from trivec.errors import InvalidOptionError
from trivec.insight.tuning import _Pool
from trivec.rows import SparseRows, TokenRows
from trivec.schema import Schema
from trivec.search import Search, SearchOptions
from trivec.stores.memory import MemoryBackend
from trivec.testing import HashEncoder

DOCUMENTS, QUERIES = 60, 40


def unit(values: NDArray[np.float64]) -> Vectors:
    """Make vectors of which only the lexical weights say which document is meant."""
    rows = len(values)
    rng = np.random.default_rng(rows)
    dense = rng.standard_normal((rows, 8))
    tokens = rng.standard_normal((rows, 4))
    return Vectors(
        dense=(dense / np.linalg.norm(dense, axis=1, keepdims=True)).astype(np.float32),
        sparse=SparseRows.from_dicts([{int(i): 0.3} for i in values]),
        colbert=TokenRows.from_arrays(
            [(row / np.linalg.norm(row))[None].astype(np.float32) for row in tokens]
        ),
    )


class Lexical(HashEncoder):
    """Finds by lexical weights only: query i shares its token with document i."""

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return unit(np.array([float(text) for text in texts], np.float64))


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with open_store("memory:/tuned") as store:
        store.create(Schema(dense=8, sparse=True, colbert=4))
        documents = [Document(f"d{i:02d}", str(i)) for i in range(DOCUMENTS)]
        store.upsert(documents, unit(np.arange(DOCUMENTS, dtype=np.float64)))
        yield store
        store.drop()


NAMES = {f"q{i:02d}": str(i) for i in range(QUERIES)}
TRUE = {name: {f"d{int(text):02d}": 1} for name, text in NAMES.items()}


def test_better_weights_are_found_and_proven(store: Store) -> None:
    found = tune(store, Lexical(), NAMES, TRUE, baseline=Weights(1, 0, 1))
    assert found.weights.sparse > found.weights.dense
    assert found.testing[1] > found.testing[0] + 0.3
    assert found.testing[1] == pytest.approx(1)
    assert found.p < 0.05
    assert found.warning is None
    assert found.queries == (20, 20)
    assert len(found.tried) == 1 + 231
    assert max(one.mean for one in found.tried) == found.tuning[1]


def test_noise_is_called_noise(store: Store) -> None:
    rng = np.random.default_rng(5)
    noise = {name: {f"d{int(rng.integers(DOCUMENTS)):02d}": 1} for name in NAMES}
    found = tune(store, Lexical(), NAMES, noise)
    assert found.tuning[1] >= found.tuning[0]
    assert found.p >= 0.05
    assert found.warning is not None
    out = StringIO()
    Console(file=out, width=120).print(found)
    assert "warning:" in out.getvalue()


def test_nothing_better_keeps_the_baseline(store: Store) -> None:
    baseline = Weights(0, 1, 0)
    found = tune(store, Lexical(), NAMES, TRUE, baseline=baseline)
    assert found.weights == baseline
    assert found.testing[0] == found.testing[1] == 1
    assert found.warning == "no weights were better than the baseline; keep it"


@pytest.mark.parametrize(
    "weights",
    [
        Weights.GENERAL,
        Weights(1, 0, 0),
        Weights(0, 1, 0),
        Weights(0, 0, 1),
        Weights(0, 1, 2),
        Weights(3, 0, 1),
    ],
)
def test_a_pool_ranks_as_the_store_does(store: Store, weights: Weights) -> None:
    for query in Lexical().encode_queries(["3", "17"]):
        # Every document is in the pool, so nothing is cut off.
        hits = store.search(query, k=DOCUMENTS, weights=Weights(1, 1, 1))
        expected = store.search(query, k=10, candidates=10, weights=weights)
        ranking = _Pool(hits, 10).ranking(weights, 10)
        assert ranking == [hit.document.id for hit in expected]


def test_each_question_is_searched_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    search = MemoryBackend.search

    def counting(
        self: MemoryBackend, collection: Collection, queries: Sequence[Vector], options: Search
    ) -> list[list[Hit]]:
        asked.append(len(queries))
        return search(self, collection, queries, options)

    monkeypatch.setattr(MemoryBackend, "search", counting)
    tune(store, Lexical(), NAMES, TRUE)
    assert sum(asked) == QUERIES


def test_too_few_questions(store: Store) -> None:
    with pytest.raises(InvalidOptionError, match="1 judged questions cannot be split"):
        tune(store, Lexical(), NAMES, {"q00": {"d00": 1}})


def test_what_is_wrong_is_told_before_anything_is_encoded(store: Store) -> None:
    encoder = Lexical()
    with pytest.raises(InvalidOptionError, match="metric 'BPM'"):
        tune(store, encoder, NAMES, TRUE, metric="BPM")
    with pytest.raises(InvalidOptionError, match="seed=-1"):
        tune(store, encoder, NAMES, TRUE, seed=-1)
    with pytest.raises(InvalidOptionError, match="candidates=0"):
        tune(store, encoder, NAMES, TRUE, candidates=0)
    with pytest.raises(InvalidOptionError, match="as baseline"):
        tune(store, encoder, NAMES, TRUE, weights=Weights.GENERAL)
    with pytest.raises(InvalidOptionError, match="as baseline"):
        tune(store, encoder, NAMES, TRUE, mode="dense")
    with pytest.raises(InvalidOptionError, match="leave out group_by"):
        tune(store, encoder, NAMES, TRUE, group_by="parent")
    with pytest.raises(InvalidOptionError, match="and evidence"):
        tune(store, encoder, NAMES, TRUE, evidence=1)
    with pytest.raises(InvalidOptionError, match="per_group=2 needs group_by"):
        tune(store, encoder, NAMES, TRUE, per_group=2)
    assert encoder.encoded == 0


def test_candidates_are_those_of_the_search(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    searches: list[Search] = []
    monkeypatch.setattr(
        MemoryBackend, "search", lambda self, collection, queries, search: searches.append(search)
    )
    cases: list[tuple[SearchOptions, int]] = [
        ({"candidates": 5}, 5),
        ({"k": 20, "candidates": 5}, 20),
        ({}, 100),
    ]
    for options, candidates in cases:
        with pytest.raises(TypeError):  # there are no hits
            tune(store, Lexical(), NAMES, TRUE, **options)
        assert searches.pop().k == 2 * candidates
