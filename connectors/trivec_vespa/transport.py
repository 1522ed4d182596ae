"""One HTTP request and its whole answer, within a time that no server can prolong."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

import httpr
from vespa.application import Vespa

from trivec.errors import InvalidOptionError, StoreError, StoreUnavailableError
from trivec_vespa.workers import Workers

__all__ = ["Answer", "Method", "Transport"]

Method = Literal["GET", "POST", "DELETE"]

_MOST_BYTES = 1 << 30  # of one answer; the largest that Vespa gives us have some MB
_DIAGNOSIS_SECONDS = 5.0
_AUTHORITIES = "HTTPR_CA_BUNDLE"  # what httpr reads


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Args:
        status: The HTTP status.
        content: The whole body.
        retry_after: The header of this name.
    """

    status: int
    content: bytes
    retry_after: str | None


class Transport:
    """Requests to one address.

    Args:
        app: Whose address, certificate, token and headers are used.
        http2: Whether to speak HTTP/2 from the first byte on `http://`; on `https://` the two
            ends agree on it themselves.
    """

    def __init__(self, app: Vespa, *, http2: bool) -> None:
        self.address = app.end_point.rstrip("/")
        self._workers = Workers("trivec-vespa-request")
        weakref.finalize(self, self._workers.close)  # of a store that nobody closes
        if http2 and self.address.startswith("http:"):
            headers = dict(app.base_headers)
            self._client = httpr.Client(headers=headers, http2_only=True)
        else:
            self._client = app.get_sync_session()

    def close(self) -> None:
        """Close all connections."""
        self._workers.close()
        self._client.close()

    def send(
        self,
        method: Method,
        path: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        parameters: Mapping[str, str | int],
        seconds: float,
    ) -> Answer:
        """Send one request and return the answer, of whatever status.

        The client's own timeout is for the next bytes: a server that sends one now and then holds
        a request for ever. So the request runs in another thread, which is left to itself when its
        time is over, and which closes the connection when the next bytes come.

        Args:
            method: GET, POST or DELETE.
            path: What follows the address.
            body: What to send.
            headers: In addition to those of the app.
            parameters: Of the URL.
            seconds: How long all of it may take.

        Raises:
            StoreUnavailableError: If no whole answer came, or not in time.
            StoreError: If the server's certificate is not trusted, it speaks no TLS, or it
                redirects elsewhere.
            InvalidOptionError: If the address is no URL.
        """
        where = f"{method} {self.address}{path}"

        def exchange(left: threading.Event) -> Answer:
            with self._client.stream(
                method,
                self.address + path,
                content=body,
                headers=dict(headers) or None,
                params=dict(parameters) or None,
                timeout=seconds,
            ) as response:
                status, place = response.status_code, response.url
                if 300 <= status < 400 or _moved(self.address + path, place):
                    raise _redirected(where, f"to {response.headers.get('Location') or place}")
                content = _whole(response, left, where)
                return Answer(status, content, response.headers.get("Retry-After"))

        def attempt(left: threading.Event) -> Answer:
            try:
                return exchange(left)
            except httpr.TooManyRedirects as error:
                raise _redirected(where, "in a circle") from error
            except httpr.ConnectError as error:
                if self.address.startswith("https:"):
                    _check_tls(self.address, where)
                message = f"{where}: {_reason(error)}"
                raise StoreUnavailableError(message, unreachable=True) from error
            except (httpr.HTTPError, httpr.StreamError) as error:
                nobody = isinstance(error, httpr.ConnectTimeout)
                message = f"{where}: {_reason(error)}"
                raise StoreUnavailableError(message, unreachable=nobody) from error
            except httpr.InvalidURL as error:
                raise InvalidOptionError(f"{self.address!r} is no address: {error}") from error

        try:
            return self._workers.call(attempt, seconds)
        except TimeoutError as error:
            message = f"{where}: Timeout: no whole answer in {seconds:.3g} s"
            raise StoreUnavailableError(message) from error


def _whole(response: httpr.StreamingResponse, left: threading.Event, where: str) -> bytes:
    """Return the body of an answer, as long as somebody waits for it."""
    content = bytearray()
    try:
        for part in response.iter_bytes():
            content += part
            if left.is_set() or len(content) > _MOST_BYTES:
                raise StoreUnavailableError(f"{where}: no end within {len(content)} bytes")
    except RuntimeError as error:  # what the client raises for a body that breaks off
        raise StoreUnavailableError(f"{where}: {_reason(error)}") from error
    return bytes(content)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


def _redirected(where: str, target: str) -> StoreError:
    return StoreError(
        f"{where}: the server redirects {target[:300]}, which Vespa never does: give the "
        "address of Vespa itself, as vespas:// if it is redirected to https"
    )


def _moved(asked: str, answered: str) -> bool:
    """Return whether an answer comes from elsewhere, since the client followed a redirect."""
    near, far = urlsplit(asked), urlsplit(answered)
    ports = [one.port or {"http": 80, "https": 443}.get(one.scheme) for one in (near, far)]
    return (
        near.scheme != far.scheme
        or ports[0] != ports[1]
        or unquote(near.path) != unquote(far.path)
        or _host(near.hostname or "") != _host(far.hostname or "")
    )


def _host(name: str) -> str:
    """Return a host in the one form that clients write it in: "127.1" as 127.0.0.1."""
    with contextlib.suppress(OSError):
        return socket.inet_ntoa(socket.inet_aton(name))
    with contextlib.suppress(OSError):
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, name))
    with contextlib.suppress(UnicodeError):
        return name.lower().encode("idna").decode()
    return name.lower()


def _check_tls(address: str, where: str) -> None:
    """Find out why TLS to an address fails, which the client does not tell.

    Nothing is sent but the greetings of TLS.

    Raises:
        StoreError: If the server's certificate is not trusted, or it speaks no TLS.
        StoreUnavailableError: If there is a server that TLS can be spoken with.
    """
    parts = urlsplit(address)
    place = (parts.hostname or "localhost", parts.port or 443)
    context = ssl.create_default_context()
    with contextlib.suppress(OSError):
        if os.environ.get(_AUTHORITIES):
            context.load_verify_locations(os.environ[_AUTHORITIES])
    advice = (
        "If it is the right server, name the file of the authority that signed its certificate "
        f"(PEM) in the environment variable {_AUTHORITIES}"
    )
    try:
        with (
            socket.create_connection(place, timeout=_DIAGNOSIS_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=place[0]),
        ):
            raise StoreUnavailableError(
                f"{where}: the connection failed, although the certificate is one that this system "
                f"trusts; the client has a list of its own. {advice}"
            )
    except ssl.SSLCertVerificationError as error:
        raise StoreError(
            f"{where}: the server's certificate is not trusted: {error.verify_message}. {advice}"
        ) from error
    except ssl.SSLEOFError:  # it hung up, perhaps only now
        return
    except ssl.SSLError as error:
        raise StoreError(
            f"{where}: the server does not speak TLS ({error.reason}); use vespa:// if it speaks "
            "plain HTTP"
        ) from error
    except OSError:  # nobody listens
        return
