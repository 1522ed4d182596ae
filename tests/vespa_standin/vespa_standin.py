"""Starts the stand-in for Vespa, behind one port and a config server of our own.

A real Vespa changes what it serves behind one address when an application is deployed. Here a
deployment starts one Java process for each different application, and the port leads to the one
that was deployed last; the processes live until the tests end. One that nobody is connected to is
paused, since an idle container takes a twelfth of a core.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from filelock import FileLock

HERE = Path(__file__).parent
TARGET = HERE / "target"
JAR = TARGET / "vespa-standin.jar"
START_SECONDS = 120
_APPLICATION = "/application/v2/tenant/default/application/default/environment/prod/region/default"
_CONTENT = f"{_APPLICATION}/instance/default/content/"


def _newest_source() -> float:
    sources = [HERE / "pom.xml", *(HERE / "src").rglob("*.java")]
    return max(path.stat().st_mtime for path in sources)


@cache
def build() -> str | None:
    """Compile the stand-in if needed; return why that is impossible, or None."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            return f"the Vespa stand-in needs {program}, which is not installed"
    TARGET.mkdir(exist_ok=True)
    with FileLock(TARGET / ".lock"):  # test processes that run side by side share the result
        return _package()


def _package() -> str | None:
    if JAR.exists() and JAR.stat().st_mtime >= _newest_source():
        return None
    problem = ""
    for offline in ("--offline", ""):  # with what Maven has already, if that is enough
        command = ["mvn", "--quiet", "--batch-mode", offline, "package"]
        done = subprocess.run(
            [part for part in command if part],
            cwd=HERE,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            JAR.touch()
            return None
        problem = (done.stdout + done.stderr)[-2000:]
    if "COMPILATION ERROR" in problem:
        raise RuntimeError(problem)
    return f"the Vespa stand-in cannot be built: {problem}"


def need() -> None:
    """Skip the test where the stand-in cannot run, or fail it where it is required."""
    problem = build()
    if problem is not None and os.environ.get("TRIVEC_REQUIRE_STANDIN"):
        pytest.fail(problem)
    if problem is not None:
        pytest.skip(problem)


def java(main: str, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
    """Return the command that runs one of the stand-in's classes."""
    return [
        *("java", "-Xmx1g", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"),
        *options,
        *("-cp", f"{JAR}{os.pathsep}{TARGET / 'lib'}{os.sep}*", main, *arguments),
    ]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Process:
    """One Java process, which serves one application."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    _connections: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def start(cls, package: dict[str, bytes], nodes: int) -> Process:
        folder = Path(tempfile.mkdtemp(prefix="vespa-standin-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        for path, content in package.items():
            target = folder / "app" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        port, log = free_port(), folder / "log"
        options = (f"-Dstandin.nodes={nodes}",)
        command = java("standin.VespaStandIn", str(folder / "app"), str(port), options=options)
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdout=output,
                stderr=output,
                env={**os.environ, "VESPA_HOME": str(folder)},
            )
        started = cls(port, process, log)
        atexit.register(started.stop)
        started._wait()
        return started

    def _wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        while "standin: ready" not in (text := self.log.read_text(errors="replace")):
            if self.process.poll() is not None or time.monotonic() > end:
                told = [line for line in text.splitlines() if line.startswith("standin:")]
                raise RuntimeError("\n".join(told) or text[-3000:])
            time.sleep(0.05)

    def connect(self) -> socket.socket:
        """Return a connection, for which a paused process goes on."""
        with self._lock:
            self._connections += 1
            if self._connections == 1:
                self.process.send_signal(signal.SIGCONT)
        return socket.create_connection(("127.0.0.1", self.port))

    def left(self) -> None:
        """Note that a connection has ended; the last one pauses the process."""
        with self._lock:
            self._connections -= 1
            if not self._connections:
                self.process.send_signal(signal.SIGSTOP)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


_processes: dict[tuple[str, int], Process] = {}


def serve(package: dict[str, bytes], nodes: int) -> Process:
    """Return the process that serves this package, started on first use."""
    digest = hashlib.sha256()
    for path in sorted(package):
        if path != "validation-overrides.xml":
            digest.update(path.encode() + b"\0" + package[path] + b"\0")
    key = digest.hexdigest(), nodes
    if key not in _processes:
        _processes[key] = Process.start(package, nodes)
    return _processes[key]


@dataclass
class StandIn:
    """An address that serves what was deployed last, and its config server."""

    nodes: int = 1
    package: dict[str, bytes] | None = None
    deployments: int = 0
    target: Process | None = None
    _open: set[socket.socket] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        self._config = ThreadingHTTPServer(("127.0.0.1", 0), _config_handler(self))
        self._config.daemon_threads = True
        threading.Thread(target=self._config.serve_forever, daemon=True).start()
        self.config_server = f"http://127.0.0.1:{self._config.server_port}"

    def url(self, name: str) -> str:
        return f"vespa://127.0.0.1:{self.port}/{name}"

    def deploy(self, package: dict[str, bytes]) -> None:
        """Serve another application; connections to the one before are closed."""
        self.package, self.target = package, serve(package, self.nodes)
        self.deployments += 1
        for connection in list(self._open):
            _shut(connection)

    def close(self) -> None:
        _shut(self._listener)
        self._listener.close()
        self._config.shutdown()
        self._config.server_close()
        for connection in list(self._open):
            _shut(connection)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.target is None:
                near.close()
                continue
            threading.Thread(target=self._lead, args=(near, self.target), daemon=True).start()

    def _lead(self, near: socket.socket, target: Process) -> None:
        """Carry one connection to the process, both ways, until it ends."""
        try:
            far = target.connect()
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.add(one)
            back = threading.Thread(target=self._copy, args=(far, near), daemon=True)
            back.start()
            self._copy(near, far)
            back.join()
        except OSError:  # the process is not there any more
            near.close()
        finally:
            target.left()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            self._open.discard(one)
            _shut(one)
            one.close()


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _config_handler(standin: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            package = standin.package
            if package is None:
                self._answer(404, b'{"error-code":"NOT_FOUND","message":"No application"}')
            elif path == _CONTENT:
                base = f"{standin.config_server}{_CONTENT}"
                folders = {f"{p.rsplit('/', 1)[0]}/" for p in package if "/" in p}
                self._answer(200, json.dumps([base + p for p in sorted(folders | set(package))]))
            elif path.removeprefix(_CONTENT) in package:
                self._answer(200, package[path.removeprefix(_CONTENT)])
            else:
                self._answer(404, b'{"error-code":"NOT_FOUND","message":"No such file"}')

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                package = {
                    name: archive.read(name)
                    for name in archive.namelist()
                    if not name.endswith("/")
                }
            try:
                standin.deploy(package)
            except RuntimeError as error:
                told = {"error-code": "INVALID_APPLICATION_PACKAGE", "message": str(error)}
                self._answer(400, json.dumps(told))
            else:
                self._answer(200, b'{"message":"Session 2 for tenant default activated."}')

        def _answer(self, status: int, body: bytes | str) -> None:
            content = body.encode() if isinstance(body, str) else body
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(OSError):  # who asked has gone
                self.wfile.write(content)

        def log_message(self, format: str, *_: object) -> None:
            pass

    return Handler


def ask(command: str, lines: Iterable[object], *arguments: str) -> list[Any]:
    """Return what Vespa's classes say to each line; see `Check.java`."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run(
        java("standin.Check", command, *arguments),
        input=text.encode(),
        capture_output=True,
        timeout=200,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode()[-3000:])
    # Not splitlines, which takes U+2028 for the end of a line too.
    return [json.loads(line) for line in done.stdout.decode().split("\n") if line]
