"""Callers of an encoder on a server, as a program: each asks for one sentence after the other.

The program reads one line of JSON, with url, callers and texts, and says "ready". After another
line it begins, and writes the seconds of each call as a JSON list.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from trivec.encoders.remote.encoder import RemoteEncoder
from trivec.encoders.remote.options import RemoteOptions
from trivec.encoders.url import EncoderUrl

Call = Callable[[str], Awaitable[object]]


async def seconds_of_calls(call: Call, texts: Sequence[str], callers: int) -> list[float]:
    """Let callers call at the same time, each after its last call; return the seconds of calls."""
    seconds: list[float] = []

    async def caller(mine: Sequence[str]) -> None:
        for text in mine:
            began = time.perf_counter()
            await call(text)
            seconds.append(time.perf_counter() - began)

    await asyncio.gather(*(caller(texts[number::callers]) for number in range(callers)))
    return seconds


def processes_of_callers(
    url: str, texts: Sequence[str], *, callers: int, processes: int
) -> tuple[list[float], float]:
    """Run callers in several processes; return the seconds of all calls, and from first to last.

    Args:
        url: The server.
        texts: What they ask for.
        callers: How many callers, in all processes together.
        processes: How many processes.
    """
    started = [
        subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    seconds: list[float] = []
    try:
        for number, process in enumerate(started):
            mine = {"url": url, "callers": callers // processes, "texts": texts[number::processes]}
            assert process.stdin is not None
            process.stdin.write(json.dumps(mine) + "\n")
            process.stdin.flush()
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        began = time.perf_counter()
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in started:
            assert process.stdout is not None
            seconds += json.loads(process.stdout.readline())
        ended = time.perf_counter()
    finally:
        for process in started:
            process.kill()
            process.communicate()
    return seconds, ended - began


async def _main() -> None:
    given = json.loads(sys.stdin.readline())
    async with RemoteEncoder.from_url(EncoderUrl.parse(given["url"]), RemoteOptions()) as encoder:
        await encoder.aencode_query("whale")
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        seconds = await seconds_of_calls(encoder.aencode_query, given["texts"], given["callers"])
    sys.stdout.write(json.dumps(seconds) + "\n")


if __name__ == "__main__":
    asyncio.run(_main())
