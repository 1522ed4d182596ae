"""Requests that read and write single documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from trivec.deadline import seconds_left
from trivec.errors import AuthenticationError, StoreError, StoreFullError, StoreUnavailableError
from trivec.stores.steps import Pause, Steps
from trivec_vespa.client import Request
from trivec_vespa.errors import NotFoundError
from trivec_vespa.mapping import document_key, document_path
from trivec_vespa.replies import Fields, acknowledged, reading, stored_fields
from trivec_vespa.transport import Method

Write = Request[StoreUnavailableError | None]
"""A write of one document; its answer is an error if Vespa cannot take it for now."""

_WAIT_SECONDS = 0.5


def read_request(name: str, id: str, parameters: Mapping[str, str | int]) -> Request[Fields | None]:
    """Return the request for one document's fields; its answer is None if it does not exist."""

    def reply(answer: object, path: str) -> Fields:
        return checked_fields(stored_fields(answer, path), document_key(id))

    path = document_path(name, id)
    return Request("GET", path, reply, parameters=parameters, failed=_none_if_missing)


def write_request(
    method: Method, name: str, id: str, body: Callable[[], Mapping[str, Any]] | None = None
) -> Write:
    """Return the request that writes or removes one document."""
    path = document_path(name, id)
    return Request(method, path, acknowledged, body, failed=partial(_unavailable, id))


def deliver(writes: Sequence[Write]) -> Steps[None]:
    """Send many writes, and those that Vespa cannot take for now again after a wait.

    As long as Vespa takes some of them, only the others are sent again. If it takes none, the
    store repeats the whole call.

    Raises:
        StoreUnavailableError: If Vespa took none of those that were sent, or the call has no time
            to send the others again.
    """
    while writes:
        answers: Sequence[StoreUnavailableError | None] = yield writes
        errors = [error for error in answers if error is not None]
        if not errors:
            return
        longest = max(errors, key=_asked_wait)
        if len(errors) == len(writes):
            raise longest
        wait = _asked_wait(longest) or _WAIT_SECONDS
        left = seconds_left()
        if left is not None and left <= wait:
            raise StoreUnavailableError(
                f"{len(errors)} of {len(writes)} documents were not taken, and the call's "
                f"deadline leaves no time to send them again: {longest}",
                retry_after=longest.retry_after,
            )
        yield [Pause(wait)]
        writes = [write for write, error in zip(writes, answers, strict=True) if error is not None]


def checked_fields(fields: Fields, key: str) -> Fields:
    """Return the fields of a document, whose id must be the one that it is stored under."""
    with reading(f"the document {key[:300]!r}"):
        if document_key(fields["id"]) != key:
            raise ValueError(f"it holds the id {fields['id']!r:.300}")
    return fields


def _asked_wait(error: StoreUnavailableError) -> float:
    return error.retry_after or 0.0


def _none_if_missing(error: StoreError) -> None:
    if not isinstance(error, NotFoundError):
        raise error


def _unavailable(id: str, error: StoreError) -> StoreUnavailableError:
    """Return the error of a write that may succeed later; raise any other."""
    if isinstance(error, StoreUnavailableError):
        return error
    if isinstance(error, AuthenticationError | StoreFullError):
        raise error
    # Also for RequestTooLargeError: each document is its own request, so that halving the batch
    # does not help.
    raise StoreError(f"document {id!r}: {error}") from error
