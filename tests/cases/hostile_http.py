"""An HTTP server that answers wrongly, late, or not at all, as a test says.

What it does to a request is a `Behaviour`. The dictionaries hold those that every connector is
tried with; a test adds those of its own database with `answer`.

    with HostileServer(good) as server:       # `good` answers like the database
        server.always = HANGING["deaf"]       # to every request from now on
        server.script += [reset, half]        # or to the next two only
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = [
    "BROKEN",
    "EMPTY",
    "HANGING",
    "RETRY_AFTER",
    "Behaviour",
    "HostileServer",
    "Request",
    "answer",
    "busy",
    "closed_port",
    "deaf",
    "drip_body",
    "drip_headers",
    "half",
    "hang_up",
    "no_http",
    "redirect_loop",
    "reset",
    "self_signed",
]

EVERY_SECONDS = 0.2  # between two bytes that drip


@dataclass(frozen=True)
class Request:
    """What a client sent; the names of the headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Connection:
    """One connection, for a behaviour to write to."""

    socket: socket.socket
    closing: threading.Event  # the server ends

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait, and return whether the server ends."""
        return self.closing.wait(seconds)


Behaviour = Callable[[Connection, Request], bool]
"""Does something to a request, and returns whether the connection can take another one."""


# --- what a server may do ------------------------------------------------------------------------


def answer(
    status: int = 200, body: object = b"", headers: Mapping[str, str] | None = None
) -> Behaviour:
    """Return a behaviour that answers in full; a body that is no bytes goes as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = {"Content-Type": "application/json", **(headers or {})}
    if status != 204:
        head.setdefault("Content-Length", str(len(content)))

    def behave(connection: Connection, request: Request) -> bool:
        connection.send(_head(status, head) + (b"" if status == 204 else content))
        return True

    return behave


def busy(value: str) -> Behaviour:
    """Return a behaviour that answers 503 with this Retry-After."""
    return answer(503, {"message": "busy"}, {"Retry-After": value})


def half(connection: Connection, request: Request) -> bool:
    """Announce more bytes than come, then close."""
    connection.send(_head(200, {"Content-Length": "1000"}) + b'{"root": {"fie')
    return False


def drip_headers(connection: Connection, request: Request) -> bool:
    """Send headers for ever, one byte at a time."""
    connection.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    return _drip(connection)


def drip_body(connection: Connection, request: Request) -> bool:
    """Send a body for ever, one byte at a time."""
    connection.send(_head(200, {"Content-Length": "100000"}))
    return _drip(connection)


def reset(connection: Connection, request: Request) -> bool:
    """Reset the connection (RST), as a load balancer or a killed process does."""
    linger = struct.pack("ii", 1, 0)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    return False


def hang_up(connection: Connection, request: Request) -> bool:
    """Close the connection without an answer."""
    return False


def deaf(connection: Connection, request: Request) -> bool:
    """Never answer."""
    connection.wait()
    return False


def no_http(connection: Connection, request: Request) -> bool:
    """Answer as another kind of server."""
    connection.send(b"SSH-2.0-server\r\n")
    return False


def redirect_loop(connection: Connection, request: Request) -> bool:
    """Send the client to the same place again."""
    connection.send(_head(307, {"Location": request.path, "Content-Length": "0"}))
    return True


HANGING: dict[str, Behaviour] = {
    "deaf": deaf,
    "drip-headers": drip_headers,
    "drip-body": drip_body,
}
"""What only a timeout of the client ends."""

