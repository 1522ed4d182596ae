"""The gRPC channel of pymilvus: each call is made once, within the time of the store's call.

pymilvus repeats a failed call until its timeout, up to 75 times, and connects anew in between; it
does so for errors of gRPC and for the status "rate limit". An interceptor raises such failures as
`CallFailed`, which pymilvus does not repeat, so that only the store repeats calls. Each call gets
the time that the store's call has left (`request_seconds`), including calls that pymilvus adds,
such as reading the schema before a write.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
from pymilvus import MilvusClient
from pymilvus.exceptions import ErrorCode
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc

from trivec.deadline import request_seconds
from trivec.errors import InvalidOptionError
from trivec.retry import retry_after
from trivec.turns import own_turn

_OPTIONS: dict[str, Any] = {
    # pymilvus sets these only on channels that it opens itself.
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": -1,
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 5000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.enable_retries": 0,
    # So that a server that comes back is found before the store stops repeating; by default gRPC
    # waits up to two minutes between attempts to connect.
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 2000,
}


# Without a status these would acknowledge a write that never happened, or mean "no rows".
_WITH_STATUS = (
    milvus_pb2.DescribeCollectionResponse,
    milvus_pb2.MutationResult,
    milvus_pb2.QueryResults,
    milvus_pb2.SearchResults,
)


class CallFailed(Exception):
    """A failed call, as an exception that pymilvus does not repeat.

    Args:
        code: The status of gRPC, or Milvus's number of the error.
        details: The message.
        seconds: How long the server asked to wait, if it did.
    """

    def __init__(self, code: object, details: str, seconds: float | None = None) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.seconds = seconds

    @classmethod
    def of(cls, error: grpc.RpcError) -> CallFailed:
        """Return an error of gRPC as a `CallFailed`."""
        code = error.code() if hasattr(error, "code") else None
        details = error.details() if hasattr(error, "details") else None
        return cls(code, str(details or code or type(error).__name__), _retry_after(error))


class _Details(grpc.ClientCallDetails):  # type: ignore[misc]
    """The details of a call with another timeout."""

    def __init__(self, given: Any, timeout: float) -> None:  # noqa: ANN401 - grpc has no types
        self.method = given.method
        self.timeout = timeout
        self.metadata = given.metadata
        self.credentials = given.credentials
        self.wait_for_ready = getattr(given, "wait_for_ready", None)
        self.compression = getattr(given, "compression", None)


class _Once(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    """Makes each call of a blocking channel once, within its time."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    def intercept_unary_unary(
        self,
        continuation: Callable[[Any, Any], Any],
        client_call_details: Any,  # noqa: ANN401 - grpc has no types
        request: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        seconds = _seconds(client_call_details.timeout, self._timeout)
        call = continuation(_Details(client_call_details, seconds), request)
        error = call.exception()
        if isinstance(error, grpc.RpcError):
            raise CallFailed.of(error) from error
        if error is not None:
            raise error
        _check(call.result())
        return call


class _AioOnce(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    """Makes each call of an asynchronous channel once, within its time.

    pymilvus parses the answer in the event loop, in a turn of its own.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    async def intercept_unary_unary(
        self,
        continuation: Callable[[Any, Any], Awaitable[Awaitable[Any]]],
        client_call_details: Any,  # noqa: ANN401 - grpc has no types
        request: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        seconds = _seconds(client_call_details.timeout, self._timeout)
        try:
            response = await (
                await continuation(client_call_details._replace(timeout=seconds), request)
            )
        except grpc.RpcError as error:
            raise CallFailed.of(error) from error
        _check(response)
        await own_turn()
        return response


def channel(
    target: str, roots: bytes | None, *, secure: bool, timeout: float, options: Mapping[str, Any]
) -> Any:  # noqa: ANN401 - grpc has no types
    """Return a blocking channel to a host and port.

    `roots` are the certificates to trust, PEM; by default those of gRPC.
    """
    all_options = [*{**_OPTIONS, **options}.items()]
    plain = (
        grpc.secure_channel(target, grpc.ssl_channel_credentials(roots), all_options)
        if secure
        else grpc.insecure_channel(target, all_options)
    )
    return grpc.intercept_channel(plain, _Once(timeout))


def aio_channel(
    target: str,
    roots: bytes | None,
    *,
    secure: bool,
    timeout: float,
    options: Mapping[str, Any],
) -> Any:  # noqa: ANN401 - grpc has no types
    """Return a channel of the running event loop to a host and port."""
    all_options = [*{**_OPTIONS, **options}.items()]
    once = [_AioOnce(timeout)]
    if not secure:
        return grpc.aio.insecure_channel(target, all_options, interceptors=once)
    credentials = grpc.ssl_channel_credentials(roots)
    return grpc.aio.secure_channel(target, credentials, all_options, interceptors=once)


def once_each(client: MilvusClient, timeout: float) -> Any:  # noqa: ANN401 - pymilvus has no types
    """Return a copy of a client that makes each call once, within its time.

    It calls through the channel of the original, which does not change. After the original has
    connected anew, which gives it another channel, a new copy is needed.
    """
    handler = getattr(client, "_handler", None)
    inner = getattr(handler, "_final_channel", None)
    if handler is None or inner is None:
        raise InvalidOptionError("client: expected an open MilvusClient, got one that is closed")
    copied, calls = copy.copy(client), copy.copy(handler)
    calls._stub = milvus_pb2_grpc.MilvusServiceStub(grpc.intercept_channel(inner, _Once(timeout)))
    copied._handler = calls
    return copied


def _seconds(given: float | None, timeout: float) -> float:
    return request_seconds(timeout if given is None else min(given, timeout))


def _retry_after(error: grpc.RpcError) -> float | None:
    """Return the seconds that a server, or a proxy in front of it, asked to wait."""
    trailing: Any = error.trailing_metadata() if hasattr(error, "trailing_metadata") else None
    value = dict(trailing or ()).get("retry-after")
    return None if value is None else retry_after(str(value))


def _check(response: Any) -> None:  # noqa: ANN401 - protobuf has no types
    """Raise `CallFailed` for a status that pymilvus repeats, and for an answer without one."""
    if isinstance(response, _WITH_STATUS) and not response.HasField("status"):
        raise CallFailed(None, "the answer has no status, so it is not one of Milvus")
    status = getattr(response, "status", response)
    if not isinstance(status, common_pb2.Status):
        return
    if status.code == ErrorCode.RATE_LIMIT or status.error_code == common_pb2.RateLimit:
        raise CallFailed(int(ErrorCode.RATE_LIMIT), status.reason or "rate limit exceeded")
