"""When and how long to wait before a database is asked again."""

from __future__ import annotations

import tenacity

from trivec.errors import StoreUnavailableError

__all__ = ["aretrying", "retrying"]

ATTEMPTS = 6  # waits of 0.5, 1, 2, 4 and 8 s between them, each with up to 1 s of jitter
MAX_WAIT_SECONDS = 60.0  # the longest that a server's Retry-After is obeyed

_unavailable = tenacity.retry_if_exception_type(StoreUnavailableError)
_exponential = tenacity.wait_exponential(
    multiplier=0.5, max=MAX_WAIT_SECONDS
) + tenacity.wait_random(0, 1)


def retrying() -> tenacity.Retrying:
    """Return a caller that repeats what raises `StoreUnavailableError`, after a wait."""
    return tenacity.Retrying(
        retry=_unavailable, stop=tenacity.stop_after_attempt(ATTEMPTS), wait=_wait, reraise=True
    )


def aretrying() -> tenacity.AsyncRetrying:
    """Return the asynchronous twin of `retrying`."""
    return tenacity.AsyncRetrying(
        retry=_unavailable, stop=tenacity.stop_after_attempt(ATTEMPTS), wait=_wait, reraise=True
    )


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the seconds to wait: what the server asked for, else exponential with jitter."""
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, StoreUnavailableError) and error.retry_after is not None:
        return min(error.retry_after, MAX_WAIT_SECONDS)
    return _exponential(state)
