"""Equal scores: at the k-th place, and at the last place of a source's candidates."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from trivec.document import Document
from trivec.filters import F
from trivec.rows import SparseRows, TokenRows
from trivec.scores import Weights
from trivec.search import MODES, Mode
from trivec.testing.contract.base import ContractBase
from trivec.testing.contract.corpus import unit
from trivec.testing.contract.library import Handles, Library
from trivec.vectors import Vector, Vectors


class TieRules(ContractBase):
    """Of equal scores at a cut, the lowest ids belong to the hits and to the candidates."""

    @pytest.mark.parametrize("count", [60, 400])
    def test_of_equal_documents_the_lowest_ids_are_hits(self, library: Library, count: int) -> None:
        pair = self._filled(library, f"equal {count}", _vectors(1, 1).take([0] * count))
        first = sorted(document.id for document in _documents(count))
        query = _vectors(9, 1)[0]
        for store, mode in product(pair, MODES):
            for k, candidates in ((1, 1), (3, 10), (20, 40)):
                hits = store.search(query, k=k, candidates=candidates, mode=mode)
                assert [hit.document.id for hit in hits] == first[:k], mode
            hits = store.search(query, k=5, candidates=10, mode=mode, filter=F("year") == 1)
            assert [hit.document.id for hit in hits] == first[1:10:2], mode

    def test_the_candidates_of_equal_scores_are_the_lowest_ids(self, library: Library) -> None:
        store, oracle = self._filled(library, "equal sources", _equal_sources(60))
        first = {document.id for document in _documents(60) if document.id < "d0010"}
        several = (Weights.GENERAL, Weights(1, 0, 1), Weights(0, 1, 1), Weights(1, 1, 0.01))
        modes: tuple[Mode, ...] = ("colbert", "hybrid", "rrf")
        for mode, weights in product(modes, several):
            options: dict[str, Any] = {"mode": mode, "k": 10, "candidates": 10, "weights": weights}
            hits = store.search(_vectors(9, 1)[0], **options)
            assert {hit.document.id for hit in hits} == first
            self.assert_same_hits(hits, oracle.search(_vectors(9, 1)[0], **options))

    def test_ties_below_better_hits_and_in_some_of_many_queries(self, library: Library) -> None:
        equal, other = _equal_sources(50), _vectors(5, 50)
        pair = self._filled(library, "partly equal", Vectors.concatenate([equal, other]))
        store, oracle = pair
        dense = equal[0].dense
        queries = [
            *_vectors(6, 2),
            Vector(dense=dense, sparse={3: 1.0}, colbert=_vectors(7, 1)[0].colbert),
            Vector(dense=dense, sparse={29: 1.0, 3: 0.5}, colbert=_vectors(8, 1)[0].colbert),
        ]
        conditions = (None, F("year") == 0)
        cuts = ((4, 4), (5, 12), (60, 60))
        for mode, (k, candidates), condition in product(MODES, cuts, conditions):
            options: dict[str, Any] = {"k": k, "candidates": candidates, "mode": mode}
            answers = store.search_many(queries, filter=condition, **options)
            expected = oracle.search_many(queries, filter=condition, **options)
            for hits, wanted in zip(answers, expected, strict=True):
                self.assert_same_hits(hits, wanted)

    def _filled(self, library: Library, contents: str, vectors: Vectors) -> Handles:
        """Return a collection of these vectors, and the definition."""
        return self.share(library, contents.replace(" ", "_"), _documents(len(vectors)), vectors)


def _vectors(seed: int, n: int) -> Vectors:
    rng = np.random.default_rng(seed)
    return Vectors(
        dense=unit(rng, n, 32),
        sparse=SparseRows.from_dicts([{3: 0.25, 10 + i % 20: 0.5} for i in range(n)]),
        colbert=TokenRows.from_arrays([unit(rng, 3, 16) for _ in range(n)], dim=16),
    )


def _equal_sources(n: int) -> Vectors:
    """Return the vectors of n texts that only ColBERT tells apart."""
    equal = _vectors(1, 1).take([0] * n)
    return Vectors(dense=equal.dense, sparse=equal.sparse, colbert=_vectors(2, n).colbert)


def _documents(n: int) -> list[Document]:
    """Return documents whose ids do not come in the order of their rows."""
    order = np.random.default_rng(3).permutation(n)
    return [Document(f"d{i:04d}", "", {"year": int(i) % 2}) for i in order]
