"""What fails in pymilvus, in gRPC and in the answers of Milvus, as our errors."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NoReturn

import grpc
from pymilvus.exceptions import ErrorCode, MilvusException

from trivec.errors import (
    AuthenticationError,
    CollectionNotFoundError,
    RequestTooLargeError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    TrivecError,
)
from trivec.plain import MALFORMED
from trivec_milvus.channel import CallFailed

__all__ = ["reading", "translated"]

# pkg/util/merr of the server: 1400 to 1402 are its privilege errors; 2 unavailable, 4 too many
# requests, 8 rate limit; 3 memory, 7 disk, 9 quota exceeded, which deny all writes.
_REFUSED = {1400, 1401, 1402}
_FULL = {3, 7, 9}
_LATER = {2, 4, int(ErrorCode.RATE_LIMIT)}
_LATER_STATUS = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
}
_REFUSED_STATUS = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
# What gRPC's TLS says: of a certificate, of one for another host, of a server without TLS.
_UNTRUSTED = ("certificate_verify_failed", "hostname verification", "in peer certificate")
_HANDSHAKE = ("handshake failed", "wrong_version_number", "security handshaker")

# Also `InvalidInputError`, which is a ValueError.
_UNREADABLE: tuple[type[Exception], ...] = (AssertionError, *MALFORMED)

_ours: ContextVar[bool] = ContextVar("trivec_milvus_call", default=False)


@contextmanager
def translated(name: str, secrets: Collection[str] = ()) -> Iterator[None]:
    """Raise whatever pymilvus raises inside as the error of ours that says what to do.

    Args:
        name: The collection.
        secrets: What no message may repeat.
    """
    token = _ours.set(True)
    try:
        yield
    except TrivecError:
        raise
    except Exception as error:
        _raise(_translate(error, name), error, secrets)
    finally:
        _ours.reset(token)


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Raise what an answer causes that is not as Milvus documents it as an error of ours.

    Args:
        name: The collection.
    """
    try:
        yield
    except _UNREADABLE as error:
        raise StoreError(
            f"collection {name!r}: Milvus answered what cannot be read "
            f"({type(error).__name__}: {_short(error)}); is that a server of Milvus, and has no "
            "other program written into the collection?"
        ) from error


def _raise(ours: TrivecError, error: Exception, secrets: Collection[str]) -> NoReturn:
    said = str(ours)
    shown = said
    for secret in secrets:
        if secret:
            shown = shown.replace(secret, "***")
    if any(one is ours for one in _chain(error)):  # it came through pymilvus
        raise ours from None
    if shown == said and not any(s and s in _whole(error) for s in secrets):
        raise ours from error
    ours.args = (shown,)
    raise ours from None  # whose text repeats the secret


def _whole(error: BaseException) -> str:
    return " ".join(f"{one} {one.args}" for one in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes; pymilvus also raises errors as their own causes."""
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and not any(one is other for other in seen):
        yield one
        seen.append(one)
        one = one.__cause__


def _translate(error: Exception, name: str) -> TrivecError:
    for cause in _chain(error):
        if isinstance(cause, TrivecError):  # of the deadline
            return cause
        if isinstance(cause, grpc.RpcError):
            cause = CallFailed.of(cause)
        if isinstance(cause, CallFailed):
            ours = _classed(cause.code, cause.details, name)
            if isinstance(ours, StoreUnavailableError):
                ours.retry_after = cause.seconds
            return ours
    if isinstance(error, MilvusException):
        return _classed(error.code, str(error.message), name, retriable=error.retriable is True)
    return StoreError(f"Milvus: {type(error).__name__}: {_short(error)}")


def _classed(code: object, message: str, name: str, *, retriable: bool = False) -> StoreError:
    said = message.lower()
    text = f"Milvus: {message}"
    if code == ErrorCode.COLLECTION_NOT_FOUND:
        return CollectionNotFoundError(f"collection {name!r} does not exist: {message}")
    if code in _REFUSED or code in _REFUSED_STATUS or "auth check failure" in said:
        return AuthenticationError(f"{text}; check token, user, password and database")
    if "larger than max" in said or "message size" in said:
        return RequestTooLargeError(text)
    if code in _FULL or "no space left on device" in said:
        return StoreFullError(text)
    if any(words in said for words in _UNTRUSTED):
        return StoreError(
            f"{text}; the server's certificate is not trusted, or is for another host: give the "
            "certificate of its authority as ca_file (MILVUS_CA_FILE) and the host's name in the "
            "URL"
        )
    if any(words in said for words in _HANDSHAKE):
        return StoreError(
            f"{text}; TLS failed before any certificate was checked: a server without TLS needs "
            "tls=False (MILVUS_TLS=no) and no ca_file (MILVUS_CA_FILE)"
        )
    if code == grpc.StatusCode.UNIMPLEMENTED:
        return StoreError(f"{text}; is this the gRPC port of Milvus, usually 19530?")
    if "failed to connect" in said and "socket closed" in said:
        text += "; a server with TLS closes connections without it: pass tls=True (MILVUS_TLS=yes)"
    if retriable or code in _LATER or code in _LATER_STATUS or _is_timeout(said):
        return StoreUnavailableError(text)
    return StoreError(text)


def _is_timeout(message: str) -> bool:
    # What pymilvus says when the time is over that it was given.
    return any(
        words in message
        for words in ("retry timeout", "fail connecting to server", "wait for flush timeout")
    )


def _short(error: BaseException) -> str:
    text = str(error)
    return text if len(text) <= 300 else f"{text[:300]}…"


class _RaisedAnyway(logging.Filter):
    """Keeps quiet the log of pymilvus about calls of ours, whose errors are raised.

    It logs every error with its stack, those too that are no errors for us, and with whatever the
    server said.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not _ours.get()


logging.getLogger("pymilvus.decorators").addFilter(_RaisedAnyway())
