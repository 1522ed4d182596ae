"""Files that trivec writes: never what it reads, whole or not at all, and for their owner only."""

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
    """Refuse a file that cannot be written, or that is read, before the work for it is done.

    Args:
        path: The file. A link stands for what it names. A pipe or a device is taken.
        inputs: What is read: files, and folders, which stand for all that is in them; "-" is
            standard input.
        what: The argument, as the message begins.

    Raises:
        InvalidOptionError: If it is a folder, lies in none or in one that cannot be written, is
            one of the inputs by whatever name, or lies in one of them.

    Example:
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

    Args:
        outputs: The files by the names of their arguments; None is none.
        inputs: What is read.

    Raises:
        InvalidOptionError: As `check_output`, and if two outputs are the same file.
    """
    inputs = list(inputs)
    given = [(what, Path(path)) for what, path in outputs.items() if path is not None]
    for what, path in given:
        check_output(path, inputs=inputs, what=what)
    for (one, path), (other, second) in combinations(given, 2):
        if not is_stream(path) and _target(path, one) == _target(second, other):
            raise _refused(other, second, f"is also {one}; give another name")


def check_folder(path: StrPath, *, inputs: Iterable[StrPath] = (), what: str = "output") -> None:
    """Refuse a folder that cannot be made, or would be made within what is read.

    Args:
        path: The folder, which need not exist.
        inputs: What is read; see `check_output`.
        what: The argument, as the message begins.

    Raises:
        InvalidOptionError: If it or a folder above it is a file, or it would be made in an input.
    """
    path = Path(path)
    there = next(one for one in (path, *path.absolute().parents) if os.path.lexists(one))
    if not there.is_dir():
        raise InvalidOptionError(f"{what}: {str(there)!r} is no folder")
    if there != path:
        _check_is_no_input(path, inputs, what)


def is_stream(path: StrPath) -> bool:
    """Return whether what is written there cannot be put in place as a whole.

    That is a pipe, a device, and what a process has open, such as `/dev/stdout`.
    """
    if _descriptor(path) is not None:
        return True
    there = _status(path)
    return there is not None and not stat.S_ISREG(there.st_mode) and not stat.S_ISDIR(there.st_mode)


@contextmanager
def written_beside(path: StrPath) -> Iterator[BinaryIO]:
    """Yield a new file that takes the place of another when everything is written.

    The new file lies in the same folder, under a name of its own; `name` is its path. If the
    block raises, it is removed, and the file that was there stays. If the process dies here, the
    file that was there stays too, and one called `.trivec-….part` lies beside it. A file is
    made for its owner only, and one that was there keeps its mode. A link stays, and what it
    names is replaced. A pipe, a device or `/dev/stdout` is written directly.

    Args:
        path: The file.

    Raises:
        OutputError: If it cannot be written.

    Example:
        >>> path = Path(tempfile.mkdtemp(), "notes.txt")
        >>> with written_beside(path) as file:
        ...     _ = file.write(b"whales")
        ...     path.exists()
        False
        >>> path.read_text()
        'whales'
    """
    path = Path(path)
    writing = False  # by the caller, whose own errors are not about this file
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
    """Make a folder, and those above it that are missing, for their owner only.

    A folder that is there stays as it is.

    Raises:
        OSError: If it cannot be made, or is a file.
    """
    path = Path(path)
    if path.is_dir():
        return
    if not path.parent.is_dir():
        make_folder(path.parent)
    try:
        path.mkdir(PRIVATE_FOLDER)
    except FileExistsError:
        if not path.is_dir():  # nobody else made it meanwhile
            raise


def make_file(path: StrPath) -> None:
    """Make an empty file for its owner only, where there is none.

    What opens it afterwards, such as SQLite, would make it as open as the umask allows.

    Raises:
        OSError: If it cannot be made.
    """
    if not os.path.exists(path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, PRIVATE_FILE))


def _finish(new: str, before: os.stat_result | None) -> None:
    """Bring a new file to the disk, as open to others as the one that it replaces."""
    with open(new, "rb+") as file:  # by its name, since a library may have made it anew
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
    there = _status(path)
    above = [status for one in target.parents if (status := _status(one)) is not None]
    for given in inputs:
        name = "standard input" if given == "-" else repr(str(given))
        try:
            read = os.fstat(0) if given == "-" else os.stat(given)
        except (OSError, ValueError):  # there is none; who reads it says so
            continue
        if stat.S_ISCHR(read.st_mode):
            continue
        if there is not None and os.path.samestat(there, read):
            raise _refused(what, path, f"is {name}, which is read; give another name")
        if not stat.S_ISDIR(read.st_mode):
            continue
        if any(os.path.samestat(one, read) for one in above):
            raise _refused(what, path, f"lies in {name}, which is read; give another name")
        if there is not None and _is_linked_in(str(given), there):
            raise _refused(what, path, f"is a file of {name}, which is read; give another name")


def _is_linked_in(folder: str, wanted: os.stat_result) -> bool:
    """Return whether a file is one of a folder's by another name."""
    for root, _, names in os.walk(folder):
        for name in names:
            status = _status(os.path.join(root, name))
            if status is not None and os.path.samestat(status, wanted):
                return True
    return False


def _descriptor(path: StrPath) -> int | None:
    """Return the number of the open file of this process that a path names, if it does."""
    name = os.path.abspath(path)
    for _ in range(40):  # as many links as Linux follows
        if match := _OPENED.fullmatch(name):
            return _STANDARD[match[1]] if match[1] else int(match[2])
        try:
            name = os.path.normpath(os.path.join(os.path.dirname(name), os.readlink(name)))
        except (OSError, ValueError):
            return None
    return None


def _target(path: Path, what: str) -> Path:
    """Return what a path names, when links are followed."""
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
