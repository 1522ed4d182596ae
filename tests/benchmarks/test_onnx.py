"""The speed of an exported model beside the torch path, on layers of BGE-M3's dimensions.

Every figure comes from the same run, on one thread and in seconds of that thread's processor
time, so that neighbours on the machine disturb it little. All layers are alike, so 6 of the 24 say
what 24 would.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from trivec.encoders.architecture import Architecture
from trivec.encoders.backbone import Backbone
from trivec.encoders.batching import CPU_BATCH_TOKENS, token_batches
from trivec.encoders.cpu import this_processor
from trivec.encoders.linear import linear_for
from trivec.encoders.onnx import Session
from trivec.encoders.onnx_files import DATA, GRAPH
from trivec.encoders.precision import Precision
from trivec.encoders.token_ids import TokenIds
from trivec.rows import Float

pytest.importorskip("onnxruntime", reason="onnxruntime, of the extra [onnx], is not installed")
onnx: Any = pytest.importorskip("onnx", reason="onnx, of the extra [onnx], is not installed")

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

ARCHITECTURE = Architecture(1000, 1024, 6, 16, 4096, 8194, 1, 1e-5, "gelu", padding=1)
TEXTS = {
    "6 texts of 21 to 512": [21, 60, 128, 200, 320, 512],
    "64 questions of 8 to 23": [8 + number % 16 for number in range(64)],
    "1 question of 12": [12],
    "1 text of 2,048": [2048],
}
ROUNDS = 3


def rows(lengths: list[int]) -> TokenIds:
    rng = np.random.default_rng(1)
    return TokenIds(
        [np.concatenate([[0], rng.integers(4, 1000, length - 2), [2]]) for length in lengths]
    )


def batches(ids: TokenIds, padded: int | None) -> list[NDArray[np.int64]]:
    return list(token_batches(ids.lengths(), CPU_BATCH_TOKENS, padded=padded))


def test_the_speed_of_an_exported_model(tmp_path: Path) -> None:
    from trivec.encoders.onnx_graph import build

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)
    tensors = {
        name: torch.randn(shape, generator=generator) * 0.02
        + (1.0 if name.endswith("LayerNorm.weight") else 0.0)
        for name, shape in ARCHITECTURE.shapes().items()
    }
    cpu = torch.device("cpu")
    backbone = Backbone(
        ARCHITECTURE,
        tensors.__getitem__,
        linear=linear_for(Precision.FLOAT32, cpu),
        dtype=torch.float32,
        device=cpu,
    )

    def read(name: str) -> Float:
        values: Float = tensors[name].numpy()
        return values

    with (tmp_path / DATA).open("wb") as data:
        graph = build(ARCHITECTURE, read, sparse=None, colbert=None, data=data, data_name=DATA)
    onnx.save_model(graph, str(tmp_path / GRAPH))
    session = Session(tmp_path / GRAPH, 1)

    print(f"\n{this_processor().name}; torch {torch.__version__}")
    for name, lengths in TEXTS.items():
        ids = rows(lengths)

        def with_torch(ids: TokenIds = ids) -> list[Float]:
            return [backbone(ids.packed(batch)).numpy() for batch in batches(ids, None)]

        def with_onnx(ids: TokenIds = ids) -> list[Float]:
            return [
                session.run(*ids.packed(batch).padded(1))["states"]
                for batch in batches(ids, 2 * CPU_BATCH_TOKENS)
            ]

        best = {"torch": float("inf"), "onnx": float("inf")}
        results: dict[str, list[Float]] = {}
        paths: dict[str, Callable[[], list[Float]]] = {"torch": with_torch, "onnx": with_onnx}
        for _ in range(ROUNDS):
            for path, encode in paths.items():
                start = time.thread_time()
                results[path] = encode()
                best[path] = min(best[path], time.thread_time() - start)
        tokens = sum(lengths)
        error = np.abs(np.concatenate(results["torch"]) - np.concatenate(results["onnx"])).max()
        print(
            f"| {name} | {tokens / best['torch']:.0f} | {tokens / best['onnx']:.0f} "
            f"| {best['torch'] / best['onnx']:.2f} | {error:.1e} |"
        )
        assert error < 1e-4  # states of length 32, not unit vectors
