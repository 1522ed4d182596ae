"""The setting files of a checkpoint are followed or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from trivec import Encoder
from trivec.errors import CheckpointError, InvalidOptionError

Copy = Callable[[Path], Path]
Text = Callable[..., str]
Reference = Callable[..., Any]


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-5)


def load(folder: Path, **options: Any) -> Encoder:
    return Encoder.load(folder, device="cpu", precision="float32", **options)


def write(folder: Path, name: str, content: object) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def change(folder: Path, name: str, **settings: object) -> None:
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    write(folder, name, content | settings)


def states(folder: Path, text: str) -> tuple[list[int], torch.Tensor]:
    """Return token ids and last hidden states by transformers alone."""
    inputs = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    model = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    with torch.inference_mode():
        hidden = model(**inputs).last_hidden_state[0]
    return inputs["input_ids"][0].tolist(), hidden


def unit(vector: torch.Tensor) -> Any:
    return torch.nn.functional.normalize(vector, dim=-1).numpy()


@pytest.mark.parametrize("name", ["document", "passage", "corpus"])
def test_documents_get_their_prompt(m3: Path, copy: Copy, reference: Reference, name: str) -> None:
    folder = copy(m3)
    prompts = {"query": "neka sate ", "document": "", name: "ruru lova "}
    write(folder, "config_sentence_transformers.json", {"prompts": prompts})
    encoder = load(folder)
    found = encoder.encode_documents(["kalo mine"])[0]
    dense, sparse, colbert = reference(m3, "ruru lova kalo mine")
    close(found.dense, dense)
    close(found.colbert, colbert)
    assert found.sparse == pytest.approx(sparse, abs=1e-5)
    question = encoder.encode_query("kalo mine")
    close(question.dense, reference(m3, "neka sate kalo mine")[0])
    assert encoder.document_instruction == "ruru lova "
    assert encoder.options == {"document_instruction": "ruru lova "}


async def test_documents_get_the_instruction_of_the_caller(
    m3: Path, copy: Copy, reference: Reference
) -> None:
    folder = copy(m3)
    write(folder, "config_sentence_transformers.json", {"prompts": {"document": "ruru lova "}})
    bare = load(folder, document_instruction="")
    assert bare.options == {}
    expected = reference(m3, "kalo mine")[0]
    close(bare.encode_documents(["kalo mine"]).dense, [expected])
    other = load(m3, document_instruction="neka ", mcls=True)
    assert other.options == {"mcls": "256", "document_instruction": "neka "}
    expected = reference(m3, "neka kalo mine")[0]
    found = await other.aencode_documents(["kalo mine"])
    close(found.dense, [expected])
    expected = reference(m3, "kalo mine")[0]
    question = await other.aencode_query("kalo mine")
    close(question.dense, expected)


@pytest.mark.parametrize("mode", ["mean", "cls"])
def test_a_prompt_can_be_left_out_of_the_pooling(m3: Path, copy: Copy, mode: str) -> None:
    folder = copy(m3)
    write(folder, "1_Pooling/config.json", {"pooling_mode": mode, "include_prompt": False})
    write(folder, "config_sentence_transformers.json", {"prompts": {"document": "ruru lova "}})
    encoder = load(folder, query_instruction="neka ")
    for encode, prompt, skipped in (
        (encoder.encode_documents, "ruru lova ", 3),
        (encoder.encode_queries, "neka ", 2),
    ):
        texts = ["kalo mine vosa", "kalo", ""]
        vectors = encode(texts)
        for text, found in zip(texts, vectors, strict=True):
            _, hidden = states(folder, prompt + text)
            pooled = hidden[skipped:].mean(0) if mode == "mean" else hidden[skipped]
            close(found.dense, unit(pooled))
            assert found.colbert is not None
            assert len(found.colbert) == len(hidden) - 1
    without = load(folder, query_instruction="", document_instruction="")
    _, hidden = states(folder, "kalo mine")
    pooled = hidden.mean(0) if mode == "mean" else hidden[0]
    close(without.encode_query("kalo mine").dense, unit(pooled))
    with pytest.raises(InvalidOptionError, match="mcls=True"):
        load(folder, mcls=True)


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("sentence_bert_config.json", {"max_seq_length": 12}),
        ("sentence_xlm-roberta_config.json", {"max_seq_length": 12, "do_lower_case": False}),
        ("sentence_bert_config.json", {"processing_kwargs": {"text": {"max_length": 12}}}),
        ("tokenizer_config.json", {"model_max_length": 12}),
    ],
)
def test_the_checkpoint_says_where_texts_end(
    m3: Path, copy: Copy, random_text: Text, reference: Reference, file: str, settings: Any
) -> None:
    folder = copy(m3)
    if (folder / file).exists():
        change(folder, file, **settings)
    else:
        write(folder, file, settings)
    encoder = load(folder)
    assert encoder.max_length == 12
    text = random_text(40)
    cut: list[Any] = []
    found = encoder.encode_documents([text], on_truncate=cut.extend)[0]
    close(found.dense, reference(m3, text, max_length=12)[0])
    assert (cut[0].tokens, cut[0].kept) == (42, 12)
    assert len(encoder.tokens(text)) == 11
    # Who asks for more gets what the model can take.
    whole = encoder.encode_documents([text], max_length=8192)[0]
    close(whole.dense, reference(m3, text)[0])
    assert len(encoder.tokens(text, max_length=8192)) == 41


def test_the_limit_of_sentence_transformers_comes_before_the_tokenizer_s(
    m3: Path, copy: Copy
) -> None:
    folder = copy(m3)
    change(folder, "tokenizer_config.json", model_max_length=12)
    write(folder, "sentence_bert_config.json", {"max_seq_length": 20})
    assert load(folder).max_length == 20
    write(folder, "sentence_bert_config.json", {"max_seq_length": 100_000})
    assert load(folder).max_length == 8192


def test_texts_are_put_into_lower_case(m3: Path, copy: Copy, reference: Reference) -> None:
    folder = copy(m3)
    write(folder, "sentence_bert_config.json", {"do_lower_case": True})
    expected = reference(m3, "kalo mine")[0]
    encoder = load(folder)
    close(encoder.encode_query("KALO Mine").dense, expected)
    assert [token.text for token in encoder.tokens("KALO Mine")] == ["KALO", "Mine", "</s>"]
    other = load(m3).encode_query("KALO Mine").dense
    assert other is not None
    assert not np.allclose(other, expected, atol=1e-2)


def test_a_tokenizer_can_keep_the_end(
    m3: Path, copy: Copy, random_text: Text, reference: Reference
) -> None:
    folder = copy(m3)
    change(folder, "tokenizer_config.json", truncation_side="left")
    words = random_text(40).split()
    found = load(folder).encode_documents([" ".join(words)], max_length=12)
    expected = reference(m3, " ".join(words[-10:]))[0]
    close(found.dense, [expected])
    tokens = load(folder).tokens(" ".join(words), max_length=12)
    assert [token.text for token in tokens] == [*words[-10:], "</s>"]


@pytest.mark.parametrize(
    ("settings", "mean"),
    [
        ({"pooling_mode": "mean"}, True),
        ({"pooling_mode": ["cls"]}, False),
        ({"pooling_mode": "mean_sqrt_len_tokens"}, True),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, True),
        ({"pooling_mode": "cls", "pooling_mode_mean_tokens": True}, False),
        ({"pooling_mode_cls_token": False, "word_embedding_dimension": 32}, True),
        ({}, True),
    ],
)
def test_poolings(m3: Path, copy: Copy, reference: Reference, settings: Any, mean: bool) -> None:
    folder = copy(m3)
    write(folder, "pool/config.json", settings)
    kinds = {"": "models.Transformer", "pool": "models.Pooling", "n": "models.Normalize"}
    modules = [{"path": p, "type": f"sentence_transformers.{kind}"} for p, kind in kinds.items()]
    write(folder, "modules.json", modules)
    expected = reference(m3, "kalo mine neka", mean=mean)[0]
    found = load(folder).encode_query("kalo mine neka")
    close(found.dense, expected)


@pytest.mark.parametrize(
    "settings",
    [{"hidden_act": "relu"}, {"hidden_act": "silu"}, {"layer_norm_eps": 0.3}],
)
def test_the_configuration_is_followed(
    m3: Path, copy: Copy, reference: Reference, settings: dict[str, object]
) -> None:
    folder = copy(m3)
    change(folder, "config.json", **settings)
    dense, _, colbert = reference(folder, "kalo mine neka")
    found = load(folder).encode_query("kalo mine neka")
    close(found.dense, dense)
    close(found.colbert, colbert)
    assert not np.allclose(dense, reference(m3, "kalo mine neka")[0], atol=1e-3)


HEADS = ("sparse_linear", "colbert_linear")


def head(folder: Path, name: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / f"{name}.pt", weights_only=True)
    return state


@pytest.mark.parametrize("prefix", ["", "model.", "module.roberta."])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_heads_among_the_weights(m3: Path, copy: Copy, prefix: str, file: str) -> None:
    folder = copy(m3)
    backbone = {f"{prefix}{n}": t for n, t in load_file(folder / "model.safetensors").items()}
    heads = {f"{prefix}{n}.{k}": t for n in HEADS for k, t in head(folder, n).items()}
    (folder / "model.safetensors").unlink()
    for name in HEADS:
        (folder / f"{name}.pt").unlink()
    if file.endswith("bin"):
        torch.save(backbone | heads, folder / file)
    else:
        save_file(backbone | heads, folder / file)
    assert_same(folder, m3)


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_heads_in_other_files(m3: Path, copy: Copy, suffix: str) -> None:
    folder = copy(m3)
    for name in HEADS:
        state = {f"{name}.{key}": tensor for key, tensor in head(folder, name).items()}
        (folder / f"{name}.pt").unlink()
        if suffix == ".bin":
            torch.save(state, folder / f"{name}{suffix}")
        else:
            save_file(state, folder / f"{name}{suffix}")
    assert_same(folder, m3)


def test_heads_twice(m3: Path, copy: Copy) -> None:
    folder = copy(m3)
    save_file(head(folder, "sparse_linear"), folder / "sparse_linear.safetensors")
    assert_same(folder, m3)
    other = {name: tensor * 2 for name, tensor in head(folder, "sparse_linear").items()}
    save_file(other, folder / "sparse_linear.safetensors")
    with pytest.raises(
        CheckpointError, match=r"sparse_linear\.pt and sparse_linear\.safeten.*diff"
    ):
        load(folder)


def assert_same(folder: Path, m3: Path) -> None:
    encoder, expected = load(folder), load(m3).encode_query("kalo mine")
    assert encoder.schema.parts == ("dense", "sparse", "colbert")
    found = encoder.encode_query("kalo mine")
    np.testing.assert_array_equal(found.dense, expected.dense)
    np.testing.assert_array_equal(found.colbert, expected.colbert)
    assert found.sparse == expected.sparse
