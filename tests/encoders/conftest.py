"""Tiny random checkpoints in the on-disk format of BGE-M3 and of bge-*-en-v1.5.

scripts/make_golden.py makes its checkpoint with `save_m3` too.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaModel,
)

HIDDEN, COLBERT = 32, 16
SYLLABLES = ["ka", "lo", "mi", "ne", "ru", "sa", "te", "vo"]
WORDS = [a + b for a in SYLLABLES for b in SYLLABLES]

Copy = Callable[[Path], Path]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def save_tokenizer(folder: Path, kind: str) -> None:
    if kind == "xlm-roberta":
        special = {"cls": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>"}
        names = {f"{role}_token": token for role, token in special.items()}
        names |= {"bos_token": "<s>", "sep_token": "</s>"}
        first, last, pair = "<s>", "</s>", "<s> $A </s> </s> $B </s>"
    else:
        special = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]"}
        names = {f"{role}_token": token for role, token in special.items()}
        first, last, pair = "[CLS]", "[SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"
    vocabulary = [*special.values(), *WORDS]
    ids = {word: number for number, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=special["unk"]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=pair,
        special_tokens=[(token, ids[token]) for token in (first, last)],
    )
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, **names
    ).save_pretrained(folder)


def _save_linear(path: Path, outputs: int) -> None:
    torch.save(torch.nn.Linear(HIDDEN, outputs).half().state_dict(), path)


def _save_sparse_linear(path: Path, model: torch.nn.Module) -> None:
    """Save a head that gives seven of ten words a weight."""
    layer = torch.nn.Linear(HIDDEN, 1)
    with torch.no_grad():
        words = torch.arange(4, 4 + len(WORDS))[None]
        weights = layer(model.eval()(input_ids=words).last_hidden_state)
        layer.bias.sub_(weights.quantile(0.3))
    torch.save(layer.half().state_dict(), path)


def _randomise(model: torch.nn.Module) -> None:
    """Give every parameter a size that shows in the output, biases and norms as well."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 0.5 if "embeddings" in name else 0.2
            parameter.normal_(1.0 if name.endswith("LayerNorm.weight") else 0.0, scale)


DIMENSIONS: dict[str, Any] = {
    "vocab_size": 4 + len(WORDS),
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}


def save_m3(folder: Path, *, positions: int = 8194) -> None:
    torch.manual_seed(1)
    model = XLMRobertaModel(
        XLMRobertaConfig(
            max_position_embeddings=positions,
            type_vocab_size=1,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            layer_norm_eps=1e-5,
            **DIMENSIONS,
        ),
        add_pooling_layer=False,
    )
    _randomise(model)
    model.save_pretrained(folder)
    save_tokenizer(folder, "xlm-roberta")
    _save_sparse_linear(folder / "sparse_linear.pt", model)
    _save_linear(folder / "colbert_linear.pt", COLBERT)


@pytest.fixture(scope="session")
def m3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """XLM-RoBERTa with both heads, as BAAI/bge-m3."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny-m3"
    save_m3(folder)
    return folder


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BERT without heads, as BAAI/bge-small-en-v1.5."""
    folder = tmp_path_factory.mktemp("checkpoints") / "bge-small-en-v1.5"
    torch.manual_seed(2)
    model = BertModel(
        BertConfig(max_position_embeddings=64, type_vocab_size=2, **DIMENSIONS),
        add_pooling_layer=False,
    )
    _randomise(model)
    model.save_pretrained(folder)
    save_tokenizer(folder, "bert")
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """Return a copy of a checkpoint that a test may spoil."""
    return lambda folder: Path(shutil.copytree(folder, tmp_path / folder.name))


@pytest.fixture(scope="session")
def random_text() -> Callable[[int, int], str]:
    """Return a text of so many tokens without the special ones, from a seed."""

    def text(tokens: int, seed: int = 0) -> str:
        return " ".join(np.random.default_rng(seed).choice(WORDS, tokens).tolist())

    return text


@pytest.fixture(scope="session")
def reference() -> Callable[..., Any]:
    """Return the vectors of one text by transformers' own forward pass, float32, unpadded."""

    def encode(folder: Path, text: str, *, mean: bool = False, max_length: int = 8192) -> Any:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        model = AutoModel.from_pretrained(
            folder, dtype=torch.float32, add_pooling_layer=False, attn_implementation="eager"
        ).eval()
        inputs = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
        with torch.inference_mode():
            states = model(**inputs).last_hidden_state[0]
        ids = inputs["input_ids"][0].tolist()
        pooled = states.mean(0) if mean else states[0]
        dense = torch.nn.functional.normalize(pooled, dim=0).numpy()
        sparse: dict[int, float] = {}
        colbert = None
        if (folder / "sparse_linear.pt").exists():
            head = torch.load(folder / "sparse_linear.pt", weights_only=True)
            weights = (states @ head["weight"].float().T + head["bias"].float()).relu()[:, 0]
            for token, weight in zip(ids, weights.tolist(), strict=True):
                if token not in tokenizer.all_special_ids and weight > 0:
                    sparse[token] = max(weight, sparse.get(token, 0.0))
        if (folder / "colbert_linear.pt").exists():
            head = torch.load(folder / "colbert_linear.pt", weights_only=True)
            vectors = states[1:] @ head["weight"].float().T + head["bias"].float()
            colbert = torch.nn.functional.normalize(vectors, dim=-1).numpy()
        return dense, sparse, colbert

    return encode


@pytest.fixture
def declare_pooling() -> Callable[[Path, str], None]:
    """Write the 1_Pooling/config.json of sentence-transformers."""

    def write(folder: Path, mode: str) -> None:
        (folder / "1_Pooling").mkdir()
        modes = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max"}
        config = {f"pooling_mode_{name}": kind == mode for name, kind in modes.items()}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))

    return write
