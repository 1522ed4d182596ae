"""Requests to Vespa, and what their answers mean."""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Generic, NoReturn, TypeVar

from vespa.application import Vespa

from trivec.deadline import request_seconds
from trivec.errors import StoreError, StoreUnavailableError
from trivec_vespa.errors import refusal, understood
from trivec_vespa.replies import Result, json_of, searched
from trivec_vespa.transport import Method, Transport
from trivec_vespa.workers import Workers

T = TypeVar("T")

QUERIES = "/search/"

_MARGIN_SECONDS = 5.0  # the client waits this much longer than Vespa, to receive Vespa's own answer


def _raised(error: StoreError) -> NoReturn:
    raise error


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """One HTTP request to Vespa.

    Args:
        method: GET, POST or DELETE.
        path: What follows the address.
        reply: Returns what an answer means, given its JSON and the path; see
            `trivec_vespa.replies`.
        body: Returns the JSON to send, when the request is sent; or the bytes of a ZIP file.
        parameters: Of the URL.
        is_text: Whether `reply` gets the answer as a text instead of JSON.
        failed: Returns what an error means, or raises it; the latter by default.
    """

    method: Method
    path: str
    reply: Callable[[Any, str], T]
    body: Callable[[], Mapping[str, Any]] | bytes | None = None
    parameters: Mapping[str, str | int] = field(default_factory=dict)
    is_text: bool = False
    failed: Callable[[StoreError], T] = _raised


def query(body: Mapping[str, Any], name: str, *, allow_partial: bool = False) -> Request[Result]:
    """Return the request that searches one schema."""

    def reply(answer: object, path: str) -> Result:
        return searched(answer, allow_partial=allow_partial, limit=int(body.get("hits", 10)))

    return Request("POST", QUERIES, reply, lambda: {**body, "model.restrict": name})


class Client:
    """Sends requests to one container cluster or one config server.

    Each request runs in another thread than its caller, who leaves when the time is over.

    With `http2` it speaks HTTP/2 from the first byte on `http://`; on `https://` the two ends agree
    on it themselves.
    """

    def __init__(self, app: Vespa, *, timeout: float, http2: bool = False) -> None:
        self._timeout = timeout
        self._transport = Transport(app, http2=http2)
        self._workers = Workers("trivec-vespa-request")
        weakref.finalize(self, self._workers.close)  # if nobody closes the client

    def close(self) -> None:
        """Close all connections."""
        self._workers.close()
        self._transport.close()

    def send(self, request: Request[T]) -> T:
        """Return what the answer to a request means, or what its `failed` makes of an error."""
        try:
            with self._sent(request) as (outcome, seconds):
                return outcome.result(seconds)
        except StoreError as error:
            return request.failed(error)

    async def asend(self, request: Request[T]) -> T:
        """Do the same; the event loop runs on."""
        try:
            with self._sent(request) as (outcome, seconds):
                return await asyncio.wait_for(asyncio.wrap_future(outcome), seconds)
        except StoreError as error:
            return request.failed(error)

    @contextmanager
    def _sent(self, request: Request[T]) -> Iterator[tuple[Future[T], float]]:
        """Send the request in another thread; the block waits so many seconds for the answer."""
        seconds = request_seconds(self._timeout + _MARGIN_SECONDS)
        where = f"{request.method} {self._transport.address}{request.path}"
        limit = f"{max(request_seconds(self._timeout), 0.001):.3f}".rstrip("0").rstrip(".") + "s"
        parameters = dict(request.parameters)
        if request.path.startswith("/document/"):  # else Vespa itself tries for 175 s
            parameters = {"timeout": limit, **parameters}

        def work(abandoned: Event) -> T:
            body = request.body
            content_type = {} if body is None else {"Content-Type": "application/zip"}
            if callable(body):
                content_type = {"Content-Type": "application/json"}
                more = {"timeout": limit} if request.path == QUERIES else {}
                body = json.dumps({**body(), **more}).encode()
            answer = self._transport.exchange(
                request.method,
                request.path,
                body=body,
                headers=content_type,
                parameters=parameters,
                seconds=seconds,
                abandoned=abandoned,
            )
            if answer.status >= 300:
                raise refusal(answer, request.path, where)
            with understood(where, answer):
                value = answer.content.decode() if request.is_text else json_of(answer.content)
                return request.reply(value, request.path)

        try:
            with self._workers.running(work) as outcome:
                yield outcome, seconds
        except TimeoutError as error:
            raise StoreUnavailableError(
                f"{where}: Timeout: no whole answer in {seconds:.3g} s"
            ) from error
