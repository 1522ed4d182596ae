"""Files and tensors of a model folder that are not read; nothing is ignored silently."""

from __future__ import annotations

import fnmatch
import json
import logging
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from trivec.arguments import shown
from trivec.encoders.settings import Purpose

_logger = logging.getLogger(__name__)

_LISTED = 8  # problems of one type that a message lists

# Files that training leaves behind, and the same weights in other formats.
_HARMLESS_TENSOR_FILES = (
    *("training_args.*", "optimizer*", "scheduler*", "rng_state*", "scaler*", "random_states*"),
    *("trainer_state*", "tf_model*", "flax_model*", "rust_model*", "*.onnx", "*.onnx_data"),
    *("openvino_model*", "*.gguf", "*.ggml"),
)
_TENSOR_FILES = (
    *("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt"),
    *("*.npz", "*.npy", "*.pkl", "*.pickle", "*.h5"),
)
# Setting files that are read here or by transformers, or that do not affect vectors.
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
    """Return the first problems of a list and the number of the others."""
    rest = len(problems) - _LISTED
    return problems if rest <= 0 else [*problems[:_LISTED], f"… and {rest} more like it"]


def adapter_problems(folder: Path) -> list[str]:
    """Return a problem, with its remedy, if the folder has an adapter that is not merged."""
    named = ("adapter_config.json", "adapter_model.*", "pytorch_adapter.bin", "adapters.json")
    files = sorted(path.name for name in named for path in folder.glob(name))
    if not files:
        return []
    try:
        settings = json.loads((folder / "adapter_config.json").read_bytes())
        base = f" of {shown(settings['base_model_name_or_path'])}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        base = ""
    return [
        f"{' and '.join(files)}: an adapter{base} changes the vectors and would be ignored; "
        f"{_MERGE} (if it is already merged, remove these files)"
    ]


def unmerged_problems(names: Iterable[str]) -> list[str]:
    """Return a problem, with its remedy, if the weights hold the tensors of an adapter."""
    adapter = sorted(name for name in names if _ADAPTER_TENSORS.search(name))
    if not adapter:
        return []
    return [f"the weights hold an adapter that is not merged, such as {adapter[0]}; {_MERGE}"]


def file_problems(folder: Path, read: Collection[str]) -> list[str]:
    """Return a problem for each file of tensors that is not read; log unknown setting files."""
    problems = []
    for path in sorted(folder.iterdir()):
        name = path.name
        if name in read or name.startswith((".", "adapter_model.", "pytorch_adapter.")):
            continue
        if not path.is_file() or _matches(name, _HARMLESS_TENSOR_FILES):
            continue
        if _matches(name, _TENSOR_FILES):
            problems.append(
                f"{name} holds tensors that would be ignored; remove it if they do not belong to "
                "the model"
            )
        elif name.endswith((".json", ".yaml", ".yml")) and not _matches(name, _KNOWN_JSON):
            _logger.warning("%s is not read; if it affects vectors, these are wrong", path)
    for path in sorted(folder.glob("*/adapter_config.json")):
        _logger.warning("the adapter %s is not read", path.parent)
    return problems


def tensor_problems(names: Iterable[str], used: Collection[str], *, purpose: Purpose) -> list[str]:
    """Return a problem for the tensors of the weights that are not used."""
    rest = sorted(set(names) - set(used))
    harmless = [name for name in rest if _HARMLESS_TENSORS.search(name)]
    if harmless:
        _logger.info("not needed for vectors: %s", ", ".join(harmless))
    unknown = [name for name in rest if not _HARMLESS_TENSORS.search(name)]
    if not unknown:
        return []
    if purpose == "encoder" and all(re.search(r"(?:^|\.)classifier\.", name) for name in unknown):
        return [
            f"the weights hold a classifier, such as {unknown[0]}: this is a reranker or another "
            "classification model; rerankers are loaded with Reranker.load"
        ]
    listed = ", ".join(unknown[:_LISTED])
    more = f" and {len(unknown) - _LISTED} more" if len(unknown) > _LISTED else ""
    return [
        f"the weights hold tensors that would be ignored: {listed}{more}; if they do not belong to "
        "the model, save it without them, for an encoder with transformers' "
        "`AutoModel.from_pretrained(folder).save_pretrained(clean)`"
    ]


def missing_file_clues(folder: Path) -> list[str]:
    """Return possible reasons why the files of a model are missing."""
    clues = []
    names = ("*.incomplete", "*.part", "*.crdownload", ".cache/huggingface/download/*.incomplete")
    halves = sorted(path.name for name in names for path in folder.glob(name))
    if halves:
        clues.append(f"a download was interrupted, {halves[0]} is left of it; download again")
    configs = [*folder.glob("*/config.json"), *folder.glob("snapshots/*/config.json")]
    models = sorted(
        path.parent.relative_to(folder).as_posix()
        for path in configs
        if any(path.parent.glob("*.safetensors")) or any(path.parent.glob("pytorch_model*"))
    )
    if models:
        clues.append(f"there is a model in the subfolder {' or '.join(models[:3])}; give that one")
    other = sorted(
        path.relative_to(folder).as_posix()
        for pattern in ("*.onnx", "onnx/*.onnx", "tf_model*", "flax_model*", "*.gguf", "*.ot")
        for path in folder.glob(pattern)
    )
    if other:
        clues.append(f"{other[0]} is a format that is not read; get the weights as safetensors")
    return clues


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
