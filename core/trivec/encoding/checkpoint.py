"""A model's files: found, checked as a whole, and read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from trivec.encoding.architecture import Architecture
from trivec.encoding.naming import model_name
from trivec.encoding.weights import TensorFiles, read_linear
from trivec.errors import CheckpointError

__all__ = ["Checkpoint", "Pooling", "fetch", "open_checkpoint"]

Pooling = Literal["cls", "mean"]

_SMALL_FILES = ["*.json", "*.txt", "*.model", "*_linear.pt", "1_Pooling/config.json"]
_OTHER_FORMATS = ["onnx/*", "openvino/*"]
_TOKENIZER_FILES = ("tokenizer.json", "sentencepiece.bpe.model", "vocab.txt")
_SUPPORTED_MODULES = ("Transformer", "Pooling", "Normalize")
_NAMED = 8  # problems of one kind that a message spells out

_EN = "Represent this sentence for searching relevant passages: "
_ZH = "为这个句子生成表示以用于检索相关文章："  # noqa: RUF001
# FlagEmbedding's model list; BGE-M3 takes its questions as they are.
_INSTRUCTIONS = {"en": _EN, "zh": _ZH}
_INSTRUCTED = re.compile(r"bge-(?:large|base|small)-(en|zh)(?:-v1\.5)?/?$")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checked model folder.

    Args:
        folder: Where the files are.
        name: What the model is called in a `Schema`.
        architecture: The backbone's dimensions.
        prefix: What precedes the backbone's tensor names in the files.
        tensors: The weight files.
        pooling: How the dense vector is made.
        sparse: Weight (1, hidden) and bias (1,), or None.
        colbert: Weight (dimension, hidden) and bias (dimension,), or None.
        query_instruction: What precedes a question.
    """

    folder: Path
    name: str
    architecture: Architecture
    prefix: str
    tensors: TensorFiles
    pooling: Pooling
    sparse: tuple[Tensor, Tensor] | None
    colbert: tuple[Tensor, Tensor] | None
    query_instruction: str

    def read(self, name: str) -> Tensor:
        """Read a tensor of the backbone, named as in an `XLMRobertaModel`."""
        return self.tensors.read(self.prefix + name)


