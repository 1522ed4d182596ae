"""What is measured once on a machine and then remembered, so that no load depends on its moment."""

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
from trivec.encoders.precision import Choice, Precision, by_ratio
from trivec.outputs import make_folder

__all__ = ["Measurement"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Measurement:
    """The speed of bfloat16 on one kind of machine, as a multiple of that of float32.

    Whichever process measures first, all later ones read what it wrote. Another processor or
    another PyTorch has a file of its own, so that many machines can share a folder.

    Args:
        folder: Where the file is; made if it is not there.
        processor: What is measured.
        torch: The version of PyTorch.
        measure: Measures; takes less than a second.
    """

    folder: Path
    processor: Processor
    torch: str
    measure: Callable[[], float]

    @property
    def path(self) -> Path:
        """The file."""
        digest = hashlib.sha256(json.dumps(self._subject()).encode()).hexdigest()
        return self.folder / f"bfloat16-{digest[:12]}.json"

    def choice(self) -> Choice:
        """Return the precision that follows; float32 if nothing can be remembered."""
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
        return by_ratio(ratio, f"with PyTorch {self.torch}, as measured once ({self.path})")

    def _subject(self) -> dict[str, str]:
        return {
            "machine": platform.machine(),
            "processor": self.processor.name,
            "features": " ".join(self.processor.features),
            "torch": self.torch,
        }

    def _remembered(self) -> float | None:
        """Return what the file says; None if there is none, or something else is in it."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        if not isinstance(content, dict):
            return None
        ratio = content.pop("ratio", None)
        sound = isinstance(ratio, float) and math.isfinite(ratio) and ratio > 0
        return ratio if sound and content == self._subject() else None

    def _measured(self) -> float:
        """Measure, unless another process has done so meanwhile, and write the file."""
        make_folder(self.folder)
        # First the file, so that nothing is measured that cannot be kept.
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=self.path.name)
        try:
            ratio = self.measure()
            with open(handle, "w", encoding="utf-8") as file:
                json.dump({**self._subject(), "ratio": ratio}, file, indent=2)
            return self._settled(Path(name), ratio)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name)

    def _settled(self, mine: Path, ratio: float) -> float:
        """Put a complete file in its place, or return what was faster to be there."""
        other = self._remembered()
        if other is not None:
            return other
        mine.chmod(0o644)
        try:
            os.link(mine, self.path)  # unlike a move, fails if the file is there
        except OSError:
            # Another process was faster, the file is damaged, or there are no links here.
            other = self._remembered()
            if other is not None:
                return other
            os.replace(mine, self.path)
        return ratio
