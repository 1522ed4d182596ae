"""A linear layer in the form that the machine multiplies fastest."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from trivec.encoders.cpu import this_processor
from trivec.encoders.precision import Precision

__all__ = [
    "BlockwiseLinear",
    "Int8Linear",
    "Linear",
    "OneDnnLinear",
    "PlainLinear",
    "kind",
    "rates",
]

# Activations are quantised in blocks of this many numbers (1 MiB of float32, inside the L2 cache).
_BLOCK = 256 * 1024
# Activations lie between -127 and 127. oneDNN's have no sign: 128 is what means 0.
_TOP, _ZERO = 127, 128
# The largest weight where pairs of products are summed in 16 bits: 2 * 255 * 64 still fits.
# Activations would lose more by a missing bit than weights do.
_TOP_OF_PAIRS = 64
# What oneDNN does with a product before it is written: name, arguments, algorithm.
_GELU: tuple[str, list[float], str] = ("gelu", [], "none")
_NOTHING: tuple[str, list[float], str] = ("none", [], "")


class Linear(Protocol):
    """Multiplies states (tokens, inputs) to (tokens, outputs)."""

    def __call__(self, states: Tensor, *, gelu: bool = False) -> Tensor:
        """Return `states @ weight.T + bias`, through the exact GELU if asked."""
        ...


class PlainLinear:
    """`torch.nn.functional.linear`: MKL for float32 on a CPU, cuBLAS on a GPU."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight = weight
        self._bias = bias

    def __call__(self, states: Tensor, *, gelu: bool = False) -> Tensor:
        """Return `states @ weight.T + bias`, through the exact GELU if asked."""
        product = functional.linear(states, self._weight, self._bias)
        return functional.gelu(product) if gelu else product


class OneDnnLinear:
    """oneDNN with a weight reordered once, and the GELU inside the product."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
        self._bias = bias

    def __call__(self, states: Tensor, *, gelu: bool = False) -> Tensor:
        """Return `states @ weight.T + bias`, through the exact GELU if asked."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            states, self._weight, self._bias, *(_GELU if gelu else _NOTHING)
        )
        return product


class Int8Linear:
    """oneDNN with 8-bit weights and activations, each row of both with a scale of its own.

    A row's product is the same to the bit whatever the other rows are: its scale looks at that
    row alone, and whole numbers are summed exactly.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        weight = weight.float()
        scales = _scales(weight, _TOP if _sums_exactly() else _TOP_OF_PAIRS)
        whole = (weight / scales).round_().to(torch.int8)
        self._weight: Tensor = torch.ops.onednn.qlinear_prepack(whole, None)
        self._scales = scales.squeeze(1)
        self._bias = bias.float()

    def __call__(self, states: Tensor, *, gelu: bool = False) -> Tensor:
        """Return `states @ weight.T + bias`, through the exact GELU if asked."""
        whole, scales = _quantise(states)
        product = _whole_product(whole, self._weight, self._scales)
        torch.addcmul(self._bias, product, scales, out=product)
        return functional.gelu(product) if gelu else product


class BlockwiseLinear:
    """Multiplies a fixed number of rows at a time.

    Kernels for one row, for a few and for many add up in different orders, which shows in the
    last bits of a float32. Here all rows go through the same one, so that a row's product does
    not depend on how many others there are. Short inputs pay for the rows that fill a block.

    Args:
        layer: What multiplies.
    """

    ROWS = 32

    def __init__(self, layer: Linear) -> None:
        self._layer = layer

    def __call__(self, states: Tensor, *, gelu: bool = False) -> Tensor:
        """Return `states @ weight.T + bias`, through the exact GELU if asked."""
        filled = functional.pad(states, (0, 0, 0, -len(states) % self.ROWS))
        blocks = filled.chunk(max(1, len(filled) // self.ROWS))
        return torch.cat([self._layer(block, gelu=gelu) for block in blocks])[: len(states)]


def kind(precision: Precision, device: torch.device) -> Callable[[Tensor, Tensor], Linear]:
    """Return the linear layer for a precision: always the same on a machine.

    On a CPU that is oneDNN wherever PyTorch has it. MKL, the other choice for float32, multiplies
    large batches on some processors up to a tenth faster, on others at a third of the speed, short
    questions always more slowly, and one row with other last bits than the same row among others.
    """
    if device.type != "cpu":
        return PlainLinear
    if precision is Precision.INT8:
        return Int8Linear
    return OneDnnLinear if _onednn_takes(getattr(torch, precision)) else PlainLinear


def rates(precisions: Sequence[Precision]) -> dict[Precision, float]:
    """Return how fast this CPU multiplies each kind of numbers, in FLOP/s, with these threads.

    The best of 20 rounds, in which the precisions take turns: what else runs on the machine slows
    all of them. The product is (512, 1024) by (1024, 1024), 1.07 GFLOP, as in BGE-M3's attention.
    """
    rows, width, rounds = 512, 1024, 20
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(width, width, generator=generator)
    states = torch.randn(rows, width, generator=generator)
    work: dict[Precision, tuple[Linear, Tensor]] = {}
    for precision in precisions:
        dtype = torch.float32 if precision is Precision.INT8 else getattr(torch, precision)
        make = kind(precision, torch.device("cpu"))
        layer = make(weight.to(dtype), torch.zeros(width, dtype=dtype))
        work[precision] = layer, states.to(dtype)
    best = dict.fromkeys(precisions, 0.0)
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for precision, (layer, inputs) in work.items():
                start = time.perf_counter()
                layer(inputs)
                if turn:  # the first one compiles the kernel
                    rate = 2 * rows * width * width / (time.perf_counter() - start)
                    best[precision] = max(rate, best[precision])
    return best


@cache
def _onednn_takes(dtype: torch.dtype) -> bool:
    """Whether oneDNN is there and multiplies these numbers; float16 needs instructions for it."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    numbers = torch.zeros(16, 16, dtype=dtype)
    try:
        with torch.inference_mode():
            OneDnnLinear(numbers, numbers[0])(numbers)
    except RuntimeError:
        return False
    return True


