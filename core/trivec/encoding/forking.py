"""Computing with PyTorch's threads in a process that was forked."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec, TypeVar

__all__ = ["survives_fork"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Orphan:
    """The one thread that a forked process starts with, and one that computes in its place."""

    thread: int
    helper: ThreadPoolExecutor


_orphan: _Orphan | None = None


def survives_fork(compute: Callable[P, R]) -> Callable[P, R]:
    """Let a function that computes with torch also run in a forked process.

    OpenMP gives each thread that computes a team of others. A fork copies the memory but only the
    thread that forks: it believes in a team that is not there, and waits for it for ever. A thread
    that starts after the fork gets a team of its own, so the work is done by such a thread.

    Example:
        >>> @survives_fork
        ... def double(number: int) -> int:
        ...     return 2 * number
        >>> double(2)
        4
    """

    @wraps(compute)
    def computing(*args: P.args, **kwargs: P.kwargs) -> R:
        if _orphan is None or _orphan.thread != threading.get_ident():
            return compute(*args, **kwargs)
        return _orphan.helper.submit(compute, *args, **kwargs).result()

    return computing


def _orphaned() -> None:
    global _orphan
    helper = ThreadPoolExecutor(1, thread_name_prefix="trivec-compute")
    _orphan = _Orphan(threading.get_ident(), helper)


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_orphaned)
