"""The encoder on a GPU: tests/gpu, then speed and memory on a checkpoint of BGE-M3's dimensions.

    make bench-gpu                                          # one GPU, under ten minutes
    make bench-gpu ARGS='--device cpu --small'              # the same steps in small, on a CPU
    PYTHONPATH=core python scripts/bench_gpu.py --output $OUT/gpu.json   # without make

It needs torch, transformers, numpy and safetensors; pytest for the tests, and FlagEmbedding for its
column, if they are installed. Weights are random: they do not change the speed. Each figure is the
best of several rounds. Sections that would start after `--seconds` are left out, and listed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

from trivec import Encoder
from trivec.encoders.backbone import Backbone
from trivec.encoders.batching import token_batches
from trivec.encoders.linear import linear_for
from trivec.encoders.packing import PackedTexts
from trivec.encoders.precision import Precision

ROOT = Path(__file__).resolve().parent.parent
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
WORDS = 996  # rows of the word embedding are looked up, not multiplied
MIXED = [21, 60, 128, 200, 320, 512]  # tokens of the texts of "mixed"
CALLERS = 64


@dataclass(frozen=True, slots=True)
class Size:
    """The dimensions of the checkpoint and of the work."""

    layers: int
    hidden: int
    lengths: tuple[int, ...]
    tokens: int  # of all texts of a measurement
    sweep: tuple[int, ...]  # values of batch_tokens
    product: int  # rows of the matrix product
    rounds: int
    positions: int = 8194

    def flop(self, lengths: list[int]) -> float:
        """Return the operations of a forward pass: linear layers and attention."""
        linear = self.layers * 2 * 12 * self.hidden**2
        attention = self.layers * 4 * self.hidden
        return float(sum(n * linear + n * n * attention for n in lengths))


FULL = Size(
    24, 1024, (32, 200, 1000, 8192), 2**18, (4096, 8192, 16384, 32768, 65536, 131072), 8192, 3
)
SMALL = Size(2, 128, (32, 200, 1000), 2**11, (512, 1024, 2048), 512, 2)


@dataclass(slots=True)
class Bench:
    """The measurements of one run, printed as they come."""

    device: torch.device
    size: Size
    folder: Path
    deadline: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    rates: dict[str, float] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def encoder(self, precision: str) -> Encoder:
        """Load the checkpoint."""
        return Encoder.load(self.folder, device=str(self.device), precision=precision)

    def has_time(self, section: str) -> bool:
        """Return whether a section may start; note it if not."""
        if time.monotonic() < self.deadline:
            return True
        self.left_out.append(section)
        return False

    def best(self, compute: Callable[[], object]) -> float:
        """Return the seconds of the fastest of several rounds, after one that does not count."""
        seconds = []
        for _ in range(self.size.rounds + 1):
            self.wait()
            start = time.perf_counter()
            compute()
            self.wait()
            seconds.append(time.perf_counter() - start)
        return min(seconds[1:])

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
        """Measure one way to encode texts of these lengths; a failure is a row as well."""
        row: dict[str, Any] = {"way": way, "precision": precision, "texts": texts, **more}
        if not self.has_time(f"{way}, {precision}, {texts}"):
            return
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            seconds = self.best(compute)
        except Exception as error:  # such as too little memory; the other rows still count
            row["error"] = f"{type(error).__name__}: {error}"[:200]
        else:
            row["tokens_per_second"] = sum(lengths) / seconds
            row["share"] = self.size.flop(lengths) / seconds / self.rates[precision]
            if self.device.type == "cuda":
                row["peak_gib"] = torch.cuda.max_memory_allocated(self.device) / 2**30
        self.rows.append(row)
        print(_line(row), flush=True)


def main() -> None:
    arguments = _arguments()
    device = _device(arguments.device)
    size = SMALL if arguments.small else FULL
    start = time.monotonic()
    precisions = ["float16", "bfloat16"] if device.type == "cuda" else ["float32", "bfloat16"]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(device, size, Path(folder, "checkpoint"), start + arguments.seconds)
        machine = _machine(device)
        print(json.dumps(machine), flush=True)
        tests = "left out (--no-tests)" if arguments.no_tests else run_tests(device)
        save_checkpoint(bench.folder, size)
        for precision in precisions:
            bench.rates[precision] = product_rate(bench, precision)
            print(f"{precision}: {bench.rates[precision] / 1e12:.3g} TFLOP/s in matrix products")
        # In the order of what is wanted most, since late sections may be left out.
        for section in (ours, sweep, padded):
            for precision in precisions:
                section(bench, precision)
        callers = together(bench, precisions[0]) if bench.has_time("64 callers") else {}
        flag_embedding(bench, precisions[0])
    report = {
        "machine": machine,
        "tests": tests,
        "product_tflops": {name: rate / 1e12 for name, rate in bench.rates.items()},
        "rows": bench.rows,
        "callers": callers,
        "left_out": bench.left_out,
        "seconds": time.monotonic() - start,
    }
    print(f"\ntests/gpu: {tests}\nleft out for time: {bench.left_out or 'nothing'}")
    print(f"{report['seconds']:.0f} seconds")
    if device.type != "cuda":
        print("No GPU was at hand: these figures say that the script works, nothing of a GPU.")
    if arguments.output:
        Path(arguments.output).write_text(json.dumps(report, indent=1), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:1, cpu")
    parser.add_argument("--small", action="store_true", help="a tiny checkpoint and little text")
    parser.add_argument("--seconds", type=float, default=420, help="no section starts later")
    parser.add_argument("--no-tests", action="store_true", help="leave tests/gpu out")
    parser.add_argument("--output", help="a JSON file of all figures")
    return parser.parse_args()


def _device(asked: str) -> torch.device:
    if asked == "auto":
        asked = "cuda"
    device = torch.device(asked)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch finds no CUDA GPU; to try the script: --device cpu --small")
    return device


def _machine(device: torch.device) -> dict[str, object]:
    machine: dict[str, object] = {"torch": torch.__version__, "processor": platform.processor()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        machine["gpu"] = properties.name
        machine["gpu_gib"] = round(properties.total_memory / 2**30, 1)
    else:
        machine["gpu"] = "none"
    return machine


def run_tests(device: torch.device) -> str:
    """Run tests/gpu in a process of its own, and return its last line."""
    if importlib.util.find_spec("pytest") is None:
        return "not run: pytest is not installed"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gpu"]
    if importlib.util.find_spec("pytest_timeout") is None:  # pyproject.toml configures plugins
        command += ["-c", os.devnull, "--rootdir", str(ROOT), "--import-mode=importlib"]
    variables = {**os.environ, "TRIVEC_GPU_TESTS": str(device)}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=180
        )
    except subprocess.TimeoutExpired:
        return "not finished after 180 seconds"
    print(done.stdout[-3000:], flush=True)
    return (done.stdout.strip().splitlines() or [done.stderr[-300:]])[-1]


def save_checkpoint(folder: Path, size: Size) -> None:
    """Save a random checkpoint in BGE-M3's format, whose words are w0, w1 and so on."""
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=len(SPECIAL) + WORDS,
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.hidden // 64,
        intermediate_size=4 * size.hidden,
        max_position_embeddings=size.positions,
        type_vocab_size=1,
        pad_token_id=1,
        layer_norm_eps=1e-5,
    )
    model: Any = XLMRobertaModel(config, add_pooling_layer=False)
    model.half().save_pretrained(folder)
    names = [*SPECIAL, *(f"w{i}" for i in range(WORDS))]
    words = {word: number for number, word in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
    ).save_pretrained(folder)
    for name, outputs in (("sparse_linear", 1), ("colbert_linear", size.hidden)):
        layer = torch.nn.Linear(size.hidden, outputs).half()
        torch.save(layer.state_dict(), folder / f"{name}.pt")


