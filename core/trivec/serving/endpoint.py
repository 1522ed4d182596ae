"""One route: who may call it, errors as answers, clients that are gone, and counting."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import ExitStack, suppress
from time import perf_counter
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from trivec.errors import InvalidInputError
from trivec.serving.metrics import Metrics
from trivec.serving.refusal import Refusal

CLIENT_GONE = 499  # in the metrics, as nginx counts clients that did not wait

Answer = Callable[[Request, ExitStack], Awaitable[Response]]
"""Answers a request. What it enters into the stack is left when the answer is sent."""

ErrorForm = Callable[[Refusal], object]
"""Returns the JSON of an error."""

Result = TypeVar("Result")

_logger = logging.getLogger(__name__)


def plain_error(refusal: Refusal) -> object:
    """Return an error in the form of this server."""
    return {"error": refusal.reason}


class Endpoint:
    """An ASGI application that answers one route.

    Args:
        route: The route's name in the metrics.
        answer: Answers a request.
        metrics: Counts requests.
        token: The bearer token that callers must have, or None.
        timeout: The seconds within which a client must take each piece of its answer.
        headers: Headers of every answer.
        error_form: The form of errors.
        browser: Whether people call it with a browser, which sends no bearer token: the token is
            also taken as the password of HTTP's basic authentication.
    """

    def __init__(
        self,
        route: str,
        answer: Answer,
        *,
        metrics: Metrics,
        token: str | None,
        timeout: float,
        headers: Mapping[str, str],
        error_form: ErrorForm = plain_error,
        browser: bool = False,
    ) -> None:
        self._route = route
        self._answer = answer
        self._metrics = metrics
        self._token = token
        self._timeout = timeout
        self._headers = headers
        self._error_form = error_form
        self._browser = browser

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began = perf_counter()
        status = CLIENT_GONE

        async def timed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            async with asyncio.timeout(self._timeout):
                await send(message)

        try:
            with ExitStack() as held, suppress(ClientDisconnect):
                response = await self._response(Request(scope, receive), held)
                await response(scope, receive, timed)
        except TimeoutError:  # the server closes the connection, since the answer is incomplete
            status = CLIENT_GONE
            _logger.warning("%s: a client did not take its answer", self._route)
        finally:
            self._metrics.answered(self._route, status, perf_counter() - began)

    async def _response(self, request: Request, held: ExitStack) -> Response:
        try:
            self._check_token(request)
            response = await self._answer(request, held)
        except Refusal as refusal:
            response = self._refused(refusal)
        except InvalidInputError as error:
            response = self._refused(Refusal(400, str(error)))
        except ClientDisconnect:
            raise
        except Exception:
            _logger.exception("%s failed", self._route)
            response = self._refused(Refusal(500, "the server failed; its log says why"))
        response.headers.update(self._headers)
        return response

    def _refused(self, refusal: Refusal) -> Response:
        return JSONResponse(self._error_form(refusal), refusal.status, refusal.headers)

    def _check_token(self, request: Request) -> None:
        if self._token is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if self._browser and scheme.lower() == "basic":
            given = _password(given)
        elif scheme.lower() != "bearer":
            given = ""
        # As bytes: compare_digest refuses strings that are not ASCII.
        if not hmac.compare_digest(given.strip().encode(), self._token.encode()):
            reason = "send the server's token in the header Authorization: Bearer TOKEN"
            asked = 'Basic realm="trivec", charset="UTF-8"' if self._browser else "Bearer"
            raise Refusal(401, reason, {"WWW-Authenticate": asked})


def _password(credentials: str) -> str:
    """Return the password of HTTP's basic authentication, "" if it is malformed."""
    try:
        return base64.b64decode(credentials.strip()).decode("latin-1").partition(":")[2]
    except binascii.Error:
        return ""


async def _client_gone(request: Request) -> None:
    """Wait until a client closes its connection; ignore what it still sends."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def while_connected(request: Request, work: Coroutine[object, object, Result]) -> Result:
    """Return the result of work for a client; cancel it if the client closes the connection.

    Raises:
        ClientDisconnect: If the client closes the connection before the work is done.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_client_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
