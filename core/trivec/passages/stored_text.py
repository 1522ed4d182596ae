"""The windows of one stored text, and their scores for queries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trivec.encoders.protocol import Token
from trivec.errors import InvalidVectorsError
from trivec.passages.splitting import Cuts
from trivec.passages.windows import best_apart, window_maxima
from trivec.scored_passage import ScoredPassage
from trivec.scores import Weights
from trivec.vectors import Vector

_COLUMNS = 64
"""The tokens of the query that are compared at once: 2 MiB for each 8,192 tokens of a document."""


class StoredText:
    """A text with its stored vectors, cut into windows that any number of queries can score.

    Args:
        text: The text.
        tokens: Its tokens.
        vector: Its stored vectors.
        rows: int64 (tokens,), which ColBERT vector each token went into, -1 for none; see
            `trivec.passages.alignment.aligned`.
        most: The most tokens of a window.
    """

    def __init__(
        self,
        text: str,
        tokens: Sequence[Token],
        vector: Vector,
        rows: NDArray[np.int64],
        most: int,
    ) -> None:
        self._text = text
        self._vector = vector
        self._rows = rows
        self._ids = np.fromiter((token.id for token in tokens), np.int64, len(tokens))
        self._cuts = Cuts(text, tokens)
        borders = np.array(self._cuts.pieces(most), np.int64)
        self._starts = borders[:-1]
        self._ends = borders[np.searchsorted(borders, self._starts + most, side="right") - 1]

    def best(self, query: Vector, weights: Weights, k: int) -> list[ScoredPassage]:
        """Return up to k windows that do not overlap, best first, with scores above 0.

        Args:
            query: The vectors of the question.
            weights: The weights of the lexical and the ColBERT score; one of them is above 0.
            k: How many windows at most.

        Raises:
            InvalidVectorsError: If the ColBERT dimensions differ.
        """
        sparse = colbert = np.zeros(len(self._starts))
        if weights.sparse > 0:
            sparse = self._sparse(query)
        if weights.colbert > 0:
            colbert = self._colbert(query)
        scores = weights.sparse * sparse + weights.colbert * colbert
        scores /= weights.sparse + weights.colbert
        passages: list[ScoredPassage] = []
        for best in best_apart(scores, self._starts, self._ends):
            if len(passages) == k or scores[best] <= 0:
                break
            passage = self._cuts.passage(int(self._starts[best]), int(self._ends[best]))
            passages.append(
                ScoredPassage(
                    passage.start,
                    passage.end,
                    self._text[passage.start : passage.end],
                    float(scores[best]),
                    float(sparse[best]) if weights.sparse > 0 else None,
                    float(colbert[best]) if weights.colbert > 0 else None,
                )
            )
        return passages

    def _sparse(self, query: Vector) -> NDArray[np.float64]:
        """Return the lexical score of each window, float64 (windows,)."""
        asked, stored = query.sparse or {}, self._vector.sparse or {}
        shared = np.array(sorted(asked.keys() & stored.keys()), np.int64)
        scores = np.zeros(len(self._starts))
        for first in range(0, len(shared), _COLUMNS):
            some = shared[first : first + _COLUMNS]
            is_token = (self._ids[:, None] == some).astype(np.float32)
            occurs = window_maxima(is_token, self._starts, self._ends)
            scores += occurs @ np.array([asked[i] * stored[i] for i in some.tolist()])
        return scores

    def _colbert(self, query: Vector) -> NDArray[np.float64]:
        """Return the ColBERT score of each window, float64 (windows,)."""
        scores = np.zeros(len(self._starts))
        asked, stored = query.colbert, self._vector.colbert
        if asked is None or stored is None or not len(asked) or not len(stored):
            return scores
        if asked.shape[1] != stored.shape[1]:
            raise InvalidVectorsError(
                f"the query has {asked.shape[1]} ColBERT dimensions, the document {stored.shape[1]}"
            )
        vectors = stored.astype(np.float32, copy=False)
        dropped = self._rows < 0
        for first in range(0, len(asked), _COLUMNS):
            some = asked[first : first + _COLUMNS].astype(np.float32, copy=False)
            similarities = (vectors @ some.T)[self._rows]
            similarities[dropped] = -np.inf
            maxima = window_maxima(similarities, self._starts, self._ends)
            scores += np.where(np.isfinite(maxima), maxima, 0.0).sum(axis=1, dtype=np.float64)
        return scores / len(asked)
