"""The encoder on a GPU: tests/gpu, then speed and memory on a checkpoint of BGE-M3's dimensions.

    make bench-gpu                                          # one GPU, under ten minutes
    make bench-gpu ARGS='--device cpu --small'              # the same steps in small, on a CPU
    PYTHONPATH=core python scripts/bench_gpu.py --output gpu.json   # without make

It needs torch, transformers, numpy and safetensors; pytest for the tests, `trivec[serve]` and httpx
for the server, and FlagEmbedding for its rows, if they are installed. Weights are random: they do
not change the speed. Each figure is the best of several rounds. Each step has its share of
`--seconds`; what does not fit is left out and listed, and a step that fails is listed too. The JSON
file is complete after each figure.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gpu_server
import torch
from gpu_checkpoint import FULL, SMALL, Size, cases, save_checkpoint, words_of
from gpu_others import FlagEmbedding, Padded
from gpu_report import Report, Row, line_of

from trivec import Encoder
from trivec.encoders.backbone import Backbone
from trivec.encoders.batching import token_batches
from trivec.encoders.linear import linear_for
from trivec.encoders.packing import PackedTexts
from trivec.encoders.precision import Precision

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = Path("build/bench-gpu.json")
TEST_SECONDS = 120


@dataclass(slots=True)
class Bench:
    """The state of a run: what is measured on which device, and until when.

    Args:
        device: Where the models run.
        size: The dimensions of the work.
        folder: The checkpoint.
        report: What was measured.
        end: The time, by `time.monotonic`, after which nothing starts.
        deadline: The time after which no figure of the current step starts.
    """

    device: torch.device
    size: Size
    folder: Path
    report: Report
    end: float
    deadline: float = 0.0

    def encoder(self, precision: str) -> Encoder:
        """Load the checkpoint."""
        return Encoder.load(self.folder, device=str(self.device), precision=precision)

    def step(self, name: str, seconds: float, compute: Callable[[], object]) -> None:
        """Run a step with its share of the time; an error of it is noted, and the others go on."""
        now = time.monotonic()
        if now >= self.end:
            self.report.left_out.append(f"{name}: no time was left")
            return
        self.deadline = min(self.end, now + seconds)
        try:
            compute()
        except Exception as error:  # anything: what was measured before must not be lost
            self.report.failed.append(f"{name}: {_short(error)}")
            print(self.report.failed[-1], flush=True)
        gc.collect()  # the models of the step
        self.report.save()

    def best(self, compute: Callable[[], object]) -> float:
        """Return the seconds of the fastest of several rounds, after one that does not count."""
        begin = time.monotonic()
        compute()
        seconds: list[float] = []
        while not seconds or (
            len(seconds) < self.size.rounds and time.monotonic() < begin + self.size.row_seconds
        ):
            self.wait()
            start = time.perf_counter()
            compute()
            self.wait()
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    def wait(self) -> None:
        """Wait for the GPU, which works behind Python."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def measure(
        self,
        way: str,
        precision: str,
        texts: str,
        lengths: list[int],
        compute: Callable[[], object],
        **more: object,
    ) -> None:
        """Measure one way to encode texts of these lengths; a failure is a row as well.

        Args:
            way: The name of the way.
            precision: The number format of the matrix products.
            texts: The name of the texts.
            lengths: Their numbers of tokens.
            compute: Encodes all of them.
            **more: Other members of the row.
        """
        row: Row = {"way": way, "precision": precision, "texts": texts, **more}
        if time.monotonic() >= self.deadline:
            self.report.left_out.append(f"{', '.join(map(str, row.values()))}: no time was left")
            return
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            seconds = self.best(compute)
        except Exception as error:  # such as too little memory; the other rows still count
            row["error"] = _short(error)
        else:
            row["tokens_per_second"] = sum(lengths) / seconds
            rate = self.report.product_tflops.get(precision, float("nan")) * 1e12
            row["share"] = self.size.flop(lengths) / seconds / rate
            if self.device.type == "cuda":
                row["peak_gib"] = torch.cuda.max_memory_allocated(self.device) / 2**30
        self.report.rows.append(row)
        self.report.save()
        print(line_of(row), flush=True)


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:400]


