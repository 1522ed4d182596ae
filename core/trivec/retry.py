"""Repeated calls: when to repeat one, and how long to wait before."""

from __future__ import annotations

import logging
import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, NoReturn

import tenacity

from trivec.deadline import pause, seconds_left
from trivec.errors import UnavailableError

ATTEMPTS = 6  # waits of 0.5, 1, 2, 4 and 8 s between them, each with up to 1 s of jitter
MAX_WAIT_SECONDS = 60.0  # the longest that a server's Retry-After is obeyed

_exponential = tenacity.wait_exponential(
    multiplier=0.5, max=MAX_WAIT_SECONDS
) + tenacity.wait_random(0, 1)
_log = logging.getLogger("trivec")


def retry_after(value: str | float | None) -> float | None:
    """Return the seconds that a `Retry-After` asks to wait, at most a minute.

    Args:
        value: A number of seconds, whole or not, or an HTTP date (RFC 9110, section 10.2.3).

    Returns:
        None if the value is no finite number of at least 0 and no date in the future.

    Example:
        >>> retry_after("0.5"), retry_after("7200"), retry_after("-1"), retry_after("nan")
        (0.5, 60.0, None, None)
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        try:
            moment = parsedate_to_datetime(str(value))
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
            seconds = (moment - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError):
            return None
        if seconds <= 0:
            return None
    return min(seconds, MAX_WAIT_SECONDS) if math.isfinite(seconds) and seconds >= 0 else None


def retrying(*, reached: bool = True) -> tenacity.Retrying:
    """Return a caller that repeats calls that raise `UnavailableError`, after a wait.

    It gives up after some attempts, and earlier where the call's deadline leaves no time for the
    wait.

    Args:
        reached: Whether the server has answered before. If not, and nobody listens there, its
            address is wrong or it was not started, and the first error is raised.
    """
    return tenacity.Retrying(sleep=pause, **_policy(reached))


def aretrying(*, reached: bool = True) -> tenacity.AsyncRetrying:
    """Return the asynchronous twin of `retrying`."""
    return tenacity.AsyncRetrying(**_policy(reached))


def _policy(reached: bool) -> dict[str, Any]:
    """Return the arguments that both callers have."""
    return {
        "retry": tenacity.retry_if_exception(partial(_may_pass, reached)),
        "stop": _is_over,
        "wait": _wait,
        "before_sleep": _tell,
        "retry_error_callback": _give_up,
    }


def _may_pass(reached: bool, error: BaseException) -> bool:
    return isinstance(error, UnavailableError) and (reached or not error.unreachable)


def _is_over(state: tenacity.RetryCallState) -> bool:
    return state.attempt_number >= ATTEMPTS or _out_of_time(state)


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    """Return what the last attempt raised."""
    return None if state.outcome is None else state.outcome.exception()


def _give_up(state: tenacity.RetryCallState) -> NoReturn:
    """Raise the last error, with a note if the deadline ended the repetitions."""
    error = _error(state)
    assert error is not None
    if isinstance(error, UnavailableError) and _out_of_time(state):
        raise type(error)(
            f"{error}; the call's deadline leaves no time to try again",
            retry_after=error.retry_after,
            unreachable=error.unreachable,
        ) from error
    raise error


def _out_of_time(state: tenacity.RetryCallState) -> bool:
    """Return whether the call's deadline comes before the next attempt."""
    left = seconds_left()
    return left is not None and left <= state.upcoming_sleep


def _tell(state: tenacity.RetryCallState) -> None:
    """Log the error, and how long the call waits before it tries again."""
    error = _error(state)
    wait = state.next_action.sleep if state.next_action is not None else 0.0
    _log.warning(
        "%s; trying again in %.1f s (try %d of %d failed)",
        error,
        wait,
        state.attempt_number,
        ATTEMPTS,
    )


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the seconds to wait: as the server asked, else exponential with jitter."""
    error = _error(state)
    asked = retry_after(error.retry_after) if isinstance(error, UnavailableError) else None
    return _exponential(state) if asked is None else asked
