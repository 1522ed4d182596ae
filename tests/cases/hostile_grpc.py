"""A gRPC server that answers wrongly, late, or not at all, as a test says.

The twin of `hostile_http`. What it does to a call is a `Behaviour`; the dictionaries hold those
that every connector is tried with, and a test adds those of its own database with `reply`.

    with HostileGrpc(good) as server:          # `good` answers like the database
        server.always = HANGING["deaf"]        # to every call from now on
        server.script += [reply(b""), lost]    # or to the next two only
    with RawServer(BROKEN_BELOW["reset"]) as server:  # what no gRPC library would do
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import grpc
from hostile_http import RETRY_AFTER as HTTP_RETRY_AFTER

__all__ = [
    "BROKEN",
    "BROKEN_BELOW",
    "HANGING",
    "HANGING_BELOW",
    "RETRY_AFTER",
    "STATUSES",
    "Behaviour",
    "Call",
    "HostileGrpc",
    "RawServer",
    "busy",
    "deaf",
    "proxied",
    "refuse",
    "reply",
]

EVERY_SECONDS = 0.2  # between two bytes that drip


class _Message(Protocol):
    def SerializeToString(self) -> bytes: ...


@dataclass(frozen=True)
class Call:
    """What a client asked.

    Args:
        method: The last part of its name, such as "Upsert".
        request: The message, as bytes.
        metadata: What came with it.
        context: grpcio's, to answer in another way than with a message.
        closing: Set when the server ends.
        service: The first part of the method's name, such as "qdrant.Points".
    """

    method: str
    request: bytes
    metadata: Mapping[str, str]
    context: Any
    closing: threading.Event
    service: str = ""


Behaviour = Callable[[Call], bytes]
"""Does something to a call, and returns the bytes of the answer."""


# --- what a server may do ------------------------------------------------------------------------


def reply(message: bytes | _Message) -> Behaviour:
    """Return a behaviour that answers with a message, or with any bytes in its place."""
    content = message if isinstance(message, bytes) else message.SerializeToString()
    return lambda call: content


def refuse(
    code: grpc.StatusCode, details: str = "", trailing: Mapping[str, str] | None = None
) -> Behaviour:
    """Return a behaviour that answers with a status and trailing metadata."""

    def behave(call: Call) -> bytes:
        call.context.set_trailing_metadata(tuple((trailing or {}).items()))
        call.context.abort(code, details)
        raise AssertionError  # abort raises

    return behave


def busy(value: str, key: str = "retry-after") -> Behaviour:
    """Return a behaviour that answers RESOURCE_EXHAUSTED with this in its trailing metadata."""
    return refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", {key: value})


def deaf(call: Call) -> bytes:
    """Never answer."""
    gone = threading.Event()
    call.context.add_callback(gone.set)
    while not (call.closing.is_set() or gone.wait(0.05)):
        pass
    return b""


_unknown = refuse(grpc.StatusCode.UNIMPLEMENTED, "nothing here")

HANGING: dict[str, Behaviour] = {"deaf": deaf}
"""What only a deadline of the client ends."""

BROKEN: dict[str, Behaviour] = {
    "empty": reply(b""),
    "garbage": reply(b"\x00\xff\xfe garbage"),
    "cut": reply(b"\x0a\x7f{"),
    "bad-utf8": reply(b"\x0a\x02\xff\xfe\x12\x02\xff\xfe"),
    "deep": reply(b"\x0b" * 20_000 + b"\x0c" * 20_000),  # groups within groups
    "long-details": refuse(grpc.StatusCode.INTERNAL, "x" * 5_000),
    "odd-details": refuse(grpc.StatusCode.UNKNOWN, "\x00\x1b[31m\u2028%ff"),
}
"""Answers that are no message of the database, or say nothing: they acknowledge no operation."""

STATUSES: dict[str, Behaviour] = {
    code.name: refuse(code, "no reason")
    for code in grpc.StatusCode
    if code is not grpc.StatusCode.OK
}
"""Each status that says that a call failed."""

RETRY_AFTER: dict[str, Behaviour] = {
    f"{key} {value[:24]}": busy(value, key)
    for key in ("retry-after", "retry-after-ms")
    for value in (name.removeprefix("retry-after ") for name in HTTP_RETRY_AFTER)
    if value.isascii()
} | {"retry-after of 400 digits": busy("9" * 400)}
"""A busy server, by what it says in the trailing metadata."""


# --- the server ----------------------------------------------------------------------------------


class _Ends:
    """A context manager that closes what it is."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass
