"""Nothing in a model folder that could change vectors is ignored silently."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from trivec import Encoder
from trivec.errors import CheckpointError

Copy = Callable[[Path], Path]


def load(folder: Path, **options: Any) -> Encoder:
    return Encoder.load(folder, device="cpu", precision="float32", **options)


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    return str(caught.value)


def add_tensors(folder: Path, **tensors: torch.Tensor) -> None:
    path = folder / "model.safetensors"
    save_file(load_file(path) | tensors, path)


def change(folder: Path, name: str, **settings: object) -> None:
    path = folder / name
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content | settings), encoding="utf-8")


def assert_as_before(folder: Path, m3: Path) -> None:
    found, expected = (load(f).encode_query("kalo mine") for f in (folder, m3))
    np.testing.assert_array_equal(found.dense, expected.dense)
    np.testing.assert_array_equal(found.colbert, expected.colbert)
    assert found.sparse == expected.sparse


def test_an_adapter_beside_the_weights(m3: Path, copy: Copy) -> None:
    folder = copy(m3)
    change(folder, "adapter_config.json", base_model_name_or_path="BAAI/bge-m3", peft_type="LORA")
    save_file({"lora_A": torch.zeros(1)}, folder / "adapter_model.safetensors")
    message = refusal(folder)
    assert "adapter_config.json and adapter_model.safetensors: an adapter" in message
    assert "'BAAI/bge-m3'" in message
    assert "merge_and_unload()" in message
    (folder / "adapter_config.json").unlink()
    assert "merge_and_unload()" in refusal(folder)


def test_an_adapter_alone(m3: Path, copy: Copy) -> None:
    folder = copy(m3)
    change(folder, "adapter_config.json", base_model_name_or_path="BAAI/bge-m3")
    (folder / "model.safetensors").unlink()
    message = refusal(folder)
    assert "the weights are missing" in message
    assert "merge_and_unload()" in message


@pytest.mark.parametrize("form", ["lora", "base_layer"])
def test_an_adapter_among_the_weights(m3: Path, copy: Copy, form: str) -> None:
    folder = copy(m3)
    name = "encoder.layer.0.attention.self.query"
    if form == "lora":
        add_tensors(folder, **{f"{name}.lora_A.default.weight": torch.zeros(8, 32)})
    else:
        path = folder / "model.safetensors"
        tensors = load_file(path)
        tensors[f"{name}.base_layer.weight"] = tensors.pop(f"{name}.weight")
        save_file(tensors, path)
    message = refusal(folder)
    assert "an adapter that is not merged" in message
    assert "merge_and_unload()" in message
    assert "is missing" not in message


@pytest.mark.parametrize(
    "name",
    [
        "encoder.layer.2.output.dense.bias",  # config.json says 2 layers
        "linear.weight",
        "embedding_projection.weight",
        "document_encoder.embeddings.LayerNorm.weight",
        "score.weight",
    ],
)
def test_tensors_that_are_not_read(m3: Path, copy: Copy, name: str) -> None:
    folder = copy(m3)
    add_tensors(folder, **{name: torch.zeros(4)})
    message = refusal(folder)
    assert f"tensors that would be ignored: {name};" in message
    assert "save_pretrained" in message


@pytest.mark.parametrize("names", [["classifier.weight", "classifier.bias"], ["classifier.dense"]])
def test_a_classifier_belongs_to_a_reranker(m3: Path, copy: Copy, names: list[str]) -> None:
    folder = copy(m3)
    add_tensors(folder, **{name: torch.zeros(1, 32) for name in names})
    assert "rerankers are loaded with Reranker.load" in refusal(folder)


def test_tensors_that_do_not_affect_vectors(
    m3: Path, copy: Copy, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copy(m3)
    names = ("pooler.dense.weight", "lm_head.decoder.bias", "cls.predictions.bias")
    add_tensors(folder, **{name: torch.zeros(4) for name in names})
    add_tensors(folder, **{"embeddings.position_ids": torch.arange(4)})
    with caplog.at_level(logging.INFO, "trivec"):
        assert_as_before(folder, m3)
    assert "lm_head.decoder.bias" in caplog.text


def test_quantised_tensors(m3: Path, copy: Copy) -> None:
    folder = copy(m3)
    shape = load_file(folder / "model.safetensors")["embeddings.word_embeddings.weight"].shape
    integers = torch.zeros(shape, dtype=torch.int8)
    add_tensors(folder, **{"embeddings.word_embeddings.weight": integers})
    assert "embeddings.word_embeddings.weight is quantised" in refusal(folder)
    state = {"weight": torch.zeros(1, 32, dtype=torch.int8), "bias": torch.zeros(1)}
    torch.save(state, folder / "sparse_linear.pt")
    assert "sparse_linear.pt: weight is quantised" in refusal(folder)


@pytest.mark.parametrize("name", ["linear_3.pt", "projection.safetensors", "extra.bin", "w.npz"])
def test_files_of_tensors_that_are_not_read(m3: Path, copy: Copy, name: str) -> None:
    folder = copy(m3)
    (folder / name).write_bytes(b"x")
    assert f"{name} holds tensors that would be ignored" in refusal(folder)


def test_files_that_training_leaves_are_accepted(
    m3: Path, copy: Copy, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copy(m3)
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state_0.pth"):
        (folder / name).write_bytes(b"x")
    for name in ("README.md", "trainer_state.json", "tf_model.h5", "model.onnx"):
        (folder / name).write_bytes(b"x")
    assert_as_before(folder, m3)
    assert caplog.text == ""
    (folder / "router_config.json").write_text("{}")
    assert_as_before(folder, m3)
    assert "router_config.json is not read" in caplog.text


@pytest.mark.parametrize("differs", ["in a bias", "in a matrix", "in its precision"])
def test_two_files_of_weights(m3: Path, copy: Copy, differs: str) -> None:
    folder = copy(m3)
    tensors = load_file(folder / "model.safetensors")
    if differs == "in its precision":
        other = {name: tensor.bfloat16() for name, tensor in tensors.items()}
        torch.save(other, folder / "pytorch_model.bin")
        assert_as_before(folder, m3)
        return
    kind = "bias" if differs == "in a bias" else "weight"
    name = f"encoder.layer.1.attention.self.query.{kind}"
    torch.save(tensors | {name: tensors[name] + 1e-4}, folder / "pytorch_model.bin")
    message = refusal(folder)
    assert "model.safetensors and pytorch_model.bin hold different weights" in message
    assert name in message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"is_decoder": True}, "a decoder"),
        ({"add_cross_attention": True}, "an encoder-decoder"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised"),
        ({"auto_map": {"AutoModel": "modeling_x.X"}}, "code of its own"),
        ({"hidden_act": "swiglu"}, "hidden_act 'swiglu' is unknown"),
        ({"model_type": "nomic_bert"}, "the model type is 'nomic_bert'"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"vocab_size": "many"}, "config.json: "),
        ({"max_position_embeddings": 3}, "leaves room for 1 tokens"),
    ],
)
def test_another_model_with_the_same_tensors(
    m3: Path, copy: Copy, settings: dict[str, object], message: str
) -> None:
    folder = copy(m3)
    change(folder, "config.json", **settings)
    found = refusal(folder)
    assert message in found
    assert "trust_remote_code" not in found


TRANSFORMER = {"path": "", "type": "sentence_transformers.models.Transformer"}
POOLING = {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}


@pytest.mark.parametrize(
    ("file", "settings", "message"),
    [
        ("2_Dense/config.json", {"in_features": 32}, "2_Dense is a module"),
        ("1_Pooling/config.json", {"pooling_mode": ["cls", "mean"]}, "['cls', 'mean'], expected"),
        ("1_Pooling/config.json", {"pooling_mode": "lasttoken"}, "['lasttoken'], expected"),
        ("1_Pooling/config.json", {"pooling_mode_weightedmean_tokens": True}, "['weightedmean']"),
        ("1_Pooling/config.json", {"layers": 4}, "has layers=4, which trivec does not know"),
        ("sentence_bert_config.json", {"max_seq_length": "long"}, "max_seq_length='long'"),
        ("sentence_bert_config.json", {"query_expansion": {"length": 9}}, "has query_expansion="),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "expected 'feature-extr"),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["x.X"]}}, "code of its own"),
        ("config_sentence_transformers.json", {"model_type": "SparseEncoder"}, "a SparseEncoder"),
        ("config_sentence_transformers.json", {"similarity_fn_name": "dot"}, "lengths matter"),
        ("config_sentence_transformers.json", {"truncate_dim": 0}, "truncate_dim=0, expected"),
        ("config_sentence_transformers.json", {"prompts": ["a"]}, "expected a text for each"),
    ],
)
def test_settings_that_are_not_supported(
    m3: Path, copy: Copy, file: str, settings: dict[str, object], message: str
) -> None:
    folder = copy(m3)
    change(folder, file, **settings)
    assert message in refusal(folder)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([TRANSFORMER], "has no Pooling"),
        ([TRANSFORMER, POOLING], "1_Pooling/config.json is missing"),
        ([TRANSFORMER, {"path": "1", "type": "custom_st.Pooling"}], "code of its own"),
        ([TRANSFORMER, POOLING, POOLING], "twice"),
        ([{**TRANSFORMER, "path": "0_Transformer"}, POOLING], "keeps the Transformer in"),
        ([TRANSFORMER, POOLING, {"type": "sentence_transformers.models.WordWeights"}], "WordWei"),
    ],
)
def test_modules_that_are_not_supported(
    m3: Path, copy: Copy, modules: list[dict[str, str]], message: str
) -> None:
    folder = copy(m3)
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    assert message in refusal(folder)


def test_a_prompt_for_everything_needs_a_decision(m3: Path, copy: Copy) -> None:
    folder = copy(m3)
    settings = {"prompts": {"retrieval": "R: "}, "default_prompt_name": "retrieval"}
    change(folder, "config_sentence_transformers.json", **settings)
    assert "query_instruction='R: ', document_instruction=''" in refusal(folder)
    encoder = load(folder, query_instruction="R: ", document_instruction="")
    assert (encoder.query_instruction, encoder.document_instruction) == ("R: ", "")
