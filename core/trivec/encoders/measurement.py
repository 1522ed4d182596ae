"""A speed that is measured once on a machine and then remembered, so that all loads agree."""

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
from pathlib import Path

from trivec.encoders.cpu import Processor
from trivec.encoders.precision import Choice, Precision, choose_by_speedup
from trivec.outputs import make_folder

_logger = logging.getLogger(__name__)


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
        return choose_by_speedup(
            ratio, f"with PyTorch {self.torch}, as measured once ({self.path})"
        )

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
