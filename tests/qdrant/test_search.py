"""What Qdrant's searches rely on: exact sums, ties, the way around a refused formula."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from trivec import ColbertStorage, Document, Store, Vector, Vectors, Weights, open_store, score
from trivec.errors import StoreError
from trivec.rows import SparseRows, TokenRows
from trivec.schema import Schema
from trivec.search import Mode
from trivec.stores.steps import Steps
from trivec_qdrant.engines.engine import Query, ScoredRow, Weighted

SCHEMA = Schema(dense=64, sparse=True, colbert=64)
REFUSAL = (
    "Bad request: Request is forbidden on 'colbert' because global vector indexing is disabled "
    "(hnsw_config.m = 0). Help: Use tenant-specific filter, enable global vector indexing or "
    "enable strict mode `search_allow_exact` option"
)


@pytest.fixture
def exact(tmp_path: Path) -> Iterator[Store]:
    """Yield an empty collection in float32."""
    store = open_store(f"qdrant+edge:{tmp_path}/exact")
    store.create(SCHEMA, colbert=ColbertStorage(bits=32))
    yield store
    store.close()


def _documents(n: int) -> list[Document]:
    return [Document(f"d{i:03d}", f"text {i}") for i in range(n)]


@pytest.mark.parametrize(
    "weights",
    [
        *(Weights.GENERAL, Weights.MODEL_CARD, Weights.LONG_DOCUMENTS),
        *(Weights(1, 1, 0.29), Weights(1, 1, 0.28), Weights(1, 1, 1e-4), Weights(0, 0, 1)),
    ],
)
def test_hybrid_scores_and_their_parts_are_exact_in_float32(
    exact: Store, make_vectors: Any, weights: Weights
) -> None:
    vectors = make_vectors(80, dense=64, colbert=64, tokens=12)
    exact.upsert(_documents(80), vectors)
    for query in make_vectors(5, dense=64, colbert=64, tokens=7, seed=1):
        hits = exact.search(query, k=80, weights=weights)
        assert len(hits) == 80
        for hit in hits:
            wanted = score(query, vectors[int(hit.document.id[1:])], weights)
            for part in ("dense", "sparse", "colbert", "hybrid"):
                expected = getattr(wanted, part)
                assert getattr(hit.scores, part) == pytest.approx(expected, abs=1e-6), part


def test_a_part_that_is_absent_scores_exactly_zero(exact: Store, make_vectors: Any) -> None:
    whole = make_vectors(4, dense=64, colbert=64)
    dense = np.array(whole.dense)
    dense[1] = 0
    sparse = [{} if i == 2 else vector.sparse for i, vector in enumerate(whole)]
    tokens = [whole.colbert.row(i)[: 0 if i == 3 else None] for i in range(4)]
    vectors = Vectors(dense, SparseRows.from_dicts(sparse), TokenRows.from_arrays(tokens))
    exact.upsert(_documents(4), vectors)
    hits = {hit.document.id: hit.scores for hit in exact.search(whole[0], k=4)}
    assert hits["d001"].dense == 0
    assert hits["d002"].sparse == 0
    assert hits["d003"].colbert == 0


class Refusing:
    """An engine as a server in strict mode: it refuses formulas and answers the rest."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.formulas = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def query(self, queries: Sequence[Query], where: Any) -> Steps[list[list[ScoredRow]]]:
        if any(isinstance(query.root, Weighted) for query in queries):
            self.formulas += 1
            raise StoreError(REFUSAL)
        results: list[list[ScoredRow]] = yield from self._engine.query(queries, where)
        return results


def _replaced(store: Store, engine: type[Refusing]) -> Refusing:
    """Let a store search with another engine, over its own."""
    backend: Any = store._handle.backend
    backend._searcher._engine = engine(backend._engine)
    replaced: Refusing = backend._searcher._engine
    return replaced


def test_a_refused_formula_is_asked_for_once_and_replaced(exact: Store, make_vectors: Any) -> None:
    vectors = make_vectors(40, dense=64, colbert=64)
    exact.upsert(_documents(40), vectors)
    queries = make_vectors(3, dense=64, colbert=64, seed=2)
    options: dict[str, Any] = {"k": 7, "candidates": 10}
    expected = exact.search_many(queries, **options)
    assert exact.capabilities[0].value == "one query with a formula"
    refusing = _replaced(exact, Refusing)
    found = exact.search_many(queries, **options)
    exact.search(queries[0], **options)
    assert refusing.formulas == 1
    assert exact.capabilities[0].value == "a batch of rescoring queries"
    assert "search_allow_exact" in exact.capabilities[0].reason
    for got, wanted in zip(found, expected, strict=True):
        assert [hit.document for hit in got] == [hit.document for hit in wanted]
        for hit, same in zip(got, wanted, strict=True):
            assert hit.score == pytest.approx(same.score, abs=1e-6)
            assert hit.scores.colbert == pytest.approx(same.scores.colbert, abs=1e-6)


