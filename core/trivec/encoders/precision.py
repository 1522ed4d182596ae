"""The number formats in which a model can run, and which one "auto" means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from trivec.encoders.cpu import Processor, bfloat16_speedup
from trivec.errors import InvalidOptionError

# The speedup from which "auto" takes bfloat16, since it costs accuracy (cosine 0.9999).
_WORTHWHILE = 1.3


class Precision(StrEnum):
    """The number format of the matrix products."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"


@dataclass(frozen=True, slots=True)
class Choice:
    """A precision and the reason for it."""

    precision: Precision
    reason: str


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
        measured: Returns the choice that a measurement on this machine leads to; called only if
            the processor has bfloat16 and is not among the project's benchmarks.

    Raises:
        InvalidOptionError: If the precision is unknown, or does not run on this device.

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
        speedup = bfloat16_speedup(processor)
        if speedup is None:
            return measured()
        return choose_by_speedup(speedup, f"on processors of {processor.vendor} with avx512_bf16")
    if requested not in list(Precision):
        known = ", ".join(repr(p.value) for p in Precision)
        raise InvalidOptionError(f"precision={requested!r} is not one of 'auto', {known}")
    precision = Precision(requested)
    if precision is Precision.INT8 and device != "cpu":
        raise InvalidOptionError(
            f"precision='int8' runs on a CPU only, the device is {device!r}; use 'float16' there"
        )
    return Choice(precision, "asked for")


def choose_by_speedup(speedup: float, where: str) -> Choice:
    """Return the precision for a speed of bfloat16, given as a multiple of that of float32.

    >>> choose_by_speedup(0.7, "here").precision.value
    'float32'
    """
    return Choice(
        Precision.BFLOAT16 if speedup >= _WORTHWHILE else Precision.FLOAT32,
        f"bfloat16 has {speedup:.2f} times the speed of float32 {where}; "
        f"it is taken from {_WORTHWHILE} times",
    )
