"""The vectors of BGE-M3 from the states of a server that serves its backbone alone, in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trivec.encoders.dense import pooled
from trivec.encoders.lexical import lexical_rows, weights_of_tokens, without_special
from trivec.encoders.packing import PackedTexts
from trivec.encoders.remote.json_values import matrix
from trivec.encoders.remote.layers import Layer
from trivec.encoders.settings import Pooling
from trivec.errors import EncoderError
from trivec.rows import Float, TokenRows, unit
from trivec.vectors import Vectors

_UNIT = 0.01  # how far from 1 the length of a normalised row can be in bfloat16


@dataclass(frozen=True, slots=True, eq=False)
class StateHeads:
    """Turns the states of a batch into vectors, as the heads of `trivec.Encoder` do.

    Args:
        pooling: Which states make the dense vector.
        sparse: The layer of the lexical weights, or None.
        colbert: The layer of the token vectors, or None.
        special_ids: The ids that carry no lexical weight, sorted.
    """

    pooling: Pooling
    sparse: Layer | None
    colbert: Layer | None
    special_ids: NDArray[np.int64]

    def vectors(self, states: Float, texts: PackedTexts, parts: Sequence[str]) -> Vectors:
        """Return the vectors of texts.

        Args:
            states: float32 (tokens, hidden).
            texts: The texts of the states.
            parts: The parts to make; there must be a layer for each.
        """
        weights = None if self.sparse is None else self._weights(states, texts)
        return Vectors(
            dense=pooled(states, texts, self.pooling) if "dense" in parts else None,
            sparse=lexical_rows(weights, texts)
            if "sparse" in parts and weights is not None
            else None,
            colbert=self._tokens(states, texts, weights) if "colbert" in parts else None,
        )

    def _weights(self, states: Float, texts: PackedTexts) -> Float:
        """Return the lexical weight of each token in its place, float32 (tokens,)."""
        assert self.sparse is not None
        weights: Float = np.maximum(_linear(self.sparse, states)[:, 0], np.float32(0))
        return without_special(weights, texts, self.special_ids)

    def _tokens(self, states: Float, texts: PackedTexts, weights: Float | None) -> TokenRows:
        """Return the unit vectors of all tokens but the first of each text, with their weights."""
        assert self.colbert is not None
        firsts = np.zeros(len(texts.ids), np.bool_)
        firsts[texts.indptr[:-1]] = True
        return TokenRows(
            texts.indptr - np.arange(len(texts.indptr)),
            unit(_linear(self.colbert, states[~firsts])),
            None if weights is None else np.concatenate(weights_of_tokens(weights, texts, firsts)),
        )


def packed_states(rows: Sequence[object], lengths: NDArray[np.int64], hidden: int) -> Float:
    """Return the states of texts laid end to end, float32 (tokens, hidden).

    Args:
        rows: The states of each text as the server sent them.
        lengths: The number of tokens of each text.
        hidden: The number of inputs that the heads expect.

    Raises:
        EncoderError: If the server sent other shapes, or normalised the states.
    """
    if len(rows) != len(lengths):
        raise EncoderError(f"the server answered {len(rows)} texts of {len(lengths)}")
    arrays: list[Float] = []
    for row, length in zip(rows, lengths.tolist(), strict=True):
        states = matrix(row, "the states of a text")
        if states.shape[1] != hidden:
            raise EncoderError(
                f"the server sent states of shape {states.shape}, and the heads take (tokens, "
                f"{hidden}); it serves another model than the one whose heads are given"
            )
        if len(states) != length:
            raise EncoderError(
                f"the server sent {len(states)} states of a text that has {length} tokens by the "
                "tokenizer beside the heads; it serves another model, or puts a prompt of its own "
                "before each text (--default-prompt)"
            )
        arrays.append(states)
    packed: Float = np.concatenate(arrays)
    check_lengths(packed)
    return packed


def check_lengths(states: Float) -> None:
    """Raise `EncoderError` if all states have length 1, which those of a backbone never have.

    The lexical weights depend on the length of a state, and the bias of both heads too, so vectors
    from normalised states would be wrong, and the lost lengths cannot be found again without the
    backbone's weights.

    >>> check_lengths(np.float32([[3, 4], [0.6, 0.8]]))
    """
    norms = np.linalg.norm(states.astype(np.float64), axis=1)
    if len(norms) and bool((np.abs(norms - 1) < _UNIT).all()):
        raise EncoderError(
            "the server normalises the states of tokens, whose lengths the sparse and the ColBERT "
            "head need; /embed_all of text-embeddings-inference does not, so look at what stands "
            "between, or leave heads out for dense vectors alone"
        )


def _linear(layer: Layer, states: Float) -> Float:
    weight, bias = layer
    result: Float = states @ weight.T + bias
    return result
