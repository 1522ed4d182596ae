"""The scores of each question's candidates with each storage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trivec.colbert_storage import ColbertStorage
from trivec.errors import InvalidVectorsError
from trivec.insight.statistics import Values
from trivec.insight.storage.results import RankedMode
from trivec.insight.storage.sample import Sample
from trivec.insight.storage.scores import Asked, Pairs, add_scores
from trivec.scores import PartScores, Weights, score_many
from trivec.search import Search
from trivec.stores.memory import candidates as source_candidates
from trivec.vectors import Vector, Vectors


@dataclass(frozen=True, slots=True)
class Ranking:
    """The scores of the candidates of each question.

    Args:
        candidates: For each question the rows of its candidates, ascending.
        parts: Their dense and sparse scores.
        pairs: Where their ColBERT scores are.
        colbert: float64 (storages, pairs), their ColBERT scores.
        weights: The weights of the hybrid score.
    """

    candidates: Sequence[NDArray[np.int64]]
    parts: Sequence[PartScores]
    pairs: Pairs
    colbert: Values
    weights: Weights

    @classmethod
    def of(
        cls,
        documents: Sample,
        questions: Vectors,
        weights: Weights,
        candidates: int,
        storages: Sequence[ColbertStorage],
    ) -> Ranking:
        """Find the candidates of each question, and score them with each storage."""
        search = Search(mode="hybrid", weights=weights, candidates=candidates)
        unions = [_union(question, documents.vectors, search) for question in questions]
        parts = [
            score_many(question, documents.vectors.take(union), Weights(1, 1, 0))
            for question, union in zip(questions, unions, strict=True)
        ]
        pairs = Pairs.from_candidates(unions, len(documents.ids))
        colbert = np.zeros((len(storages), len(pairs)))
        if questions.colbert is None:
            raise InvalidVectorsError("the encoder makes no token vectors of questions")
        asked = Asked.of(questions.colbert)
        for first, block in documents.blocks():
            add_scores(colbert, pairs, first, block, asked, storages)
        return cls(unions, parts, pairs, colbert, weights)

    def scores(self, storage: int, mode: RankedMode) -> Iterator[Values]:
        """Yield for each question the scores of its candidates."""
        for parts, places in zip(self.parts, self.pairs.places, strict=True):
            colbert: Values = self.colbert[storage, places]
            if mode == "colbert":
                yield colbert
            else:
                yield PartScores(parts.dense, parts.sparse, colbert).hybrid(self.weights)


def _union(question: Vector, vectors: Vectors, search: Search) -> NDArray[np.int64]:
    sources = search.sources(question)
    rows = [source_candidates(question, vectors, source, search)[0] for source in sources]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *rows]))
