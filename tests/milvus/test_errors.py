"""Errors of pymilvus as ours."""

from __future__ import annotations

import traceback
from typing import Any

import grpc
import pytest
from pymilvus.exceptions import MilvusException

from trivec.errors import (
    AuthenticationError,
    CollectionNotFoundError,
    InvalidOptionError,
    RequestTooLargeError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from trivec_milvus.errors import store_errors


class Refusal(grpc.RpcError):  # type: ignore[misc]
    """What pymilvus lets through for a status that it does not repeat."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__()
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


GONE: Any = grpc.StatusCode.UNAVAILABLE  # which pymilvus puts where an int belongs
CASES = [
    (MilvusException(100, "can't find collection"), CollectionNotFoundError),
    (MilvusException(1400, "auth check failure, please check api key"), AuthenticationError),
    (MilvusException(8, "rate limit exceeded"), StoreUnavailableError),
    (MilvusException(7, "disk quota exceeded"), StoreFullError),
    (MilvusException(9, "quota exceeded[reason=memory]"), StoreFullError),
    (MilvusException(65535, "[Errno 28] No space left on device"), StoreFullError),
    (MilvusException(65535, "node offline", retriable=True), StoreUnavailableError),
    (MilvusException(GONE, "Retry run out of 75"), StoreUnavailableError),
    (MilvusException(1, "[search] Retry timeout: 30.0s"), StoreUnavailableError),
    (MilvusException(1100, "invalid parameter"), StoreError),
    (Refusal(grpc.StatusCode.UNAUTHENTICATED, "missing authorization"), AuthenticationError),
    (Refusal(grpc.StatusCode.PERMISSION_DENIED, "PrivilegeInsert"), AuthenticationError),
    (Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"), StoreUnavailableError),
    (Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "memory quota exceeded"), StoreUnavailableError),
    (
        Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 4)"),
        RequestTooLargeError,
    ),
    (Refusal(grpc.StatusCode.UNIMPLEMENTED, "unknown method"), StoreError),
]


@pytest.mark.parametrize(("raised", "expected"), CASES, ids=lambda case: str(case)[:60])
def test_errors_say_what_to_do(raised: Exception, expected: type[StoreError]) -> None:
    with pytest.raises(StoreError) as caught, store_errors("name"):
        raise raised
    assert type(caught.value) is expected
    assert caught.value.__cause__ is raised


@pytest.mark.parametrize("kind", [KeyError, TypeError, ValueError, AttributeError, OSError])
def test_what_else_pymilvus_raises_is_ours(kind: type[Exception]) -> None:
    raised = kind("x")
    with pytest.raises(StoreError, match=kind.__name__) as caught, store_errors("name"):
        raise raised
    assert caught.value.__cause__ is raised


def test_our_errors_pass() -> None:
    ours = InvalidOptionError("k")
    with pytest.raises(InvalidOptionError) as caught, store_errors("name"):
        raise ours
    assert caught.value is ours


def test_no_message_repeats_a_secret() -> None:
    with pytest.raises(AuthenticationError) as caught, store_errors("name", ("s3cret",)):
        raise MilvusException(1400, "auth check failure for s3cret")
    assert "for ***" in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    assert "for s3cret" not in shown.replace('"auth check failure for s3cret"', "")
