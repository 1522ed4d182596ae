"""The deadline of one call, and the event that ends its waits earlier.

A call has one deadline for its requests, its repetitions and the waits between them. It is kept in
a context variable, so that it reaches each request of a client; a thread that a client starts
for its requests gets a copy of the context (`contextvars.copy_context`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

from trivec.arguments import type_name
from trivec.errors import InvalidOptionError, StoreUnavailableError

DEADLINE_SECONDS = 120.0
"""The time of one call by default."""

_MOST_SECONDS = 7 * 24 * 3600.0  # more than that overflows some clients' timers

_end: ContextVar[float | None] = ContextVar("trivec_deadline", default=None)
_stop: ContextVar[threading.Event | None] = ContextVar("trivec_stop", default=None)


def check_seconds(value: float, name: str) -> float:
    """Return a number of seconds that is above 0 and at most a week.

    Raises:
        InvalidOptionError: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidOptionError(f"{name}: expected seconds, got a {type_name(value)}")
    if not 0 < value <= _MOST_SECONDS:
        raise InvalidOptionError(f"{name}={value}; expected seconds, above 0 and at most a week")
    return float(value)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Give the block this many seconds from now, whatever the outer deadline is.

    Example:
        >>> with limited(5):
        ...     seconds_left() <= 5
        True
        >>> seconds_left() is None
        True
    """
    token = _end.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _end.reset(token)


def unless_limited(seconds: float) -> AbstractContextManager[None]:
    """Give the block this many seconds, unless it has a deadline already."""
    return limited(seconds) if _end.get() is None else nullcontext()


def seconds_left() -> float | None:
    """Return the seconds that the call has left, 0 or less when they are over; None without end."""
    end = _end.get()
    return None if end is None else end - time.monotonic()


def request_seconds(timeout: float) -> float:
    """Return how long a request may take: its own timeout, or what the call has left if less.

    Raises:
        StoreUnavailableError: If the call has no time left.

    Example:
        >>> request_seconds(30.0)
        30.0
        >>> with limited(5):
        ...     request_seconds(30.0) <= 5
        True
    """
    left = seconds_left()
    if left is None:
        return timeout
    if left <= 0:
        raise StoreUnavailableError("the call's deadline has passed")
    return min(timeout, left)


@contextmanager
def stopped_by(stop: threading.Event) -> Iterator[None]:
    """Let an event end the waits of the block.

    Args:
        stop: When it is set, waits end with `StoreUnavailableError`.
    """
    token = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(token)


def pause(seconds: float) -> None:
    """Wait, as long as the call is not stopped.

    Raises:
        StoreUnavailableError: If it is stopped, at once.
    """
    stop = _stop.get()
    if stop is None:
        time.sleep(seconds)
    elif stop.wait(seconds):
        raise StoreUnavailableError("stopped while waiting for the database")
