"""HTTP to Vespa, with its answers as values and its refusals as trivec's errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, Self

import httpr
from vespa.application import Vespa

from trivec.errors import (
    AuthenticationError,
    IncompleteResultError,
    RequestTooLargeError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)

__all__ = ["Connection", "Method", "NotFoundError", "RefusedError", "check_answer"]

Method = Literal["GET", "POST", "DELETE"]

_UNAVAILABLE = frozenset({429, 502, 503, 504})
_TIMEOUT_CODE, _NO_BACKEND_CODES = 12, frozenset({0, 2, 10})
_MARGIN_SECONDS = 5.0  # how much longer than Vespa we wait, so that its own answer arrives


class RefusedError(StoreError):
    """Vespa understood a request and refuses it, and would again."""


class NotFoundError(StoreError):
    """There is nothing under this path."""


class Connection:
    """Requests to one container cluster or one config server.

    Args:
        app: Whose address, certificate, token and headers are used.
        timeout: Seconds that Vespa may take for one answer.
        http2: Whether to speak HTTP/2 from the first byte on `http://`; on `https://` the two
            ends agree on it themselves.
    """

    def __init__(self, app: Vespa, *, timeout: float, http2: bool = False) -> None:
        self._address = app.end_point.rstrip("/")
        self._timeout = timeout
        if http2 and self._address.startswith("http:"):
            headers = dict(app.base_headers)
            self._client = httpr.Client(headers=headers, http2_only=True)
        else:
            self._client = app.get_sync_session()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def query(
        self, body: Mapping[str, Any], name: str, *, allow_partial: bool = False
    ) -> Mapping[str, Any]:
        """Search one schema and return the root of the answer; raises as `check_answer` too.

        Args:
            body: The parameters of the query.
            name: The schema.
            allow_partial: Whether the answer may stem from a part of the documents.
        """
        whole = {**body, "model.restrict": name, "timeout": f"{self._timeout:g}s"}
        answer = self.request("POST", "/search/", body=json.dumps(whole).encode())
        return check_answer(answer, allow_partial=allow_partial)

    def request(
        self,
        method: Method,
        path: str,
        *,
        body: bytes | None = None,
        content_type: str = "application/json",
        parameters: Mapping[str, str | int] | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Send one request and return the JSON of the answer.

        Raises:
            StoreUnavailableError: If it may succeed later: no connection, no answer in time, or
                the statuses 429, 502, 503 and 504.
            NotFoundError: If the status is 404.
            AuthenticationError: If it is 401 or 403.
            RequestTooLargeError: If it is 413.
            RefusedError: If it is another one from 400 to 499, such as 412.
            StoreFullError: If it is 507, which needs a person.
            StoreError: If it is another one.
        """
        content = self._send(method, path, body, content_type, parameters, timeout).content
        answer: dict[str, Any] = json.loads(content or b"{}")
        return answer

    def text(self, path: str) -> str:
        """Return what lies under a path as it is; raises as `request` does."""
        return self._send("GET", path, None, "", None, None).text

    def names(self, path: str) -> list[str]:
        """Return the URLs of all files below a folder of a config server; raises as `request`."""
        answer = json.loads(self._send("GET", path, None, "", {"recursive": "true"}, None).content)
        return [str(url) for url in answer]

    def _send(
        self,
        method: Method,
        path: str,
        body: bytes | None,
        content_type: str,
        parameters: Mapping[str, str | int] | None,
        timeout: float | None,
    ) -> httpr.Response:
        seconds = self._timeout if timeout is None else timeout
        if path.startswith("/document/"):  # else Vespa itself tries for 175 s
            parameters = {"timeout": f"{seconds:g}s", **(parameters or {})}
        where = f"{method} {self._address}{path}"
        try:
            response = self._client.request(
                method,
                self._address + path,
                content=body,
                headers={"Content-Type": content_type} if body is not None else None,
                params=dict(parameters) if parameters else None,
                timeout=seconds + _MARGIN_SECONDS,
            )
        except httpr.HTTPError as error:
            nobody = isinstance(error, httpr.ConnectError | httpr.ConnectTimeout)
            raise StoreUnavailableError(f"{where}: {_reason(error)}", unreachable=nobody) from error
        if response.status_code >= 300:
            raise _refusal(response, where)
        return response


def check_answer(answer: Mapping[str, Any], *, allow_partial: bool) -> Mapping[str, Any]:
    """Return the root of a query's answer, whose status may be 200 although it failed.

    Args:
        answer: The whole answer.
        allow_partial: Whether it may stem from a part of the documents.

    Raises:
        StoreUnavailableError: If Vespa timed out or found no node.
        IncompleteResultError: If a part of the documents was not searched.
        StoreError: If there is another error.
    """
    root: Mapping[str, Any] = answer.get("root", {})
    errors = root.get("errors", [])
    if errors:
        message = f"Vespa's query failed: {_message(answer)}"
        codes = {error.get("code") for error in errors}
        if codes <= {_TIMEOUT_CODE, *_NO_BACKEND_CODES}:
            raise StoreUnavailableError(message)
        raise StoreError(message)
    coverage = root.get("coverage", {})
    if not coverage.get("full", True) and not allow_partial:
        raise IncompleteResultError(
            f"Vespa searched {coverage.get('coverage')} % of the documents "
            f"({json.dumps(coverage.get('degraded', {}))}); raise `timeout`, or pass "
            "allow_partial=True to take such answers"
        )
    return root


def _refusal(response: httpr.Response, where: str) -> StoreError:
    """Return the error that a status stands for."""
    status = response.status_code
    try:
        message = _message(json.loads(response.content))
    except (ValueError, AttributeError):
        message = response.text[:500]
    message = f"{where}: status {status}: {message}"
    if status in _UNAVAILABLE:
        return StoreUnavailableError(message, retry_after=_seconds(response))
    if status == 404:
        return NotFoundError(message)
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
    return RefusedError(message) if status < 500 else StoreError(message)


def _message(answer: Mapping[str, Any]) -> str:
    """Return what an answer says went wrong, without the stack traces that Vespa adds."""
    errors = answer.get("root", {}).get("errors", [])
    texts = [str(e.get("message") or e.get("summary") or e) for e in errors]
    return ("; ".join(texts) or str(answer.get("message", "no message")))[:1000]


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


def _seconds(response: httpr.Response) -> float | None:
    """Return Retry-After in seconds; a date there is not obeyed."""
    try:
        return float(response.headers["Retry-After"])
    except (KeyError, ValueError):
        return None
