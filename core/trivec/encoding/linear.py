"""A linear layer in the form that the machine multiplies fastest."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from trivec.encoding.precision import Precision, cpu_flags, has_int8_dot

__all__ = ["Int8Linear", "Kernel", "Linear", "OneDnnLinear", "PlainLinear", "fastest", "rates"]

Kernel = Literal["plain", "onednn", "int8"]

# The measured product: (512, 1024) by (1024, 1024), 1.07 GFLOP, as in BGE-M3's attention.
_ROWS, _WIDTH, _ROUNDS = 512, 1024, 5
# Activations are quantised in blocks of this many numbers (1 MiB of float32, inside the L2 cache).
_BLOCK = 256 * 1024
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
    """oneDNN with 8-bit weights, scaled by output, and activations quantised on the fly."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        weight = weight.float()
        self._scales = (weight.abs().amax(dim=1) / 127).clamp_(min=torch.finfo(torch.float32).tiny)
        whole = (weight / self._scales[:, None]).round_().to(torch.int8)
        self._weight: Tensor = torch.ops.onednn.qlinear_prepack(whole, None)
        self._zeros = torch.zeros(len(whole), dtype=torch.int32)
        self._bias = bias.float()
        self._levels = 255 if has_int8_dot(cpu_flags()) else 127

    def __call__(self, states: Tensor, *, gelu: bool = False) -> Tensor:
        """Return `states @ weight.T + bias`, through the exact GELU if asked."""
        whole, scale, zero = _quantise(states, self._levels)
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            whole,
            scale,
            zero,
            self._weight,
            self._scales,
            self._zeros,
            self._bias,
            1.0,
            0,
            torch.float32,
            *(_GELU if gelu else _NOTHING),
        )
        return product


def _quantise(states: Tensor, levels: int) -> tuple[Tensor, float, int]:
    """Return uint8 numbers, their scale and the number that means 0."""
    low, high = (float(bound) for bound in torch.aminmax(states))
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / levels or 1.0
    zero = round(-low / scale)
    whole = torch.empty(states.shape, dtype=torch.uint8)
    half = torch.tensor(zero + 0.5)  # the conversion to uint8 cuts; with a half, it rounds
    rows = max(1, _BLOCK // states.shape[1])
    for start in range(0, len(states), rows):
        source = states[start : start + rows]
        whole[start : start + rows] = torch.add(half, source, alpha=1 / scale).clamp_(0, levels)
    return whole, scale, zero


_KERNELS: dict[Kernel, Callable[[Tensor, Tensor], Linear]] = {
    "plain": PlainLinear,
    "onednn": OneDnnLinear,
    "int8": Int8Linear,
}


def fastest(precision: Precision, device: torch.device) -> Callable[[Tensor, Tensor], Linear]:
    """Return the linear layer that is fastest here, measured once per process on a CPU."""
    if device.type != "cpu":
        return PlainLinear
    if precision is Precision.INT8:
        return Int8Linear
    measured = rates(precision)
    return _KERNELS[max(measured, key=lambda kernel: measured[kernel])]


@cache
def rates(precision: Precision) -> dict[Kernel, float]:
    """Return the speed of each kernel on this CPU in FLOP/s, for this number of threads.

    The best of a few rounds, in which the kernels take turns: another process slows all of them.
    Left out is a kernel that needs instructions which this CPU lacks.
    """
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(_WIDTH, _WIDTH, generator=generator)
    states = torch.randn(_ROWS, _WIDTH, generator=generator)
    bias = torch.zeros(_WIDTH)
    kernels: list[Kernel] = ["plain", "onednn"]
    if precision is Precision.INT8:
        kernels = ["int8"]
    else:
        dtype = getattr(torch, precision)
        weight, states, bias = weight.to(dtype), states.to(dtype), bias.to(dtype)
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        kernels = ["plain"]
    best: dict[Kernel, float] = {}
    with torch.inference_mode():
        layers: dict[Kernel, Linear] = {}
        for kernel in kernels:
            try:
                layers[kernel] = _KERNELS[kernel](weight, bias)
            except RuntimeError:  # oneDNN's for float16 on many CPUs; the plain one works on all
                if "plain" not in layers:
                    raise
        for turn in range(_ROUNDS + 1):
            for kernel, layer in layers.items():
                start = time.perf_counter()
                layer(states)
                if turn:  # the first one compiles the kernel
                    rate = 2 * _ROWS * _WIDTH * _WIDTH / (time.perf_counter() - start)
                    best[kernel] = max(rate, best.get(kernel, 0.0))
    return best
