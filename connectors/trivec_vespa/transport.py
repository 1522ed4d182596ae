"""One HTTP request and its whole answer."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

import httpr
from vespa.application import Vespa

from trivec.errors import InvalidOptionError, StoreError, StoreUnavailableError

Method = Literal["GET", "POST", "DELETE"]

_MOST_BYTES = 1 << 30  # of one answer; the largest that the connector asks for have some MB
_DIAGNOSIS_SECONDS = 5.0
_AUTHORITIES = "HTTPR_CA_BUNDLE"  # the environment variable that httpr reads


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    content: bytes
    retry_after: str | None


class Transport:
    """Requests to one address."""

    def __init__(self, app: Vespa, *, http2: bool) -> None:
        self.address = app.end_point.rstrip("/")
        if http2 and self.address.startswith("http:"):
            headers = dict(app.base_headers)
            self._client = httpr.Client(headers=headers, http2_only=True)
        else:
            self._client = app.get_sync_session()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def exchange(
        self,
        method: Method,
        path: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        parameters: Mapping[str, str | int],
        seconds: float,
        abandoned: threading.Event,
    ) -> Answer:
        """Send one request and return the answer, of whatever status.

        The client's own timeout is for the next bytes: a server that sends one now and then holds
        a request for ever. So the caller runs this in another thread, which it leaves to itself
        when the time is over. It sets `abandoned` then, and the connection is closed when the next
        bytes come.
        """
        where = f"{method} {self.address}{path}"
        try:
            with self._client.stream(
                method,
                self.address + path,
                content=body,
                headers=dict(headers) or None,
                params=dict(parameters) or None,
                timeout=seconds,
            ) as response:
                status, url = response.status_code, response.url
                if 300 <= status < 400 or _origin(url) != _origin(self.address + path):
                    raise _redirected(where, f"to {response.headers.get('Location') or url}")
                content = _whole(response, abandoned, where)
                return Answer(status, content, response.headers.get("Retry-After"))
        except httpr.TooManyRedirects as error:
            raise _redirected(where, "in a circle") from error
        except httpr.ConnectError as error:
            if self.address.startswith("https:"):
                _check_tls(self.address, where)
            message = f"{where}: {_reason(error)}"
            raise StoreUnavailableError(message, unreachable=True) from error
        except (httpr.HTTPError, httpr.StreamError) as error:
            unreachable = isinstance(error, httpr.ConnectTimeout)
            message = f"{where}: {_reason(error)}"
            raise StoreUnavailableError(message, unreachable=unreachable) from error
        except httpr.InvalidURL as error:
            raise InvalidOptionError(f"{self.address!r} is no address: {error}") from error


def _whole(response: httpr.StreamingResponse, abandoned: threading.Event, where: str) -> bytes:
    """Return the body of an answer, as long as the caller waits for it."""
    content = bytearray()
    try:
        for part in response.iter_bytes():
            content += part
            if abandoned.is_set() or len(content) > _MOST_BYTES:
                raise StoreUnavailableError(f"{where}: no end within {len(content)} bytes")
    except RuntimeError as error:  # which the client raises for a body that breaks off
        raise StoreUnavailableError(f"{where}: {_reason(error)}") from error
    return bytes(content)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


def _redirected(where: str, target: str) -> StoreError:
    return StoreError(
        f"{where}: the server redirects {target[:300]}, which Vespa never does: give the "
        "address of Vespa itself, as vespas:// if the redirect leads to https"
    )


def _origin(url: str) -> tuple[str, str, int | None, str]:
    """Return scheme, host, port and path of a URL; those of an answer differ after a redirect."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, _host(parts.hostname or ""), port, unquote(parts.path)


def _host(name: str) -> str:
    """Return a host as clients write it: "127.1" becomes 127.0.0.1."""
    with contextlib.suppress(OSError):
        return socket.inet_ntoa(socket.inet_aton(name))
    with contextlib.suppress(OSError):
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, name))
    with contextlib.suppress(UnicodeError):
        return name.lower().encode("idna").decode()
    return name.lower()


def _check_tls(address: str, where: str) -> None:
    """Find out why TLS to an address fails, since the client does not say.

    Nothing is sent but the handshake of TLS.
    """
    parts = urlsplit(address)
    target = (parts.hostname or "localhost", parts.port or 443)
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
            socket.create_connection(target, timeout=_DIAGNOSIS_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=target[0]),
        ):
            raise StoreUnavailableError(
                f"{where}: the connection failed, although this system trusts the certificate; the "
                f"client has its own list of authorities. {advice}"
            )
    except ssl.SSLCertVerificationError as error:
        raise StoreError(
            f"{where}: the server's certificate is not trusted: {error.verify_message}. {advice}"
        ) from error
    except ssl.SSLEOFError:  # the server closed the connection, perhaps only this time
        return
    except ssl.SSLError as error:
        raise StoreError(
            f"{where}: the server does not speak TLS ({error.reason}); use vespa:// if it speaks "
            "plain HTTP"
        ) from error
    except OSError:  # no server listens
        return
