"""Exceptions of pymilvus and gRPC, and malformed answers of Milvus, as StoreErrors."""

from __future__ import annotations

import logging
import re
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
# Messages of gRPC's TLS: on a certificate, on one for another host, on a server without TLS.
_UNTRUSTED = ("certificate_verify_failed", "hostname verification", "in peer certificate")
_HANDSHAKE = ("handshake failed", "wrong_version_number", "security handshaker")
# Messages of pymilvus when its time is over.
_TIMED_OUT = re.compile("retry timeout|fail connecting to server|wait for flush timeout")

# Also `InvalidInputError`, which is a ValueError.
_MALFORMED: tuple[type[Exception], ...] = (AssertionError, *MALFORMED)

_in_call: ContextVar[bool] = ContextVar("trivec_milvus_call", default=False)


@contextmanager
def store_errors(name: str, secrets: Collection[str] = ()) -> Iterator[None]:
    """Translate exceptions of pymilvus and gRPC into StoreErrors that repeat no secrets."""
    token = _in_call.set(True)
    try:
        yield
    except TrivecError:
        raise
    except Exception as error:
        _raise(_translate(error, name), error, secrets)
    finally:
        _in_call.reset(token)


@contextmanager
def unreadable_answers(name: str) -> Iterator[None]:
    """Translate what a malformed answer of Milvus causes into a StoreError."""
    try:
        yield
    except _MALFORMED as error:
        raise StoreError(
            f"collection {name!r}: Milvus sent an answer that cannot be read "
            f"({type(error).__name__}: {_short(error)}); is this a Milvus server, and has another "
            "program written into the collection?"
        ) from error


def _raise(translation: TrivecError, error: Exception, secrets: Collection[str]) -> NoReturn:
    """Raise the translation of an error without secrets, and without a cause that repeats them."""
    message = masked = str(translation)
    for secret in secrets:
        if secret:
            masked = masked.replace(secret, "***")
    if any(cause is translation for cause in _chain(error)):  # it came through pymilvus
        raise translation from None
    if masked == message and not any(s and s in _full_text(error) for s in secrets):
        raise translation from error
    translation.args = (masked,)
    raise translation from None


def _full_text(error: BaseException) -> str:
    return " ".join(f"{cause} {cause.args}" for cause in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes; pymilvus also raises errors as their own causes."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and not any(cause is other for other in seen):
        yield cause
        seen.append(cause)
        cause = cause.__cause__


def _translate(error: Exception, name: str) -> TrivecError:
    for cause in _chain(error):
        if isinstance(cause, TrivecError):  # of the deadline
            return cause
        if isinstance(cause, grpc.RpcError):
            cause = CallFailed.of(cause)
        if isinstance(cause, CallFailed):
            translation = _by_code(cause.code, cause.details, name)
            if isinstance(translation, StoreUnavailableError):
                translation.retry_after = cause.seconds
            return translation
    if isinstance(error, MilvusException):
        return _by_code(error.code, str(error.message), name, retriable=error.retriable is True)
    return StoreError(f"Milvus: {type(error).__name__}: {_short(error)}")


def _by_code(code: object, message: str, name: str, *, retriable: bool = False) -> StoreError:
    said = message.lower()
    text = f"Milvus: {message}"
    if code == ErrorCode.COLLECTION_NOT_FOUND or "can't find collection" in said:
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
    if retriable or code in _LATER or code in _LATER_STATUS or _TIMED_OUT.search(said):
        return StoreUnavailableError(text)
    return StoreError(text)


def _short(error: BaseException) -> str:
    text = str(error)
    return text if len(text) <= 300 else f"{text[:300]}…"


class _NoCallsOfTrivec(logging.Filter):
    """Drops records of pymilvus about the calls of this package, whose errors are raised.

    pymilvus logs every error with its stack and the server's message, even where trivec expects it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not _in_call.get()


logging.getLogger("pymilvus.decorators").addFilter(_NoCallsOfTrivec())