def main(arguments: Sequence[str] | None = None) -> None:
    given = _arguments(arguments)
    device = _device(given.device)
    start = time.monotonic()
    report = Report(given.output, machine=_machine(device))
    print(report.machine, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        size = SMALL if given.small else FULL
        end = start + given.seconds
        bench = Bench(device, size, Path(folder, "checkpoint"), report, end)
        precisions = given.precision or (
            ["float16", "bfloat16"] if device.type == "cuda" else ["float32", "bfloat16"]
        )
        try:
            _run(bench, precisions, tests=not given.no_tests)
        finally:
            report.seconds = time.monotonic() - start
            report.save()
            print(report.tables(), flush=True)
    if device.type != "cuda":
        print("No GPU was at hand: these figures say that the script works, nothing of a GPU.")
    if report.file is not None:
        print(f"all figures: {report.file}")


def _run(bench: Bench, precisions: list[str], *, tests: bool) -> None:
    if tests:
        bench.step("tests/gpu", TEST_SECONDS, partial(run_tests, bench))
    save_checkpoint(bench.folder, bench.size, bench.device)
    first, *others = precisions
    for precision in precisions:
        bench.step(f"product rate, {precision}", 20, partial(product_rate, bench, precision))
    # In the order of what is wanted most, since later steps may be left out.
    steps: list[tuple[str, float, Callable[[], object]]] = [
        (f"trivec, {first}", 100, partial(ours, bench, first)),
        *((f"trivec, {other}", 80, partial(ours, bench, other)) for other in others),
        (f"FlagEmbedding, {first}", 80, partial(flag_embedding, bench, first)),
        (f"trivec serve, {first}", 60, partial(serve, bench, first)),
        *((f"transformers, {each}", 40, partial(padded, bench, each)) for each in precisions),
        *((f"batch_tokens, {each}", 25, partial(sweep, bench, each)) for each in precisions),
    ]
    for name, seconds, compute in steps:
        bench.step(name, seconds, compute)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:1, cpu")
    parser.add_argument("--small", action="store_true", help="a tiny checkpoint and little text")
    parser.add_argument("--seconds", type=float, default=510, help="no figure starts later")
    parser.add_argument("--no-tests", action="store_true", help="leave tests/gpu out")
    parser.add_argument("--precision", action="append", help="float16 ...; may be repeated")
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help=f"a JSON file of all figures, default {OUTPUT}"
    )
    return parser.parse_args(arguments)


def _device(asked: str) -> torch.device:
    device = torch.device("cuda" if asked == "auto" else asked)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch finds no CUDA GPU; to try the script: --device cpu --small")
    return device


def _machine(device: torch.device) -> dict[str, Any]:
    machine: dict[str, Any] = {"torch": torch.__version__, "gpu": "none"}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        machine["gpu"] = properties.name
        machine["gpu_gib"] = round(properties.total_memory / 2**30, 1)
    return machine


def run_tests(bench: Bench) -> None:
    """Run tests/gpu in a process of its own, and report its last line."""
    if importlib.util.find_spec("pytest") is None:
        bench.report.tests = "not run: pytest is not installed"
        return
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gpu"]
    command += ["--confcutdir", "tests/gpu"]  # the conftest.py above needs every database
    if importlib.util.find_spec("pytest_timeout") is None:  # pyproject.toml configures plugins
        command += ["-c", os.devnull, "--rootdir", str(ROOT), "--import-mode=importlib"]
    variables = {**os.environ, "TRIVEC_GPU_TESTS": str(bench.device)}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=TEST_SECONDS
        )
    except subprocess.TimeoutExpired:
        bench.report.tests = f"not finished after {TEST_SECONDS} seconds"
        return
    print(done.stdout[-3000:], flush=True)
    bench.report.tests = (done.stdout.strip().splitlines() or [done.stderr[-300:]])[-1]


def product_rate(bench: Bench, precision: str) -> None:
    """Measure the rate of matrix products alone, at the size of the widest layer.

    A GPU takes a while to reach its clock, and cannot hold the highest one for long, so products
    run for about half a second at a time.
    """
    rows, hidden = bench.size.product, bench.size.hidden
    options: Any = {"device": bench.device, "dtype": getattr(torch, precision)}
    states = torch.randn(rows, hidden, **options)
    weight, bias = torch.randn(4 * hidden, hidden, **options), torch.zeros(4 * hidden, **options)
    layer = linear_for(Precision(precision), bench.device)(weight, bias)

    def products(repeats: int) -> None:
        with torch.inference_mode():
            for _ in range(repeats):
                layer(states)

    once = bench.best(partial(products, 10)) / 10
    repeats = max(10, int(bench.size.row_seconds / 8 / once))
    seconds = bench.best(partial(products, repeats))
    tera = repeats * 2 * rows * hidden * 4 * hidden / seconds / 1e12
    bench.report.product_tflops[precision] = tera
    print(f"{precision}: {tera:.3g} TFLOP/s in matrix products", flush=True)


