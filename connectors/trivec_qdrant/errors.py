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
from trivec.stores.retry import retry_after

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

_UNAVAILABLE = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
}
_Status = grpc.Call | grpc.aio.AioRpcError  # errors with a status, blocking and asynchronous
_REFUSED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


@contextmanager
def translating(name: str, *, secret: str = "", embedded: bool = False) -> Iterator[None]:
    """Translate all exceptions of a client into StoreErrors, also those over malformed answers.

    Args:
        name: The collection, for the message.
        secret: What no message shows, even if a server sends it back.
        embedded: Whether the client is in its pure-Python mode, which has no server; then only
            its own refusals are translated.
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
        raise translated(error, name, secret=secret, embedded=embedded) from (
            None if shows_secret else error
        )


def unreadable(name: str, why: str) -> StoreUnavailableError:
    """Return the error for an answer that does not fit the request.

    The request may have been executed or not, and another try may succeed: such answers come from
    proxies, from servers that are starting, and from other servers.

    Args:
        name: The collection.
        why: What is wrong with the answer.
    """
    return StoreUnavailableError(
        f"{name!r}: {why}; this is no answer of Qdrant to the request: is there a proxy in "
        "between, or a server of another version?"
    )


def translated(
    error: Exception, name: str, *, secret: str = "", embedded: bool = False
) -> StoreError:
    """Return the StoreError for an exception of the client.

    Args:
        error: The exception.
        name: The collection, for the message.
        secret: What the message does not show.
        embedded: Whether the client is in its pure-Python mode.
    """
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
    if _TOO_LARGE.search(text):
        return RequestTooLargeError(what)
    if _FULL.search(text):
        return StoreFullError(what)
    if code in _REFUSED:
        return AuthenticationError(what)
    if code is grpc.StatusCode.NOT_FOUND and _NO_COLLECTION.search(text):
        return CollectionNotFoundError(what)
    if _UNTRUSTED.search(text):
        return _untrusted(what, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH before the process starts")
    if _NO_TLS.search(text):
        return _no_tls(what)
    if code is grpc.StatusCode.INTERNAL and _TIMED_OUT in text:
        return _slow(what)
    if _NO_GRPC in text:
        return StoreUnavailableError(
            f"{what}. The server at this port does not speak gRPC: give the right `grpc_port`, or "
            "prefer_grpc=False for REST"
        )
    if code is None or code in _UNAVAILABLE or code is grpc.StatusCode.INTERNAL:
        return StoreUnavailableError(
            what,
            retry_after=_trailing_retry_after(error),
            unreachable=_UNREACHABLE.search(text) is not None,
        )
    return StoreError(what)


def _trailing_retry_after(error: grpc.RpcError) -> float | None:
    """Return the seconds that a gRPC server asked to wait, or None."""
    trailing: Any = error.trailing_metadata() if isinstance(error, _Status) else None
    values = (value for key, value in trailing or () if key == "retry-after")
    return retry_after(next((value for value in values if isinstance(value, str)), None))


def _from_rest(error: UnexpectedResponse, name: str, text: str) -> StoreError:
    status = error.status_code or 0
    what = f"{name!r}: status {status}: {text[:500]}"
    if status == 413 or _TOO_LARGE.search(text):
        return RequestTooLargeError(what)
    if status == 507 or _FULL.search(text):
        return StoreFullError(what)
    if status in (401, 403):
        return AuthenticationError(what)
    if status == 404 and _NO_COLLECTION.search(text):
        return CollectionNotFoundError(what)
    if status == 500 and _TIMED_OUT in text:
        return _slow(what)
    if status == 429 or status >= 500:
        return StoreUnavailableError(
            what, retry_after=retry_after(error.headers.get("retry-after"))
        )
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


def _slow(what: str) -> StoreError:
    return StoreError(f"{what}. The server gave up; open the store with a longer `timeout`")
