"""Where a model runs and with which numbers."""

from __future__ import annotations

import platform
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from pathlib import Path

from trivec.errors import InvalidOptionError

__all__ = [
    "Precision",
    "choose_precision",
    "cpu_features",
    "cpu_flags",
    "has_bfloat16",
    "has_int8_dot",
]

_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_INT8_DOT = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
_MATTER = _BFLOAT16 | _INT8_DOT | {"avx2", "avx512f", "asimddp", "i8mm", "sve"}


class Precision(StrEnum):
    """The numbers of the matrix products."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"


@cache
def cpu_flags() -> frozenset[str]:
    """Return the instruction sets that Linux names in /proc/cpuinfo; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):  # x86 and ARM
            return frozenset(flags.split())
    return frozenset()


def cpu_features() -> tuple[str, ...]:
    """Return those instruction sets of this processor that decide the encoder's speed, sorted."""
    return tuple(sorted(cpu_flags() & _MATTER))


def has_bfloat16(flags: frozenset[str]) -> bool:
    """Whether the processor multiplies bfloat16; emulated, it is 8 times slower than float32.

    >>> has_bfloat16(frozenset({"avx2", "avx512f"})), has_bfloat16(frozenset({"amx_bf16"}))
    (False, True)
    """
    return bool(flags & _BFLOAT16)


def has_int8_dot(flags: frozenset[str]) -> bool:
    """Whether the processor sums products of 8-bit numbers in 32 bits.

    Older x86 processors sum pairs of them in 16 bits, which overflows on 8-bit activations.
    """
    if platform.machine() in ("arm64", "aarch64"):
        return True
    return bool(flags & _INT8_DOT)


def choose_precision(
    requested: str,
    *,
    device: str,
    flags: frozenset[str],
    bfloat16_is_faster: Callable[[], bool],
) -> Precision:
    """Return the precision that a request means on a device.

    Args:
        requested: "auto" or the name of a precision.
        device: The type of the device: "cpu", "cuda" and so on.
        flags: The processor's instruction sets.
        bfloat16_is_faster: Measures; asked only where the processor has bfloat16. A processor
            can have the instruction and still be slow: one with `avx512_bf16` but without AMX
            ran 72 GFLOP/s in bfloat16 and 114 in float32.

    Raises:
        InvalidOptionError: If there is no such precision, or not on this device.

    Example:
        >>> choose_precision(
        ...     "auto", device="cpu", flags=frozenset(), bfloat16_is_faster=lambda: True
        ... ).value
        'float32'
    """
    if requested == "auto":
        if device == "cuda":
            return Precision.FLOAT16  # as FlagEmbedding runs it, and finer than bfloat16
        fast = device == "cpu" and has_bfloat16(flags) and bfloat16_is_faster()
        return Precision.BFLOAT16 if fast else Precision.FLOAT32
    if requested not in list(Precision):
        known = ", ".join(repr(p.value) for p in Precision)
        raise InvalidOptionError(f"precision={requested!r} is not one of 'auto', {known}")
    precision = Precision(requested)
    if precision is Precision.INT8 and device != "cpu":
        raise InvalidOptionError(
            f"precision='int8' runs on a CPU only, the device is {device!r}; use 'float16' there"
        )
    return precision
