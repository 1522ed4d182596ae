"""A client of one HTTP server: blocking and asynchronous, with deadlines and repetitions."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx

from trivec._version import __version__
from trivec.addresses import is_loopback
from trivec.bounded import bound
from trivec.deadline import request_seconds, seconds_left, unless_limited
from trivec.encoders.processes import after_fork
from trivec.encoders.remote.certificates import certificates, no_certificates
from trivec.encoders.remote.exchange import HttpAnswer, HttpRequest, server_message
from trivec.encoders.remote.options import TOKEN, check_token
from trivec.encoders.remote.pools import KEPT, Pools
from trivec.errors import EncoderError, EncoderUnavailableError, InvalidOptionError
from trivec.retry import aretrying, retry_after, retrying
from trivec.turns import own_turn

_CONNECT_SECONDS = 10.0
_MOST_BYTES = 1 << 30  # of one answer
_IDLE_SECONDS = 30.0  # that a connection is kept; servers close theirs later
_BUSY = (429, 502, 503, 504)

_log = logging.getLogger("trivec")


class HttpClient:
    """Requests to one server, over connections that are kept.

    Any number of threads and event loops can use it, and so can forked processes.

    Args:
        address: Such as `http://localhost:7600`.
        token: The bearer token; by default the environment variable TRIVEC_ENCODER_TOKEN.
        deadline: Seconds of one request with its repetitions, unless the call has a deadline.

    Raises:
        InvalidOptionError: If the token cannot be sent.
    """

    def __init__(self, address: str, *, token: str | None = None, deadline: float = 300) -> None:
        self.address = address.rstrip("/")
        # A proxy may speak TLS where the server does not.
        self._tls = self.address.startswith("https:") or bool(getproxies())
        self._token = _token(token)
        self._deadline = deadline
        self._reached = False
        self._lock = threading.Lock()
        self._pools = Pools(self._blocking)
        self._async: dict[asyncio.AbstractEventLoop, Pools[httpx.AsyncClient]] = {}
        self._guards: dict[asyncio.AbstractEventLoop, AsyncIterator[None]] = {}
        parts = urlsplit(self.address)
        if self._token and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            _warn_of_plain_token(parts.hostname or "")
        _clients.add(self)

    def __repr__(self) -> str:
        return f"HttpClient({self.address!r})"

    def exchange(self, request: HttpRequest) -> HttpAnswer:
        """Send a request, again while the server is busy or away, and return the answer.

        Raises:
            EncoderUnavailableError: If no answer came in time.
        """
        with unless_limited(self._deadline):
            repeated = retrying(reached=self._reached)
            return repeated(self._send, request)

    async def aexchange(self, request: HttpRequest) -> HttpAnswer:
        """Send a request without blocking the event loop; see `exchange`."""
        with unless_limited(self._deadline):
            repeated = aretrying(reached=self._reached)
            return await repeated(self._asend, request)

    def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        with self._lock:
            pools, self._pools = self._pools, Pools(self._blocking)
            loops, self._async = self._async, {}
        for client in pools.clients():
            client.close()
        for loop, asynchronous in loops.items():
            if loop.is_running():
                with suppress(RuntimeError):  # it closes at this moment
                    asyncio.run_coroutine_threadsafe(_closed(asynchronous), loop)

    async def aclose(self) -> None:
        """Close the connections; those of the running event loop are closed on return."""
        own = self._async.pop(asyncio.get_running_loop(), None)
        self.close()
        if own is not None:
            await _closed(own)

    def _send(self, request: HttpRequest) -> HttpAnswer:
        timeout = self._seconds(request)
        try:
            with (
                self._pools.client() as client,
                client.stream(**self._arguments(request, timeout)) as response,
            ):
                content = bytearray()
                for part in response.iter_bytes():
                    content += part
                    self._check_size(request, content)
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise self._translated(error, request) from error
        return self._answer(request, response, content)

    async def _asend(self, request: HttpRequest) -> HttpAnswer:
        timeout = self._seconds(request)
        await own_turn()
        try:
            async with (
                asyncio.timeout(timeout),
                self._lent() as client,
                client.stream(**self._arguments(request, timeout)) as response,
            ):
                content = bytearray()
                async for part in response.aiter_bytes():
                    content += part
                    self._check_size(request, content)
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, TimeoutError) as error:
            raise self._translated(error, request) from error
        return self._answer(request, response, content)

    def _arguments(self, request: HttpRequest, timeout: float) -> dict[str, Any]:
        """Return the arguments of `stream` of either client."""
        headers = {"Accept": request.accept}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        return {
            "method": request.method,
            "url": self.address + request.path,
            "content": request.body,
            "headers": headers,
            "timeout": httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS)),
        }

    def _seconds(self, request: HttpRequest) -> float:
        left = seconds_left()
        if left is not None and left <= 0:
            raise EncoderUnavailableError(f"{self._where(request)}: the call's deadline has passed")
        return request_seconds(self._deadline)

    def _answer(
        self, request: HttpRequest, response: httpx.Response, content: bytearray
    ) -> HttpAnswer:
        """Return an answer; raise for the statuses of a server that is busy or starting."""
        self._reached = True
        answer = HttpAnswer(
            request,
            self.address,
            response.status_code,
            {name.lower(): value for name, value in response.headers.items()},
            bytes(content),
            self._token,
        )
        if answer.status in _BUSY:
            raise EncoderUnavailableError(
                f"{answer.where}: status {answer.status}: {answer.message()}",
                retry_after=retry_after(answer.headers.get("retry-after")),
            )
        return answer

    def _check_size(self, request: HttpRequest, content: bytearray) -> None:
        if len(content) > _MOST_BYTES:
            raise EncoderError(f"{self._where(request)}: no end within {len(content)} bytes")

    def _where(self, request: HttpRequest) -> str:
        return f"{request.method} {self.address}{request.path}"

    def _translated(self, error: Exception, request: HttpRequest) -> EncoderError:
        """Return the error for an exception of httpx."""
        where, text = self._where(request), server_message(str(error).encode(), self._token)
        if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
            return EncoderError(f"{where}: {text}")
        if isinstance(error, httpx.ConnectError) and "CERTIFICATE" in text.upper():
            return EncoderError(
                f"{where}: {text}. The server's certificate is not trusted. For a private "
                "certificate authority set the environment variable SSL_CERT_FILE"
            )
        if isinstance(error, httpx.ConnectError) and "SSL" in text:
            return EncoderError(
                f"{where}: {text}. The server at this port does not speak TLS: leave out the s of "
                "the URL's scheme, or give another port"
            )
        if isinstance(error, httpx.DecodingError):
            return EncoderError(f"{where}: the answer cannot be decompressed: {text}")
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return EncoderUnavailableError(
                f"{where}: no server answers there ({text or type(error).__name__})",
                unreachable=True,
            )
        if isinstance(error, httpx.TimeoutException | TimeoutError):
            return EncoderUnavailableError(f"{where}: no answer in time")
        return EncoderUnavailableError(
            f"{where}: the connection failed ({text or type(error).__name__})"
        )

    def _options(self) -> dict[str, Any]:
        headers = {"User-Agent": f"trivec/{__version__}", "Accept-Encoding": "identity"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        limits = httpx.Limits(
            max_connections=None,
            max_keepalive_connections=KEPT,
            keepalive_expiry=_IDLE_SECONDS,
        )
        return {
            "headers": headers,
            "limits": limits,
            "follow_redirects": False,
            "verify": certificates() if self._tls else no_certificates(),
        }

    def _blocking(self) -> httpx.Client:
        client: httpx.Client = _made(httpx.Client, self._options)
        bound(client)
        return client

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[httpx.AsyncClient]:
        """Lend a client of the running event loop for one request."""
        loop = asyncio.get_running_loop()
        pools = self._async.get(loop)
        if pools is None:
            if self._tls:  # reading the certificates takes 20 ms
                await asyncio.to_thread(certificates)
            with self._lock:
                for other in [other for other in self._async if other.is_closed()]:
                    del self._async[other]
                    self._guards.pop(other, None)
                made = Pools(self._asynchronous)
                pools = self._async.setdefault(loop, made)
            if pools is made:
                self._guards[loop] = guard = _closed_with_loop(made)
                await anext(guard)
        with pools.client() as client:
            yield client

    def _asynchronous(self) -> httpx.AsyncClient:
        client: httpx.AsyncClient = _made(httpx.AsyncClient, self._options)
        return client

    def __del__(self) -> None:
        pools: Pools[httpx.Client] | None = getattr(self, "_pools", None)
        for client in pools.clients() if pools is not None else ():
            client.close()

    def _forget(self) -> None:
        """Leave the connections to the parent process."""
        self._lock = threading.Lock()
        self._pools, self._async, self._guards = Pools(self._blocking), {}, {}


async def _closed(pools: Pools[httpx.AsyncClient]) -> None:
    for client in pools.clients():
        await client.aclose()


async def _closed_with_loop(pools: Pools[httpx.AsyncClient]) -> AsyncIterator[None]:
    """Close clients when their event loop ends, which closes the generators that it knows."""
    try:
        yield
    finally:
        await _closed(pools)


def _made(make: Any, options: Callable[[], Mapping[str, Any]]) -> Any:  # noqa: ANN401
    """Return either client; `options` may read the certificates."""
    try:
        return make(**options())
    except (OSError, ValueError, ImportError) as error:
        raise InvalidOptionError(
            f"no HTTP client can be made: {error}; look at the environment variables "
            "SSL_CERT_FILE, SSL_CERT_DIR, HTTP_PROXY, HTTPS_PROXY and ALL_PROXY"
        ) from error


def _token(token: str | None) -> str:
    """Return the token, or that of the environment, or ""."""
    if token is not None:
        return check_token(token, "token")
    given = os.environ.get(TOKEN)
    return check_token(given, TOKEN) if given else ""


@lru_cache
def _warn_of_plain_token(host: str) -> None:
    """Warn once of each host that the token can be read on the way."""
    _log.warning(
        "the token goes to %s without TLS, where others can read it; use a URL with TLS, such as "
        "trivecs://, if the server speaks it",
        host,
    )


_clients: weakref.WeakSet[HttpClient] = weakref.WeakSet()


@after_fork
def _forget_all() -> None:
    """Open new connections in each forked process."""
    for client in _clients:
        client._forget()