def fetch(
    model: str | Path, *, revision: str | None, cache_dir: str | Path | None, local_only: bool
) -> Path:
    """Return the folder of a model: the given one, or the hub's, downloaded where needed.

    Raises:
        CheckpointError: If it is no folder and the hub has no such model, or cannot be reached.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    def download(patterns: list[str]) -> Path:
        return Path(
            snapshot_download(
                str(model),
                revision=revision,
                cache_dir=cache_dir,
                local_files_only=local_only,
                allow_patterns=patterns,
                ignore_patterns=_OTHER_FORMATS,
            )
        )

    try:
        # Two steps, since many repositories hold the same weights in both formats.
        folder = download([*_SMALL_FILES, "model*.safetensors"])
        if not any(folder.glob("model*.safetensors")):
            folder = download([*_SMALL_FILES, "pytorch_model*.bin"])
    except HFValidationError as error:
        raise CheckpointError(
            f"{str(model)!r} is neither a folder nor the name of a model on the hub"
        ) from error
    except (OSError, ValueError) as error:  # all that the hub and its transport raise
        raise CheckpointError(
            f"{str(model)!r} is no folder here, and the hub did not provide it"
            f"{f' at revision {revision!r}' if revision else ''}: {error}"
        ) from error
    return folder


def open_checkpoint(folder: Path, *, model: str | Path, heads: bool = True) -> Checkpoint:
    """Check all files of a folder and read the small ones.

    Args:
        folder: What `fetch` returned.
        model: What the user asked for, for the name.
        heads: Whether to read the sparse and the ColBERT head.

    Raises:
        CheckpointError: Naming all that is missing or has a wrong shape.
    """
    problems: list[str] = []
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        problems.append(f"the tokenizer is missing: {' or '.join(_TOKENIZER_FILES)}")
    architecture = _architecture(folder, problems)
    pooling = _pooling(folder, problems)
    _check_modules(folder, problems)
    tensors = TensorFiles(folder)
    problems += tensors.problems
    sparse = colbert = None
    prefix = _prefix(tensors)
    if architecture is not None:
        if not tensors.problems:
            problems += _shape_problems(architecture, tensors.shapes, prefix)
        if heads:
            hidden = architecture.hidden
            sparse = read_linear(folder / "sparse_linear.pt", hidden, 1, problems)
            colbert = read_linear(folder / "colbert_linear.pt", hidden, None, problems)
    if problems or architecture is None:
        raise CheckpointError(
            f"the checkpoint in {folder} cannot be loaded:\n"
            + "\n".join(f"- {problem}" for problem in problems)
        )
    return Checkpoint(
        folder=folder,
        name=model_name(model),
        architecture=architecture,
        prefix=prefix,
        tensors=tensors,
        pooling=pooling,
        sparse=sparse,
        colbert=colbert,
        query_instruction=_query_instruction(folder, model),
    )


def _architecture(folder: Path, problems: list[str]) -> Architecture | None:
    if not (folder / "config.json").is_file():
        problems.append("config.json is missing")
        return None
    from transformers import AutoConfig

    try:
        config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        return Architecture.from_config(config)
    except (OSError, ValueError, KeyError, TypeError) as error:
        problems.append(f"config.json: {error}")
        return None


def _pooling(folder: Path, problems: list[str]) -> Pooling:
    path = folder / "1_Pooling" / "config.json"
    config = _read_json(path, problems)
    if config is None:
        return "cls"  # as BAAI/bge-m3
    modes = {
        name.removeprefix("pooling_mode_").removesuffix("_token").removesuffix("_tokens")
        for name, on in config.items()
        if name.startswith("pooling_mode_") and on is True
    } or {str(config.get("pooling_mode", "cls"))}
    if modes == {"mean"}:
        return "mean"
    if modes != {"cls"}:
        problems.append(f"1_Pooling/config.json asks for {sorted(modes)}, expected cls or mean")
    return "cls"


def _check_modules(folder: Path, problems: list[str]) -> None:
    modules = _read_json(folder / "modules.json", problems, kind=list) or []
    for module in modules:
        kind = str(module.get("type", "")) if isinstance(module, dict) else str(module)
        if kind.rpartition(".")[2] not in _SUPPORTED_MODULES:
            problems.append(
                f"modules.json has the module {kind!r}; an encoder consists of a Transformer, "
                "Pooling and Normalize"
            )


def _read_json(path: Path, problems: list[str], kind: type[Any] = dict) -> Any:  # noqa: ANN401
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        problems.append(f"{path.name} is not JSON: {error}")
        return None
    if not isinstance(value, kind):
        problems.append(f"{path.name} holds a {type(value).__name__}, expected {kind.__name__}")
        return None
    return value


def _prefix(tensors: TensorFiles) -> str:
    last = "embeddings.word_embeddings.weight"
    found = [name.removesuffix(last) for name in tensors.shapes if name.endswith(last)]
    return found[0] if found else ""


def _shape_problems(
    architecture: Architecture, found: Mapping[str, tuple[int, ...]], prefix: str
) -> list[str]:
    missing, wrong = [], []
    for name, shape in architecture.shapes().items():
        there = found.get(prefix + name)
        if there is None:
            missing.append(f"the tensor {prefix}{name} is missing")
        elif there != shape:
            wrong.append(f"{prefix}{name} has shape {there}, config.json says {shape}")
    return [*_at_most(missing), *_at_most(wrong)]


def _at_most(problems: list[str]) -> list[str]:
    rest = len(problems) - _NAMED
    return problems if rest <= 0 else [*problems[:_NAMED], f"… and {rest} more like it"]


def _query_instruction(folder: Path, model: str | Path) -> str:
    settings = _read_json(folder / "config_sentence_transformers.json", [])
    prompts = settings.get("prompts") if settings else None
    if isinstance(prompts, dict) and isinstance(prompts.get("query"), str) and prompts["query"]:
        return str(prompts["query"])
    known = _INSTRUCTED.search(model_name(model))
    return _INSTRUCTIONS[known[1]] if known else ""
