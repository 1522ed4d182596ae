"""Late chunking beside encoding a text once: a parent of 8,192 tokens, on BGE-M3's dimensions.

All layers are alike, so 8 of the 24 say what 24 would: late chunking computes the last eighth of
the layers twice. Both ways take turns in one process, on one thread, in seconds of that thread's
processor time; the peak memory of each is that of a process of its own. Weights are random.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from trivec.encoders.architecture import Architecture
from trivec.encoders.backbone import Backbone
from trivec.encoders.encoder import Encoder
from trivec.encoders.heads import Heads
from trivec.encoders.linear import linear_for
from trivec.encoders.precision import Precision
from trivec.encoders.tokenizer import TextTokenizer
from trivec.schema import Schema
from trivec.vectors import Vectors

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

ARCHITECTURE = Architecture(1000, 1024, 8, 16, 4096, 8194, 1, 1e-5, "gelu", padding=1)
TOKENS = 8192
PASSAGE, OVERLAP = 256, 32
ROUNDS = 2
BOUND = 1.1

CPU = torch.device("cpu")


def encoder() -> Encoder:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    hidden, shapes = ARCHITECTURE.hidden, ARCHITECTURE.shapes()

    def read(name: str) -> torch.Tensor:
        if name.endswith("LayerNorm.weight"):
            return torch.ones(shapes[name])
        return torch.randn(shapes[name], generator=generator) * 0.02

    linear = linear_for(Precision.FLOAT32, CPU)
    names = {f"w{number}": number for number in range(4, 1000)}
    ids = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, **names}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return Encoder(
        Backbone(ARCHITECTURE, read, linear=linear, dtype=torch.float32, device=CPU),
        Heads(
            pooling="cls",
            sparse=linear(torch.randn(1, hidden, generator=generator), torch.zeros(1)),
            colbert=linear(torch.randn(hidden, hidden, generator=generator), torch.zeros(hidden)),
            first=0,
            special_ids=np.arange(4),
            window=None,
        ),
        TextTokenizer(tokenizer, [0, 1, 2, 3]),
        schema=Schema(dense=hidden, sparse=True, colbert=hidden, model="random"),
        precision=Precision.FLOAT32,
    )


def ways(loaded: Encoder) -> dict[str, Callable[[], Vectors]]:
    words = np.random.default_rng(1).integers(4, 1000, TOKENS - 2)
    text = " ".join(f"w{word}" for word in words.tolist())
    starts = range(0, len(words) - OVERLAP, PASSAGE - OVERLAP)
    passages = [slice(start, min(start + PASSAGE, len(words))) for start in starts]
    return {
        "once": lambda: loaded.encode_documents([text]),
        "late": lambda: loaded.encode_passages(text, passages),
    }


def peak(way: str) -> float:
    """Return the most memory of a process that encodes the text in this way, in MiB."""
    command = [sys.executable, __file__, way]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_time() -> None:
    encode = ways(encoder())
    seconds: dict[str, list[float]] = {way: [] for way in encode}
    for _ in range(ROUNDS):
        for way, vectors_of in encode.items():
            start = time.process_time()
            vectors = vectors_of()
            seconds[way].append(time.process_time() - start)
            assert len(vectors) == (1 if way == "once" else 37)
    ratio = min(seconds["late"]) / min(seconds["once"])
    shown = {way: [round(value, 1) for value in values] for way, values in seconds.items()}
    print(f"\n8,192 tokens: {shown} s of one core, late chunking {ratio:.3f} times")
    assert ratio <= BOUND


def test_memory() -> None:
    once, late = peak("once"), peak("late")
    print(f"\n8,192 tokens: {once:.0f} MiB once, {late:.0f} MiB late, {late / once:.3f} times")
    assert late <= BOUND * once


if __name__ == "__main__":
    ways(encoder())[sys.argv[1]]()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
