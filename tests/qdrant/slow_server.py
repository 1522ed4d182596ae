"""Servers over REST and gRPC that answer as Qdrant does, but 0.2 s late.

They run in a process of their own, as a server does, so that they do not share our interpreter.
It prints their ports, and ends with its standard input.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "cases"))

import scripted_qdrant as good
from hostile_grpc import Call, HostileGrpc
from hostile_http import Behaviour, HostileServer, Request

SECONDS = 0.2


def rest(request: Request) -> Behaviour:
    time.sleep(SECONDS)
    return good.rest(request)


def over_grpc(call: Call) -> bytes:
    time.sleep(SECONDS)
    return good.over_grpc(call)


if __name__ == "__main__":
    with HostileServer(rest) as http, HostileGrpc(over_grpc, threads=128) as rpc:
        print(http.port, rpc.port, flush=True)  # noqa: T201
        sys.stdin.read()
