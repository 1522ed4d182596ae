"""Equal scores: at the k-th place, and at the last place of a source's candidates."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, get_args
from uuid import uuid4

import numpy as np
import pytest

from trivec import Document, F, Schema, Store, Vector, Vectors, Weights, open_store
from trivec.rows import SparseRows, TokenRows
from trivec.search import Mode

MODES: tuple[Mode, ...] = get_args(Mode)
SCHEMA = Schema(dense=32, sparse=True, colbert=16, model="contract")
FIELDS: dict[str, Any] = {"half": int}


def _unit(rng: np.random.Generator, n: int, dim: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    values = rng.standard_normal((n, dim))
    unit: np.ndarray[Any, np.dtype[np.float32]]
    unit = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _made(seed: int, n: int) -> Vectors:
    rng = np.random.default_rng(seed)
    return Vectors(
        dense=_unit(rng, n, 32),
        sparse=SparseRows.from_dicts([{3: 0.25, 10 + i % 20: 0.5} for i in range(n)]),
        colbert=TokenRows.from_arrays([_unit(rng, 3, 16) for _ in range(n)], dim=16),
    )


def _tied_sources(n: int) -> Vectors:
    """n texts that only ColBERT tells apart."""
    one = _made(1, 1).take([0] * n)
    return Vectors(dense=one.dense, sparse=one.sparse, colbert=_made(2, n).colbert)


def _documents(n: int, seed: int = 3) -> list[Document]:
    """Documents whose ids do not come in the order of their places."""
    order = np.random.default_rng(seed).permutation(n)
    return [Document(f"d{i:04d}", "", {"half": int(i) % 2}) for i in order]


@pytest.fixture(scope="module")
def pair(case: Any, folder: Path) -> Iterator[tuple[Store, Store]]:
    """Yield the store and the definition."""
    name = f"ties_{uuid4().hex[:12]}"
    with case.open(folder, name) as store, open_store(f"memory:/{name}_oracle") as oracle:
        for one in (store, oracle):
            one.create(SCHEMA, fields=FIELDS, exist_ok=True)
        yield store, oracle
        store.drop()
        oracle.drop()


def _fill(case: Any, pair: tuple[Store, Store], vectors: Vectors) -> list[Document]:
    documents = _documents(len(vectors))
    for store, kept in zip(pair, (vectors, case.stored(vectors)), strict=True):
        store.delete([document.id for page in store.scan() for document in page.documents])
        store.upsert(documents, kept)
    return documents


@pytest.mark.parametrize("count", [60, 1000])
def test_of_equal_documents_the_first_ids_are_found(
    case: Any, pair: tuple[Store, Store], count: int
) -> None:
    documents = _fill(case, pair, _made(1, 1).take([0] * count))
    first = sorted(document.id for document in documents)
    query = _made(9, 1)[0]
    for store, mode in product(pair, MODES):
        for k, candidates in ((1, 1), (3, 10), (20, 40)):
            hits = store.search(query, k=k, candidates=candidates, mode=mode)
            assert [hit.document.id for hit in hits] == first[:k], mode
        hits = store.search(query, k=5, candidates=10, mode=mode, filter=F("half") == 1)
        assert [hit.document.id for hit in hits] == first[1:10:2], mode


def test_the_candidates_of_equal_scores_are_the_first_ids(
    case: Any, pair: tuple[Store, Store], assert_same_hits: Any
) -> None:
    documents = _fill(case, pair, _tied_sources(60))
    first = {document.id for document in documents if document.id < "d0010"}
    store, oracle = pair
    several = (Weights.GENERAL, Weights(1, 0, 1), Weights(0, 1, 1), Weights(1, 1, 0.01))
    modes: tuple[Mode, ...] = ("colbert", "hybrid", "rrf")
    for mode, weights in product(modes, several):
        options: dict[str, Any] = {"mode": mode, "k": 10, "candidates": 10, "weights": weights}
        hits = store.search(_made(9, 1)[0], **options)
        assert {hit.document.id for hit in hits} == first
        assert_same_hits(hits, oracle.search(_made(9, 1)[0], **options))


def test_ties_below_better_ones_and_in_some_of_many_queries(
    case: Any, pair: tuple[Store, Store], assert_same_hits: Any
) -> None:
    tied, other = _tied_sources(50), _made(5, 50)
    _fill(case, pair, Vectors.concatenate([tied, other]))
    store, oracle = pair
    queries = [
        *_made(6, 2),
        Vector(dense=tied[0].dense, sparse={3: 1.0}, colbert=_made(7, 1)[0].colbert),
        Vector(dense=tied[0].dense, sparse={29: 1.0, 3: 0.5}, colbert=_made(8, 1)[0].colbert),
    ]
    wheres = (None, F("half") == 0)
    for mode, (k, candidates), where in product(MODES, ((4, 4), (5, 12), (60, 60)), wheres):
        options: dict[str, Any] = {"k": k, "candidates": candidates, "filter": where, "mode": mode}
        found = store.search_many(queries, **options)
        expected = oracle.search_many(queries, **options)
        for hits, wanted in zip(found, expected, strict=True):
            assert_same_hits(hits, wanted)
