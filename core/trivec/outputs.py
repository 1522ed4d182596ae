"""Output files: never an input, written completely or not at all, and private to their owner."""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import combinations
from pathlib import Path
from typing import BinaryIO

from trivec.errors import InvalidOptionError, OutputError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700

StrPath = str | Path

_STANDARD = {"stdin": 0, "stdout": 1, "stderr": 2}
_OPENED = re.compile(r"/dev/(stdin|stdout|stderr)|/(?:dev|proc/self)/fd/(\d+)")
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EBADF)


def check_output(path: StrPath, *, inputs: Iterable[StrPath] = (), what: str = "output") -> None:
    """Check that a file can be written and is not an input, before any work is done.

    It must not be a folder, and its folder must exist and be writable. It must not be one of the
    inputs or inside one, under whatever name: a folder includes all of its files, and "-" is
    standard input. A link is followed; a pipe or a device is allowed.

    >>> check_output("/etc", what="--html")
    Traceback (most recent call last):
    trivec.errors.InvalidOptionError: --html '/etc' is a folder; give the name of a file
    """
    path = Path(path)
    if path.is_dir():
        raise _refused(what, path, "is a folder; give the name of a file")
    _check_is_no_input(path, inputs, what)
    if is_stream(path):
        return
    folder = _target(path, what).parent
    if not folder.is_dir():
        raise _refused(what, path, f"cannot be written: there is no folder {str(folder)!r}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _refused(
            what,
            path,
            f"cannot be written, since nothing can be added to the folder {str(folder)!r}; give "
            "another name",
        )


def check_outputs(outputs: Mapping[str, StrPath | None], *, inputs: Iterable[StrPath] = ()) -> None:
    """Check each output as `check_output` does, and that no two of them are one file.

    `outputs` has the files by the names of their arguments; None is skipped.
    """
    inputs = list(inputs)
    given = [(what, Path(path)) for what, path in outputs.items() if path is not None]
    for what, path in given:
        check_output(path, inputs=inputs, what=what)
    for (what, path), (what_too, path_too) in combinations(given, 2):
        if not is_stream(path) and _target(path, what) == _target(path_too, what_too):
            raise _refused(what_too, path_too, f"is also {what}; give another name")


def check_folder(path: StrPath, *, inputs: Iterable[StrPath] = (), what: str = "output") -> None:
    """Check that a folder exists or can be created, and would not be created inside an input.

    The arguments are those of `check_output`.
    """
    path = Path(path)
    existing = next(p for p in (path, *path.absolute().parents) if os.path.lexists(p))
    if not existing.is_dir():
        raise InvalidOptionError(f"{what}: {str(existing)!r} is not a folder")
    if existing != path:
        _check_is_no_input(path, inputs, what)


def is_stream(path: StrPath) -> bool:
    """Return whether a path is a pipe, a device or an open file such as `/dev/stdout`.

    Such an output cannot be replaced as a whole; it is written directly.
    """
    if _descriptor(path) is not None:
        return True
    status = _status(path)
    if status is None:
        return False
    return not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode)


@contextmanager
def written_beside(path: StrPath) -> Iterator[BinaryIO]:
    """Yield a new file that replaces an existing one when everything is written.

    The new file is in the same folder, under a temporary name; its attribute `name` is the path. If
    the block raises, it is removed, and the existing file stays. If the process dies, the existing
    file stays too, and a file `.trivec-….part` is left beside it. A new file is private to its
    owner; a replaced file keeps its mode. A link stays, and its target is replaced. A pipe, a
    device or `/dev/stdout` is written directly. A file that cannot be written is an `OutputError`.

    >>> path = Path(tempfile.mkdtemp(), "notes.txt")
    >>> with written_beside(path) as file:
    ...     _ = file.write(b"whales")
    ...     path.exists()
    False
    >>> path.read_text()
    'whales'
    """
    path = Path(path)
    writing = False  # whether the caller's block runs; its own errors are not about this file
    try:
        if is_stream(path):
            number = _descriptor(path)
            with open(path if number is None else os.dup(number), "wb") as file:
                writing = True
                yield file
            return
        target = _target(path, "output")
        handle, new = tempfile.mkstemp(dir=target.parent, prefix=".trivec-", suffix=".part")
        os.close(handle)
        try:
            with open(new, "wb") as file:
                writing = True
                yield file
            writing = False
            _finish(new, _status(target))
            os.replace(new, target)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(new)
    except OSError as error:
        if writing and error.errno not in _DISK:
            raise
        raise _failed(path, error) from error


