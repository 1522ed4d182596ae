"""All modes against the exact definition."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from trivec.document import Document
from trivec.errors import InvalidInputError, InvalidVectorsError
from trivec.filters import F
from trivec.scores import Weights
from trivec.search import MODES, Mode
from trivec.stores.store import Store
from trivec.testing.contract.base import ContractBase
from trivec.testing.contract.corpus import Corpus
from trivec.vectors import Vector

WEIGHTS = {
    "general": Weights.GENERAL,
    "card": Weights.MODEL_CARD,
    "long": Weights.LONG_DOCUMENTS,
    "no-dense": Weights(0, 1, 2),
    "no-sparse": Weights(1, 0, 2),
    "no-colbert": Weights(1, 3, 0),
    "only-dense": Weights(1, 0, 0),
    "only-sparse": Weights(0, 2, 0),
    "only-colbert": Weights(0, 0, 5),
    "little-colbert": Weights(1, 1, 0.01),
}


FILTERS = {
    "eq": F("lang") == "en",
    "range": (F("year") >= 2018) & (F("year") < 2022),
    "list": F("tags").any(["a", "it's"]),
    "not": ~(F("flag") == True),  # noqa: E712
    "null": F("price").is_null() | (F("nested.kind") == "x"),
    "none": F("lang").in_([]),
}


class SearchRules(ContractBase):
    """Searches against the exact definition."""

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("candidates", [5, 20, 100])
    def test_every_mode_equals_the_definition(
        self, mode: Mode, candidates: int, filled: Store, oracle: Store, corpus: Corpus
    ) -> None:
        queries = list(corpus.queries)
        for k in (1, 10):
            options: dict[str, Any] = {"k": k, "mode": mode, "candidates": candidates}
            answers = filled.search_many(queries, **options)
            expected = oracle.search_many(queries, **options)
            for got, wanted in zip(answers, expected, strict=True):
                self.assert_same_hits(got, wanted)

    @pytest.mark.parametrize("weights", WEIGHTS.values(), ids=list(WEIGHTS))
    @pytest.mark.parametrize("mode", ["hybrid", "rrf", "colbert"])
    def test_weights_remove_and_scale_parts(
        self, mode: Mode, weights: Weights, filled: Store, oracle: Store, corpus: Corpus
    ) -> None:
        for i in (0, 3):
            options: dict[str, Any] = {"mode": mode, "weights": weights, "candidates": 15}
            hits = filled.search(corpus.queries[i], **options)
            self.assert_same_hits(hits, oracle.search(corpus.queries[i], **options))

    @pytest.mark.parametrize(("mode", "name"), list(product(MODES, FILTERS)))
    def test_filters_hold_in_every_mode(
        self, mode: Mode, name: str, filled: Store, oracle: Store, corpus: Corpus
    ) -> None:
        options: dict[str, Any] = {"mode": mode, "candidates": 10, "filter": FILTERS[name]}
        hits = filled.search(corpus.queries[1], **options)
        assert all(FILTERS[name].matches(hit.document.metadata) for hit in hits)
        self.assert_same_hits(hits, oracle.search(corpus.queries[1], **options))

    @pytest.mark.parametrize("mode", MODES)
    def test_k_may_exceed_the_collection(
        self, mode: Mode, filled: Store, oracle: Store, corpus: Corpus
    ) -> None:
        hits = filled.search(corpus.queries[0], mode=mode, k=1000)
        self.assert_same_hits(hits, oracle.search(corpus.queries[0], mode=mode, k=1000))

    def test_search_many_equals_search(self, filled: Store, corpus: Corpus) -> None:
        queries = list(corpus.queries)[:5]
        many = filled.search_many(corpus.queries.slice(0, 5), k=7)
        for query, hits in zip(queries, many, strict=True):
            alone = filled.search(query, k=7)
            assert [h.document for h in hits] == [h.document for h in alone]
            np.testing.assert_allclose([h.score for h in hits], [h.score for h in alone], atol=1e-6)
        assert filled.search_many([]) == []

    def test_a_query_may_lack_parts(self, filled: Store, oracle: Store, corpus: Corpus) -> None:
        whole = corpus.queries[0]
        for query in (
            Vector(dense=whole.dense),
            Vector(sparse=whole.sparse),
            Vector(dense=whole.dense, sparse={}),
            Vector(dense=whole.dense, colbert=whole.colbert),
            Vector(sparse=whole.sparse, colbert=whole.colbert),
        ):
            for mode in ("hybrid", "rrf"):
                self.assert_same_hits(
                    filled.search(query, mode=mode), oracle.search(query, mode=mode)
                )
        assert filled.search(Vector(sparse={}), mode="sparse") == []
        assert filled.search(Vector(sparse={59_999: 1.0}), mode="sparse") == []
        assert filled.search(Vector(sparse={}, colbert=whole.colbert), mode="hybrid") == []
        no_tokens = Vector(dense=whole.dense, colbert=np.zeros((0, 16), np.float32))
        assert filled.search(no_tokens, mode="colbert") == []

    def test_malformed_searches_are_refused(self, filled: Store, corpus: Corpus) -> None:
        query = corpus.queries[0]
        with pytest.raises(InvalidVectorsError, match="dense"):
            filled.search(Vector(sparse={1: 1.0}), mode="dense")
        with pytest.raises(InvalidVectorsError, match="dimension 31"):
            filled.search(Vector(dense=np.ones(31, np.float32)), mode="dense")
        with pytest.raises(InvalidVectorsError, match="dimension 3"):
            filled.search(Vector(dense=query.dense, colbert=np.ones((2, 3), np.float32)))
        wrongs: list[dict[str, Any]] = [
            {"k": 0},
            {"mode": "best"},
            {"candidates": 0},
            {"k": 2**31},
            {"k": 2**70},
            {"candidates": 2**70},
            {"k": 5.0},
            {"k": np.int64(-1)},
            {"filter": "lang == 'en'"},
        ]
        for wrong in wrongs:
            with pytest.raises(InvalidInputError):
                filled.search(query, **wrong)
        with pytest.raises(InvalidInputError, match="'year' is declared int"):
            filled.search(query, filter=F("year") == "2020")

    def test_integers_of_numpy_count(self, filled: Store, corpus: Corpus) -> None:
        query = corpus.queries[0]
        k: Any = np.int64(3)
        assert filled.search(query, k=k, candidates=k) == filled.search(query, k=3, candidates=3)

    def test_equal_scores_come_in_id_order(self, store: Store, corpus: Corpus) -> None:
        same = corpus.vectors.take([0] * 12)
        ids = [f"t{i:02d}" for i in (7, 3, 11, 0, 9, 1, 4, 10, 2, 8, 6, 5)]
        store.upsert([Document(id, "same text") for id in ids], same)
        for mode in MODES:
            hits = store.search(corpus.vectors[0], mode=mode, k=12)
            assert [hit.document.id for hit in hits] == sorted(ids), mode

    def test_replaced_and_deleted_documents_are_not_found(
        self, store: Store, corpus: Corpus
    ) -> None:
        store.upsert(corpus.documents[:20], corpus.vectors.slice(0, 20))
        query = corpus.vectors[0]
        assert store.search(query, k=1)[0].document.id == "doc-000"
        store.upsert([corpus.documents[0]], corpus.vectors.slice(30, 31))
        assert store.search(query, k=1)[0].score < 0.99
        store.delete(["doc-000"])
        assert all(hit.document.id != "doc-000" for hit in store.search(query, k=100))
