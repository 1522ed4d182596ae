"""Vespa's refusals as errors of trivec."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trivec.errors import (
    AuthenticationError,
    RequestTooLargeError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    TrivecError,
)
from trivec.retry import retry_after
from trivec_vespa.replies import WrongReplyError, is_about, is_error, json_of, message_of
from trivec_vespa.transport import Answer

_UNAVAILABLE = frozenset({429, 502, 503, 504})
_EXCERPT_BYTES = 200


class RefusedError(StoreError):
    """A request that was refused, and would be refused again.

    Args:
        message: What happened.
        by_vespa: Whether Vespa refused it, and not a server in between.
    """

    def __init__(self, message: str, *, by_vespa: bool) -> None:
        super().__init__(message)
        self.by_vespa = by_vespa


class NotFoundError(StoreError):
    """Vespa says that there is nothing under this path."""


def refusal(answer: Answer, path: str, where: str) -> StoreError:
    """Return the error that the status of an answer stands for.

    Returns:
        `StoreUnavailableError` for 429, 502, 503 and 504, and for a 404 that is not Vespa's;
        `NotFoundError` for Vespa's own 404; `AuthenticationError` for 401 and 403;
        `RequestTooLargeError` for 413; `RefusedError` for another one from 400 to 499;
        `StoreFullError` for 507, which needs a person; else `StoreError`.
    """
    status = answer.status
    try:
        body: object = json_of(answer.content)
        message = message_of(body)
    except ValueError:
        body, message = None, _excerpt(answer.content)
    message = f"{where}: status {status}: {message}"
    by_vespa = is_about(body, path) if path.startswith("/document/") else is_error(body)
    if status in _UNAVAILABLE:
        return StoreUnavailableError(message, retry_after=retry_after(answer.retry_after))
    if status == 404:
        if by_vespa:
            return NotFoundError(message)
        return StoreUnavailableError(f"{message}. Vespa answers otherwise for what does not exist")
    if status in (401, 403):
        return AuthenticationError(message)
    if status == 413:
        return RequestTooLargeError(message)
    if status == 507:
        return StoreFullError(
            f"{message}: Vespa takes no more writes because a disk or the memory is nearly full. "
            "Delete documents, add nodes or raise the resource limits, then repeat the call; "
            "https://docs.vespa.ai/en/operations/feed-block.html"
        )
    # A tensor that is too long answers 500, so waiting does not help with every status from 500.
    return RefusedError(message, by_vespa=by_vespa) if status < 500 else StoreError(message)


@contextmanager
def understood(where: str, answer: Answer) -> Iterator[None]:
    """Turn an answer that is not Vespa's into an error: it is unknown whether Vespa acted."""
    try:
        yield
    except TrivecError:
        raise
    except (WrongReplyError, ValueError) as error:  # also if it is not JSON or not UTF-8
        raise StoreUnavailableError(
            f"{where}: status {answer.status}, but the answer is not Vespa's: {str(error)[:300]}; "
            f"it is {_excerpt(answer.content)}. Is there another server in between, or was the "
            "answer cut short?"
        ) from error


def _excerpt(content: bytes) -> str:
    """Return the beginning of an answer, for a message."""
    if not content:
        return "empty"
    text = content[:_EXCERPT_BYTES].decode(errors="replace")
    return repr(text) + ("..." if len(content) > _EXCERPT_BYTES else "")
