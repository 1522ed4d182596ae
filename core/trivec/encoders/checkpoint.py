"""A model folder: its files are checked as a whole, then read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from trivec.arguments import shown
from trivec.encoders.architecture import MODEL_TYPES, Architecture, number_problems
from trivec.encoders.files import flaw, read_json, reason
from trivec.encoders.head_files import HeadReader, Layer, read_heads_of
from trivec.encoders.hub import base_name
from trivec.encoders.inventory import (
    adapter_problems,
    at_most,
    file_problems,
    missing_file_clues,
    tensor_problems,
    unmerged_problems,
)
from trivec.encoders.settings import Purpose, Settings, read_settings
from trivec.encoders.tensors import TensorFiles, open_weights
from trivec.errors import CheckpointError, InvalidOptionError

_VOCABULARIES = ("tokenizer.json", "sentencepiece.bpe.model", "vocab.txt")
_TOKENIZER_FILES = (*_VOCABULARIES, "special_tokens_map.json", "added_tokens.json", "vocab.json")

_EN = "Represent this sentence for searching relevant passages: "
_ZH = "为这个句子生成表示以用于检索相关文章："  # noqa: RUF001
# From FlagEmbedding's model list; BGE-M3 has no instruction.
_INSTRUCTIONS = {"en": _EN, "zh": _ZH}
_INSTRUCTED = re.compile(r"bge-(?:large|base|small)-(en|zh)(?:-v1\.5)?/?$")
# Settings of config.json that make a different model from the same tensors.
_OTHER_MODELS = {
    "is_decoder": "a decoder, whose tokens do not see later ones",
    "is_causal": "a model whose tokens do not see later ones",
    "add_cross_attention": "a part of an encoder-decoder",
    "pruned_heads": "a model with pruned heads",
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checked model folder.

    Args:
        folder: The folder of the files.
        name: The model's name in a `Schema`.
        architecture: The backbone's dimensions.
        prefix: The prefix of the backbone's tensor names in the files.
        tensors: The weight files.
        settings: How the model is to be used.
        sparse: Weight (1, hidden) and bias (1,), or None.
        colbert: Weight (dimension, hidden) and bias (dimension,), or None.
        classifier: A reranker's weight (hidden, hidden), bias, weight (1, hidden) and bias, for
            the first token's state; empty for an encoder.
        heads: The folder of another checkpoint whose heads these are, or None.
    """

    folder: Path
    name: str
    architecture: Architecture
    prefix: str
    tensors: TensorFiles
    settings: Settings
    sparse: Layer | None
    colbert: Layer | None
    classifier: list[Tensor]
    heads: Path | None

    @property
    def query_instruction(self) -> str:
        """The text before each question."""
        if self.settings.query_instruction is not None:
            return self.settings.query_instruction
        known = _INSTRUCTED.search(self.name)
        return _INSTRUCTIONS[known[1]] if known else ""

    @property
    def document_instruction(self) -> str:
        """The text before each document."""
        return self.settings.document_instruction or ""

    @property
    def max_length(self) -> int:
        """The most tokens of a text, by the model and by the checkpoint's settings."""
        most = self.architecture.max_length
        return min(most, self.settings.max_length or most)

    @property
    def dense(self) -> int:
        """The length of dense vectors, by the model and by the checkpoint's settings."""
        return self.settings.truncate_dim or self.architecture.hidden

    def dimension(self, truncate_dim: int | None) -> int:
        """Return the length of dense vectors of which `truncate_dim` numbers are kept.

        None is for those that the checkpoint's settings keep.
        """
        dense = truncate_dim or self.dense
        if dense > self.architecture.hidden:
            raise InvalidOptionError(
                f"truncate_dim={dense} is more than the {self.architecture.hidden} numbers of a "
                f"dense vector of {self.name}"
            )
        return dense

    def read(self, name: str) -> Tensor:
        """Read a tensor of the backbone, named as in an `XLMRobertaModel`."""
        return self.tensors.read(self.prefix + name)


