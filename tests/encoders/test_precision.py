"""Precision "auto" is the same at every load on a machine."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from trivec import Document, Encoder, ingest, open_store
from trivec.encoders import CachingEncoder, placement
from trivec.encoders.cpu import Processor, this_processor
from trivec.encoders.linear import OneDnnLinear, PlainLinear, linear_for
from trivec.encoders.placement import place
from trivec.encoders.precision import Choice, Measurement, Precision, choose_precision
from trivec.errors import InvalidOptionError, JournalError

ARM = Processor("ARM 8", "", frozenset({"asimddp", "bf16"}))
TORCH = "2.15.0"

Ratios = Callable[..., Callable[[], float]]


def never() -> Choice:
    raise AssertionError("measured")


def auto(vendor: str, *flags: str) -> str:
    processor = Processor("any", vendor, frozenset(flags))
    return choose_precision(
        "auto", device="cpu", processor=processor, measured=never
    ).precision.value


def test_the_benchmarks_decide_for_the_processors_they_cover() -> None:
    assert auto("AuthenticAMD", "avx2") == "float32"
    assert auto("", "asimd") == "float32"
    assert auto("AuthenticAMD", "avx2", "avx512_bf16") == "bfloat16"
    assert auto("GenuineIntel", "avx512f", "avx512_bf16") == "float32"
    for vendor, flag in (("GenuineIntel", "amx_bf16"), ("", "bf16"), ("Other", "avx512_bf16")):
        with pytest.raises(AssertionError, match="measured"):
            auto(vendor, "avx512_bf16", flag)


def test_devices_decide_without_the_processor() -> None:
    def on(device: str) -> str:
        return choose_precision(
            "auto", device=device, processor=ARM, measured=never
        ).precision.value

    assert [on("cuda"), on("mps")] == ["float16", "float32"]
    with pytest.raises(InvalidOptionError, match="int8"):
        choose_precision("int8", device="cuda", processor=ARM, measured=never)


@pytest.fixture
def ratios() -> Ratios:
    """Return a stopwatch that shows these ratios, one after another, and then fails."""

    def make(*values: float) -> Callable[[], float]:
        left: Iterator[float] = iter(values)
        return lambda: next(left)

    return make


def test_a_measurement_holds_for_every_load(tmp_path: Path, ratios: Ratios) -> None:
    stopwatch = ratios(1.9, 0.8, 1.9)
    folder = tmp_path / "cache" / "trivec"
    loads = [Measurement(folder, ARM, TORCH, stopwatch).choice() for _ in range(3)]
    assert [load.precision for load in loads] == [Precision.BFLOAT16] * 3
    assert "1.90 times" in loads[2].reason
    assert "ARM 8" in (file := next(folder.iterdir())).read_text()
    assert [path.name for path in folder.iterdir()] == [file.name]  # no file is left behind
    assert file.stat().st_mode & 0o444 == 0o444


def test_another_processor_or_another_torch_is_measured_by_itself(
    tmp_path: Path, ratios: Ratios
) -> None:
    assert Measurement(tmp_path, ARM, TORCH, ratios(1.9)).choice().precision == "bfloat16"
    other = Processor("ARM 9", "", ARM.flags)
    assert Measurement(tmp_path, other, TORCH, ratios(1.1)).choice().precision == "float32"
    fewer = Processor("ARM 8", "", frozenset({"bf16"}))
    assert Measurement(tmp_path, fewer, TORCH, ratios(1.1)).choice().precision == "float32"
    assert Measurement(tmp_path, ARM, "2.16.0", ratios(1.1)).choice().precision == "float32"
    assert Measurement(tmp_path, ARM, TORCH, ratios()).choice().precision == "bfloat16"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b"null", b"{}", b'{"ratio": "fast"}', b'{"ratio": 9.0}'],
)
def test_a_damaged_file_is_measured_again(tmp_path: Path, ratios: Ratios, content: bytes) -> None:
    measurement = Measurement(tmp_path, ARM, TORCH, ratios(1.1))
    measurement.path.write_bytes(content)
    assert measurement.choice().precision == "float32"
    assert Measurement(tmp_path, ARM, TORCH, ratios()).choice().precision == "float32"


@pytest.mark.parametrize("ratio", ["NaN", "Infinity", "-1.5", "true", "0.0"])
def test_an_invalid_ratio_is_measured_again(tmp_path: Path, ratios: Ratios, ratio: str) -> None:
    Measurement(tmp_path, ARM, TORCH, ratios(1.9)).choice()
    path = Measurement(tmp_path, ARM, TORCH, ratios()).path
    path.write_text(path.read_text().replace("1.9", ratio))
    assert Measurement(tmp_path, ARM, TORCH, ratios(1.8)).choice().precision == "bfloat16"
    assert json.loads(path.read_text())["ratio"] == 1.8


def test_the_process_that_writes_first_decides(tmp_path: Path, ratios: Ratios) -> None:
    def slow() -> float:  # meanwhile another process measures too
        assert Measurement(tmp_path, ARM, TORCH, ratios(0.9)).choice().precision == "float32"
        return 1.9

    assert Measurement(tmp_path, ARM, TORCH, slow).choice().precision == "float32"
    assert Measurement(tmp_path, ARM, TORCH, ratios()).choice().precision == "float32"


def test_nothing_is_measured_that_cannot_be_remembered(
    tmp_path: Path, ratios: Ratios, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    for folder in (blocked, blocked / "cache"):
        with caplog.at_level(logging.WARNING):
            choice = Measurement(folder, ARM, TORCH, ratios()).choice()
        assert choice.precision is Precision.FLOAT32
        assert "TRIVEC_CACHE" in choice.reason
        assert str(folder) in caplog.text
    in_the_way = Measurement(tmp_path, ARM, TORCH, ratios())
    in_the_way.path.mkdir()
    assert in_the_way.choice().precision is Precision.FLOAT32


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can write everywhere"
)
def test_a_read_only_folder(tmp_path: Path, ratios: Ratios) -> None:
    Measurement(tmp_path, ARM, TORCH, ratios(1.9)).choice()
    tmp_path.chmod(0o555)
    assert Measurement(tmp_path, ARM, TORCH, ratios()).choice().precision == "bfloat16"
    assert Measurement(tmp_path, ARM, "9", ratios()).choice().precision == "float32"


def test_place_remembers_in_the_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ratios: Ratios
) -> None:
    monkeypatch.delenv("TRIVEC_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(placement, "this_processor", lambda: ARM)
    monkeypatch.setattr(placement, "_bfloat16_ratio", ratios(1.9, 0.5))
    for _ in range(3):
        assert place("cpu", "auto").precision is Precision.BFLOAT16
    assert place("cpu", "float32").reason == "asked for"


def test_the_ratio_is_measured() -> None:
    ratio = placement._bfloat16_ratio()
    assert 0 < ratio < 100


def test_the_kernel_is_chosen_without_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden() -> float:
        raise AssertionError("looked at a clock")

    monkeypatch.setattr("time.perf_counter", forbidden)
    cpu = torch.device("cpu")
    wanted = (
        OneDnnLinear if torch.backends.mkldnn.is_available() else PlainLinear  # type: ignore[no-untyped-call]
    )
    assert linear_for(Precision.FLOAT32, cpu) is wanted
    assert linear_for(Precision.FLOAT16, cpu) in (OneDnnLinear, PlainLinear)  # as the processor can


def test_a_journal_belongs_to_a_precision(m3: Path, tmp_path: Path) -> None:
    exact = Encoder.load(m3, device="cpu", precision="float32")
    small = Encoder.load(m3, device="cpu", precision="int8")
    assert exact.options == {}  # so that journals from before are valid
    assert small.options == {"precision": "int8"}
    store = open_store("memory:/journal-of-a-precision")
    store.create(exact.schema)
    documents, journal = [Document("a", "kalo")], tmp_path / "journal"
    ingest(documents, CachingEncoder(small), store, journal=journal)
    assert ingest(documents, small, store, journal=journal).unchanged == 1
    with pytest.raises(JournalError, match="precision was 'int8'"):
        ingest(documents, exact, store, journal=journal)


def test_this_processor_has_a_name() -> None:
    processor = this_processor()
    assert processor.name
    assert set(processor.features) <= processor.flags