def _scales(rows: Tensor, top: int) -> Tensor:
    """Return what each row's numbers are divided by to lie between -top and top, (rows, 1)."""
    largest = torch.maximum(rows.amax(dim=1, keepdim=True), -rows.amin(dim=1, keepdim=True))
    # A row of zeros gets a scale too. One with a NaN or an infinity becomes NaN, and no other.
    return (largest / top).clamp_(min=torch.finfo(torch.float32).tiny)


def _quantise(states: Tensor) -> tuple[Tensor, Tensor]:
    """Return uint8 numbers, in which `_ZERO` means 0, and the scale of each row, (rows, 1)."""
    whole = torch.empty(states.shape, dtype=torch.int8)
    scales = torch.empty(len(states), 1)
    step = max(1, _BLOCK // states.shape[1])
    for start in range(0, len(states), step):
        block = slice(start, start + step)
        scales[block] = _scales(states[block], _TOP)
        whole[block] = (states[block] / scales[block]).round_()
    # Seen as uint8, -1 is 255: adding 128, which wraps, makes it 127.
    return whole.view(torch.uint8).add_(_ZERO), scales


def _whole_product(whole: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
    """Return `(whole - _ZERO) @ weight.T * scales` of a prepacked weight, float32."""
    zeros = torch.zeros(len(scales), dtype=torch.int32)
    product: Tensor = torch.ops.onednn.qlinear_pointwise(
        whole, 1.0, _ZERO, weight, scales, zeros, None, 1.0, 0, torch.float32, *_NOTHING
    )
    return product


@cache
def _sums_exactly() -> bool:
    """Whether sums of the largest products of 8-bit numbers are exact here.

    Older x86 processors sum pairs of products in 16 bits, which overflows without a word. Their
    flags say so; the product is tried as well, since oneDNN can be told to use less than the
    processor has.
    """
    processor = this_processor()
    if processor.flags and not processor.has_int8_dot:
        return False
    outputs, inputs = 64, 256
    weight = torch.full((outputs, inputs), _TOP, dtype=torch.int8)
    packed, scales = torch.ops.onednn.qlinear_prepack(weight, None), torch.ones(outputs)
    return all(
        bool((_whole_product(whole, packed, scales) == inputs * _TOP * _TOP).all())
        for whole in (torch.full((rows, inputs), 255, dtype=torch.uint8) for rows in (1, 64))
    )
