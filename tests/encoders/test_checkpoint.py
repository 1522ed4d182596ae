"""A checkpoint is checked as a whole, and the hub's cache is used as transformers uses it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from trivec import Encoder, Reranker
from trivec.cli.models import ModelFlags
from trivec.encoders import OnnxEncoder
from trivec.encoders.onnx_export import export_model
from trivec.encoders.variants import model_name
from trivec.errors import CheckpointError

Copy = Callable[[Path], Path]


def load(folder: Path | str, **options: object) -> Encoder:
    return Encoder.load(folder, device="cpu", precision="float32", **options)  # type: ignore[arg-type]


def test_everything_missing_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path)
    for name in ("config.json", "tokenizer.json", "model.safetensors", "pytorch_model.bin"):
        assert name in str(caught.value)


def test_every_wrong_shape_is_named_at_once(m3: Path, copy: Copy) -> None:
    folder = copy(m3)
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.layer.1.output.dense.bias"] = torch.zeros(31)
    del tensors["embeddings.LayerNorm.bias"]
    save_file(tensors, folder / "model.safetensors")
    torch.save({"weight": torch.zeros(1, 31), "bias": torch.zeros(1)}, folder / "sparse_linear.pt")
    torch.save({"weight": torch.zeros(16, 32)}, folder / "colbert_linear.pt")
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    message = str(caught.value)
    assert "embeddings.LayerNorm.bias is missing" in message
    assert "output.dense.bias has shape (31,), config.json says (32,)" in message
    assert "sparse_linear.pt holds {'weight': (1, 31), 'bias': (1,)}" in message
    assert "colbert_linear.pt holds {'weight': (16, 32)}" in message


def test_many_missing_tensors_are_counted(m3: Path, copy: Copy) -> None:
    folder = copy(m3)
    save_file({"other": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"and 29 more like it"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", b"not a tensor", r"model\.safetensors cannot be read"),
        ("sparse_linear.pt", b"not a tensor", r"sparse_linear\.pt cannot be read"),
        ("config.json", b'{"model_type": "gpt2"}', "the model type is 'gpt2'"),
        ("modules.json", b'[{"type": "sentence_transformers.models.Dense"}]', "Dense"),
        ("modules.json", b"{", r"modules\.json is not JSON"),
        ("tokenizer.json", b"{", "the tokenizer in"),
    ],
)
def test_spoilt_files_are_named(
    m3: Path, copy: Copy, name: str, content: bytes, message: str
) -> None:
    folder = copy(m3)
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_pooling_that_is_not_supported(
    m3: Path, copy: Copy, declare_pooling: Callable[[Path, str], None]
) -> None:
    folder = copy(m3)
    declare_pooling(folder, "max")
    with pytest.raises(CheckpointError, match=r"\['max'\], expected cls or mean"):
        load(folder)


def test_a_pickle_with_code_is_not_run(m3: Path, copy: Copy) -> None:
    folder = copy(m3)
    torch.save({"weight": Path("x"), "bias": torch.zeros(1)}, folder / "sparse_linear.pt")
    with pytest.raises(CheckpointError, match=r"sparse_linear\.pt cannot be read"):
        load(folder)


def test_a_tokenizer_of_another_model(m3: Path, bert: Path, copy: Copy) -> None:
    folder = copy(m3)
    text = (folder / "tokenizer.json").read_text(encoding="utf-8")
    tokenizer = json.loads(text)
    tokenizer["model"]["vocab"] |= {f"extra{i}": 1000 + i for i in range(500)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(CheckpointError, match="belong to different models"):
        load(folder)


@pytest.mark.parametrize("layout", ["bin", "shards", "prefixed"])
def test_layouts_of_the_weights(m3: Path, copy: Copy, layout: str) -> None:
    folder = copy(m3)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    path.unlink()
    if layout == "bin":
        torch.save(tensors, folder / "pytorch_model.bin")
    elif layout == "prefixed":
        save_file({f"roberta.{name}": tensor for name, tensor in tensors.items()}, path)
    else:
        names = sorted(tensors)
        files = {n: f"model-{1 + (i > 9)}-of-2.safetensors" for i, n in enumerate(names)}
        for file in set(files.values()):
            save_file({n: tensors[n] for n in names if files[n] == file}, folder / file)
        index = folder / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": files}), encoding="utf-8")
    found = load(folder).encode_query("kalo mine")
    np.testing.assert_array_equal(found.dense, load(m3).encode_query("kalo mine").dense)


def test_a_missing_shard_is_named(m3: Path, copy: Copy) -> None:
    folder = copy(m3)
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "model-1-of-2.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"model-1-of-2\.safetensors is missing"):
        load(folder)


@pytest.fixture
def hub_cache(m3: Path, tmp_path: Path) -> Path:
    """A hub cache with two revisions of tests/tiny: main has the heads, the branch bare not."""
    repository = tmp_path / "models--tests--tiny"
    (repository / "refs").mkdir(parents=True)
    for branch, commit in (("main", "a" * 40), ("bare", "b" * 40)):
        (repository / "refs" / branch).write_text(commit)
        shutil.copytree(m3, repository / "snapshots" / commit)
    (repository / "snapshots" / ("b" * 40) / "sparse_linear.pt").unlink()
    return tmp_path


def test_a_hub_name_is_found_in_the_cache(hub_cache: Path) -> None:
    encoder = load("tests/tiny", cache_dir=hub_cache, local_files_only=True)
    assert encoder.schema.sparse
    assert encoder.model == "tests/tiny"
    bare = load("tests/tiny", cache_dir=hub_cache, local_files_only=True, revision="bare")
    assert not bare.schema.sparse
    snapshot = hub_cache / "models--tests--tiny" / "snapshots" / ("a" * 40)
    assert load(snapshot).model == "tests/tiny"
    assert load(snapshot, name="mine").model == "mine"


def test_models_that_the_hub_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no folder here.*'v9'"):
        load("tests/tiny", cache_dir=tmp_path, local_files_only=True, revision="v9")
    with pytest.raises(CheckpointError, match="neither a folder nor the name"):
        load("no/such/folder/at/all", local_files_only=True)


IMPOSSIBLE: list[tuple[str, Any]] = [
    *(("num_hidden_layers", value) for value in (-1, 0, 10**8, True, 2.0, "2", None, [2])),
    *(("hidden_size", value) for value in (-32, 0, 2**31, {"a": 32})),
    *(("intermediate_size", value) for value in (0, 10**12)),
    *(("vocab_size", value) for value in (0, 10**30)),
    *(("num_attention_heads", value) for value in (0, -4, 10**9)),
    *(("max_position_embeddings", value) for value in (-1, 10**12)),
    *(("type_vocab_size", value) for value in (0, -1, 10**9)),
    *(("pad_token_id", value) for value in (-1, 10**6, 1.0, "1")),
    *(("layer_norm_eps", value) for value in (0, -1e-5, 2, "1e-5", math.nan, math.inf)),
    *(("num_labels", value) for value in (-1, 10**9)),
    *(("hidden_act", value) for value in (None, 3, ["gelu"], "no such")),
]


@pytest.mark.parametrize(("name", "value"), IMPOSSIBLE, ids=str)
def test_a_number_out_of_range_is_named(m3: Path, copy: Copy, name: str, value: Any) -> None:
    folder = copy(m3)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, name: value}))
    for model in (Encoder, Reranker):
        with pytest.raises(CheckpointError, match=rf"config\.json: .*{name}"):
            model.load(folder)


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("modules.json", '[{"type": "sentence_transformers.x.Pooling", "path": "../x"}]', "path"),
        ("modules.json", '[{"type": "sentence_transformers.x.Pooling", "path": ".."}]', "path"),
        ("modules.json", '[{"type": ' + "[" * 500 + "]" * 500 + "}]", "code of its own"),
        ("config.json", "[" * 100_000, "hundreds of objects"),
        ("config.json", '{"hidden_size": ' + "9" * 5_000 + "}", "thousands of digits"),
        ("tokenizer_config.json", '{"extra_ids": 1000000000}', "extra_ids"),
        ("adapter_config.json", "[" * 100_000, "adapter"),
    ],
)
def test_misleading_settings_are_refused(
    m3: Path, copy: Copy, file: str, content: str, problem: str
) -> None:
    folder = copy(m3)
    (folder / file).write_text(content)
    with pytest.raises(CheckpointError, match=problem) as caught:
        Encoder.load(folder)
    assert len(str(caught.value)) < 3_000


def test_a_tokenizer_that_fails_on_a_text_is_named(m3: Path, copy: Copy) -> None:
    folder = copy(m3)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["unk_token"] = "no such token"
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(CheckpointError, match="the tokenizer"):
        Encoder.load(folder).encode_documents(["unheard of"])


def test_a_tokenizer_with_an_id_beyond_the_model_is_refused(m3: Path, copy: Copy) -> None:
    folder = copy(m3)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["kaka"] = 10**6  # as many tokens as before
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(CheckpointError, match="different models"):
        Encoder.load(folder)


WRONG_NAMES = ["no~such~user", "~nobody-here/model", "x" * 5_000, "a\0b"]


@pytest.mark.parametrize("name", WRONG_NAMES)
def test_invalid_model_names_are_refused(name: str) -> None:
    with pytest.raises(CheckpointError):
        Encoder.load(name, local_files_only=True)


@pytest.mark.parametrize("name", WRONG_NAMES)
def test_invalid_model_names_are_refused_by_exports(name: str, m3: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="onnx, of the extra [onnx], is not installed")
    folder = tmp_path / "onnx"
    with pytest.raises(CheckpointError):
        export_model(name, folder, local_files_only=True)
    with pytest.raises(CheckpointError):
        export_model(m3, folder, local_files_only=True, heads=name)
    with pytest.raises(CheckpointError):
        OnnxEncoder.load(name)


@pytest.mark.parametrize("name", WRONG_NAMES)
def test_invalid_model_names_are_compared_as_they_are(name: str) -> None:
    assert model_name(name) == name
    assert ModelFlags(model=name).folder is None
