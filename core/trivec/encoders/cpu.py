"""The processor of this machine: its name, its instruction sets, and its speed with bfloat16."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_INT8_DOT = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})
_RELEVANT = _BFLOAT16 | _INT8_DOT | {"avx2", "avx512f", "sve"}
# Lines of /proc/cpuinfo that distinguish models, on x86 and on ARM.
_NAMES = (
    *("vendor_id", "cpu family", "model", "model name"),
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part"),
)
# By vendor, for processors with avx512_bf16 and without amx_bf16; from docs/benchmarks.md. The
# flag alone does not decide.
_BFLOAT16_SPEEDUPS = {"AuthenticAMD": 1.8, "GenuineIntel": 0.7}


@dataclass(frozen=True, slots=True)
class Processor:
    """A model of processor.

    Args:
        name: A name that distinguishes it from other models.
        vendor: The vendor as Linux names it; "" on other systems.
        flags: The instruction sets that Linux lists; empty on other systems.

    Example:
        >>> Processor("old", "", frozenset({"avx2"})).has_bfloat16
        False
        >>> Processor("new", "", frozenset({"avx2", "amx_bf16"})).has_bfloat16
        True
    """

    name: str
    vendor: str
    flags: frozenset[str]

    @property
    def features(self) -> tuple[str, ...]:
        """The instruction sets that matter for the encoder's speed, sorted."""
        return tuple(sorted(self.flags & _RELEVANT))

    @property
    def has_bfloat16(self) -> bool:
        """Whether it multiplies bfloat16 natively; emulation is 8 times slower than float32."""
        return bool(self.flags & _BFLOAT16)

    @property
    def has_int8_dot(self) -> bool:
        """Whether it sums products of 8-bit numbers in 32 bits.

        Older x86 processors sum pairs of products in 16 bits, which overflows.
        """
        return bool(self.flags & _INT8_DOT)


@cache
def this_processor() -> Processor:
    """Return the processor of this machine, as far as the system describes it."""
    lines: dict[str, str] = {}
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    for line in text.partition("\n\n")[0].splitlines():
        name, _, value = line.partition(":")
        lines[name.strip()] = value.strip()
    known = [lines[name] for name in _NAMES if name in lines]
    return Processor(
        name=" ".join(known) or platform.processor() or platform.machine(),
        vendor=lines.get("vendor_id", ""),
        flags=frozenset((lines.get("flags") or lines.get("Features") or "").split()),
    )


def bfloat16_speedup(processor: Processor) -> float | None:
    """Return the speed with bfloat16, divided by that with float32, if it was benchmarked."""
    covered = "avx512_bf16" in processor.flags and "amx_bf16" not in processor.flags
    return _BFLOAT16_SPEEDUPS.get(processor.vendor) if covered else None
