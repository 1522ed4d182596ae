"""`trivec serve` in a process of its own, kept busy by 64 clients in several processes."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from gpu_checkpoint import SPECIAL, Size

CLIENTS = 64
PACKAGES = ("typer", "starlette", "uvicorn", "httpx", "prometheus_client")
_START_SECONDS = 90
_CLIENTS = Path(__file__).with_name("gpu_clients.py")
_SERVE = "import sys; from trivec.cli import main; sys.argv[0] = 'trivec'; main()"


def missing_packages() -> list[str]:
    """Return the packages that the server and its clients need and that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


@contextmanager
def server(folder: Path, *, device: str, precision: str) -> Iterator[str]:
    """Serve a checkpoint, and yield the server's address once it answers.

    Args:
        folder: The checkpoint; what the server prints is kept beside it.
        device: Where it computes.
        precision: The number format of its matrix products.

    Raises:
        RuntimeError: If it ends, or does not answer in time.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder.with_name("server.log")
    options = ("--port", str(port), "--device", device, "--precision", precision)
    command = [sys.executable, "-c", _SERVE, "serve", str(folder), *options]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"trivec serve did not start: {log.read_text()[-1000:]}")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        _end(process)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def saturated(address: str, size: Size, *, texts: int) -> dict[str, Any]:
    """Let 64 clients send questions for some seconds, and return how fast they were answered.

    Args:
        address: The server.
        size: The number of processes and of seconds.
        texts: The number of questions in a request.
    """
    processes = size.client_processes
    command = [sys.executable, str(_CLIENTS), address, "--clients", str(CLIENTS // processes)]
    command += ["--texts", str(texts), "--seconds", str(size.client_seconds)]
    command += ["--words", str(size.vocabulary - len(SPECIAL))]
    with ExitStack() as stack:
        clients: list[subprocess.Popen[str]] = []
        for _ in range(processes):
            client = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            stack.callback(_end, client)
            clients.append(client)
        for client in clients:
            if client.stdout is None or client.stdout.readline() != "ready\n":
                raise RuntimeError("a client of the server did not start; its error is above")
        waits = size.client_seconds + 60
        for client in clients:
            if client.stdin is not None:
                client.stdin.write("go\n")
                client.stdin.flush()
        answers: list[dict[str, Any]] = [
            json.loads(client.communicate(timeout=waits)[0]) for client in clients
        ]
    durations = [seconds for answer in answers for seconds in answer["durations"]]
    errors: Counter[str] = Counter()
    for answer in answers:
        errors.update(answer["errors"])
    wall = max(answer["end"] for answer in answers) - min(answer["begin"] for answer in answers)
    figures: dict[str, Any] = {
        "texts_in_a_request": texts,
        "questions_per_second": sum(answer["questions"] for answer in answers) / wall,
        "errors": dict(errors),
    }
    if durations:
        figures["p50_ms"] = float(np.percentile(durations, 50)) * 1e3
        figures["p99_ms"] = float(np.percentile(durations, 99)) * 1e3
    return figures