def product_rate(bench: Bench, precision: str) -> float:
    """Return the FLOP/s of the matrix product alone, at the size of the widest layer."""
    rows, hidden = bench.size.product, bench.size.hidden
    options: Any = {"device": bench.device, "dtype": getattr(torch, precision)}
    states = torch.randn(rows, hidden, **options)
    weight, bias = torch.randn(4 * hidden, hidden, **options), torch.zeros(4 * hidden, **options)
    layer = linear_for(Precision(precision), bench.device)(weight, bias)
    repeats = 20

    def products() -> None:
        with torch.inference_mode():
            for _ in range(repeats):
                layer(states)

    return repeats * 2 * rows * hidden * 4 * hidden / bench.best(products)


def _cases(size: Size) -> Iterator[tuple[str, list[int]]]:
    """Yield names of texts and their lengths in tokens, of about `size.tokens` tokens together."""
    for length in size.lengths:
        yield f"{length:,} tokens", [length] * max(1, size.tokens // length)
    yield "21 to 512 tokens", MIXED * max(1, size.tokens // sum(MIXED))


def words_of(lengths: list[int]) -> list[str]:
    """Return random texts of these lengths, the two special tokens included."""
    rng = np.random.default_rng(0)
    return [" ".join(f"w{i}" for i in rng.integers(0, WORDS, n - 2)) for n in lengths]


def ours(bench: Bench, precision: str) -> None:
    """Measure the forward pass of packed texts, and `encode_documents` as a whole."""
    encoder = bench.encoder(precision)
    backbone, budget = encoder._backbone, encoder._batch_tokens
    kernel = backbone._packed_attention
    for name, lengths in _cases(bench.size):
        texts = words_of(lengths)
        ids = encoder._tokenizer(texts, max_length=8192)
        batches = [ids.packed(rows) for rows in token_batches(ids.lengths(), budget)]
        forward = partial(_all, backbone, batches)
        bench.measure("forward pass", precision, name, lengths, forward)
        if kernel is not None:
            backbone._packed_attention = None
            bench.measure("forward pass, plain attention", precision, name, lengths, forward)
            backbone._packed_attention = kernel
        two = partial(encoder.encode_documents, texts, colbert=False)
        bench.measure("encode, dense and sparse", precision, name, lengths, two)
        three = partial(encoder.encode_documents, texts)
        bench.measure("encode, all three", precision, name, lengths, three)


def _all(backbone: Backbone, batches: Sequence[PackedTexts]) -> None:
    for batch in batches:
        backbone(batch)


def padded(bench: Bench, precision: str) -> None:
    """Measure transformers' own forward pass, on padded batches of as many tokens as ours."""
    encoder = bench.encoder(precision)
    tokenizer, budget = encoder._tokenizer, encoder._batch_tokens
    del encoder
    model = Padded(bench, precision)
    for name, lengths in _cases(bench.size):
        rows = tokenizer(words_of(lengths), max_length=8192).rows
        way = partial(model, rows, budget)
        bench.measure("transformers, padded", precision, name, lengths, way)


class Padded:
    """transformers' model on padded batches, with its own fused attention."""

    def __init__(self, bench: Bench, precision: str) -> None:
        self._device = bench.device
        self._model: Any = AutoModel.from_pretrained(
            bench.folder,
            dtype=getattr(torch, precision),
            add_pooling_layer=False,
            attn_implementation="sdpa",
        ).to(bench.device)
        self._model.train(False)

    def __call__(self, rows: list[Any], budget: int) -> None:
        """Encode token ids, longest first, in batches of at most `budget` tokens with padding."""
        order = sorted(rows, key=len, reverse=True)
        start = 0
        with torch.inference_mode():
            while start < len(order):
                batch = order[start : start + max(1, budget // len(order[start]))]
                start += len(batch)
                ids = torch.ones(len(batch), len(batch[0]), dtype=torch.int64)
                for target, row in zip(ids, batch, strict=True):
                    target[: len(row)] = torch.from_numpy(row)
                ids = ids.to(self._device)
                self._model(input_ids=ids, attention_mask=(ids != 1).long())


def flag_embedding(bench: Bench, precision: str) -> None:
    """Measure FlagEmbedding's `encode` with its own batch sizes, if it is installed."""
    if importlib.util.find_spec("FlagEmbedding") is None:
        bench.left_out.append("FlagEmbedding, which is not installed")
        return
    from FlagEmbedding import BGEM3FlagModel  # pyright: ignore[reportMissingImports]

    name_of_device = str(bench.device)
    model: Any = BGEM3FlagModel(
        str(bench.folder),
        use_fp16=precision == "float16",
        devices="cuda:0" if name_of_device == "cuda" else name_of_device,
        colbert_dim=bench.size.hidden,
    )
    for name, lengths in _cases(bench.size):
        for way, colbert in (("dense and sparse", False), ("all three", True)):
            encode = partial(
                model.encode,
                words_of(lengths),
                max_length=8192,
                return_dense=True,
                return_sparse=True,
                return_colbert_vecs=colbert,
            )
            bench.measure(f"FlagEmbedding, {way}", precision, name, lengths, encode)


def sweep(bench: Bench, precision: str) -> None:
    """Measure the forward pass with several sizes of a batch."""
    encoder = bench.encoder(precision)
    name, lengths = next(case for case in _cases(bench.size) if case[0] == "200 tokens")
    ids = encoder._tokenizer(words_of(lengths), max_length=8192)
    for budget in bench.size.sweep:
        batches = [ids.packed(rows) for rows in token_batches(ids.lengths(), budget)]
        bench.measure(
            "forward pass",
            precision,
            name,
            lengths,
            partial(_all, encoder._backbone, batches),
            batch_tokens=budget,
        )


def together(bench: Bench, precision: str) -> dict[str, float]:
    """Measure questions of 64 concurrent callers beside the same questions in one call."""
    encoder = bench.encoder(precision)
    rounds = 4 * bench.size.rounds
    questions = words_of([32] * CALLERS * rounds)
    alone = bench.best(lambda: encoder.encode_queries(questions, colbert=False))
    seconds: list[float] = []

    async def caller(mine: list[str]) -> None:
        for question in mine:
            start = time.perf_counter()
            await encoder.aencode_query(question, colbert=False)
            seconds.append(time.perf_counter() - start)

    async def all_callers() -> None:
        await asyncio.gather(*(caller(questions[i::CALLERS]) for i in range(CALLERS)))

    start = time.perf_counter()
    asyncio.run(all_callers())
    wall = time.perf_counter() - start
    figures = {
        "questions_per_second": len(questions) / wall,
        "in_one_call": len(questions) / alone,
        "p50_ms": float(np.percentile(seconds, 50)) * 1e3,
        "p99_ms": float(np.percentile(seconds, 99)) * 1e3,
    }
    print(f"{CALLERS} callers: " + ", ".join(f"{k} {v:,.1f}" for k, v in figures.items()))
    return figures


def _line(row: dict[str, Any]) -> str:
    budget = f" batch_tokens={row['batch_tokens']}" if "batch_tokens" in row else ""
    start = f"{row['precision']:9}{row['texts']:18}{row['way'] + budget:40}"
    if "error" in row:
        return f"{start}{row['error']}"
    memory = f"{row['peak_gib']:7.2f} GiB" if "peak_gib" in row else ""
    return f"{start}{row['tokens_per_second']:12,.0f} tokens/s {row['share']:6.1%}{memory}"


if __name__ == "__main__":
    main()
