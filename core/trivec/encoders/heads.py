"""The heads of BGE-M3: hidden states to dense, sparse and ColBERT vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trivec.encoders.lexical import without_special
from trivec.encoders.linear import Linear
from trivec.encoders.packing import PackedTexts
from trivec.encoders.settings import Pooling
from trivec.rows import Float


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
        return texts.starts(self.first, self.window)

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
                pooled = states[torch.from_numpy(texts.firsts(skip)).to(states.device)]
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
        return without_special(weights, texts, self.special_ids)

    def tokens(self, states: Tensor) -> Float:
        """Return unit token vectors, float32 (tokens, dimension)."""
        if self.colbert is None:
            raise ValueError("there is no ColBERT head")
        with torch.inference_mode():
            return _unit(self.colbert(states))

    def tokens_of_texts(self, states: Tensor, texts: PackedTexts) -> list[Float]:
        """Return each text's unit token vectors, float32 (tokens but the first, dimension)."""
        kept = np.flatnonzero(~self.starts(texts))
        vectors = self.tokens(states[torch.from_numpy(kept).to(states.device)])
        return np.split(vectors, np.searchsorted(kept, texts.indptr[1:-1]))


def _unit(vectors: Tensor) -> Float:
    result: Float = functional.normalize(vectors, dim=-1).cpu().numpy()
    return result
