"""What a model folder holds beyond what is read: nothing in it is passed over without a word."""

from __future__ import annotations

import fnmatch
import json
import logging
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal

from trivec.arguments import shown

__all__ = [
    "adapter_problems",
    "at_most",
    "clues",
    "file_problems",
    "tensor_problems",
    "unmerged_problems",
]

_logger = logging.getLogger(__name__)

_NAMED = 8  # problems of one kind that a message spells out

# What training leaves behind, and the same weights in other formats.
_HARMLESS_TENSOR_FILES = (
    *("training_args.*", "optimizer*", "scheduler*", "rng_state*", "scaler*", "random_states*"),
    *("trainer_state*", "tf_model*", "flax_model*", "rust_model*", "*.onnx", "*.onnx_data"),
    *("openvino_model*", "*.gguf", "*.ggml"),
)
_TENSOR_FILES = (
    *("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt"),
    *("*.npz", "*.npy", "*.pkl", "*.pickle", "*.h5"),
)
# Setting files that are read here, by transformers, or that say nothing about vectors.
_KNOWN_JSON = (
    *("config.json", "modules.json", "config_sentence_transformers.json"),
    *("sentence_*_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json"),
    *("special_tokens_map.json", "added_tokens.json", "generation_config.json", "*.index.json"),
    *("trainer_state.json", "*_results.json", "trivec-demo.json", "training_args.json"),
    *("dataset_info.json", "model_card*.json", "train_script_args.json"),
)
_HARMLESS_TENSORS = re.compile(
    r"(?:^|\.)(?:pooler\.dense\.(?:weight|bias)|embeddings\.(?:position_ids|token_type_ids)|"
    r"lm_head\..+|cls\.(?:predictions|seq_relationship)\..+)$"
)
_ADAPTER_TENSORS = re.compile(r"(?:^|\.)(?:lora_|base_layer\.|modules_to_save\.|adapters?\.)")

_MERGE = (
    "merge it into the weights with peft, `PeftModel.from_pretrained(base, folder)"
    ".merge_and_unload().save_pretrained(merged)`, and load the merged folder with its tokenizer"
)


def at_most(problems: list[str]) -> list[str]:
    """Return the first problems of a kind and how many more there are."""
    rest = len(problems) - _NAMED
    return problems if rest <= 0 else [*problems[:_NAMED], f"… and {rest} more like it"]


def adapter_problems(folder: Path) -> list[str]:
    """Return what to do about an adapter in the folder, whose weights are not in the model's."""
    named = ("adapter_config.json", "adapter_model.*", "pytorch_adapter.bin", "adapters.json")
    found = sorted(path.name for name in named for path in folder.glob(name))
    if not found:
        return []
    try:
        settings = json.loads((folder / "adapter_config.json").read_bytes())
        base = f" of {shown(settings['base_model_name_or_path'])}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        base = ""
    return [
        f"{' and '.join(found)}: an adapter{base} changes the vectors and would be ignored; "
        f"{_MERGE} (if the weights have it already, take these files away)"
    ]


def unmerged_problems(names: Iterable[str]) -> list[str]:
    """Return what to do about an adapter among the tensors of the weights."""
    found = sorted(name for name in names if _ADAPTER_TENSORS.search(name))
    if not found:
        return []
    return [f"the weights hold an adapter that is not merged, such as {found[0]}; {_MERGE}"]


def file_problems(folder: Path, read: Collection[str]) -> list[str]:
    """Return a problem for each file of tensors that nobody reads; log unknown setting files.

    Args:
        folder: The model's folder.
        read: The names of the files that are read.
    """
    problems = []
    for path in sorted(folder.iterdir()):
        name = path.name
        if name in read or name.startswith((".", "adapter_model.", "pytorch_adapter.")):
            continue
        if not path.is_file() or _matches(name, _HARMLESS_TENSOR_FILES):
            continue
        if _matches(name, _TENSOR_FILES):
            problems.append(
                f"{name} holds tensors that would be ignored; take it away if they do not belong "
                "to the model"
            )
        elif name.endswith((".json", ".yaml", ".yml")) and not _matches(name, _KNOWN_JSON):
            _logger.warning("%s is not read; if it changes vectors, they are others", path)
    for path in sorted(folder.glob("*/adapter_config.json")):
        _logger.warning("the adapter %s is not read", path.parent)
    return problems


def tensor_problems(
    found: Iterable[str], used: Collection[str], *, kind: Literal["encoder", "reranker"]
) -> list[str]:
    """Return a problem for the tensors of the weights that nobody reads.

    Args:
        found: The names of all tensors in the weight files.
        used: The names of those that are read.
        kind: What the folder is to be used as.
    """
    rest = sorted(set(found) - set(used))
    harmless = [name for name in rest if _HARMLESS_TENSORS.search(name)]
    if harmless:
        _logger.info("not needed for vectors: %s", ", ".join(harmless))
    unknown = [name for name in rest if not _HARMLESS_TENSORS.search(name)]
    if not unknown:
        return []
    if kind == "encoder" and all(re.search(r"(?:^|\.)classifier\.", name) for name in unknown):
        return [
            f"the weights hold a classifier, such as {unknown[0]}: this is a reranker or another "
            "classification model; rerankers are loaded with Reranker.load"
        ]
    shown = ", ".join(unknown[:_NAMED])
    more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
    return [
        f"the weights hold tensors that would be ignored: {shown}{more}; if they do not belong to "
        "the model, save it without them, for an encoder with transformers' "
        "`AutoModel.from_pretrained(folder).save_pretrained(clean)`"
    ]


def clues(folder: Path) -> list[str]:
    """Say what may have become of a model whose files are missing."""
    found = []
    names = ("*.incomplete", "*.part", "*.crdownload", ".cache/huggingface/download/*.incomplete")
    halves = sorted(path.name for name in names for path in folder.glob(name))
    if halves:
        found.append(f"a download was interrupted, {halves[0]} is left of it; download again")
    inside = [*folder.glob("*/config.json"), *folder.glob("snapshots/*/config.json")]
    models = sorted(
        path.parent.relative_to(folder).as_posix()
        for path in inside
        if any(path.parent.glob("*.safetensors")) or any(path.parent.glob("pytorch_model*"))
    )
    if models:
        found.append(f"there is a model in the subfolder {' or '.join(models[:3])}; give that one")
    other = sorted(
        path.relative_to(folder).as_posix()
        for pattern in ("*.onnx", "onnx/*.onnx", "tf_model*", "flax_model*", "*.gguf", "*.ot")
        for path in folder.glob(pattern)
    )
    if other:
        found.append(f"{other[0]} is a format that is not read; get the weights as safetensors")
    return found


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
