"""A server of `HashEncoder` as a program, and its start and end in tests.

The program: python hash_server.py '{"options": {...}, "seconds": 0.5, "processes": 2}'
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import httpx

from trivec import Encoder, Vectors
from trivec.encoders.protocol import TextEncoder
from trivec.serving import ServeOptions, application
from trivec.serving.process import PromptProtocol, bind, run, run_each
from trivec.testing import HashEncoder

HTTP = httpx.Client(verify=False, timeout=60)
"""One client for all tests: a context of TLS takes longer to make than a request."""

atexit.register(HTTP.close)


class SlowEncoder(HashEncoder):
    """Takes some seconds for each computation."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Encode texts to be stored."""
        time.sleep(self._seconds)
        return super().encode_documents(texts)


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        """Return a raw connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def metric(self, line: str) -> float:
        """Return a value of /metrics, 0 if it is missing."""
        for text in HTTP.get(f"{self.url}/metrics").text.splitlines():
            if text.startswith(line + " "):
                return float(text.rpartition(" ")[2])
        return 0.0


@contextmanager
def hash_server(
    options: Mapping[str, Any] | None = None,
    *,
    seconds: float = 0,
    processes: int = 1,
    port: int = 0,
    model: str = "",
    name: str = "hash",
) -> Iterator[Server]:
    """Yield a running server of `HashEncoder`, also under another name, or of a model.

    It is killed at the end.
    """
    settings = {
        "options": options or {},
        "seconds": seconds,
        "processes": processes,
        "port": port,
        "model": model,
        "name": name,
    }
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, __file__, json.dumps(settings)],
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert process.stdout is not None
    try:
        given = [int(process.stdout.readline()) for _ in range(processes)]
        yield Server(process, given[0])
    finally:
        if processes > 1:
            process.terminate()
            process.wait(20)
        process.kill()
        process.wait()
        process.stdout.close()


def serve(settings: Mapping[str, Any], bound: socket.socket) -> None:
    """Serve until a signal."""
    PromptProtocol.header_seconds = 1.0
    seconds = settings["seconds"]
    hashing = SlowEncoder(seconds) if seconds else HashEncoder()
    hashing.schema = replace(hashing.schema, model=settings.get("name", "hash"))
    encoder: TextEncoder = hashing
    if settings["model"]:
        import torch

        torch.set_num_threads(1)
        encoder = Encoder.load(settings["model"], device="cpu", precision="float32")
    app = application(encoder, options=ServeOptions(**settings["options"]))
    run(app, bound, ready=lambda: _say(bound.getsockname()[1]))


def _say(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


def main() -> None:
    """Run the program."""
    settings = json.loads(sys.argv[1])
    with bind("127.0.0.1", settings["port"]) as bound:
        if settings["processes"] == 1:
            serve(settings, bound)
        else:
            run_each([partial(serve, settings)] * settings["processes"], bound)


if __name__ == "__main__":
    main()
