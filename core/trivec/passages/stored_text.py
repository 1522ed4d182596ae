"""The windows of one stored text, and their scores for queries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trivec.encoders.protocol import Token
from trivec.errors import InvalidVectorsError
from trivec.passages.splitting import Cuts
from trivec.passages.windows import best_apart, piece_windows, window_maxima
from trivec.rows import Float
from trivec.scored_passage import ScoredPassage
from trivec.scores import Weights
from trivec.vectors import Vector

_COLUMNS = 64
"""The tokens of the query that are compared at once: 2 MiB for each 8,192 tokens of a document."""

REACH = 32
"""How many tokens further a window reaches for token vectors whose tokens are estimated."""

TRUST = 0.2
"""The share of the ColBERT score's weight that is left beside lexical weights, if it is unknown or
estimated which token each vector stands for. Measured on XQuAD-R, pooled and pruned: with all of
the weight, the passages were worse than by lexical weights alone, with this share better."""

SLACK = 0.01
"""The share of its score that a window may lose if it becomes shorter by it: sentences around the
one that answers a question add little to the score."""

USUAL = 0.9
"""A window without token vectors is taken for one as good as the best tenth of the others."""


class StoredText:
    """A text with its stored vectors, cut into windows that any number of queries can score.

    If it is known which token each vector stands for, the score of a window is the weighted mean of
    its lexical and its ColBERT score. If it is estimated, or not all tokens have vectors, the
    ColBERT score counts by `TRUST`, unless there is no lexical score.

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
        known = rows[rows >= 0]
        is_pruned = vector.storage is not None and vector.storage.prune > 0
        is_pooled = len(np.unique(known)) < len(known)
        self._is_exact = not is_pooled and not (is_pruned and len(known) < len(rows))
        self._ids = np.fromiter((token.id for token in tokens), np.int64, len(tokens))
        self._cuts = Cuts(text, tokens)
        self._starts, self._ends = piece_windows(np.array(self._cuts.pieces(most), np.int64), most)
        # The longest window that begins with each piece; the others only make passages shorter.
        self._is_longest = np.diff(self._starts, append=-1) != 0

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
        has_vectors = np.ones(len(self._starts), bool)
        share = weights.colbert
        if weights.sparse > 0:
            sparse = self._sparse(query)
        if weights.colbert > 0:
            is_lexical = weights.sparse > 0 and bool(query.sparse) and bool(self._vector.sparse)
            estimate = is_lexical and not self._is_exact
            colbert, has_vectors = self._colbert(query, REACH if estimate else 0)
            if is_lexical and has_vectors.any():
                share *= TRUST if estimate or not has_vectors.all() else 1
                usual = np.quantile(colbert[has_vectors & self._is_longest], USUAL)
                colbert = np.where(has_vectors | (sparse <= 0), colbert, usual)
        scores = (weights.sparse * sparse + share * colbert) / (weights.sparse + share)
        passages: list[ScoredPassage] = []
        for best in best_apart(scores, self._starts, self._ends, slack=SLACK):
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
                    float(colbert[best]) if weights.colbert > 0 and has_vectors[best] else None,
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
            weights = np.array([asked[i] * stored[i] for i in some.tolist()])
            scores += occurs @ (weights * _rarity(occurs[self._is_longest]))
        return scores

    def _colbert(self, query: Vector, reach: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the ColBERT score of each window, and whether it has a token with a vector.

        Args:
            query: The vectors of the question.
            reach: How many tokens before and after a window count too.
        """
        starts = np.maximum(self._starts - reach, 0)
        ends = np.minimum(self._ends + reach, len(self._rows))
        known = np.concatenate([[0], np.cumsum(self._rows >= 0)])
        has_vectors = known[ends] > known[starts]
        scores = np.zeros(len(starts))
        asked, stored = query.colbert, self._vector.colbert
        if asked is not None and len(asked) > 1:
            asked = asked[:-1]  # of `</s>`, which a passage of a longer text does not have
        if asked is None or stored is None or not len(asked) or not len(stored):
            return scores, has_vectors
        if asked.shape[1] != stored.shape[1]:
            raise InvalidVectorsError(
                f"the query has {asked.shape[1]} ColBERT dimensions, the document {stored.shape[1]}"
            )
        vectors = stored.astype(np.float32, copy=False)
        unknown = self._rows < 0
        for first in range(0, len(asked), _COLUMNS):
            some = asked[first : first + _COLUMNS].astype(np.float32, copy=False)
            similarities = (vectors @ some.T)[self._rows]
            similarities[unknown] = -np.inf
            maxima = window_maxima(similarities, starts, ends)
            scores += np.where(np.isfinite(maxima), maxima, 0.0).sum(axis=1, dtype=np.float64)
        return scores / len(asked), has_vectors


def _rarity(occurs: Float) -> Float:
    """Return how much each token tells windows apart: 1 if in one window, almost 0 if in all.

    Args:
        occurs: float (windows, tokens), 1 where a token occurs in a window.
    """
    count = len(occurs) + 1
    rarity: Float = np.log(count / np.maximum(occurs.sum(axis=0), 1)) / np.log(count)
    return rarity