class HostileGrpc(_Ends):
    """Serves on a port of 127.0.0.1 until it is closed.

    Attributes:
        good: Answers what no behaviour is set for.
        always: What happens to each call, if anything is set.
        script: What happens to the next calls, before all else.
        when: Which calls `always` and `script` are for; by default all.
        certificate: Certificate and key, to speak TLS; `hostile_http.self_signed` makes them.
        threads: How many calls are answered at the same time.
        calls: Those that came.
    """

    good: Behaviour = _unknown
    always: Behaviour | None = None
    script: deque[Behaviour] = field(default_factory=deque[Behaviour])
    when: Callable[[Call], bool] = lambda call: True
    certificate: tuple[Path, Path] | None = None
    threads: int = 8
    calls: list[Call] = field(default_factory=list[Call])

    def __post_init__(self) -> None:
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._server: Any = grpc.server(
            ThreadPoolExecutor(self.threads),
            handlers=[_Handler(self._answer)],
            options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)],
        )
        if self.certificate is None:
            self.port = int(self._server.add_insecure_port("127.0.0.1:0"))
        else:
            certificate, key = (file.read_bytes() for file in self.certificate)
            credentials: Any = grpc.ssl_server_credentials([(key, certificate)])
            self.port = int(self._server.add_secure_port("127.0.0.1:0", credentials))
        self._server.start()

    def close(self) -> None:
        """Refuse connections, and end the calls that wait."""
        self._closing.set()
        self._server.stop(None).wait(5)

    def _answer(self, method: str, request: bytes, context: Any) -> bytes:
        metadata = {str(key): str(value) for key, value in context.invocation_metadata()}
        service, _, name = method.strip("/").rpartition("/")
        call = Call(name, request, metadata, context, self._closing, service)
        return self._behaviour(call)(call)

    def _behaviour(self, call: Call) -> Behaviour:
        with self._lock:
            self.calls.append(call)
            if self.when(call):
                if self.script:
                    return self.script.popleft()
                if self.always is not None:
                    return self.always
        return self.good


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Hands every call on, its messages as bytes."""

    def __init__(self, answer: Callable[[str, bytes, Any], bytes]) -> None:
        self._answer = answer

    def service(self, handler_call_details: Any) -> Any:
        method = str(handler_call_details.method)

        def behave(request: bytes, context: Any) -> bytes:
            return self._answer(method, request, context)

        return grpc.unary_unary_rpc_method_handler(behave)


# --- below gRPC ----------------------------------------------------------------------------------


@dataclass
class Raw:
    """One connection of a client, for a behaviour to write to."""

    socket: socket.socket
    closing: threading.Event

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait, and return whether the server ends."""
        return self.closing.wait(seconds)

    def streams(self) -> Iterator[int]:
        """Speak HTTP/2 with the client: yield the number of each stream that it opens."""
        self.send(_frame(_SETTINGS, 0, 0, b""))
        with self.socket.makefile("rb") as reader:
            reader.read(24)  # the preface
            while len(head := reader.read(9)) == 9:
                kind, flags = head[3], head[4]
                reader.read(int.from_bytes(head[:3], "big"))
                if kind == _SETTINGS and not flags & 1:
                    self.send(_frame(_SETTINGS, 1, 0, b""))
                elif kind == _HEADERS:
                    yield int.from_bytes(head[5:], "big")


RawBehaviour = Callable[[Raw], None]
"""Does something to a connection, which is closed afterwards."""

_DATA, _HEADERS, _SETTINGS = 0, 1, 4


