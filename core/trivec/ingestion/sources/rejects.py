"""What could not be stored, kept in a file to be put right."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from trivec.errors import InvalidOptionError
from trivec.ingestion.report import Rejected

__all__ = ["RejectFile"]

_MEMBERS = {field.name for field in fields(Rejected)}


class RejectFile:
    """A JSON Lines file with where, problem and content of each reject of one run.

    The first reject makes it, and replaces what an earlier run left there. A run that ends well
    without a reject removes what an earlier run left there. Nothing else is written over or
    removed: a file that holds something else is an error.

    Args:
        path: The file. A link is followed, also a pipe or a device is taken.
        follow_links: Whether a link is followed; otherwise it is an error.

    Raises:
        InvalidOptionError: If there is something else under this name, or it cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "rejects.jsonl")
        >>> with RejectFile(path) as rejects:
        ...     rejects(Rejected("a.jsonl, line 3", "not JSON", '{"id"', readable=False))
        >>> path.exists()
        True
        >>> with RejectFile(path):
        ...     pass
        >>> path.exists()
        False
    """

    def __init__(self, path: str | Path, *, follow_links: bool = True) -> None:
        self.path = Path(path)
        self._follow_links = follow_links
        self._check()
        self._file: TextIO | None = None
        self._lock = threading.Lock()  # who reads rejects lines, who writes rejects documents

    def __call__(self, rejected: Rejected) -> None:
        """Write one line, from any thread."""
        with self._lock:
            if self._file is None:
                self._check()
                try:
                    self._file = self.path.open("w", encoding="utf-8")
                except OSError as error:
                    raise InvalidOptionError(
                        f"rejects cannot be written: {error}; give another name (--rejects)"
                    ) from error
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
        elif error is None and _holds_rejects(self.path):
            self.path.resolve().unlink()

    def _check(self) -> None:
        """Raise `InvalidOptionError` unless this name is free, or of rejects, or no file at all."""
        name = str(self.path)
        if self.path.is_symlink() and not self._follow_links:
            raise InvalidOptionError(
                f"{name!r} is a link, so no rejects are written there; give another name "
                "(--rejects)"
            )
        if self.path.is_dir():
            raise InvalidOptionError(f"{name!r} is a folder; give the name of a file for rejects")
        if not self.path.parent.is_dir():
            raise InvalidOptionError(f"there is no folder {str(self.path.parent)!r} for rejects")
        if self.path.is_file() and self.path.stat().st_size and not _holds_rejects(self.path):
            raise InvalidOptionError(
                f"{name!r} holds something else than rejects, which would be lost; remove it, or "
                "give another name for the rejects"
            )


def _holds_rejects(path: Path) -> bool:
    """Return whether this is a file that a `RejectFile` wrote, by each of its lines."""
    if not path.is_file() or not path.stat().st_size:
        return False
    try:
        with path.open(encoding="utf-8") as lines:
            return all(_is_reject(line) for line in lines)
    except ValueError:  # not UTF-8
        return False


def _is_reject(line: str) -> bool:
    if not line.endswith("\n"):  # a run was killed while it wrote the last line
        return line.startswith('{"where": "')
    try:
        members = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(members, dict) and set(members) == _MEMBERS
