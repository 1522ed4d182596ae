"""When and how long to wait before a database is asked again."""

from __future__ import annotations

import logging
from functools import partial

import tenacity

from trivec.errors import StoreUnavailableError

__all__ = ["aretrying", "retrying"]

ATTEMPTS = 6  # waits of 0.5, 1, 2, 4 and 8 s between them, each with up to 1 s of jitter
MAX_WAIT_SECONDS = 60.0  # the longest that a server's Retry-After is obeyed

_exponential = tenacity.wait_exponential(
    multiplier=0.5, max=MAX_WAIT_SECONDS
) + tenacity.wait_random(0, 1)
_log = logging.getLogger("trivec")


def retrying(*, reached: bool = True) -> tenacity.Retrying:
    """Return a caller that repeats what raises `StoreUnavailableError`, after a wait.

    Args:
        reached: Whether the database has answered before. If not, and nobody listens there, its
            address is wrong or it was not started, and the first error is raised.
    """
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(partial(_may_pass, reached)),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=_wait,
        before_sleep=_tell,
        reraise=True,
    )


def aretrying() -> tenacity.AsyncRetrying:
    """Return the asynchronous twin of `retrying`, for a database that has answered before."""
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(partial(_may_pass, True)),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=_wait,
        before_sleep=_tell,
        reraise=True,
    )


def _may_pass(reached: bool, error: BaseException) -> bool:
    return isinstance(error, StoreUnavailableError) and (reached or not error.unreachable)


def _tell(state: tenacity.RetryCallState) -> None:
    """Say in the log that somebody waits, and for what."""
    error = state.outcome.exception() if state.outcome is not None else None
    wait = state.next_action.sleep if state.next_action is not None else 0.0
    _log.warning(
        "%s; trying again in %.1f s (try %d of %d failed)",
        error,
        wait,
        state.attempt_number,
        ATTEMPTS,
    )


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the seconds to wait: what the server asked for, else exponential with jitter."""
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, StoreUnavailableError) and error.retry_after is not None:
        return min(error.retry_after, MAX_WAIT_SECONDS)
    return _exponential(state)