def open_checkpoint(
    folder: Path,
    *,
    model: str | Path,
    purpose: Purpose = "encoder",
    instructed: bool = False,
    heads: Path | None = None,
) -> Checkpoint:
    """Check all files of a folder that `fetch` returned, and read the small ones.

    Args:
        folder: The folder.
        model: The folder or the name on the hub that the user gave.
        purpose: Whether the model is to encode texts or to rerank them.
        instructed: Whether the user gives both instructions too.
        heads: The folder of another checkpoint whose heads are used, for a model without heads.

    Raises:
        CheckpointError: If anything is missing or wrong, or would be ignored; the message lists
            all problems.
    """
    problems: list[str] = []
    existing = [name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    if not set(existing) & set(_VOCABULARIES):
        problems.append(f"the tokenizer is missing: {' or '.join(_VOCABULARIES)}")
    problems += [f"{name} {wrong}" for name in existing if (wrong := flaw(folder / name))]
    architecture = _architecture(folder, problems)
    settings = read_settings(folder, problems, purpose=purpose, instructed=instructed)
    tensors = open_weights(folder)
    problems += [*tensors.problems, *adapter_problems(folder)]
    prefix = _prefix(tensors)
    sparse = colbert = None
    classifier: tuple[str, ...] = ()
    if architecture is not None:
        own = HeadReader(folder, tensors, architecture.hidden, problems)
        if purpose == "encoder":
            problems += _dimension_problems(settings, architecture)
            sparse, colbert = _heads(own, heads)
        elif not tensors.problems:
            classifier = _classifier(tensors, prefix, architecture.hidden, problems)
        if not tensors.problems and (purpose == "encoder" or classifier):
            backbone = {prefix + name: shape for name, shape in architecture.shapes().items()}
            used = {*backbone, *own.names, *classifier}
            unmerged = unmerged_problems(tensors.shapes)
            problems += unmerged or [
                *_shape_problems(backbone, tensors),
                *tensor_problems(tensors.shapes, used, purpose=purpose),
            ]
        if purpose == "encoder" or classifier:
            problems += file_problems(folder, tensors.files | own.files)
    if problems or architecture is None:
        if not tensors.shapes:
            problems += missing_file_clues(folder)
        raise CheckpointError(
            f"the checkpoint in {folder} cannot be loaded:\n"
            + "\n".join(f"- {problem}" for problem in problems)
        )
    return Checkpoint(
        folder=folder,
        name=base_name(model),
        architecture=architecture,
        prefix=prefix,
        tensors=tensors,
        settings=settings,
        sparse=sparse,
        colbert=colbert,
        classifier=[tensors.read(name).float() for name in classifier],
        heads=heads,
    )


def _dimension_problems(settings: Settings, architecture: Architecture) -> list[str]:
    if settings.truncate_dim is None or settings.truncate_dim <= architecture.hidden:
        return []
    return [
        f"config_sentence_transformers.json has truncate_dim={settings.truncate_dim}, config.json "
        f"says that a state has {architecture.hidden} numbers"
    ]


def _heads(own: HeadReader, other: Path | None) -> tuple[Layer | None, Layer | None]:
    """Return the sparse and the ColBERT head, those of another checkpoint if it is given."""
    heads = own.read("sparse_linear", 1), own.read("colbert_linear", None)
    if other is None:
        return heads
    if own.files or own.names:
        own.problems.append(
            f"it has heads of its own ({', '.join(sorted(own.files | own.names))}), which heads= "
            "would replace; leave the option out, or remove these heads if they are not trained"
        )
    return read_heads_of(other, own.hidden, own.problems)


def _architecture(folder: Path, problems: list[str]) -> Architecture | None:
    if not (folder / "config.json").is_file():
        problems.append("config.json is missing")
    settings = read_json(folder, "config.json", problems)
    if settings is None:
        return None
    if (problem := _unsupported(settings)) is not None:
        problems.append(f"config.json: {problem}")
        return None
    if numbers := number_problems(settings):
        problems += [f"config.json: {problem}" for problem in numbers]
        return None
    from transformers import AutoConfig
    from transformers.activations import ACT2FN

    try:
        config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        architecture = Architecture.from_config(config)
        if architecture.activation not in ACT2FN:
            raise ValueError(f"hidden_act {architecture.activation!r} is unknown")
    except Exception as error:  # transformers raises errors of many types for invalid values
        problems.append(f"config.json: {reason(error)}")
        return None
    return architecture


def _unsupported(config: Mapping[str, Any]) -> str | None:
    """Return why the configuration describes a model that is not supported, or None."""
    if config.get("auto_map"):
        return (
            f"the model is made by code of its own ({shown(config['auto_map'])}), and no code of a "
            "checkpoint is run"
        )
    if config.get("model_type") not in MODEL_TYPES:
        given = shown(config.get("model_type"))
        return f"the model type is {given}, expected {' or '.join(MODEL_TYPES)}"
    for key in ("quantization_config", "compression_config"):
        if config.get(key):
            return f"{key} says that the weights are quantised; load the original ones"
    for key, description in _OTHER_MODELS.items():
        if config.get(key):
            return f"{key}={shown(config[key])} makes it {description}"
    return None


def _prefix(tensors: TensorFiles) -> str:
    last = "embeddings.word_embeddings.weight"
    prefixes = [name.removesuffix(last) for name in tensors.shapes if name.endswith(last)]
    return prefixes[0] if prefixes else ""


def _classifier(
    tensors: TensorFiles, prefix: str, hidden: int, problems: list[str]
) -> tuple[str, ...]:
    """Return the names of a reranker's weight and bias hidden → hidden, then those hidden → 1."""
    outside = re.sub(r"(?:bert|roberta)\.$", "", prefix)
    for dense, output in (
        (f"{outside}classifier.dense", f"{outside}classifier.out_proj"),  # XLM-RoBERTa
        (f"{prefix}pooler.dense", f"{outside}classifier"),  # BERT
    ):
        names = (f"{dense}.weight", f"{dense}.bias", f"{output}.weight", f"{output}.bias")
        shapes = [tensors.shapes.get(name) for name in names]
        if shapes == [(hidden, hidden), (hidden,), (1, hidden), (1,)]:
            return names
    heads = {n: s for n, s in tensors.shapes.items() if n.startswith(f"{outside}classifier")}
    problems.append(
        f"it is no reranker: it holds {heads or 'no classifier'}, expected a classifier with the "
        f"output (1, {hidden}){'' if heads else '; encoders are loaded with Encoder.load'}"
    )
    return ()


def _shape_problems(expected: Mapping[str, tuple[int, ...]], tensors: TensorFiles) -> list[str]:
    missing, wrong, integers = [], [], []
    for name, shape in expected.items():
        actual = tensors.shapes.get(name)
        if actual is None:
            missing.append(f"the tensor {name} is missing")
        elif actual != shape:
            wrong.append(f"{name} has shape {actual}, config.json says {shape}")
        elif not tensors.is_float(name):
            integers.append(f"{name} is quantised; load the original weights")
    return [*at_most(missing), *at_most(wrong), *at_most(integers)]