def proxied(status: int) -> RawBehaviour:
    """Return a behaviour that answers calls as a proxy does: with an HTTP status and a page."""

    def behave(raw: Raw) -> None:
        for stream in raw.streams():
            head = _header(b":status", str(status).encode()) + _header(
                b"content-type", b"text/html"
            )
            raw.send(_frame(_HEADERS, 4, stream, head))
            raw.send(_frame(_DATA, 1, stream, b"<html>Sign in</html>"))

    return behave


def _odd_status(raw: Raw) -> None:
    """End calls with a grpc-status that does not exist."""
    for stream in raw.streams():
        raw.send(_frame(_HEADERS, 5, stream, _OK + _header(b"grpc-status", b"99")))


def _no_status(raw: Raw) -> None:
    """Answer calls with an empty message and no status."""
    for stream in raw.streams():
        raw.send(_frame(_HEADERS, 4, stream, _OK) + _frame(_DATA, 1, stream, bytes(5)))


def _half(raw: Raw) -> None:
    """Announce more bytes than come, then close."""
    for stream in raw.streams():
        raw.send(_frame(_HEADERS, 4, stream, _OK))
        raw.send(_frame(_DATA, 0, stream, b"\x00\x00\x00\x03\xe8half"))
        return


def _drip_message(raw: Raw) -> None:
    """Send a message for ever, one byte at a time."""
    for stream in raw.streams():
        raw.send(_frame(_HEADERS, 4, stream, _OK))
        raw.send(_frame(_DATA, 0, stream, b"\x00\x00\x01\x00\x00"))
        while not raw.wait(EVERY_SECONDS):
            raw.send(_frame(_DATA, 0, stream, b"x"))


def _drip_frame(raw: Raw) -> None:
    """Send the first frame for ever, one byte at a time."""
    raw.send(b"\x00\x2e\xe0\x04\x00\x00\x00\x00\x00")  # SETTINGS of 12,000 bytes
    while not raw.wait(EVERY_SECONDS):
        raw.send(b"\x00")


def _deaf(raw: Raw) -> None:
    """Accept the connection and say nothing."""
    raw.wait()


def _reset(raw: Raw) -> None:
    """Reset the connection (RST), as a load balancer or a killed process does."""
    raw.socket.recv(1)
    raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _reset_call(raw: Raw) -> None:
    """Reset the connection once a call is under way."""
    for _ in raw.streams():
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return


def _http1(raw: Raw) -> None:
    """Answer as a server of HTTP/1.1."""
    raw.socket.recv(1)
    raw.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


HANGING_BELOW: dict[str, RawBehaviour] = {
    "silent": _deaf,
    "drip-frame": _drip_frame,
    "drip-message": _drip_message,
}
"""What only a deadline of the client ends."""

BROKEN_BELOW: dict[str, RawBehaviour] = {
    "reset": _reset,
    "reset-call": _reset_call,
    "half": _half,
    "http1": _http1,
    "odd-status": _odd_status,
    "no-status": _no_status,
    "proxy-200": proxied(200),
    "proxy-502": proxied(502),
}
"""Answers that break the protocol."""


@dataclass
class RawServer(_Ends):
    """Does the same to every connection, on a port of 127.0.0.1 until it is closed."""

    behaviour: RawBehaviour

    def __post_init__(self) -> None:
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Refuse connections, and end those that wait."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        with accepted, contextlib.suppress(OSError):  # the client has gone
            accepted.settimeout(30)  # a client that stays silent keeps no thread
            self.behaviour(Raw(accepted, self._closing))


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    """Return a frame of HTTP/2 (RFC 9113, section 4.1)."""
    head = len(content).to_bytes(3, "big") + bytes((kind, flags))
    return head + stream.to_bytes(4, "big") + content


def _header(name: bytes, value: bytes) -> bytes:
    """Return a header field that is not indexed (RFC 7541, section 6.2.2)."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


_OK = _header(b":status", b"200") + _header(b"content-type", b"application/grpc")
