"""The evidence in hits: the same passages in every store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest

from trivec.document import Document
from trivec.errors import InvalidOptionError, InvalidVectorsError
from trivec.filters import F
from trivec.hit import Hit
from trivec.schema import Schema
from trivec.scores import Weights
from trivec.search import MODES, Mode
from trivec.stores.memory import MemoryBackend
from trivec.stores.store import Store
from trivec.testing.contract.base import EXACT, ContractBase
from trivec.testing.contract.corpus import FIELDS, SCHEMA, Corpus
from trivec.testing.contract.library import Library
from trivec.testing.contract.storage import create_smallest
from trivec.testing.hash_encoder import HashEncoder
from trivec.vectors import Vector

_NAMES = ("whale", "otter", "falcon", "lizard", "beetle")
_SENTENCES = 30  # of six words, and so of three passages and more


@lru_cache(maxsize=1)
def evidence_encoder() -> HashEncoder:
    """Return the encoder of the corpus; it stays open."""
    encoder = HashEncoder(dense=SCHEMA.dense or 0, colbert=SCHEMA.colbert or 0)
    encoder.schema = SCHEMA
    return encoder


@lru_cache(maxsize=1)
def evidence_corpus() -> Corpus:
    """Return long documents and questions; each sentence has words that no other one has.

    The last two documents have no token, and one sentence.
    """
    texts = [
        " ".join(f"The {name} number{i} eats {name}{i} food{i * 3 + n}." for i in range(_SENTENCES))
        for n, name in enumerate(_NAMES)
    ]
    documents = [
        Document(f"long-{n}", text, {"lang": ["en", "de"][n % 2], "year": 2020 + n})
        for n, text in enumerate([*texts, "", "One whale7 alone."])
    ]
    encoder = evidence_encoder()
    questions = ["Which whale eats whale7?", "number21 falcon", "beetle28 food12", "the otter3"]
    return Corpus(
        documents,
        encoder.encode_documents([document.text for document in documents]),
        encoder.encode_queries(questions),
    )


class EvidenceRules(ContractBase):
    """The evidence in hits, against that of `memory:`."""

    @pytest.fixture
    def long(self, library: Library) -> Store:
        """Return a collection of long documents, to be read only."""
        documents, vectors = evidence_corpus().documents, evidence_corpus().vectors
        return self.share(library, "evidence", documents, vectors)[0]

    @pytest.fixture
    def long_oracle(self, library: Library) -> Store:
        """Return the same collection in memory."""
        documents, vectors = evidence_corpus().documents, evidence_corpus().vectors
        return self.share(library, "evidence", documents, vectors)[1]

    @pytest.mark.parametrize("mode", MODES)
    def test_evidence_is_that_of_memory(self, mode: Mode, long: Store, long_oracle: Store) -> None:
        options: dict[str, Any] = {"mode": mode, "k": 4, "evidence": 2}
        answers = long.search_many(evidence_corpus().queries, **options)
        expected = long_oracle.search_many(evidence_corpus().queries, **options)
        assert any(hit.evidence for hits in expected for hit in hits)
        for got, wanted in zip(answers, expected, strict=True):
            self._assert_same_evidence(got, wanted, bits=16)
        plain = long.search_many(evidence_corpus().queries, mode=mode, k=4)
        assert [[replace(hit, evidence=()) for hit in hits] for hits in answers] == plain

    @pytest.mark.parametrize("weights", [Weights(1, 1, 0), Weights(1, 0, 0), Weights(0, 0.2, 1)])
    def test_evidence_has_the_weights_of_the_search(
        self, weights: Weights, long: Store, long_oracle: Store
    ) -> None:
        options: dict[str, Any] = {"weights": weights, "k": 3, "evidence": 1}
        for query in list(evidence_corpus().queries)[:2]:
            got = long.search(query, **options)
            self._assert_same_evidence(got, long_oracle.search(query, **options), bits=16)
            first = next(hit.evidence[0] for hit in got if hit.evidence)
            assert (first.colbert is None) == (weights == Weights(1, 1, 0))

    @pytest.mark.parametrize("mode", ["hybrid", "colbert"])
    def test_evidence_of_hits_in_groups(self, mode: Mode, long: Store, long_oracle: Store) -> None:
        options: dict[str, Any] = {
            "mode": mode, "k": 2, "evidence": 3, "group_by": "lang", "per_group": 2,
        }  # fmt: skip
        for query in evidence_corpus().queries:
            got = long.search(query, **options)
            wanted = long_oracle.search(query, **options)
            assert [hit.group for hit in got] == [hit.group for hit in wanted]
            self._assert_same_evidence(got, wanted, bits=16)

    def test_evidence_is_the_best_of_the_text(self, long: Store) -> None:
        best = long.search(evidence_corpus().queries[0], k=1, evidence=3, filter=F("year") == 2020)
        [hit] = best
        assert "eats whale7 food21." in hit.evidence[0].text
        assert 1 <= len(hit.evidence) <= 3
        for passage in hit.evidence:
            assert passage.text == hit.document.text[passage.start : passage.end]
            assert passage.score <= hit.evidence[0].score
            assert all(
                other is passage or other.end <= passage.start or passage.end <= other.start
                for other in hit.evidence
            )

    def test_no_text_is_encoded_for_evidence(self, long: Store) -> None:
        encoder = evidence_encoder()
        before = encoder.encoded
        long.search_many(evidence_corpus().queries, k=5, evidence=2)
        assert encoder.encoded == before

    def test_evidence_of_small_token_vectors(self, fresh: Store) -> None:
        """Pooled, pruned and with few bits: the estimate is the same as that of memory."""
        storage = create_smallest(fresh)
        documents, vectors = evidence_corpus().documents, evidence_corpus().vectors
        fresh.upsert(documents, vectors)
        oracle = Store(MemoryBackend(f"evidence-{fresh.name}"))
        oracle.create(SCHEMA, fields=FIELDS, colbert=storage)
        oracle.upsert(documents, vectors)
        try:
            for query in evidence_corpus().queries:
                options: dict[str, Any] = {"k": 10, "evidence": 1, "weights": Weights(1, 1, 0.1)}
                got, wanted = fresh.search(query, **options), oracle.search(query, **options)
                self._assert_same_evidence(got, wanted, bits=storage.bits)
        finally:
            oracle.drop()

    def test_async_evidence(self, long: Store) -> None:
        queries = list(evidence_corpus().queries)

        async def work() -> list[list[Hit]]:
            return await long.asearch_many(queries, k=3, evidence=2)

        assert asyncio.run(work()) == long.search_many(queries, k=3, evidence=2)

    def test_evidence_without_a_query_for_it_is_refused(self, long: Store) -> None:
        query = evidence_corpus().queries[0]
        only_dense = Vector(dense=query.dense)
        with pytest.raises(InvalidVectorsError, match="evidence: query 1 has no sparse or colbert"):
            long.search_many([query, only_dense], mode="dense", evidence=1)
        assert long.search(Vector(dense=query.dense, sparse={}), mode="dense", evidence=1)
        for wrong in (-1, True, 1.5, "2"):
            options: dict[str, Any] = {"evidence": wrong}
            with pytest.raises(InvalidOptionError, match="evidence="):
                long.search(query, **options)

    def test_evidence_without_an_encoder_or_vectors_is_refused(self, fresh: Store) -> None:
        query = evidence_corpus().queries[0]
        fresh.create(replace(SCHEMA, model="a model that nobody has open"))
        with pytest.raises(InvalidOptionError, match="no encoder of the model 'a model that"):
            fresh.search(query, evidence=1)
        fresh.drop()
        fresh.create(Schema(dense=32, sparse=False, colbert=None, model=SCHEMA.model))
        with pytest.raises(InvalidOptionError, match="dense vectors only"):
            fresh.search(Vector(dense=query.dense), mode="dense", evidence=1)

    def _assert_same_evidence(
        self, got: Sequence[Hit], wanted: Sequence[Hit], *, bits: int
    ) -> None:
        """Compare the passages of hits: documents of nearly equal scores may change places."""
        tolerance = max(self.tolerance, self.colbert_tolerance(bits))
        by_id = {hit.document.id: hit for hit in wanted}
        for rank, hit in enumerate(got):
            if hit.document.id not in by_id:
                assert tolerance > EXACT
                continue
            expected = by_id[hit.document.id].evidence
            assert [p.score for p in hit.evidence] == pytest.approx(
                [p.score for p in expected], abs=2 * tolerance + 1e-6
            )
            # In documents without the rare words of a question, passages may score the same.
            if rank == 0 or tolerance <= EXACT:
                spans = [(passage.start, passage.end, passage.text) for passage in hit.evidence]
                assert spans[:1] == [(same.start, same.end, same.text) for same in expected[:1]]
