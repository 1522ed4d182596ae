"""Vectors of texts that are encoded in any order, collected in the caller's order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trivec.rows import Float, SparseRows, TokenRows, Tokens
from trivec.vectors import Vectors


class Columns:
    """Columns for n texts, filled batch by batch.

    Args:
        texts: The number of texts.
        dense: The dense dimension, or None for no dense vectors.
        sparse: Whether to collect lexical weights.
        colbert: The dimension of a token vector, or None for no token vectors.
        weights: Whether to collect the lexical weight of the token of each token vector.
        token_counts: The number of ColBERT vectors of each text, int64 (n,). Since it is known
            beforehand, every vector is copied once, to its final position.
        colbert_dtype: float32 or float16.
    """

    def __init__(
        self,
        texts: int,
        *,
        dense: int | None,
        sparse: bool,
        colbert: int | None,
        weights: bool,
        token_counts: NDArray[np.int64],
        colbert_dtype: type[np.float32] | type[np.float16],
    ) -> None:
        self._dense = None if dense is None else np.zeros((texts, dense), np.float32)
        self._sparse: list[tuple[NDArray[np.int64], SparseRows]] | None = [] if sparse else None
        self._indptr = np.concatenate([[0], np.cumsum(token_counts)])
        self._tokens: Tokens | None = None
        if colbert is not None:
            self._tokens = np.empty((int(self._indptr[-1]), colbert), colbert_dtype)
        self._weights: Float | None = None
        if colbert is not None and weights:
            self._weights = np.empty(int(self._indptr[-1]), np.float32)

    def put(
        self,
        rows: NDArray[np.int64],
        *,
        dense: Float | None,
        sparse: SparseRows | None,
        colbert: Sequence[Float],
        weights: Sequence[Float],
    ) -> None:
        """Write the vectors of the texts `rows`; a part that is off is None or empty."""
        if self._dense is not None and dense is not None:
            self._dense[rows] = dense
        if self._sparse is not None and sparse is not None:
            self._sparse.append((rows, sparse))
        if self._tokens is not None:
            for row, vectors in zip(rows.tolist(), colbert, strict=True):
                self._tokens[self._indptr[row] : self._indptr[row + 1]] = vectors
        if self._weights is not None:
            for row, of_tokens in zip(rows.tolist(), weights, strict=True):
                self._weights[self._indptr[row] : self._indptr[row + 1]] = of_tokens

    def finish(self) -> Vectors:
        """Return the vectors; all rows must have been put."""
        tokens = None
        if self._tokens is not None:
            tokens = TokenRows(self._indptr, self._tokens, self._weights)
        return Vectors(dense=self._dense, sparse=self._joined_sparse(), colbert=tokens)

    def _joined_sparse(self) -> SparseRows | None:
        if self._sparse is None:
            return None
        if not self._sparse:
            return SparseRows.from_dicts([])
        rows = np.concatenate([rows for rows, _ in self._sparse])
        joined = Vectors.concatenate([Vectors(sparse=weights) for _, weights in self._sparse])
        return joined.take(np.argsort(rows)).sparse
