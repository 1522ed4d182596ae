"""The server's throughput with 64 callers of one sentence each, beside the encoder's own.

Both are in texts for each second of the processor time of the process that encodes, so that
neighbours on the machine disturb them little; the seconds of a call are those of the clock.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hash_server import hash_server

import trivec.demo
from trivec import Encoder
from trivec.demo.model import demo_model
from trivec.encoders.batching import Batcher
from trivec.encoders.remote.encoder import RemoteEncoder
from trivec.encoders.remote.options import RemoteOptions
from trivec.encoders.url import EncoderUrl
from trivec.testing import HashEncoder
from trivec.vectors import Vectors

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

PASSAGES = Path(trivec.demo.__file__).parent / "collection" / "passages.jsonl"
CALLERS, CALLS, ROUNDS = 64, 8, 3

Call = Callable[[str], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Run:
    """What one round took."""

    cpu: float
    wall: float
    p50: float
    p99: float

    def __str__(self) -> str:
        texts = CALLERS * CALLS
        return (
            f"{texts / self.cpu:7.0f} texts/s of processor time, {texts / self.wall:6.0f} texts/s, "
            f"p50 {self.p50 * 1000:.0f} ms, p99 {self.p99 * 1000:.0f} ms"
        )


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    texts = [str(json.loads(line)["text"]) for line in PASSAGES.read_text("utf-8").splitlines()]
    return [text.split(". ")[0][:150] for text in texts[: CALLERS * CALLS]]


async def measure(call: Call, texts: list[str], process: psutil.Process) -> Run:
    """Let all callers call, each one after its last call."""
    seconds: list[float] = []

    async def caller(mine: list[str]) -> None:
        for text in mine:
            began = time.perf_counter()
            await call(text)
            seconds.append(time.perf_counter() - began)

    before, began = sum(process.cpu_times()[:2]), time.perf_counter()
    await asyncio.gather(*(caller(texts[number::CALLERS]) for number in range(CALLERS)))
    wall, cpu = time.perf_counter() - began, sum(process.cpu_times()[:2]) - before
    p50, p99 = np.percentile(seconds, [50, 99]).tolist()
    return Run(cpu, wall, p50, p99)


async def compare(own: Call, texts: list[str], *, model: str) -> tuple[Run, Run]:
    """Return the best round of the encoder's own, and through the server."""
    own_runs, served_runs = [], []
    with hash_server(model=model) as server:
        url = EncoderUrl.parse(f"trivec://127.0.0.1:{server.port}")
        process = psutil.Process(server.process.pid)
        async with RemoteEncoder.from_url(url, RemoteOptions()) as encoder:
            await measure(encoder.aencode_query, texts[:CALLERS], process)
            for _ in range(ROUNDS):
                own_runs.append(await measure(own, texts, psutil.Process()))
                served_runs.append(await measure(encoder.aencode_query, texts, process))
        shared = server.metric('trivec_texts_total{kind="queries"}')
        batches = server.metric("trivec_batches_total")
    print(f"\n{shared / batches:.1f} texts in a computation of the server")
    return min(own_runs, key=lambda run: run.cpu), min(served_runs, key=lambda run: run.cpu)


async def test_the_demo_model(sentences: list[str]) -> None:
    torch.set_num_threads(1)
    folder = str(demo_model())
    encoder = Encoder.load(folder, device="cpu", precision="float32")
    own, served = await compare(encoder.aencode_query, sentences, model=folder)
    print(f"demo model, own:    {own}\ndemo model, served: {served}")
    print(f"served / own: {own.cpu / served.cpu:.2f} by processor time")
    assert served.cpu * 0.8 <= own.cpu


async def test_an_encoder_that_costs_nothing(sentences: list[str]) -> None:
    encoder = HashEncoder()
    batcher: Batcher[None, str, Vectors] = Batcher(
        lambda _, texts: encoder.encode_queries(texts), Vectors.slice, max_items=64
    )
    own, served = await compare(lambda text: batcher.submit(None, [text]), sentences, model="")
    print(f"HashEncoder, own:    {own}\nHashEncoder, served: {served}")
    overhead = (served.cpu - own.cpu) / (CALLERS * CALLS)
    print(f"HTTP, queue and answer of a call: {overhead * 1000:.2f} ms of processor time")
    assert overhead < 0.005
