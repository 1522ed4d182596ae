"""What Qdrant's client raises, as the errors of trivec."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import httpx
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
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

__all__ = ["translated", "translating"]

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
# gRPC, which never came to speak with a server.
_UNREACHABLE = re.compile(
    r"failed to connect to all addresses|(?:name|DNS) resolution|errors resolving", re.IGNORECASE
)

_UNAVAILABLE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
}
_REFUSED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


@contextmanager
def translating(name: str) -> Iterator[None]:
    """Raise the client's errors as trivec's.

    Args:
        name: The collection, for the message.
    """
    try:
        yield
    except TrivecError:
        raise
    except (
        grpc.RpcError,
        UnexpectedResponse,
        ResponseHandlingException,
        ResourceExhaustedResponse,
        httpx.TransportError,
        # The pure-Python mode has nothing but ValueError and RuntimeError.
        ValueError,
        RuntimeError,
    ) as error:
        raise translated(error, name) from error


def translated(error: Exception, name: str) -> StoreError:
    """Return an error of the client as the one of trivec that says whether to try again."""
    if isinstance(error, ResourceExhaustedResponse):
        return StoreUnavailableError(f"{name!r}: {error}", retry_after=float(error.retry_after_s))
    if isinstance(error, grpc.RpcError):
        return _from_grpc(error, name)
    if isinstance(error, UnexpectedResponse):
        return _from_rest(error, name)
    if isinstance(error, ResponseHandlingException):
        return _from_transport(error, name)
    if isinstance(error, httpx.TransportError):
        return StoreUnavailableError(f"{name!r}: the connection failed: {error}")
    if _NO_COLLECTION.search(str(error)):
        return CollectionNotFoundError(f"collection {name!r} does not exist")
    return StoreError(f"{name!r}: {error}")


def _from_grpc(error: grpc.RpcError, name: str) -> StoreError:
    code: grpc.StatusCode | None = error.code() if isinstance(error, grpc.Call) else None
    details = (error.details() if isinstance(error, grpc.Call) else None) or str(error)
    what = f"{name!r}: {details}"
    if _TOO_LARGE.search(details):
        return RequestTooLargeError(what)
    if _FULL.search(details):
        return StoreFullError(what)
    if code in _REFUSED:
        return AuthenticationError(what)
    if code is grpc.StatusCode.NOT_FOUND and _NO_COLLECTION.search(details):
        return CollectionNotFoundError(what)
    if "CERTIFICATE_VERIFY_FAILED" in details:
        return StoreError(
            f"{what}. For a private certificate authority set the environment variable "
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH before the process starts"
        )
    if code is grpc.StatusCode.INTERNAL and _TIMED_OUT in details:
        return _slow(what)
    if code in _UNAVAILABLE or code is grpc.StatusCode.INTERNAL:
        return StoreUnavailableError(what, unreachable=_UNREACHABLE.search(details) is not None)
    return StoreError(what)


def _from_rest(error: UnexpectedResponse, name: str) -> StoreError:
    content = error.content.decode("utf-8", "replace") if error.content else ""
    status = error.status_code or 0
    what = f"{name!r}: status {status}: {content[:500] or error.reason_phrase}"
    if status == 413 or _TOO_LARGE.search(content):
        return RequestTooLargeError(what)
    if status == 507 or _FULL.search(content):
        return StoreFullError(what)
    if status in (401, 403):
        return AuthenticationError(what)
    if status == 404 and _NO_COLLECTION.search(content):
        return CollectionNotFoundError(what)
    if status == 500 and _TIMED_OUT in content:
        return _slow(what)
    if status == 429 or status >= 500:
        return StoreUnavailableError(what, retry_after=_retry_after(error))
    return StoreError(what)


def _from_transport(error: ResponseHandlingException, name: str) -> StoreError:
    cause = error.source
    what = f"{name!r}: {cause}"
    if isinstance(cause, httpx.TransportError):
        if "CERTIFICATE_VERIFY_FAILED" in str(cause):
            return StoreError(f"{what}. For a private certificate authority set SSL_CERT_FILE")
        nobody = isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout)
        return StoreUnavailableError(what, unreachable=nobody)
    return StoreError(f"{what} (the answer could not be read)")


def _retry_after(error: UnexpectedResponse) -> float | None:
    """Return the seconds that the server asked to wait, where it said so."""
    try:
        seconds = float(error.headers.get("retry-after", ""))
    except (ValueError, AttributeError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _slow(what: str) -> StoreError:
    return StoreError(f"{what}. The server gave up; open the store with a longer `timeout`")
