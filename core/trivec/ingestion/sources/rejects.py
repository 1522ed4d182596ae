"""What could not be stored, kept in a file to be put right."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from trivec.ingestion.report import Rejected

__all__ = ["RejectFile"]


class RejectFile:
    """A JSON Lines file with where, problem and content of each reject; made by the first one.

    Args:
        path: The file; what an earlier run left there is replaced.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: TextIO | None = None
        self._lock = threading.Lock()  # who reads rejects lines, who writes rejects documents

    def __call__(self, rejected: Rejected) -> None:
        """Write one line, from any thread."""
        with self._lock:
            if self._file is None:
                self._file = self.path.open("w", encoding="utf-8")
            # ASCII, since a reject may hold what UTF-8 cannot say.
            self._file.write(json.dumps(asdict(rejected)) + "\n")
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
