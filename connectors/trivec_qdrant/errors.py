"""Translate exceptions of Qdrant's client into StoreErrors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import httpx
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from trivec.errors import (
    AuthenticationError,
    CollectionNotFoundError,
    RequestTooLargeError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    TrivecError,
)
from trivec.retry import retry_after

# Texts of server 1.19 for requests that would pass in smaller parts.
_TOO_LARGE = re.compile(
    r"larger than rate limiter capacity|larger than allowed|Payload Too Large"
    r"|(?:Sent|Received) message larger than max|for \"upsert limit\"",
    re.IGNORECASE,
)
# WAL and disk of server 1.19, and the limits of its strict mode.
_FULL = re.compile(
    r"No space left on device|Max (?:points count|\w+ storage size) limit of \S+ reached",
    re.IGNORECASE,
)
_NO_COLLECTION = re.compile(r"Collection `?[^`]*`? (?:doesn't exist|not found)", re.IGNORECASE)
_TIMED_OUT = "Timeout error"
# Texts of gRPC where no server listens.
_UNREACHABLE = re.compile(
    r"failed to connect to all addresses|(?:name|DNS) resolution|errors resolving", re.IGNORECASE
)

_UNTRUSTED = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|is not in peer certificate|Hostname Verification Check failed"
)
_NO_GRPC = "Failed parsing HTTP/2"
_NO_TLS = re.compile(r"WRONG_VERSION_NUMBER|wrong version number")
# The client's text for a Retry-After that is no whole number.
_ODD_RETRY_AFTER = "Retry-After header value is not a valid integer: "

# The statuses of gRPC as those of HTTP; any other one is a refusal, 400.
_HTTP_STATUSES = {
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNKNOWN: 503,
    grpc.StatusCode.DATA_LOSS: 503,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 503,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 503,
    grpc.StatusCode.ABORTED: 503,
    grpc.StatusCode.CANCELLED: 503,
}
_Status = grpc.Call | grpc.aio.AioRpcError  # errors with a status, blocking and asynchronous


@contextmanager
def translating(name: str, *, secret: str = "", embedded: bool = False) -> Iterator[None]:
    """Translate all exceptions of a client into StoreErrors, also those over malformed answers.

    No message shows the secret, even if a server sends it back. An embedded client is one in its
    pure-Python mode, without a server; then only its own refusals are translated.
    """
    try:
        yield
    except (TrivecError, MemoryError):
        raise
    except Exception as error:
        # The pure-Python mode refuses with ValueError and RuntimeError only.
        if embedded and not isinstance(error, ValueError | RuntimeError):
            raise
        shows_secret = bool(secret) and secret in _text(error)
        raise _translated(error, name, secret, embedded=embedded) from (
            None if shows_secret else error
        )


def unreadable(name: str, why: str) -> StoreUnavailableError:
    """Return the error for an answer that does not fit the request.

    The request may have been executed or not, and another try may succeed: such answers come from
    proxies, from servers that are starting, and from other servers.
    """
    return StoreUnavailableError(
        f"{name!r}: {why}; this is no answer of Qdrant to the request: is there a proxy in "
        "between, or a server of another version?"
    )


def _translated(error: Exception, name: str, secret: str, *, embedded: bool) -> StoreError:
    """Return the StoreError for an exception of the client."""
    text = _shown(_text(error), secret)
    if isinstance(error, ResponseHandlingException):
        return _from_transport(error, name, text)
    if isinstance(error, QdrantException):
        return _from_busy(error, name, text)
    if isinstance(error, grpc.RpcError):
        return _from_grpc(error, name, text)
    if isinstance(error, UnexpectedResponse):
        return _from_rest(error, name, text)
    if isinstance(error, httpx.TransportError):
        return StoreUnavailableError(f"{name!r}: the connection failed: {text}")
    if isinstance(error, TimeoutError):
        return StoreUnavailableError(f"{name!r}: no answer in time ({text or 'timed out'})")
    if _NO_COLLECTION.search(text):
        return CollectionNotFoundError(f"collection {name!r} does not exist")
    if embedded or _is_of_the_client(error):
        return StoreError(f"{name!r}: {text}")
    return unreadable(name, f"{type(error).__name__}: {text[:500] or 'no reason'}")


def _text(error: Exception) -> str:
    """Return the text of an error; `str` of some of the client's fails or leaves it out."""
    if isinstance(error, UnexpectedResponse):
        return (error.content or b"").decode("utf-8", "replace") or str(error.reason_phrase)
    if isinstance(error, ResponseHandlingException):
        return str(error.source)
    if isinstance(error, ResourceExhaustedResponse):
        return str(error.message)
    if isinstance(error, grpc.RpcError):
        return (error.details() if isinstance(error, _Status) else None) or str(error)
    return str(error)


