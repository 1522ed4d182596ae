"""The forward pass of a transformer over texts laid end to end, without padding.

All layers but attention work token by token, so a batch is one matrix (tokens, hidden). Attention
takes each text's own rows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trivec.encoders.architecture import Architecture
from trivec.encoders.linear import Linear
from trivec.encoders.packing import PackedTexts

# PyTorch's attention on a CPU gives each thread a section of one buffer, sized by the queries of a
# block: 32, or fewer in a short text. If a section is not aligned to 64 bytes, MKL adds up in
# another order, and a text's last bits would depend on the thread that computes it.
_QUERY_BLOCK, _ALIGNED = 32, 16

# The last eighth of the layers, for which `Encoder.encode_passages` reads passages one by one.
# Recall@1 of dense vectors on XQuAD-R in English, passages of 128 tokens, with the demo model (12
# layers, mean pooling): 0.58 by the mean of states in the whole window, 0.72, 0.77, 0.79 and 0.80
# if the last 1, 2, 3 and 6 layers read passages alone, and 0.82 if all do. It was not measured on
# BGE-M3, which pools by the first token; by the first token, the demo model has 0.18 (no layer),
# 0.63, 0.65, 0.68, 0.70 and 0.73.
_SHARE = 8

LinearMaker = Callable[[Tensor, Tensor], Linear]
# Query, key, value, the bounds of the queries and keys, and the longest query and key.
_PackedAttention = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int, int], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class _Norm:
    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, states: Tensor) -> Tensor:
        shape = states.shape[-1:]
        return functional.layer_norm(states, shape, self.weight, self.bias, self.epsilon)


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    inputs: Linear  # query, key and value in one product
    output: Linear
    output_norm: _Norm
    widen: Linear
    narrow: Linear
    norm: _Norm


class Backbone:
    """An XLM-RoBERTa or BERT encoder.

    Args:
        architecture: The dimensions.
        read: Returns a tensor by its name in an `XLMRobertaModel`.
        linear: Makes a linear layer from weight and bias.
        dtype: The number format of the states between the matrix products.
        device: The device of the tensors.
    """

    def __init__(
        self,
        architecture: Architecture,
        read: Callable[[str], Tensor],
        *,
        linear: LinearMaker,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.architecture = architecture
        self.device = device
        self.dtype = dtype
        self._heads = architecture.heads

        def tensor(name: str) -> Tensor:
            return read(name).to(device=device, dtype=dtype)

        def norm(name: str) -> _Norm:
            weight, bias = tensor(f"{name}.weight"), tensor(f"{name}.bias")
            return _Norm(weight, bias, architecture.epsilon)

        def product(*names: str) -> Linear:
            weights = torch.cat([tensor(f"{name}.weight") for name in names])
            return linear(weights, torch.cat([tensor(f"{name}.bias") for name in names]))

        types = tensor("embeddings.token_type_embeddings.weight")
        self._words = tensor("embeddings.word_embeddings.weight")
        self._positions = tensor("embeddings.position_embeddings.weight")
        self._types = types
        self._norm = norm("embeddings.LayerNorm")
        self._layers = [
            _Layer(
                inputs=product(
                    f"{layer}.attention.self.query",
                    f"{layer}.attention.self.key",
                    f"{layer}.attention.self.value",
                ),
                output=product(f"{layer}.attention.output.dense"),
                output_norm=norm(f"{layer}.attention.output.LayerNorm"),
                widen=product(f"{layer}.intermediate.dense"),
                narrow=product(f"{layer}.output.dense"),
                norm=norm(f"{layer}.output.LayerNorm"),
            )
            for layer in (f"encoder.layer.{number}" for number in range(architecture.layers))
        ]
        self._last = max(1, round(architecture.layers / _SHARE))
        self._activation = _activation(architecture.activation)
        self._packed_attention = _packed_attention(architecture, dtype, device)

    def __call__(self, texts: PackedTexts) -> Tensor:
        """Return the last hidden states, float32 (tokens, hidden)."""
        with torch.inference_mode():
            return self._through(self._layers, self._embed(texts), texts).float()

    def begin(self, texts: PackedTexts) -> Tensor:
        """Return the states before the last layers, (tokens, hidden), for `finish`.

        The last layers are an eighth of all.
        """
        with torch.inference_mode():
            return self._through(self._layers[: -self._last], self._embed(texts), texts)

    def finish(self, states: Tensor, texts: PackedTexts) -> Tensor:
        """Return the last hidden states, float32 (tokens, hidden).

        Args:
            states: What `begin` returned, for these texts or for texts that these are parts of.
            texts: The texts that the last layers read.
        """
        with torch.inference_mode():
            return self._through(self._layers[-self._last :], states, texts).float()

    def _through(self, layers: Sequence[_Layer], states: Tensor, texts: PackedTexts) -> Tensor:
        attend = self._attention(texts)
        gelu = self._activation is None
        for layer in layers:
            attended = layer.output(attend(layer.inputs(states)))
            states = layer.output_norm(attended.add_(states))
            wide = layer.widen(states, gelu=gelu)
            if self._activation is not None:
                wide = self._activation(wide)
            states = layer.norm(layer.narrow(wide).add_(states))
        return states

    def _embed(self, texts: PackedTexts) -> Tensor:
        def rows(table: Tensor, index: NDArray[np.int64]) -> Tensor:
            return functional.embedding(torch.from_numpy(index).to(self.device), table)

        states = rows(self._words, texts.ids)
        states += self._types[0] if texts.types is None else rows(self._types, texts.types)
        states += rows(self._positions, texts.positions(self.architecture.padding))
        return self._norm(states)

    def _attention(self, texts: PackedTexts) -> Callable[[Tensor], Tensor]:
        lengths = np.diff(texts.indptr)
        if self._packed_attention is not None:
            bounds = torch.from_numpy(texts.indptr.astype(np.int32)).to(self.device)
            longest, packed = int(lengths.max()), self._packed_attention

            def at_once(inputs: Tensor) -> Tensor:
                query, key, value = inputs.view(len(inputs), 3, self._heads, -1).unbind(1)
                result = packed(query, key, value, bounds, bounds, longest, longest)
                return result.reshape(len(inputs), -1)

            return at_once
        runs = texts.runs()

        def by_length(inputs: Tensor) -> Tensor:
            result = inputs.new_empty(len(inputs), inputs.shape[1] // 3)
            for first, count, length in runs:
                stop = first + count * length
                shape = (count, length, 3, self._heads, -1)
                # (3, texts, heads, length, dimension)
                query, key, value = inputs[first:stop].view(shape).permute(2, 0, 3, 1, 4)
                if length < _QUERY_BLOCK:
                    query = functional.pad(query, (0, 0, 0, -length % _ALIGNED))
                attended = functional.scaled_dot_product_attention(query, key, value)
                target = result[first:stop].view(count, length, self._heads, -1)
                target.copy_(attended[:, :, :length].transpose(1, 2))
            return result

        return by_length


def _packed_attention(
    architecture: Architecture, dtype: torch.dtype, device: torch.device
) -> _PackedAttention | None:
    """Return the attention kernel for texts of different lengths, if it exists and works."""
    if device.type != "cuda" or dtype == torch.float32:
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # PyTorch before 2.10
        return None
    width = architecture.hidden // architecture.heads
    inputs = torch.randn(3, 24, architecture.heads, width, device=device, dtype=dtype)
    bounds = torch.tensor([0, 24], dtype=torch.int32, device=device)
    query, key, value = inputs.transpose(1, 2).unsqueeze(1)
    expected = functional.scaled_dot_product_attention(query, key, value)
    attention = cast("_PackedAttention", varlen_attn)
    try:
        with torch.inference_mode():
            actual = attention(inputs[0], inputs[1], inputs[2], bounds, bounds, 24, 24)
    except RuntimeError:  # this GPU or this head width is not supported
        return None
    close = torch.allclose(actual.transpose(0, 1), expected[0], atol=2e-2, rtol=2e-2)
    return attention if close else None


def _activation(name: str) -> Callable[[Tensor], Tensor] | None:
    """Return transformers' activation; None for the exact GELU, which the layers include."""
    if name == "gelu":
        return None
    from transformers.activations import ACT2FN

    activation: Callable[[Tensor], Tensor] = ACT2FN[name]
    return activation