BROKEN: dict[str, Behaviour] = {
    "half": half,
    "reset": reset,
    "hang-up": hang_up,
    "redirect-loop": redirect_loop,
    "garbage": answer(200, b"\x00\xff\xfe garbage"),
    "html": answer(200, b"<html><body>Sign in</body></html>", {"Content-Type": "text/html"}),
    "bad-utf8": answer(200, b'{"message": "\xff\xfe"}'),
    "deep-json": answer(200, b"[" * 100_000 + b"]" * 100_000),
    "deep-error": answer(500, b'{"a":' * 100_000),
    "huge-number": answer(200, b"9" * 10_000),
    "nan": answer(200, b"NaN"),
    "no-http": no_http,
    "long-error": answer(500, b"x" * 1_000_000),
    "error-without-json": answer(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"}),
    "bad-encoding": answer(200, b"no gzip", {"Content-Encoding": "gzip"}),
}
"""Answers that break the protocol or are no JSON of the database."""

EMPTY: dict[str, Behaviour] = {
    "nothing": answer(200, b""),
    "204": answer(204),
    **{
        text: answer(200, text.encode())
        for text in ("{}", "null", "5", "[]", "true", '""', "[null]", "-1e999", '{"root": null}')
    },
}
"""Answers that say nothing, with a status of success: no operation was acknowledged by them."""

RETRY_AFTER: dict[str, Behaviour] = {
    f"retry-after {value[:24] or 'nothing'}": busy(value)
    for value in (
        *("", "0", "0.5", "-1", "-0.0", "nan", "inf", "-inf", "1e999", "9" * 400, "86400"),
        *("soon", "1, 2", "0x10", "1_000", "\u00bd".encode().decode("latin-1")),
        format_datetime(datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC), usegmt=True),
        format_datetime(datetime(2090, 11, 6, 8, 49, 37, tzinfo=UTC), usegmt=True),
        "Fri, 31 Feb 2050 25:61:61 GMT",
    )
}
"""A busy server (503), by what it says in Retry-After."""


# --- the server ----------------------------------------------------------------------------------


@dataclass
class HostileServer:
    """Serves on a port of 127.0.0.1 until it is closed.

    Attributes:
        good: Answers what no behaviour is set for.
        always: What happens to each request, if anything is set.
        script: What happens to the next requests, before all else.
        when: Which requests `always` and `script` are for; by default all.
        certificate: Certificate and key, to speak TLS.
        requests: Those that came.
    """

    good: Callable[[Request], Behaviour] = lambda request: answer(404, {"message": "nothing here"})
    always: Behaviour | None = None
    script: deque[Behaviour] = field(default_factory=deque[Behaviour])
    when: Callable[[Request], bool] = lambda request: True
    certificate: tuple[Path, Path] | None = None
    requests: list[Request] = field(default_factory=list[Request])

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None
        if self.certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*self.certificate)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._lock:
            return len(self._open)

    def close(self) -> None:
        """Refuse connections, and end those that are open with their behaviours."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            still = list(self._open)
        for one in still:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with self._lock:
            self._open.add(plain)
        connected = plain
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                connected = self._context.wrap_socket(plain, server_side=True)
            connection = Connection(connected, self._closing)
            with connected.makefile("rb") as reader:
                while (request := _read(reader.readline, reader.read)) is not None:
                    if not self._behaviour(request)(connection, request):
                        break
        except (OSError, ValueError):  # the client has gone, or speaks no HTTP
            pass
        finally:
            with self._lock:
                self._open.discard(plain)
            connected.close()
            plain.close()

    def _behaviour(self, request: Request) -> Behaviour:
        with self._lock:
            self.requests.append(request)
            if self.when(request):
                if self.script:
                    return self.script.popleft()
                if self.always is not None:
                    return self.always
        return self.good(request)


def closed_port() -> int:
    """Return a port of 127.0.0.1 where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that nobody trusts, and its key; return their files."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    openssl = shutil.which("openssl")
    if openssl is None:
        import pytest

        pytest.skip("there is no openssl to make a certificate with")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-addext", "basicConstraints=critical,CA:FALSE"],
        check=True,
        capture_output=True,
        timeout=30,
    )  # fmt: skip
    return certificate, key


def _read(line: Callable[[], bytes], read: Callable[[int], bytes]) -> Request | None:
    """Return the next request of a connection; None at its end, or if it is no HTTP/1.1."""
    first = line().decode("latin-1").split()
    if len(first) != 3 or not first[2].startswith("HTTP/1."):
        return None
    headers: dict[str, str] = {}
    while header := line().strip():
        name, _, value = header.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return Request(first[0], first[1], headers, read(int(headers.get("content-length", 0))))


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {headers[name]}" for name in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _drip(connection: Connection) -> bool:
    while not connection.wait(EVERY_SECONDS):
        connection.send(b"x")
    return False