def ours(bench: Bench, precision: str) -> None:
    """Measure the forward pass of packed texts, and `encode_documents` as a whole."""
    encoder = bench.encoder(precision)
    backbone, budget = encoder._backbone, encoder._batch_tokens
    kernel = backbone._packed_attention
    if kernel is None:
        bench.report.left_out.append(
            f"plain attention beside the kernel, {precision}: there is no kernel here, so plain "
            "attention is what runs"
        )
    for name, lengths in cases(bench.size):
        texts = words_of(lengths, bench.size)
        ids = encoder._tokenizer(texts, max_length=8192)
        batches = [ids.packed(rows) for rows in token_batches(ids.lengths(), budget)]
        forward = partial(_all, backbone, batches)
        bench.measure("forward pass", precision, name, lengths, forward)
        if kernel is not None:
            backbone._packed_attention = None
            bench.measure("forward pass, plain attention", precision, name, lengths, forward)
            backbone._packed_attention = kernel
        for way, colbert in (("dense and sparse", False), ("all three", None)):
            encode = partial(encoder.encode_documents, texts, colbert=colbert)
            bench.measure(f"encode, {way}", precision, name, lengths, encode)


def _all(backbone: Backbone, batches: Sequence[PackedTexts]) -> None:
    for batch in batches:
        backbone(batch)


def padded(bench: Bench, precision: str) -> None:
    """Measure transformers' own forward pass, on padded batches of as many tokens as ours."""
    encoder = bench.encoder(precision)
    tokenizer, budget = encoder._tokenizer, encoder._batch_tokens
    del encoder  # its weights would count in the peak memory
    model = Padded(bench.folder, bench.device, precision)
    for name, lengths in cases(bench.size):
        rows = tokenizer(words_of(lengths, bench.size), max_length=8192).rows
        way = partial(model, rows, budget)
        bench.measure("transformers, padded", precision, name, lengths, way)


def flag_embedding(bench: Bench, precision: str) -> None:
    """Measure FlagEmbedding's `encode`, if it is installed."""
    if importlib.util.find_spec("FlagEmbedding") is None:
        bench.report.left_out.append("FlagEmbedding: it is not installed")
        return
    model = FlagEmbedding(bench.folder, bench.device, precision)
    for name, lengths in cases(bench.size):
        texts = words_of(lengths, bench.size)
        for way, colbert in (("dense and sparse", False), ("all three", True)):
            encode = partial(model, texts, colbert=colbert)
            bench.measure(f"FlagEmbedding, {way}", precision, name, lengths, encode)


def sweep(bench: Bench, precision: str) -> None:
    """Measure the forward pass with several sizes of a batch."""
    encoder = bench.encoder(precision)
    name, lengths = next(case for case in cases(bench.size) if case[0] == "200 tokens")
    ids = encoder._tokenizer(words_of(lengths, bench.size), max_length=8192)
    for budget in bench.size.sweep:
        batches = [ids.packed(rows) for rows in token_batches(ids.lengths(), budget)]
        forward = partial(_all, encoder._backbone, batches)
        bench.measure("forward pass", precision, name, lengths, forward, batch_tokens=budget)


def serve(bench: Bench, precision: str) -> None:
    """Measure questions of 64 clients of `trivec serve` beside the same number in one call."""
    if missing := gpu_server.missing_packages():
        bench.report.left_out.append(f"trivec serve: {', '.join(missing)} are not installed")
        return
    encoder = bench.encoder(precision)
    questions = words_of([32] * (bench.size.tokens // 32), bench.size)
    seconds = bench.best(partial(encoder.encode_queries, questions, colbert=False))
    alone = len(questions) / seconds
    print(f"in one call, without a server: {alone:,.0f} questions/s", flush=True)
    del encoder
    gc.collect()
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()  # the server is another process
    device = str(bench.device)
    with gpu_server.server(bench.folder, device=device, precision=precision) as address:
        for texts in (1, 16):
            if time.monotonic() >= bench.end:  # the start of the server took its time
                bench.report.left_out.append(f"trivec serve, {texts} texts: no time was left")
                continue
            figures = gpu_server.saturated(address, bench.size, texts=texts)
            figures |= {
                "precision": precision,
                "in_one_call": alone,
                "share_of_one_call": figures["questions_per_second"] / alone,
            }
            bench.report.server.append(figures)
            bench.report.save()
            print(f"{gpu_server.CLIENTS} clients of trivec serve: {figures}", flush=True)


if __name__ == "__main__":
    main()
