"""HTTP to Vespa, with its answers as values and its refusals as trivec's errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from vespa.application import Vespa

from trivec.errors import (
    AuthenticationError,
    IncompleteResultError,
    RequestTooLargeError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    TrivecError,
)
from trivec.stores.deadline import request_seconds
from trivec.stores.retry import retry_after
from trivec_vespa.replies import (
    Result,
    WrongReplyError,
    error_codes,
    is_about,
    is_error,
    json_of,
    message_of,
    query_result,
)
from trivec_vespa.transport import Answer, Method, Transport

__all__ = ["Connection", "Method", "NotFoundError", "RefusedError", "check_answer"]

T = TypeVar("T")

_UNAVAILABLE = frozenset({429, 502, 503, 504})
_TIMEOUT_CODE, _NO_BACKEND_CODES = 12, frozenset({0, 2, 10})
_MARGIN_SECONDS = 5.0  # how much longer than Vespa we wait, so that its own answer arrives
_EXCERPT_BYTES = 200


class RefusedError(StoreError):
    """Vespa understood a request and refuses it, and would again.

    Args:
        message: What happened.
        by_vespa: Whether it is Vespa that says so, and not something in between.
    """

    def __init__(self, message: str, *, by_vespa: bool) -> None:
        super().__init__(message)
        self.by_vespa = by_vespa


class NotFoundError(StoreError):
    """Vespa says that there is nothing under this path."""


class Connection:
    """Requests to one container cluster or one config server.

    Args:
        app: Whose address, certificate, token and headers are used.
        timeout: Seconds that Vespa may take for one answer.
        http2: Whether to speak HTTP/2 from the first byte on `http://`; on `https://` the two
            ends agree on it themselves.
    """

    def __init__(self, app: Vespa, *, timeout: float, http2: bool = False) -> None:
        self._timeout = timeout
        self._transport = Transport(app, http2=http2)

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def query(self, body: Mapping[str, Any], name: str, *, allow_partial: bool = False) -> Result:
        """Search one schema.

        Args:
            body: The parameters of the query.
            name: The schema.
            allow_partial: Whether the answer may stem from a part of the documents.

        Raises:
            StoreUnavailableError: If Vespa timed out or found no node.
            IncompleteResultError: If a part of the documents was not searched.
            StoreError: If there is another error, which a status of 200 may hide; and as
                `request`.
        """
        told = {"model.restrict": name, "timeout": _vespa_seconds(self._timeout)}

        def reply(answer: object, path: str) -> Result:
            return check_answer(
                answer, allow_partial=allow_partial, limit=int(body.get("hits", 10))
            )

        content = json.dumps({**body, **told}).encode()
        return self.request("POST", "/search/", reply, body=content)

    def request(
        self,
        method: Method,
        path: str,
        reply: Callable[[Any, str], T],
        *,
        body: bytes | None = None,
        content_type: str = "application/json",
        parameters: Mapping[str, str | int] | None = None,
    ) -> T:
        """Send one request and return what its answer means.

        Args:
            method: GET, POST or DELETE.
            path: What to ask.
            reply: Returns what the JSON of an answer means, for this path; see
                `trivec_vespa.replies`.
            body: What to send.
            content_type: Of the body.
            parameters: Of the URL.

        Raises:
            StoreUnavailableError: If it may succeed later: no connection, no answer in time, the
                statuses 429, 502, 503 and 504, or an answer that is not Vespa's.
            NotFoundError: If Vespa says 404.
            AuthenticationError: If the status is 401 or 403.
            RequestTooLargeError: If it is 413.
            RefusedError: If it is another one from 400 to 499, such as 412.
            StoreFullError: If it is 507, which needs a person.
            StoreError: If it is another one.
        """
        headers = {} if body is None else {"Content-Type": content_type}
        answer = self._send(method, path, body, headers, parameters or {})
        with _understood(f"{method} {self._transport.address}{path}", answer):
            return reply(json_of(answer.content), path)

    def text(self, path: str, reply: Callable[[str], str]) -> str:
        """Return what `reply` makes of the text under a path; raises as `request` does."""
        answer = self._send("GET", path, None, {}, {})
        with _understood(f"GET {self._transport.address}{path}", answer):
            return reply(answer.content.decode())

    def _send(
        self,
        method: Method,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        parameters: Mapping[str, str | int],
    ) -> Answer:
        if path.startswith("/document/"):  # else Vespa itself tries for 175 s
            parameters = {"timeout": _vespa_seconds(self._timeout), **parameters}
        answer = self._transport.send(
            method,
            path,
            body=body,
            headers=headers,
            parameters=parameters,
            seconds=request_seconds(self._timeout + _MARGIN_SECONDS),
        )
        if answer.status >= 300:
            raise _refusal(answer, path, f"{method} {self._transport.address}{path}")
        return answer


def check_answer(answer: object, *, allow_partial: bool, limit: int) -> Result:
    """Return the result of a query, whose status may be 200 although it failed.

    Args:
        answer: The whole answer.
        allow_partial: Whether it may stem from a part of the documents.
        limit: How many hits were asked for.

    Raises:
        StoreUnavailableError: If Vespa timed out or found no node.
        IncompleteResultError: If a part of the documents was not searched.
        StoreError: If there is another error.
        WrongReplyError: If it is no answer of Vespa's.
    """
    codes = error_codes(answer)
    if codes:
        message = f"Vespa's query failed: {message_of(answer)}"
        if codes <= {_TIMEOUT_CODE, *_NO_BACKEND_CODES}:
            raise StoreUnavailableError(message)
        raise StoreError(message)
    result = query_result(answer)
    if not result.coverage["full"]:
        if allow_partial:
            return result
        degraded = json.dumps(result.coverage.get("degraded", {}))[:300]
        raise IncompleteResultError(
            f"Vespa searched {str(result.coverage.get('coverage'))[:20]} % of the documents "
            f"({degraded}); raise `timeout`, or pass allow_partial=True to take such answers"
        )
    if limit and result.total and not result.hits:  # or all were deleted between the two phases
        raise WrongReplyError(f"it counts {result.total} documents and holds none")
    return result


def _vespa_seconds(timeout: float) -> str:
    """Return how long Vespa may take for a request, as it reads it."""
    seconds = max(request_seconds(timeout), 0.001)
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


@contextmanager
def _understood(where: str, answer: Answer) -> Iterator[None]:
    """Turn an answer that is not Vespa's into an error: whether it acted is unknown."""
    try:
        yield
    except TrivecError:
        raise
    except (WrongReplyError, ValueError) as error:  # also what is no JSON, or no UTF-8
        raise StoreUnavailableError(
            f"{where}: status {answer.status}, but the answer is not Vespa's: {str(error)[:300]}; "
            f"it is {_excerpt(answer.content)}. Is something else in between, or cut short?"
        ) from error


def _refusal(answer: Answer, path: str, where: str) -> StoreError:
    """Return the error that a status stands for."""
    status = answer.status
    try:
        told: object = json_of(answer.content)
        message = message_of(told)
    except ValueError:
        told, message = None, _excerpt(answer.content)
    message = f"{where}: status {status}: {message}"
    by_vespa = is_about(told, path) if path.startswith("/document/") else is_error(told)
    if status in _UNAVAILABLE:
        return StoreUnavailableError(message, retry_after=retry_after(answer.retry_after))
    if status == 404:
        if by_vespa:
            return NotFoundError(message)
        return StoreUnavailableError(f"{message}. That is not what Vespa says of what is not there")
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
    # A tensor that is too long answers 500: not all of these go away by waiting.
    return RefusedError(message, by_vespa=by_vespa) if status < 500 else StoreError(message)


def _excerpt(content: bytes) -> str:
    """Return the beginning of an answer, for a message."""
    if not content:
        return "empty"
    text = content[:_EXCERPT_BYTES].decode(errors="replace")
    return repr(text) + ("..." if len(content) > _EXCERPT_BYTES else "")
