"""The server's throughput with 64 callers of one sentence each, beside the encoder's own.

Throughput is in texts for each second of the processor time of the process that encodes, so that
neighbours on the machine disturb it little, and for each second of the clock, in which the callers
take processor time too. The seconds of a call are those of the clock.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from encoder_callers import Call, processes_of_callers, seconds_of_calls
from hash_server import hash_server

import trivec.demo
from trivec import Encoder
from trivec.demo.model import demo_model
from trivec.encoders.protocol import TextEncoder
from trivec.encoders.remote.encoder import RemoteEncoder
from trivec.encoders.remote.options import RemoteOptions
from trivec.encoders.url import EncoderUrl
from trivec.testing import HashEncoder

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

PASSAGES = Path(trivec.demo.__file__).parent / "collection" / "passages.jsonl"
CALLERS, CALLS, ROUNDS, BATCH = 64, 4, 3, 64


@dataclass(frozen=True, slots=True)
class Run:
    """What one round took."""

    texts: int
    cpu: float
    wall: float
    seconds: Sequence[float] = ()

    def __str__(self) -> str:
        line = f"{self.texts / self.cpu:7.1f} texts/CPU s, {self.texts / self.wall:6.1f} texts/s"
        if self.seconds:
            p50, p99 = np.percentile(self.seconds, [50, 99]).tolist()
            line += f", p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms"
        return line


Work = Callable[[], Awaitable["tuple[Sequence[float], float]"]]
"""Encodes all texts; returns the seconds of the calls, and from the first to the last."""


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    texts = [str(json.loads(line)["text"]) for line in PASSAGES.read_text("utf-8").splitlines()]
    return [text.split(". ")[0][:150] for text in texts[: CALLERS * CALLS]]


async def calls(call: Call, texts: list[str]) -> tuple[Sequence[float], float]:
    """Let all callers call in this process."""
    began = time.perf_counter()
    seconds = await seconds_of_calls(call, texts, CALLERS)
    return seconds, time.perf_counter() - began


def batches(encoder: TextEncoder, texts: list[str]) -> tuple[Sequence[float], float]:
    """Encode the texts in batches, as one caller."""
    began = time.perf_counter()
    for start in range(0, len(texts), BATCH):
        encoder.encode_queries(texts[start : start + BATCH])
    return (), time.perf_counter() - began


async def measure(work: Work, texts: int, process: psutil.Process) -> Run:
    before = sum(process.cpu_times()[:2])
    seconds, wall = await work()
    cpu = sum(process.cpu_times()[:2]) - before
    return Run(texts, cpu, wall, seconds)


async def compare(own: dict[str, Work], texts: list[str], *, model: str) -> dict[str, Run]:
    """Return the best round of each way to encode the texts, taken in turns."""
    runs: dict[str, list[Run]] = {}
    with hash_server(model=model) as server:
        url = f"trivec://127.0.0.1:{server.port}"
        process, here = psutil.Process(server.process.pid), psutil.Process()
        async with RemoteEncoder.from_url(EncoderUrl.parse(url), RemoteOptions()) as encoder:

            async def served() -> tuple[Sequence[float], float]:
                return await calls(encoder.aencode_query, texts)

            async def four_processes() -> tuple[Sequence[float], float]:
                return await asyncio.to_thread(
                    processes_of_callers, url, texts, callers=CALLERS, processes=4
                )

            await seconds_of_calls(encoder.aencode_query, texts[:CALLERS], CALLERS)
            before = {name: server.metric(name) for name in (TEXTS, BATCHES)}
            for _ in range(ROUNDS):
                for name, work in own.items():
                    runs.setdefault(name, []).append(await measure(work, len(texts), here))
                for name, work in (("served", served), ("served, 4 processes", four_processes)):
                    runs.setdefault(name, []).append(await measure(work, len(texts), process))
        shared, computed = (server.metric(name) - before[name] for name in (TEXTS, BATCHES))
        failed = server.metric('trivec_requests_total{route="/encode",status="500"}')
    best = {name: min(of_name, key=lambda run: run.cpu) for name, of_name in runs.items()}
    for name, run in best.items():
        print(f"{name:20} {run}")
    print(f"{shared / computed:.1f} texts in a computation of the server, {failed:.0f} errors")
    print(f"load {os.getloadavg()[0]:.1f}")
    assert failed == 0
    return best


TEXTS = 'trivec_texts_total{kind="queries"}'
BATCHES = "trivec_batches_total"


async def test_the_demo_model(sentences: list[str]) -> None:
    torch.set_num_threads(1)
    folder = str(demo_model())
    encoder = Encoder.load(folder, device="cpu", precision="float32")

    async def batched() -> tuple[Sequence[float], float]:
        return batches(encoder, sentences)

    async def shared() -> tuple[Sequence[float], float]:
        return await calls(encoder.aencode_query, sentences)

    own: dict[str, Work] = {"own, batches of 64": batched, "own, 64 callers": shared}
    print(f"\nthe demo model, {len(sentences)} sentences")
    best = await compare(own, sentences, model=folder)
    for name in ("served", "served, 4 processes"):
        cpu = best["own, batches of 64"].cpu / best[name].cpu
        wall = best["own, batches of 64"].wall / best[name].wall
        print(f"{name} / own batches: {cpu:.2f} by processor time, {wall:.2f} by the clock")
        assert cpu >= 0.8


async def test_an_encoder_that_costs_nothing(sentences: list[str]) -> None:
    encoder = HashEncoder()

    async def batched() -> tuple[Sequence[float], float]:
        return batches(encoder, sentences)

    print("\nHashEncoder")
    best = await compare({"own, batches of 64": batched}, sentences, model="")
    overhead = (best["served"].cpu - best["own, batches of 64"].cpu) / len(sentences)
    print(f"HTTP, queue and answer of a call: {overhead * 1000:.2f} ms of processor time")
    assert overhead < 0.005
