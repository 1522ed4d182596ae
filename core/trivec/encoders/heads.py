"""The heads of BGE-M3: hidden states to dense, sparse and ColBERT vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trivec.encoders.linear import Linear
from trivec.encoders.settings import Pooling
from trivec.encoders.tokenizer import PackedTexts
from trivec.rows import Float, SparseRows


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """Turns the states of a batch into vectors, in float32.

    Args:
        pooling: Which states make the dense vector.
        sparse: The layer hidden → 1 of the lexical weights, or None.
        colbert: The layer hidden → dimension of the token vectors, or None.
        first: The id of the token that starts a text.
        special_ids: The ids that carry no lexical weight, sorted.
        window: The number of tokens between repetitions of the first token (MCLS), or None.
        truncate_dim: The number of first numbers that dense vectors keep, or None for all.
    """

    pooling: Pooling
    sparse: Linear | None
    colbert: Linear | None
    first: int
    special_ids: NDArray[np.int64]
    window: int | None
    truncate_dim: int | None = None

    def starts(self, texts: PackedTexts) -> NDArray[np.bool_]:
        """Return which tokens are the first one of a text or, with MCLS, of a window."""
        offsets = texts.offsets()
        window = np.int64(np.iinfo(np.int64).max) if self.window is None else self.window + 1
        # After a full window comes the text's end or the next window.
        starts: NDArray[np.bool_] = (offsets % window == 0) & (texts.ids == self.first)
        return starts

    def start_counts(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many tokens `starts` marks in texts of these lengths, int64 (texts,)."""
        if self.window is None:
            return np.ones_like(lengths)
        return -(-(lengths - 1) // (self.window + 1))

    def dense(self, states: Tensor, texts: PackedTexts, *, skip: int = 0) -> Float:
        """Return unit vectors, float32 (texts, hidden or `truncate_dim`).

        Args:
            states: float32 (tokens, hidden).
            texts: The texts of the states.
            skip: The number of tokens at the start of each text that are not pooled, because they
                are its instruction. The next token then takes the role of the first one.
        """
        with torch.inference_mode():
            if self.pooling == "cls" and self.window is None:
                lengths = np.diff(texts.indptr)
                # A text that is cut within its instruction is pooled by its first token, as in
                # sentence-transformers.
                firsts = texts.indptr[:-1] + np.where(lengths > skip, skip, 0)
                pooled = states[torch.from_numpy(firsts).to(states.device)]
            else:
                taken = np.flatnonzero(
                    self.starts(texts) if self.pooling == "cls" else texts.offsets() >= skip
                )
                text = np.searchsorted(texts.indptr, taken, side="right") - 1
                pooled = states.new_zeros(len(texts.indptr) - 1, states.shape[1])
                pooled.index_add_(
                    0,
                    torch.from_numpy(text).to(states.device),
                    states[torch.from_numpy(taken).to(states.device)],
                )  # the sum has the direction of the mean
            return _unit(pooled[:, : self.truncate_dim])

    def weights(self, states: Tensor, texts: PackedTexts) -> Float:
        """Return the lexical weight of each token in its place, float32 (tokens,)."""
        if self.sparse is None:
            raise ValueError("there is no sparse head")
        with torch.inference_mode():
            weights: Float = self.sparse(states).squeeze(1).relu().cpu().numpy()
        return np.where(np.isin(texts.ids, self.special_ids), np.float32(0), weights)

    def lexical(self, weights: Float, texts: PackedTexts) -> SparseRows:
        """Return the highest weight of each text's token ids, without zeros."""
        text = np.repeat(np.arange(len(texts.indptr) - 1), np.diff(texts.indptr))
        # ~(weights <= 0) keeps NaN, which then raises an error instead of losing a word.
        kept = np.flatnonzero(~(weights <= 0))
        return _maxima(text[kept], texts.ids[kept], weights[kept], len(texts.indptr) - 1)

    def token_weights(self, weights: Float, texts: PackedTexts) -> list[Float]:
        """Return the highest weight in its text of the id of each token that `tokens` returns."""
        text = np.repeat(np.arange(len(texts.indptr) - 1), np.diff(texts.indptr))
        order, starts = _groups(text, texts.ids)
        highest = np.empty_like(weights)
        lengths = np.diff(starts, append=len(order))
        highest[order] = np.repeat(np.maximum.reduceat(weights[order], starts), lengths)
        kept = np.flatnonzero(~self.starts(texts))
        return np.split(highest[kept], np.searchsorted(kept, texts.indptr[1:-1]))

    def tokens(self, states: Tensor, texts: PackedTexts) -> list[Float]:
        """Return each text's unit token vectors, float32 (tokens but the first, dimension)."""
        if self.colbert is None:
            raise ValueError("there is no ColBERT head")
        kept = np.flatnonzero(~self.starts(texts))
        with torch.inference_mode():
            vectors = _unit(self.colbert(states[torch.from_numpy(kept).to(states.device)]))
        return np.split(vectors, np.searchsorted(kept, texts.indptr[1:-1]))


def _unit(vectors: Tensor) -> Float:
    result: Float = functional.normalize(vectors, dim=-1).cpu().numpy()
    return result


def _maxima(
    text: NDArray[np.int64], ids: NDArray[np.int64], weights: Float, texts: int
) -> SparseRows:
    """Return the highest weight of each id in each text.

    >>> rows = _maxima(np.array([0, 0, 0]), np.array([7, 3, 7]), np.float32([0.5, 0.25, 0.75]), 2)
    >>> rows.row(0), rows.row(1)
    ({3: 0.25, 7: 0.75}, {})
    """
    order, starts = _groups(text, ids)
    text, ids, weights = text[order], ids[order], weights[order]
    counts = np.bincount(text[starts], minlength=texts)
    return SparseRows(
        np.concatenate([[0], np.cumsum(counts)]),
        ids[starts].astype(np.uint32),
        np.maximum.reduceat(weights, starts) if len(starts) else weights,
    )


def _groups(
    text: NDArray[np.int64], ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return an order that puts equal ids of a text side by side, and where each group starts."""
    order = np.lexsort((ids, text))
    new = (np.diff(text[order], prepend=-1) != 0) | (np.diff(ids[order], prepend=-1) != 0)
    return order, np.flatnonzero(new)
