"""Clients that keep a server of encoders busy for some seconds.

    python scripts/gpu_clients.py http://127.0.0.1:7600 --clients 16 --texts 1 --seconds 6

It prints "ready", waits for a line, and prints its figures as JSON. It does not import torch.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter

import numpy as np

from trivec.encoders.remote.encoder import RemoteEncoder
from trivec.encoders.remote.options import RemoteOptions
from trivec.encoders.url import EncoderUrl

TOKENS = 30  # of a question, without the special ones


async def keep_busy(
    encoder: RemoteEncoder, *, clients: int, texts: int, seconds: float, words: int
) -> dict[str, object]:
    """Send questions from concurrent clients, each after the answer to its last one.

    Args:
        encoder: The server.
        clients: The number of clients.
        texts: The number of questions in a request.
        seconds: No request starts later.
        words: The number of words of the server's checkpoint.

    Returns:
        The number of questions that were answered, the times of the first and the last answer's
        end, the seconds of each request, and the number of each error.
    """
    durations: list[float] = []
    errors: Counter[str] = Counter()

    async def client(number: int, end: float) -> None:
        rng = np.random.default_rng(number)
        first = True
        while first or time.time() < end:
            first = False
            questions = [
                " ".join(f"w{word}" for word in rng.integers(0, words, TOKENS))
                for _ in range(texts)
            ]
            start = time.perf_counter()
            try:
                await encoder.aencode_queries(questions, colbert=False)
            except Exception as error:  # counted by type; the other requests still tell the speed
                errors[f"{type(error).__name__}: {error}"[:200]] += 1
            else:
                durations.append(time.perf_counter() - start)

    async def together(end: float) -> None:
        await asyncio.gather(*(client(number, end) for number in range(clients)))

    await together(0)  # one request each, which connects; it does not count
    durations.clear()
    begin = time.time()
    await together(begin + seconds)
    return {
        "questions": texts * len(durations),
        "begin": begin,
        "end": time.time(),
        "durations": durations,
        "errors": dict(errors),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("server", help="its address, such as http://127.0.0.1:7600")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--texts", type=int, default=1, help="questions in a request")
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--words", type=int, default=900, help="words of the checkpoint")
    given = parser.parse_args()
    url = EncoderUrl.parse(given.server.replace("http://", "trivec://"))
    encoder = RemoteEncoder.from_url(url, RemoteOptions())
    encoder.encode_query("w0", colbert=False)
    print("ready", flush=True)
    sys.stdin.readline()
    figures = asyncio.run(
        keep_busy(
            encoder,
            clients=given.clients,
            texts=given.texts,
            seconds=given.seconds,
            words=given.words,
        )
    )
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
