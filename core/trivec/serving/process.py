"""Running the application: sockets, signals, and one process for each device."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing.connection import wait
from types import FrameType

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from trivec import addresses
from trivec.errors import TrivecError
from trivec.serving.metrics import SHARED

_KEEP_ALIVE_SECONDS = 75  # longer than clients keep theirs, so that they close first
_CONNECTIONS = 1024  # more are answered with 503


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address, which does not listen yet.

    While the model loads, connections are refused, so that nobody takes the server for ready.

    Raises:
        OSError: If the address is in use or does not exist.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def is_loopback(bound: socket.socket) -> bool:
    """Return whether only programs on this machine can reach a socket."""
    return addresses.is_loopback(bound.getsockname()[0])


def address(bound: socket.socket) -> str:
    """Return the address of a socket as in a URL."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def run(app: Starlette, bound: socket.socket, *, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; then answer what is accepted, and refuse new requests.

    Args:
        app: The application.
        bound: The socket, of `bind`.
        ready: Called when the server listens.
    """
    server(app, ready=ready).run(sockets=[bound])


def server(app: Starlette, *, ready: Callable[[], None]) -> uvicorn.Server:
    """Return a server of the application, to be run with a socket; see `run`."""
    config = uvicorn.Config(
        app,
        http=PromptProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    return _Server(config, ready)


def run_each(work: Sequence[Callable[[socket.socket], None]], bound: socket.socket) -> None:
    """Run one process for each piece of work; all accept connections from one socket.

    SIGTERM and SIGINT stop them all. If one of them ends, the others are stopped too, so that the
    manager of the service sees it.

    Args:
        work: What each process does with the socket; it can be pickled.
        bound: The socket, of `bind`.

    Raises:
        TrivecError: If a process ended by itself.
    """
    context = multiprocessing.get_context("spawn")
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for process in processes:
            process.terminate()

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="trivec-metrics-"))
        os.environ[SHARED] = folder
        stack.callback(os.environ.pop, SHARED)
        processes = [context.Process(target=each, args=(bound,)) for each in work]
        for number in (signal.SIGTERM, signal.SIGINT):
            stack.callback(signal.signal, number, signal.signal(number, stop))
        try:
            for process in processes:
                process.start()
            wait([process.sentinel for process in processes])
            ended_alone = not stopping
        finally:
            for process in processes:
                if process.pid is not None:
                    process.terminate()
                    process.join()
        if ended_alone:
            raise TrivecError("the process of a device ended, so the server stopped; see its error")


class _Server(uvicorn.Server):
    """A server that says when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self._ready()


class PromptProtocol(H11Protocol):
    """HTTP that closes a connection if the headers of a request take too long."""

    header_seconds = 15.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait until the headers are complete."""
        super().data_received(data)
        if self._in_request():
            self._stop_waiting()
        elif self._timer is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or has headers of more than 64 KiB, in the form of errors."""
        body = json.dumps({"error": f"{msg} Headers may have 64 KiB."}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        head = h11.Response(status_code=400, headers=[*headers, ("Connection", "close")])
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _in_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self.header_seconds, self._close)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        self._timer = None
        if not self._in_request():
            self.transport.close()