def test_other_refusals_are_raised(exact: Store, make_vectors: Any) -> None:
    class Failing(Refusing):
        def query(self, queries: Sequence[Query], where: Any) -> Steps[list[list[ScoredRow]]]:
            raise StoreError("Wrong input")

    _replaced(exact, Failing)
    with pytest.raises(StoreError, match="Wrong input"):
        exact.search(make_vectors(1, dense=64, colbert=64)[0])


@pytest.fixture(params=["qdrant+edge:{folder}/{name}", "qdrant+memory:/{name}"])
def tied(request: pytest.FixtureRequest, tmp_path: Path, make_vectors: Any) -> Iterator[Store]:
    """Yield 30 documents of equal vectors and one that is better."""
    name = f"tied_{uuid4().hex[:8]}"
    with open_store(request.param.format(folder=tmp_path, name=name)) as store:
        store.create(Schema(dense=8, sparse=True, colbert=8))
        ids = [f"t{i:02d}" for i in np.random.default_rng(0).permutation(30)]
        two = make_vectors(2)
        store.upsert([Document(one, "") for one in ids], two.take([0] * 30))
        better = Vectors(two.dense[1:], _times(two.sparse.take([1]), 3), two.colbert.take([1]))
        store.upsert([Document("best", "")], better)
        yield store
        store.drop()


def _times(rows: SparseRows, factor: float) -> SparseRows:
    return SparseRows(rows.indptr, rows.indices, rows.values * np.float32(factor))


@pytest.mark.parametrize("mode", ["dense", "sparse", "colbert", "hybrid", "rrf"])
def test_equal_scores_at_the_kth_place_are_cut_in_id_order(
    tied: Store, make_vectors: Any, mode: Mode
) -> None:
    query = make_vectors(2)[1]
    if mode == "sparse":  # every word in common with both
        words = {i: 0.1 for vector in make_vectors(2) for i in vector.sparse}
        query = Vector(sparse=words)
    for k in (1, 3, 10, 30):
        hits = tied.search(query, k=k, mode=mode)
        assert [hit.document.id for hit in hits] == ["best", *[f"t{i:02d}" for i in range(k - 1)]]


def test_candidates_without_a_common_word_are_none(tmp_path: Path) -> None:
    for url in (f"qdrant+edge:{tmp_path}/words", "qdrant+memory:/words"):
        with open_store(url) as store:
            store.create(Schema(dense=None, sparse=True, colbert=2))
            vectors = Vectors(
                sparse=SparseRows.from_dicts([{1: 0.5}, {2: 0.5}]),
                colbert=TokenRows.from_arrays([np.eye(2), np.eye(2)]),
            )
            store.upsert([Document("one", ""), Document("two", "")], vectors)
            query = Vector(sparse={1: 1.0}, colbert=np.eye(2))
            for mode in ("sparse", "colbert", "hybrid", "rrf"):
                assert [hit.document.id for hit in store.search(query, mode=mode)] == ["one"], mode
            store.drop()


class Limited(Refusing):
    """An engine as a server in strict mode: it refuses limits above 30."""

    def query(self, queries: Sequence[Query], where: Any) -> Steps[list[list[ScoredRow]]]:
        if any(query.limit > 30 for query in queries):
            raise StoreError('Limit exceeded 31 > 30 for "limit". Help: Reduce the limit.')
        results: list[list[ScoredRow]] = yield from self._engine.query(queries, where)
        return results


def test_ties_that_a_server_does_not_let_us_read_are_no_error(
    tied: Store, make_vectors: Any
) -> None:
    _replaced(tied, Limited)
    query = make_vectors(2)[1]
    modes: tuple[Mode, ...] = ("dense", "colbert", "hybrid", "rrf")
    for mode in modes:
        hits = tied.search(query, k=10, candidates=10, mode=mode)
        assert hits[0].document.id == "best"
        assert len(hits) == 10
    hits = tied.search(query, k=10, candidates=30, weights=Weights(1, 0, 1))
    assert len(hits) == 10
