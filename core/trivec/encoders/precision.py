"""With which numbers a model runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from trivec.encoders.cpu import Processor
from trivec.errors import InvalidOptionError

__all__ = ["Choice", "Precision", "by_ratio", "choose_precision"]

_WORTH_IT = 1.3
"""How much faster bfloat16 must be for "auto", since it costs accuracy (cosine 0.9999)."""


class Precision(StrEnum):
    """The numbers of the matrix products."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"


@dataclass(frozen=True, slots=True)
class Choice:
    """A precision and why it was chosen."""

    precision: Precision
    reason: str


@dataclass(frozen=True, slots=True)
class _Row:
    """What was measured on a kind of processor."""

    vendor: str
    has: str
    lacks: str
    ratio: float
    """The speed of the encoder with bfloat16, divided by that with float32."""


# From docs/benchmarks.md. The flag alone does not decide.
_MEASURED = (
    _Row("AuthenticAMD", has="avx512_bf16", lacks="amx_bf16", ratio=1.8),
    _Row("GenuineIntel", has="avx512_bf16", lacks="amx_bf16", ratio=0.7),
)


def choose_precision(
    requested: str,
    *,
    device: str,
    processor: Processor,
    measured: Callable[[], Choice],
) -> Choice:
    """Return the precision that a request means on a device, the same in every process.

    Args:
        requested: "auto" or the name of a precision.
        device: The type of the device: "cpu", "cuda" and so on.
        processor: The processor of the machine.
        measured: What was measured on this machine once; asked only where the processor has
            bfloat16 and is of no kind that the project's benchmarks know.

    Raises:
        InvalidOptionError: If there is no such precision, or not on this device.

    Example:
        >>> old = Processor("old", "", frozenset())
        >>> choose_precision("auto", device="cpu", processor=old, measured=lambda: 1 / 0)
        Choice(precision=<Precision.FLOAT32: 'float32'>, reason='this processor has no bfloat16')
    """
    if requested == "auto":
        if device == "cuda":
            # Finer than bfloat16.
            return Choice(Precision.FLOAT16, "as FlagEmbedding runs the model on a GPU")
        if device != "cpu":
            return Choice(Precision.FLOAT32, f"the reference, on the device {device!r}")
        if not processor.has_bfloat16:
            return Choice(Precision.FLOAT32, "this processor has no bfloat16")
        return _by_table(processor) or measured()
    if requested not in list(Precision):
        known = ", ".join(repr(p.value) for p in Precision)
        raise InvalidOptionError(f"precision={requested!r} is not one of 'auto', {known}")
    precision = Precision(requested)
    if precision is Precision.INT8 and device != "cpu":
        raise InvalidOptionError(
            f"precision='int8' runs on a CPU only, the device is {device!r}; use 'float16' there"
        )
    return Choice(precision, "asked for")


def _by_table(processor: Processor) -> Choice | None:
    for row in _MEASURED:
        has, lacks = row.has in processor.flags, row.lacks not in processor.flags
        if row.vendor == processor.vendor and has and lacks:
            return by_ratio(row.ratio, f"on processors of {row.vendor} with {row.has}")
    return None


def by_ratio(ratio: float, where: str) -> Choice:
    """Return the precision for a speed of bfloat16 as a multiple of that of float32.

    >>> by_ratio(0.7, "here").precision.value
    'float32'
    """
    return Choice(
        Precision.BFLOAT16 if ratio >= _WORTH_IT else Precision.FLOAT32,
        f"bfloat16 has {ratio:.2f} times the speed of float32 {where}; "
        f"it is taken from {_WORTH_IT} times",
    )
