"""The folder of an embedded collection: its name, its files and the free space of its disk."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trivec import outputs
from trivec.arguments import type_name
from trivec.errors import InvalidOptionError, StoreError, StoreFullError

NAME_BYTES = 255  # of one name, in every common file system

_FULL_ERRNOS = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
# Libraries such as SQLite and safetensors give the number only in the message of an error.
_FULL = re.compile(
    r"database or disk is full|No space left on device|Disk quota exceeded"
    r"|os error (?:28|27|122)\b|File too large"
)
_ADVICE = "make room there and repeat the call; nothing that was acknowledged is lost"


def check_name(name: str) -> str:
    """Return the name of a collection that becomes the name of a folder.

    Args:
        name: At most 255 bytes of UTF-8.

    Raises:
        InvalidOptionError: If it is empty, too long, `.` or `..`, has a path separator, ends with a
            blank or a dot, which Windows drops, or has invisible characters.

    Example:
        >>> check_name("articles")
        'articles'
    """
    problem = _problem(name)
    if problem:
        shown = repr(name if len(str(name)) <= 80 else f"{str(name)[:80]}...")
        raise InvalidOptionError(
            f"{shown} cannot be the name of a collection: {problem}. Use letters, digits, - and _"
        )
    return name


def _problem(name: object) -> str:
    if not isinstance(name, str):
        return f"it is a {type_name(name)}, not a text"
    if not name or name in (".", ".."):
        return "it names no folder of its own"
    if not name.isprintable():
        return "it has characters that cannot be seen"
    if "/" in name or "\\" in name:
        return "it has a separator of folders in it"
    if name[-1] in " .":
        return "it ends with a blank or a dot"
    size = len(name.encode())
    return f"it has {size} bytes, more than {NAME_BYTES}" if size > NAME_BYTES else ""


def make_folder(folder: Path) -> None:
    """Make a folder and its parents for their owner only; existing folders keep their mode.

    Raises:
        StoreError: If it cannot be made, or is a file.
        StoreFullError: If the disk is full.
    """
    with telling_full(folder):
        try:
            outputs.make_folder(folder)
        except OSError as error:
            if is_full(error):
                raise
            raise StoreError(f"the folder {folder} cannot be made: {error}") from error


def private_file(path: Path) -> None:
    """Make an empty file for its owner only, replacing an old file or link.

    Raises:
        OSError: If it cannot be made.
    """
    path.unlink(missing_ok=True)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    os.close(os.open(path, flags, outputs.PRIVATE_FILE))


def check_vacant(folder: Path, is_ours: Callable[[Path], bool]) -> None:
    """Check that a folder for a new collection holds no files of others.

    Args:
        folder: An existing folder.
        is_ours: Returns whether an entry is a leftover of a killed `create` or `drop`.

    Raises:
        StoreError: If the folder holds anything else.
    """
    others = sorted(entry.name for entry in folder.iterdir() if not is_ours(entry))
    if others:
        some = ", ".join(map(repr, others[:3])) + (" and more" if len(others) > 3 else "")
        raise StoreError(
            f"the folder {folder} is not empty, and holds no collection of this kind: {some}. "
            "Give the new collection another name, or another folder"
        )


def check_not_linked(folder: Path, name: str) -> None:
    """Check that a collection is not deleted through a link, which may lead anywhere.

    Raises:
        StoreError: If the folder is a symbolic link.
    """
    if folder.is_symlink():
        raise StoreError(
            f"collection {name!r} is not dropped: {folder} is a link to {folder.resolve()}; open "
            "it by that path to drop it, and remove the link yourself"
        )


def remove_files(paths: Iterable[Path]) -> None:
    """Delete files and links, but no folders; a missing file is no error.

    Raises:
        OSError: If a file cannot be deleted.
    """
    for path in paths:
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)


def check_free(folder: Path, needed: int, what: str) -> None:
    """Check that there is enough disk space for an operation.

    Args:
        folder: The folder that is written to.
        needed: The bytes that the operation takes, with a margin.
        what: The operation, such as "writing to 'articles'".

    Raises:
        StoreFullError: If less space is free.
    """
    free = free_bytes(folder)
    if free < needed:
        raise StoreFullError(
            f"the disk of {folder} is nearly full: {what} needs {told_size(needed)}, and "
            f"{told_size(free)} are free; {_ADVICE}"
        )


def free_bytes(folder: Path) -> int:
    """Return how many bytes this user can still write on the disk of a folder."""
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    return shutil.disk_usage(existing).free


def told_size(size: int) -> str:
    """Return a size with its unit.

    >>> told_size(3 * 1024 * 1024), told_size(1536)
    ('3.0 MiB', '1.5 KiB')
    """
    for unit, divisor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= divisor:
            return f"{size / divisor:.1f} {unit}"
    return f"{size} bytes"


def is_full(error: BaseException) -> bool:
    """Return whether an error says that the disk, a quota or the size of a file is used up."""
    if isinstance(error, OSError) and error.errno in _FULL_ERRNOS:
        return True
    return _FULL.search(str(error)) is not None


@contextmanager
def telling_full(folder: Path) -> Iterator[None]:
    """Translate errors that say that the disk is full into `StoreFullError`."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        if not is_full(error):
            raise
        raise StoreFullError(f"the disk of {folder} is full ({error}); {_ADVICE}") from error