def make_folder(path: StrPath) -> None:
    """Create a folder and its missing parents, private to their owner; an existing one stays."""
    path = Path(path)
    if path.is_dir():
        return
    if not path.parent.is_dir():
        make_folder(path.parent)
    try:
        path.mkdir(PRIVATE_FOLDER)
    except FileExistsError:
        if not path.is_dir():  # no other process created it meanwhile
            raise


def make_file(path: StrPath) -> None:
    """Create an empty file that is private to its owner, unless the file exists.

    SQLite, which opens it afterwards, would create it with the permissions of the umask.
    """
    if not os.path.exists(path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, PRIVATE_FILE))


def _finish(new: str, before: os.stat_result | None) -> None:
    """Flush a new file to the disk, and give it the permissions of the file that it replaces."""
    with open(new, "rb+") as file:  # by its name, since a library may have created it again
        os.fsync(file.fileno())
    mode = PRIVATE_FILE
    if before is not None:
        mode = stat.S_IMODE(before.st_mode) & 0o777
        now = os.stat(new)
        if hasattr(os, "chown") and (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
            with suppress(PermissionError):
                os.chown(new, before.st_uid, before.st_gid)
    os.chmod(new, mode)


def _check_is_no_input(path: Path, inputs: Iterable[StrPath], what: str) -> None:
    target = _target(path, what)
    existing = _status(path)
    above = [status for folder in target.parents if (status := _status(folder)) is not None]
    for given in inputs:
        name = "standard input" if given == "-" else repr(str(given))
        try:
            read = os.fstat(0) if given == "-" else os.stat(given)
        except (OSError, ValueError):  # it does not exist; reading it will raise
            continue
        if stat.S_ISCHR(read.st_mode):
            continue
        if existing is not None and os.path.samestat(existing, read):
            raise _refused(what, path, f"is {name}, which is read; give another name")
        if not stat.S_ISDIR(read.st_mode):
            continue
        if any(os.path.samestat(folder, read) for folder in above):
            raise _refused(what, path, f"lies in {name}, which is read; give another name")
        if existing is not None and _is_linked_in(str(given), existing):
            raise _refused(what, path, f"is a file of {name}, which is read; give another name")


def _is_linked_in(folder: str, wanted: os.stat_result) -> bool:
    """Return whether a folder contains a file under any name."""
    for root, _, names in os.walk(folder):
        for name in names:
            status = _status(os.path.join(root, name))
            if status is not None and os.path.samestat(status, wanted):
                return True
    return False


def _descriptor(path: StrPath) -> int | None:
    """Return the descriptor of this process's open file that a path names, or None."""
    name = os.path.abspath(path)
    for _ in range(40):  # Linux follows at most 40 links
        if match := _OPENED.fullmatch(name):
            return _STANDARD[match[1]] if match[1] else int(match[2])
        try:
            name = os.path.normpath(os.path.join(os.path.dirname(name), os.readlink(name)))
        except (OSError, ValueError):
            return None
    return None


def _target(path: Path, what: str) -> Path:
    """Return the path with links resolved."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError) as error:
        raise _refused(what, path, f"cannot be the name of a file: {error}") from error


def _status(path: StrPath) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None


def _failed(path: Path, error: OSError) -> OutputError:
    failed = OutputError(f"{str(path)!r} cannot be written: {error.strerror or error}")
    failed.errno = error.errno
    return failed


def _refused(what: str, path: Path, why: str) -> InvalidOptionError:
    return InvalidOptionError(f"{what} {str(path)!r} {why}")
