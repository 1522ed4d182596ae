"""Int8 with a scale for each row beside int8 with one scale for all rows, which trivec had before.

Speed: the products of one layer of BGE-M3, 1,024 tokens, on one thread, in turns. Fidelity: the
demo model against float32, by the passages of the demo collection.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import trivec.demo
from trivec import Encoder, Vectors
from trivec.demo.model import demo_model
from trivec.encoders import linear
from trivec.encoders.cpu import this_processor
from trivec.encoders.linear import Int8Linear, Linear, OneDnnLinear

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1200)]

SHAPES = {"inputs": (3072, 1024), "output": (1024, 1024), "widen": (4096, 1024)}
SHAPES["narrow"] = (1024, 4096)
TOKENS, ROUNDS = 1024, 12
PASSAGES = Path(trivec.demo.__file__).parent / "collection" / "passages.jsonl"


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class OneScale:
    """One scale and one zero for all rows; activations of 7 bits without 8-bit dot products."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        weight = weight.float()
        self._scales = (weight.abs().amax(dim=1) / 127).clamp_(min=1e-38)
        whole = (weight / self._scales[:, None]).round_().to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(whole, None)
        self._zeros = torch.zeros(len(whole), dtype=torch.int32)
        self._bias = bias.float()
        self._levels = 255 if this_processor().has_int8_dot else 127

    def __call__(self, states: Tensor, *, gelu: bool = False) -> Tensor:
        low, high = (float(bound) for bound in torch.aminmax(states))
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / self._levels or 1.0
        zero = round(-low / scale)
        whole = torch.empty(states.shape, dtype=torch.uint8)
        half = torch.tensor(zero + 0.5)
        step = max(1, 256 * 1024 // states.shape[1])
        for start in range(0, len(states), step):
            source = states[start : start + step]
            levels = torch.add(half, source, alpha=1 / scale).clamp_(0, self._levels)
            whole[start : start + step] = levels
        after: tuple[str, list[float], str] = ("gelu", [], "none") if gelu else ("none", [], "")
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(whole, scale, zero, self._weight, self._scales, self._zeros, self._bias),
            *(1.0, 0, torch.float32, *after),
        )
        return product


def in_line(name: str, seconds: dict[str, float]) -> str:
    return f"{name:7}" + "".join(f" {1000 * each:7.1f} ms" for each in seconds.values())


def test_speed(capsys: pytest.CaptureFixture[str]) -> None:
    kinds: dict[str, Callable[[Tensor, Tensor], Linear]] = {
        "float32": OneDnnLinear,
        "one scale": OneScale,
        "a scale for each row": Int8Linear,
    }
    totals = dict.fromkeys(kinds, 0.0)
    lines = []
    for name, (outputs, inputs) in SHAPES.items():
        weight, states = torch.randn(outputs, inputs), torch.randn(TOKENS, inputs)
        layers = {kind: make(weight, torch.zeros(outputs)) for kind, make in kinds.items()}
        best = dict.fromkeys(kinds, float("inf"))
        with torch.inference_mode():
            for _ in range(ROUNDS):
                for kind, layer in layers.items():
                    start = time.process_time()
                    layer(states, gelu=name == "widen")
                    best[kind] = min(best[kind], time.process_time() - start)
        for kind, seconds in best.items():
            totals[kind] += seconds
        lines.append(in_line(name, best))
    with capsys.disabled():
        print(f"\n{', '.join(this_processor().features)}; {', '.join(kinds)}")
        print("\n".join([*lines, in_line("all", totals)]))
    assert totals["a scale for each row"] < totals["float32"]


def test_fidelity(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [str(json.loads(line)["text"]) for line in PASSAGES.read_text("utf-8").splitlines()]
    texts = texts[::6]

    def encoded(precision: str) -> Vectors:
        return Encoder.load(demo_model(), device="cpu", precision=precision).encode_documents(texts)

    exact, rows = encoded("float32"), encoded("int8")
    monkeypatch.setattr(linear, "Int8Linear", OneScale)
    means = {}
    with capsys.disabled():
        print(f"\n{len(texts)} passages, cosine to float32")
        for name, found in (("one scale", encoded("int8")), ("a scale for each row", rows)):
            assert found.dense is not None
            assert exact.dense is not None
            assert found.colbert is not None
            assert exact.colbert is not None
            dense = np.sum(found.dense * exact.dense, axis=1)
            tokens = np.sum(found.colbert.values * exact.colbert.values, axis=1)
            means[name] = float(tokens.mean())
            print(
                f"{name:20} dense mean {dense.mean():.5f}, least {dense.min():.5f}; "
                f"tokens mean {tokens.mean():.5f}, least {tokens.min():.5f}"
            )
    assert 1 - means["a scale for each row"] < (1 - means["one scale"]) / 3
