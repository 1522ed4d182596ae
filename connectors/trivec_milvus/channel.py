"""The channel of gRPC that pymilvus calls through: each call is made once, in the time it has.

pymilvus repeats a call that fails for as long as its timeout, up to 75 times, and connects anew in
between; it does so for errors of gRPC and for the status "rate limit". Here such a failure leaves
as another class of error, which pymilvus lets through, so that the store's repetitions are the
only ones. Each call gets the time that the store's call has left (`request_seconds`), those too
that pymilvus makes of its own accord, such as reading the schema before a write.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
from pymilvus import MilvusClient
from pymilvus.exceptions import ErrorCode
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc

from trivec.errors import InvalidOptionError
from trivec.stores.deadline import request_seconds
from trivec.stores.retry import retry_after

__all__ = ["CallFailed", "aio_channel", "channel", "once_each"]

_OPTIONS: dict[str, Any] = {
    # Those of pymilvus, which it does not set on a channel that it is handed.
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": -1,
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 5000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.enable_retries": 0,
    # A server that comes back is found before the store's repetitions are over; gRPC's own waits
    # between attempts to connect grow to two minutes.
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 2000,
}


# Without a status they would acknowledge what nobody did, or be answers without a row.
_WITH_STATUS = (
    milvus_pb2.DescribeCollectionResponse,
    milvus_pb2.MutationResult,
    milvus_pb2.QueryResults,
    milvus_pb2.SearchResults,
)


class CallFailed(Exception):
    """A call that failed, as nothing that pymilvus repeats.

    Args:
        code: The status of gRPC, or the number that Milvus has for the error.
        details: What was said.
        seconds: How long the server asked to wait, if it did.
    """

    def __init__(self, code: object, details: str, seconds: float | None = None) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.seconds = seconds

    @classmethod
    def of(cls, error: grpc.RpcError) -> CallFailed:
        """Return the failure that an error of gRPC tells of."""
        code = error.code() if hasattr(error, "code") else None
        details = error.details() if hasattr(error, "details") else None
        return cls(code, str(details or code or type(error).__name__), _asked(error))


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
    """Makes each call of a blocking channel once, in the time it has."""

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
    """Makes each call of an asynchronous channel once, in the time it has."""

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
        return response


def channel(
    target: str, roots: bytes | None, *, secure: bool, timeout: float, options: Mapping[str, Any]
) -> Any:  # noqa: ANN401 - grpc has no types
    """Return a blocking channel.

    Args:
        target: The host and the port.
        roots: The certificates to trust, PEM; by default those of gRPC.
        secure: Whether to encrypt.
        timeout: The seconds of each call, where the store's call leaves as many.
        options: Options of gRPC beside the usual ones.
    """
    given = [*{**_OPTIONS, **options}.items()]
    made = (
        grpc.secure_channel(target, grpc.ssl_channel_credentials(roots), given)
        if secure
        else grpc.insecure_channel(target, given)
    )
    return grpc.intercept_channel(made, _Once(timeout))


def aio_channel(
    target: str, roots: bytes | None, *, secure: bool, timeout: float, options: Mapping[str, Any]
) -> Any:  # noqa: ANN401 - grpc has no types
    """Return a channel of the running event loop; see `channel`."""
    given = [*{**_OPTIONS, **options}.items()]
    once = [_AioOnce(timeout)]
    if not secure:
        return grpc.aio.insecure_channel(target, given, interceptors=once)
    credentials = grpc.ssl_channel_credentials(roots)
    return grpc.aio.secure_channel(target, credentials, given, interceptors=once)


def once_each(client: MilvusClient, timeout: float) -> Any:  # noqa: ANN401 - pymilvus has no types
    """Return a client that calls through the channel of another, each call once and in time.

    The other client belongs to the caller and stays as it is. Where it has connected anew, its
    channel is another one, and so is what this function returns.

    Args:
        client: A client that is open.
        timeout: The seconds of each call.

    Raises:
        InvalidOptionError: If it is closed, or no client of pymilvus.
    """
    handler = getattr(client, "_handler", None)
    inner = getattr(handler, "_final_channel", None)
    if handler is None or inner is None:
        raise InvalidOptionError("client: expected an open MilvusClient, got one that is closed")
    ours, calls = copy.copy(client), copy.copy(handler)
    calls._stub = milvus_pb2_grpc.MilvusServiceStub(grpc.intercept_channel(inner, _Once(timeout)))
    ours._handler = calls
    return ours


def _seconds(given: float | None, timeout: float) -> float:
    return request_seconds(timeout if given is None else min(given, timeout))


def _asked(error: grpc.RpcError) -> float | None:
    """Return the seconds that a server, or a proxy before it, asked to wait."""
    trailing: Any = error.trailing_metadata() if hasattr(error, "trailing_metadata") else None
    said = dict(trailing or ()).get("retry-after")
    return None if said is None else retry_after(str(said))


def _check(response: Any) -> None:  # noqa: ANN401 - protobuf has no types
    """Raise where an answer has no status, and for the one status that pymilvus repeats."""
    if isinstance(response, _WITH_STATUS) and not response.HasField("status"):
        raise CallFailed(None, "the answer has no status, so it is none of Milvus")
    status = getattr(response, "status", response)
    if not isinstance(status, common_pb2.Status):
        return
    if status.code == ErrorCode.RATE_LIMIT or status.error_code == common_pb2.RateLimit:
        raise CallFailed(int(ErrorCode.RATE_LIMIT), status.reason or "rate limit exceeded")
