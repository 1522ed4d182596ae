"""The benchmark for GPUs runs on a CPU, and keeps what it has measured when a step fails."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import bench_gpu
import gpu_server
import pytest
from gpu_checkpoint import SMALL

from trivec import Encoder

TINY = replace(
    SMALL,
    layers=1,
    lengths=(32, 200),
    tokens=512,
    sweep=(256, 512),
    product=64,
    row_seconds=0.1,
    client_processes=1,
    client_seconds=0.1,
)
# A server that starts quickly, since it loads no model.
QUICK_SERVER = """
import sys
from trivec.serving import ServeOptions, application
from trivec.serving.process import bind, run
from trivec.testing import HashEncoder
bound = bind("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1]))
run(application(HashEncoder(), None, ServeOptions()), bound, ready=lambda: None)
"""
TEXTS = {"32 tokens", "200 tokens", "21 to 512 tokens"}


class _Flag:
    """FlagEmbedding's class, which records how it is called."""

    loaded: ClassVar[list[dict[str, object]]] = []
    encoded: ClassVar[list[dict[str, object]]] = []

    def __init__(self, folder: str, **options: object) -> None:
        assert (Path(folder) / "colbert_linear.pt").is_file()
        self.loaded.append(options)

    def encode(self, texts: list[str], **options: object) -> None:
        assert texts[0].startswith("w")
        self.encoded.append(options)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_gpu, "SMALL", TINY)


def run(output: Path, *options: str) -> dict[str, Any]:
    fixed = ("--device", "cpu", "--small", "--no-tests", "--precision", "float32")
    bench_gpu.main([*fixed, "--output", str(output), *options])
    report: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return report


def test_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = ModuleType("FlagEmbedding")
    module.__dict__["BGEM3FlagModel"] = _Flag
    module.__spec__ = importlib.util.spec_from_loader("FlagEmbedding", None)
    monkeypatch.setitem(sys.modules, "FlagEmbedding", module)
    monkeypatch.setattr(gpu_server, "_SERVE", QUICK_SERVER)
    report = run(tmp_path / "gpu.json")
    assert report["failed"] == []
    assert [entry for entry in report["left_out"] if "there is no kernel here" not in entry] == []
    assert report["product_tflops"]["float32"] > 0
    texts: dict[str, set[str]] = {}
    for row in report["rows"]:
        assert row["tokens_per_second"] > 0, row
        assert row["share"] > 0
        texts.setdefault(row["way"], set()).add(row["texts"])
    assert texts == dict.fromkeys(
        (
            *("forward pass", "encode, dense and sparse", "encode, all three"),
            *("FlagEmbedding, dense and sparse", "FlagEmbedding, all three"),
            "transformers, padded",
        ),
        TEXTS,
    )
    assert [r["batch_tokens"] for r in report["rows"] if "batch_tokens" in r] == [256, 512]
    assert _Flag.loaded == [{"use_fp16": False, "devices": ["cpu"]}]
    assert {options["return_colbert_vecs"] for options in _Flag.encoded} == {False, True}
    assert [load["texts_in_a_request"] for load in report["server"]] == [1, 16]
    for load in report["server"]:
        assert load["questions_per_second"] > 0
        assert load["errors"] == {}
        assert load["p99_ms"] >= load["p50_ms"] > 0
    printed = capsys.readouterr().out
    assert "| way | 32 tokens | 200 tokens | 21 to 512 tokens |" in printed
    assert "nothing of a GPU" in printed


def test_a_step_that_fails_is_reported_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(bench_gpu, "Padded", fail)
    monkeypatch.setattr(Encoder, "encode_documents", fail)
    monkeypatch.setattr(gpu_server, "missing_packages", lambda: ["starlette"])
    report = run(tmp_path / "gpu.json")
    assert report["failed"] == ["transformers, float32: RuntimeError: no memory"]
    errors = {row["way"]: row.get("error") for row in report["rows"]}
    assert errors["encode, all three"] == "RuntimeError: no memory"
    assert errors["forward pass"] is None
    assert "trivec serve: starlette are not installed" in report["left_out"]


def test_an_interrupted_run_keeps_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_gpu, "flag_embedding", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "gpu.json")
    report = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert {row["way"] for row in report["rows"]} >= {"forward pass", "encode, all three"}


def test_steps_without_time_are_named(tmp_path: Path) -> None:
    report = run(tmp_path / "gpu.json", "--seconds", "0")
    assert report["rows"] == report["server"] == []
    left_out = " ".join(report["left_out"])
    steps = ("trivec", "FlagEmbedding", "trivec serve", "transformers", "batch_tokens")
    for step in steps:
        assert f"{step}, float32: no time was left" in left_out


def test_a_server_that_does_not_start(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match=r"did not start: .*precision='none'"),
        gpu_server.server(tmp_path / "model", device="cpu", precision="none"),
    ):
        pass
