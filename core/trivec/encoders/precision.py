"""The number formats in which a model can run, and which one "auto" means."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import platform
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from trivec.encoders.cpu import Processor, bfloat16_speedup
from trivec.errors import InvalidOptionError
from trivec.outputs import make_folder

_logger = logging.getLogger(__name__)

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
        return _by_speedup(speedup, f"on processors of {processor.vendor} with avx512_bf16")
    if requested not in list(Precision):
        known = ", ".join(repr(p.value) for p in Precision)
        raise InvalidOptionError(f"precision={requested!r} is not one of 'auto', {known}")
    precision = Precision(requested)
    if precision is Precision.INT8 and device != "cpu":
        raise InvalidOptionError(
            f"precision='int8' runs on a CPU only, the device is {device!r}; use 'float16' there"
        )
    return Choice(precision, "asked for")


def _by_speedup(speedup: float, where: str) -> Choice:
    """Return the precision for a speed of bfloat16, given as a multiple of that of float32.

    >>> _by_speedup(0.7, "here").precision.value
    'float32'
    """
    return Choice(
        Precision.BFLOAT16 if speedup >= _WORTHWHILE else Precision.FLOAT32,
        f"bfloat16 has {speedup:.2f} times the speed of float32 {where}; "
        f"it is taken from {_WORTHWHILE} times",
    )


@dataclass(frozen=True, slots=True)
class Measurement:
    """The speed of bfloat16 on one model of processor, as a multiple of that of float32.

    The first process measures and writes a file, which all later ones read. Each processor and
    version of PyTorch has its own file, so that many machines can share a folder.

    Args:
        folder: The folder of the file; made if it does not exist.
        processor: The processor of this machine.
        torch: The version of PyTorch.
        measure: Returns the ratio of the speeds; takes less than a second.
    """

    folder: Path
    processor: Processor
    torch: str
    measure: Callable[[], float]

    @property
    def path(self) -> Path:
        """The path of the file."""
        digest = hashlib.sha256(json.dumps(self._subject()).encode()).hexdigest()
        return self.folder / f"bfloat16-{digest[:12]}.json"

    def choice(self) -> Choice:
        """Return the precision that follows from the speed; float32 if it cannot be remembered."""
        try:
            ratio = self._remembered()
            if ratio is None:
                ratio = self._measured()
        except OSError as error:
            reason = (
                f"whether bfloat16 is faster cannot be remembered in {self.path}: "
                f"{error.strerror or error}; name a precision, or set TRIVEC_CACHE to a folder "
                "that can be written"
            )
            _logger.warning("precision 'auto' is float32: %s", reason)
            return Choice(Precision.FLOAT32, reason)
        return _by_speedup(ratio, f"with PyTorch {self.torch}, as measured once ({self.path})")

    def _subject(self) -> dict[str, str]:
        return {
            "machine": platform.machine(),
            "processor": self.processor.name,
            "features": " ".join(self.processor.features),
            "torch": self.torch,
        }

    def _remembered(self) -> float | None:
        """Return the ratio in the file; None if the file is missing or its content is invalid."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        if not isinstance(content, dict):
            return None
        ratio = content.pop("ratio", None)
        valid = isinstance(ratio, float) and math.isfinite(ratio) and ratio > 0
        return ratio if valid and content == self._subject() else None

    def _measured(self) -> float:
        """Measure and write the file; return the ratio that all processes use."""
        make_folder(self.folder)
        # Make the file first, so that nothing is measured that cannot be written.
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=self.path.name)
        try:
            ratio = self.measure()
            with open(handle, "w", encoding="utf-8") as file:
                json.dump({**self._subject(), "ratio": ratio}, file, indent=2)
            return self._published(Path(name), ratio)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name)

    def _published(self, file: Path, ratio: float) -> float:
        """Move a complete file to its path, or return the ratio of a process that was faster."""
        other = self._remembered()
        if other is not None:
            return other
        file.chmod(0o644)
        try:
            os.link(file, self.path)  # unlike os.replace, fails if the path exists
        except OSError:
            # Another process was faster, the file is damaged, or the disk has no hard links.
            other = self._remembered()
            if other is not None:
                return other
            os.replace(file, self.path)
        return ratio