def _shown(text: str, secret: str) -> str:
    """Return the text of a server on one line, without control characters and secrets."""
    if secret:
        text = text.replace(secret, "***")
    return " ".join("".join(c if c.isprintable() else " " for c in text[:2000]).split())


def _from_busy(error: QdrantException, name: str, text: str) -> StoreError:
    """Return the error for a server that says when to try again."""
    if _TOO_LARGE.search(text):
        return RequestTooLargeError(f"{name!r}: {text}")
    if isinstance(error, ResourceExhaustedResponse):
        return StoreUnavailableError(
            f"{name!r}: {text}", retry_after=retry_after(error.retry_after_s)
        )
    asked = retry_after(text.removeprefix(_ODD_RETRY_AFTER)) if _ODD_RETRY_AFTER in text else None
    return StoreUnavailableError(f"{name!r}: the server is busy ({text})", retry_after=asked)


def _from_grpc(error: grpc.RpcError, name: str, text: str) -> StoreError:
    code: grpc.StatusCode | None = error.code() if isinstance(error, _Status) else None
    what = f"{name!r}: {text[:500]}"
    if _UNTRUSTED.search(text):
        return _untrusted(what, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH before the process starts")
    if _NO_TLS.search(text):
        return _no_tls(what)
    if _NO_GRPC in text:
        return StoreUnavailableError(
            f"{what}. The server at this port does not speak gRPC: give the right `grpc_port`, or "
            "prefer_grpc=False for REST"
        )
    trailing: Any = error.trailing_metadata() if isinstance(error, _Status) else None
    waits = (value for key, value in trailing or () if key == "retry-after")
    wait = retry_after(next((value for value in waits if isinstance(value, str)), None))
    status = 503 if code is None else _HTTP_STATUSES.get(code, 400)
    unreachable = _UNREACHABLE.search(text) is not None
    return _from_status(status, what, text, wait, unreachable=unreachable)


def _from_rest(error: UnexpectedResponse, name: str, text: str) -> StoreError:
    status = error.status_code or 0
    what = f"{name!r}: status {status}: {text[:500]}"
    return _from_status(status, what, text, retry_after(error.headers.get("retry-after")))


def _from_status(
    status: int, what: str, text: str, wait: float | None, *, unreachable: bool = False
) -> StoreError:
    """Return the error for a status of HTTP, with the seconds that the server asked to wait."""
    if status == 413 or _TOO_LARGE.search(text):
        return RequestTooLargeError(what)
    if status == 507 or _FULL.search(text):
        return StoreFullError(what)
    if status in (401, 403):
        return AuthenticationError(what)
    if status == 404 and _NO_COLLECTION.search(text):
        return CollectionNotFoundError(what)
    if status == 500 and _TIMED_OUT in text:
        return StoreError(f"{what}. The server gave up; open the store with a longer `timeout`")
    if status == 429 or status >= 500:
        return StoreUnavailableError(what, retry_after=wait, unreachable=unreachable)
    return StoreError(what)


def _from_transport(error: ResponseHandlingException, name: str, text: str) -> StoreError:
    cause = error.source
    what = f"{name!r}: {text[:500] or type(cause).__name__}"
    if isinstance(cause, httpx.TransportError):
        if _UNTRUSTED.search(text):
            return _untrusted(what, "SSL_CERT_FILE")
        if _NO_TLS.search(text):
            return _no_tls(what)
        nobody_listens = (
            isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout) and "SSL" not in text
        )
        if isinstance(cause, httpx.TimeoutException):
            what = f"{name!r}: no answer in time ({text or 'timed out'})"
        return StoreUnavailableError(what, unreachable=nobody_listens)
    if _is_of_the_client(cause):
        return StoreError(what)
    return unreadable(name, f"the answer could not be read ({text[:500]})")


def _is_of_the_client(error: Exception) -> bool:
    """Return whether the client itself refused, and no answer was at fault.

    It refuses a malformed host or header, malformed arguments, and calls after it was closed.
    """
    if isinstance(error, UnicodeError):
        return not isinstance(error, UnicodeDecodeError)
    return isinstance(error, httpx.InvalidURL) or type(error) in (ValueError, RuntimeError)


def _untrusted(what: str, variable: str) -> StoreError:
    return StoreError(
        f"{what}. The server's certificate is not trusted. For a private certificate authority "
        f"set the environment variable {variable}"
    )


def _no_tls(what: str) -> StoreError:
    return StoreError(
        f"{what}. The server at this port does not speak TLS: use qdrant:// instead of qdrants://, "
        "or another port"
    )
