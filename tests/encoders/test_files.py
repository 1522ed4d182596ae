"""Errors say what is wrong with a file, and do not repeat unsafe advice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import errors as hub

from trivec import Encoder, Reranker
from trivec.encoders.files import reason
from trivec.errors import CheckpointError

Copy = Callable[[Path], Path]

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2\nsize 2271064456\n"
UNSAFE = re.compile(
    r"trust_remote_code|weights_only|safe_globals|allow_pickle|verify=|pip install|hf_[a-z0-9]{8}"
)
FILES = [
    *("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"),
    *("sparse_linear.pt", "colbert_linear.pt", "modules.json", "1_Pooling/config.json"),
    *("config_sentence_transformers.json", "sentence_bert_config.json"),
    *("special_tokens_map.json", "pytorch_model.bin", "model.safetensors.index.json"),
]


def refusal(folder: Path | str, *, load: Callable[..., Any] = Encoder.load, **options: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(folder, device="cpu", precision="float32", **options)
    message = str(caught.value)
    assert not UNSAFE.search(message)
    return message


def put(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    if name in ("pytorch_model.bin", "model.safetensors.index.json"):
        (folder / "model.safetensors").unlink()


@pytest.mark.parametrize("name", FILES)
def test_a_git_lfs_pointer(m3: Path, copy: Copy, name: str) -> None:
    folder = copy(m3)
    put(folder, name, POINTER)
    assert f"{name} is a Git LFS pointer, not the file itself; run `git lfs pull`" in refusal(
        folder
    )
    if not name.endswith("linear.pt") and not name.startswith("1_Pooling"):
        assert "is a Git LFS pointer" in refusal(folder, load=Reranker.load)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n<!DOCTYPE html><html>Sign in</html>", "is a web page"),
        (b"", "is empty"),
        (b"\x00" * 64, "is not JSON|cannot be read|names no files|cannot be loaded"),
    ],
)
def test_other_content_in_place_of_the_file(
    m3: Path, copy: Copy, name: str, content: bytes, message: str
) -> None:
    folder = copy(m3)
    put(folder, name, content)
    assert re.search(message, refusal(folder))


@pytest.mark.parametrize("kept", [9, 500, 5000])
@pytest.mark.parametrize("name", ["model.safetensors", "sparse_linear.pt", "pytorch_model.bin"])
def test_a_file_that_is_cut_short(m3: Path, copy: Copy, name: str, kept: int) -> None:
    folder = copy(m3)
    if name == "pytorch_model.bin":
        torch.save({"a": torch.zeros(2000)}, folder / name)
        (folder / "model.safetensors").unlink()
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: min(kept, len(whole) - 40)])
    assert f"{name} is cut short" in refusal(folder)


@pytest.mark.parametrize("kept", [1, 40, 300, 2000])
def test_an_old_pickle_that_is_cut_short(m3: Path, copy: Copy, kept: int) -> None:
    path = copy(m3) / "sparse_linear.pt"
    state = torch.load(path, weights_only=True)
    torch.save(state | {"more": torch.zeros(900)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:kept])
    assert "sparse_linear.pt is cut short" in refusal(path.parent)


def test_python_objects_are_named(m3: Path, copy: Copy) -> None:
    folder = copy(m3)
    torch.save(torch.nn.Linear(32, 1), folder / "sparse_linear.pt")
    torch.save({"epoch": 3, "weight": torch.zeros(2)}, folder / "colbert_linear.pt")
    message = refusal(folder)
    assert "a Python object, torch.nn.modules.linear.Linear," in message
    assert "no code of a checkpoint is run" in message
    assert "colbert_linear.pt cannot be read: expected a dictionary of tensors" in message
    assert "'epoch' is a int" in message


def test_a_tokenizer_with_code(m3: Path, copy: Copy) -> None:
    folder = copy(m3)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings |= {"tokenizer_class": "MyTokenizer", "auto_map": {"AutoTokenizer": ["my.T", None]}}
    path.write_text(json.dumps(settings), encoding="utf-8")
    assert "no code of a checkpoint is run" in refusal(folder)


def test_an_unknown_kind_of_model(m3: Path, copy: Copy) -> None:
    folder = copy(m3)
    (folder / "config.json").write_text('{"model_type": "brand_new"}')
    assert "the model type is 'brand_new', expected xlm-roberta or roberta" in refusal(folder)
    (folder / "config.json").write_text("{}")
    assert "the model type is None" in refusal(folder)


def test_errors_tell_where_the_model_may_be(m3: Path, tmp_path: Path, copy: Copy) -> None:
    folder = copy(m3)
    (tmp_path / "model.safetensors.incomplete").touch()
    message = refusal(tmp_path)
    assert f"there is a model in the subfolder {folder.name}" in message
    assert "a download was interrupted" in message
    assert "is a file; give the folder" in refusal(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").touch()
    assert "onnx/model.onnx is a format that is not read" in refusal(folder)


class _Response:
    request = None
    status_code = 401
    text = ""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (hub.GatedRepoError, "its owner grants access on request"),
        (hub.RepositoryNotFoundError, "there is no such model, or it is private"),
        (hub.RevisionNotFoundError, "no such branch, tag or commit"),
        (hub.LocalEntryNotFoundError, "the hub cannot be reached"),
        (OSError, "OSError"),
    ],
)
def test_the_hub_refuses(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], message: str
) -> None:
    text = "Pass token=hf_abcdefghijklmnop or verify=False. See https://hf.co/x"

    def refuse(*args: object, **options: object) -> None:
        if issubclass(error, hub.HfHubHTTPError):
            raise error(text, response=_Response())  # type: ignore[arg-type]
        raise error(text)

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    found = refusal("some/model", revision="v1")
    assert message in found
    assert "'some/model'" in found
    assert "'v1'" in found


def test_reasons_keep_the_explanation() -> None:
    assert reason(ValueError("the value is wrong. Set trust_remote_code=True.")) == (
        "the value is wrong"
    )
    assert reason(OSError("no route to https://user:secret@host/x")) == "no route to"
    assert reason(ValueError("Bearer abc.def was refused")) == "… was refused"
    assert len(reason(ValueError("x" * 5000))) < 400
