"""A file of rejects: the documents and lines that could not be stored, for correction."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path
from typing import BinaryIO, Self

from trivec.errors import InvalidOptionError, OutputError
from trivec.ingestion.report import Rejected
from trivec.outputs import check_output, is_stream, written_beside

_MEMBERS = {field.name for field in fields(Rejected)}


class RejectFile:
    """A JSON Lines file with where, problem and content of each reject of one run.

    The file appears when the run ends, also with an error, and replaces the file of an earlier run.
    If the run is killed, the earlier file stays. If the run succeeds without a reject, the earlier
    file is removed. A file with other content is neither overwritten nor removed: it is an error.

    Args:
        path: The file, a pipe or a device.
        follow_links: Whether a link is followed; otherwise it is an error.

    Raises:
        InvalidOptionError: If the name belongs to something else, or the folder does not exist.
        OutputError: When a reject comes, or at the end, if the file cannot be written.

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
        self._beside = ExitStack()
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()  # the reader rejects lines, the writer rejects documents

    def __call__(self, rejected: Rejected) -> None:
        """Write one line, from any thread."""
        with self._lock:
            if self._file is None:
                self._check()
                try:
                    self._file = self._beside.enter_context(written_beside(self.path))
                except OutputError as error:
                    raise OutputError(f"rejects: {error}; give another name (--rejects)") from error
            # ASCII, since a reject may contain lone surrogates, which UTF-8 cannot encode.
            self._file.write(json.dumps(asdict(rejected)).encode() + b"\n")
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._file is not None:
            with self._beside:
                self._check()
        elif error is None and not is_stream(self.path) and _holds_rejects(self.path):
            self.path.resolve().unlink()

    def _check(self) -> None:
        """Raise `InvalidOptionError` unless the file is new, a file of rejects, or a stream."""
        if self.path.is_symlink() and not self._follow_links:
            raise InvalidOptionError(
                f"{str(self.path)!r} is a link, so no rejects are written there; give another "
                "name (--rejects)"
            )
        check_output(self.path, what="rejects")
        if is_stream(self.path):
            return
        if self.path.is_file() and self.path.stat().st_size and not _holds_rejects(self.path):
            raise InvalidOptionError(
                f"{str(self.path)!r} holds something else than rejects, which would be lost; "
                "remove it, or give another name for the rejects"
            )


def _holds_rejects(path: Path) -> bool:
    """Return whether every line of a file is one that a `RejectFile` writes."""
    if not path.is_file() or not path.stat().st_size:
        return False
    try:
        with path.open(encoding="utf-8") as lines:
            return all(_is_reject(line) for line in lines)
    except ValueError:  # not UTF-8
        return False


def _is_reject(line: str) -> bool:
    if not line.endswith("\n"):  # a run was killed while writing the last line
        return line.startswith('{"where": "')
    try:
        members = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(members, dict) and _MEMBERS - {"id"} <= set(members) <= _MEMBERS
