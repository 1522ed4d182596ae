"""Linear layers, each in the form that multiplies fastest on a machine."""

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

# Activations are quantised in blocks of this many numbers (1 MiB of float32, inside the L2 cache).
_BLOCK = 256 * 1024
# Quantised activations lie between -127 and 127. oneDNN takes them unsigned, so 128 stands for 0.
_TOP, _ZERO = 127, 128
# The largest weight if pairs of products are summed in 16 bits: 2 * 255 * 64 still fits. One bit
# less costs weights less accuracy than activations.
_TOP_OF_PAIRS = 64
# The function that oneDNN applies to a product before writing it: name, arguments, algorithm.
_GELU: tuple[str, list[float], str] = ("gelu", [], "none")
_NOTHING: tuple[str, list[float], str] = ("none", [], "")


class Linear(Protocol):
    """Maps states (tokens, inputs) to (tokens, outputs)."""

    def __call__(self, states: Tensor, *, gelu: bool = False) -> Tensor:
        """Return `states @ weight.T + bias`, or the exact GELU of it."""
        ...


class PlainLinear:
    """`torch.nn.functional.linear`: MKL for float32 on a CPU, cuBLAS on a GPU."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight = weight
        self._bias = bias

    def __call__(self, states: Tensor, *, gelu: bool = False) -> Tensor:
        """Return `states @ weight.T + bias`, or the exact GELU of it."""
        product = functional.linear(states, self._weight, self._bias)
        return functional.gelu(product) if gelu else product


class OneDnnLinear:
    """oneDNN with a weight reordered once, and the GELU inside the product."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
        self._bias = bias

    def __call__(self, states: Tensor, *, gelu: bool = False) -> Tensor:
        """Return `states @ weight.T + bias`, or the exact GELU of it."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            states, self._weight, self._bias, *(_GELU if gelu else _NOTHING)
        )
        return product


class Int8Linear:
    """oneDNN with 8-bit weights and activations; each row of both has its own scale.

    A row's product does not depend on the other rows, not even in its last bit: the scale depends
    on that row alone, and integers are summed exactly.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        weight = weight.float()
        scales = _scales(weight, _TOP if _sums_exactly() else _TOP_OF_PAIRS)
        whole = (weight / scales).round_().to(torch.int8)
        self._weight: Tensor = torch.ops.onednn.qlinear_prepack(whole, None)
        self._scales = scales.squeeze(1)
        self._bias = bias.float()

    def __call__(self, states: Tensor, *, gelu: bool = False) -> Tensor:
        """Return `states @ weight.T + bias`, or the exact GELU of it."""
        whole, scales = _quantise(states)
        product = _whole_product(whole, self._weight, self._scales)
        torch.addcmul(self._bias, product, scales, out=product)
        return functional.gelu(product) if gelu else product


class BlockwiseLinear:
    """Multiplies a fixed number of rows at a time.

    Kernels for one row, for a few and for many add up in different orders, which changes the last
    bits of a float32. Here all rows use the same kernel, so that a row's product does not depend
    on the number of other rows. The cost: short inputs are padded to a whole block.

    Args:
        layer: The layer that multiplies a block.
    """

    ROWS = 32

    def __init__(self, layer: Linear) -> None:
        self._layer = layer

    def __call__(self, states: Tensor, *, gelu: bool = False) -> Tensor:
        """Return `states @ weight.T + bias`, or the exact GELU of it."""
        filled = functional.pad(states, (0, 0, 0, -len(states) % self.ROWS))
        blocks = filled.chunk(max(1, len(filled) // self.ROWS))
        return torch.cat([self._layer(block, gelu=gelu) for block in blocks])[: len(states)]


def linear_for(precision: Precision, device: torch.device) -> Callable[[Tensor, Tensor], Linear]:
    """Return the class of linear layers for a precision, always the same on one machine.

    On a CPU this is oneDNN, if PyTorch has it. The alternative for float32, MKL, multiplies large
    batches up to 10 % faster on some processors and at a third of the speed on others. It is always
    slower for short questions, and the last bits of a row depend on the other rows.
    """
    if device.type != "cpu":
        return PlainLinear
    if precision is Precision.INT8:
        return Int8Linear
    return OneDnnLinear if _onednn_takes(getattr(torch, precision)) else PlainLinear


def measure_rates(precisions: Sequence[Precision]) -> dict[Precision, float]:
    """Measure how fast this CPU multiplies in each precision, in FLOP/s, with the threads it has.

    Returns the best of 20 rounds. The precisions take turns, so that other load on the machine
    slows all of them. The product is (512, 1024) by (1024, 1024), 1.07 GFLOP, as in BGE-M3's
    attention.
    """
    rows, width, rounds = 512, 1024, 20
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(width, width, generator=generator)
    states = torch.randn(rows, width, generator=generator)
    work: dict[Precision, tuple[Linear, Tensor]] = {}
    for precision in precisions:
        dtype = torch.float32 if precision is Precision.INT8 else getattr(torch, precision)
        make = linear_for(precision, torch.device("cpu"))
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
    """Return whether oneDNN exists and multiplies this dtype; float16 needs CPU instructions."""
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
    """Return the divisors that bring each row into the range -top to top, (rows, 1)."""
    largest = torch.maximum(rows.amax(dim=1, keepdim=True), -rows.amin(dim=1, keepdim=True))
    # The minimum keeps rows of zeros finite. A NaN or an infinity makes its own row NaN only.
    return (largest / top).clamp_(min=torch.finfo(torch.float32).tiny)


def _quantise(states: Tensor) -> tuple[Tensor, Tensor]:
    """Return states as uint8, in which `_ZERO` stands for 0, and each row's scale, (rows, 1)."""
    whole = torch.empty(states.shape, dtype=torch.int8)
    scales = torch.empty(len(states), 1)
    step = max(1, _BLOCK // states.shape[1])
    for start in range(0, len(states), step):
        block = slice(start, start + step)
        scales[block] = _scales(states[block], _TOP)
        whole[block] = (states[block] / scales[block]).round_()
    # Viewed as uint8, -1 is 255; adding 128 wraps around to 127.
    return whole.view(torch.uint8).add_(_ZERO), scales


def _whole_product(whole: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
    """Return `(whole - _ZERO) @ weight.T * scales` for a prepacked weight, float32."""
    zeros = torch.zeros(len(scales), dtype=torch.int32)
    product: Tensor = torch.ops.onednn.qlinear_pointwise(
        whole, 1.0, _ZERO, weight, scales, zeros, None, 1.0, 0, torch.float32, *_NOTHING
    )
    return product


@cache
def _sums_exactly() -> bool:
    """Return whether sums of the largest products of 8-bit numbers are exact here.

    Older x86 processors sum pairs of products in 16 bits, which overflows silently. Their flags
    tell; a product is tried as well, since oneDNN can be configured to use fewer instructions than
    the processor has.
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
