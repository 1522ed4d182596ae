"""The setting files of sentence-transformers in a model folder.

Each setting that changes vectors is either followed or refused. The reference is
sentence-transformers 6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trivec.arguments import shown
from trivec.encoders.files import read_json

Pooling = Literal["cls", "mean"]
Purpose = Literal["encoder", "reranker"]
Problems = list[str]

_PACKAGE = "sentence_transformers."
_ENCODER_MODULES = ("Transformer", "Pooling", "Normalize", "Dropout")
_POOLINGS: dict[str, Pooling] = {
    "cls": "cls",
    "mean": "mean",
    # The sum divided by the root of the length: a vector of the same direction.
    "mean_sqrt_len_tokens": "mean",
}
# The names before version 6, in the order in which the pooled vectors are joined.
_LEGACY_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_POOLING_KEYS = ("pooling_mode", "include_prompt", "word_embedding_dimension")
# Settings of the Transformer module that are read here, or do not affect vectors.
_TRANSFORMER_KEYS = (
    *("max_seq_length", "do_lower_case", "processing_kwargs", "modality_config"),
    *("transformer_task", "module_output_name", "unpad_inputs"),
)
_OUTPUTS = {
    "encoder": {"transformer_task": "feature-extraction", "module_output_name": "token_embeddings"},
    "reranker": {"transformer_task": "sequence-classification", "module_output_name": "scores"},
}
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
_COMPARED_BY_ANGLE = (None, "cosine")
_REST = (
    "trivec makes the vectors of a Transformer, Pooling and Normalize, and would leave the rest out"
)
_NO_LIMIT = 10**9  # tokenizers write 10**30 if they have no limit


@dataclass(frozen=True, slots=True)
class Settings:
    """How a checkpoint is to be used.

    Args:
        pooling: The states that make the dense vector.
        include_prompt: Whether the tokens of an instruction are pooled with those of the text.
        query_instruction: The text before each question, or None if not set.
        document_instruction: The text before each document, or None if not set.
        max_length: The most tokens of a text, or None if not set.
        lower_case: Whether texts are converted to lower case before they are tokenised.
        truncate_dim: The number of first numbers that dense vectors keep, or None for all.
    """

    pooling: Pooling = "cls"  # as BAAI/bge-m3
    include_prompt: bool = True
    query_instruction: str | None = None
    document_instruction: str | None = None
    max_length: int | None = None
    lower_case: bool = False
    truncate_dim: int | None = None


def read_settings(
    folder: Path, problems: Problems, *, purpose: Purpose, instructed: bool
) -> Settings:
    """Read the setting files of a model folder; add a problem for each that cannot be followed.

    If `instructed`, the caller gives the instructions for questions and documents.
    """
    modules = _modules(folder, problems, purpose)
    pooling: Pooling = "cls"
    include_prompt = True
    if purpose == "encoder":
        pooling, include_prompt = _pooling(folder, modules.get("Pooling", "1_Pooling"), problems)
    max_length, lower_case = _transformer(folder, problems, purpose)
    tokenizer_limit = _tokenizer_limit(folder, problems)
    file = "config_sentence_transformers.json"
    config = read_json(folder, file, problems) or {}
    query, document = _prompts(config, file, problems, purpose=purpose, instructed=instructed)
    truncate_dim = None
    if purpose == "encoder":
        truncate_dim = _truncate_dim(config, file, problems)
        if config.get("similarity_fn_name") not in _COMPARED_BY_ANGLE:
            problems += _length_problems(
                config, file, normalized="Normalize" in modules, cut=truncate_dim is not None
            )
    return Settings(
        pooling=pooling,
        include_prompt=include_prompt,
        query_instruction=query,
        document_instruction=document,
        max_length=max_length or tokenizer_limit,
        lower_case=lower_case,
        truncate_dim=truncate_dim,
    )


def _modules(folder: Path, problems: Problems, purpose: Purpose) -> dict[str, str]:
    """Return the folder of each module, by name; an unsupported module is a problem."""
    listed = read_json(folder, "modules.json", problems, list)
    if listed is None:
        unlisted = [config.parent.name for config in sorted(folder.glob("[0-9]_*/config.json"))]
        problems += [
            f"{module} is a module that modules.json should list: {_REST}"
            for module in unlisted
            if module[2:] not in _ENCODER_MODULES
        ]
        return {}
    supported = _ENCODER_MODULES if purpose == "encoder" else ("Transformer", "Dropout")
    modules: dict[str, str] = {}
    for item in listed:
        entry = item if isinstance(item, dict) else {"type": item}
        full, path = _text(entry.get("type", "")), _text(entry.get("path", ""))
        name = full.rpartition(".")[2]
        if not full.startswith(_PACKAGE):
            problems.append(
                f"modules.json names code of its own, {shown(full)}, and no code of a "
                "checkpoint is run"
            )
        elif name not in supported or name in modules:
            twice = " twice" if name in modules else ""
            problems.append(f"modules.json has the module {shown(full)}{twice}: {_REST}")
        elif not _is_inside(path):
            problems.append(f"modules.json has the path {shown(path)}, expected a folder beside it")
            continue
        elif name == "Transformer" and path not in ("", "."):
            problems.append(
                f"modules.json keeps the Transformer in {shown(path)}; load the model with "
                "sentence-transformers and save it again, which moves it into the folder itself"
            )
        elif name == "Normalize":
            options = read_json(folder, f"{path}/config.json", problems) or {}
            if options.get("module_input_name", "sentence_embedding") != "sentence_embedding":
                problems.append(f"{path}/config.json normalizes the tokens: {_REST}")
        modules[name] = path
    if purpose == "encoder" and "Pooling" not in modules and not problems:
        problems.append(f"modules.json has no Pooling: {_REST}")
    return modules


def _text(value: object) -> str:
    return value if isinstance(value, str) else shown(value)


def _is_inside(path: str) -> bool:
    """Return whether a module's path is the model's folder or a folder directly in it."""
    return path in ("", ".") or (path == Path(path).name and path != ".." and len(path) < 100)


def _pooling(folder: Path, module: str, problems: Problems) -> tuple[Pooling, bool]:
    name = f"{module}/config.json"
    config = read_json(folder, name, problems)
    if config is None:
        if (folder / "modules.json").is_file() and not (folder / name).is_file():
            problems.append(f"{name} is missing, which modules.json names")
        return "cls", True
    known = {*_POOLING_KEYS, *_LEGACY_POOLINGS, "embedding_dimension"}
    problems += _unknown(name, config, known)
    if "pooling_mode" in config:
        given = config["pooling_mode"]
        modes = [_text(mode) for mode in (given if isinstance(given, list) else [given])]
    else:
        modes = [mode for key, mode in _LEGACY_POOLINGS.items() if config.get(key)] or ["mean"]
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        problems.append(f"{name} asks for {sorted(modes)}, expected cls or mean")
        return "cls", True
    include = config.get("include_prompt", True)
    if not isinstance(include, bool):
        problems.append(f"{name} has include_prompt={shown(include)}, expected true or false")
    return _POOLINGS[modes[0]], include is not False


def _transformer(folder: Path, problems: Problems, purpose: Purpose) -> tuple[int | None, bool]:
    """Return the most tokens of a text, and whether texts are converted to lower case."""
    limit: int | None = None
    lower = False
    # One file for each type of model: sentence_bert_config.json, sentence_xlm-roberta_config.json …
    for path in sorted(folder.glob("sentence_*_config.json")):
        config = read_json(folder, path.name, problems) or {}
        problems += _unknown(path.name, config, set(_TRANSFORMER_KEYS))
        for key, value in _OUTPUTS[purpose].items():
            if config.get(key, value) != value:
                problems.append(
                    f"{path.name} has {key}={shown(config[key])}, expected {shown(value)}"
                )
        text = config.get("processing_kwargs") or {}
        text = text.get("text") if isinstance(text, dict) else None
        text = text if isinstance(text, dict) else {}
        limit = _limit(path.name, "max_seq_length", config, problems) or limit
        limit = _limit(path.name, "max_length", text, problems) or limit
        lower = lower or bool(config.get("do_lower_case"))
    return limit, lower


def _tokenizer_limit(folder: Path, problems: Problems) -> int | None:
    config = read_json(folder, "tokenizer_config.json", problems) or {}
    if config.get("auto_map"):
        problems.append(
            f"tokenizer_config.json: the tokenizer is made by code of its own "
            f"({shown(config['auto_map'])}), and no code of a checkpoint is run"
        )
    extra = config.get("extra_ids")  # the number of tokens that transformers adds
    if extra is not None and (not isinstance(extra, int) or not 0 <= extra <= 10_000):
        problems.append(
            f"tokenizer_config.json has extra_ids={shown(extra)}, expected an integer up to 10000"
        )
    return _limit("tokenizer_config.json", "model_max_length", config, problems)


def _limit(file: str, key: str, config: Mapping[str, Any], problems: Problems) -> int | None:
    value = config.get(key)
    if value is None or (isinstance(value, (int, float)) and value > _NO_LIMIT):
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 3:
        problems.append(f"{file} has {key}={shown(value)}, expected a number of tokens, at least 3")
        return None
    return value


def _truncate_dim(config: Mapping[str, Any], name: str, problems: Problems) -> int | None:
    value = config.get("truncate_dim")
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    problems.append(f"{name} has truncate_dim={shown(value)}, expected a number of dimensions")
    return None


def _length_problems(
    config: Mapping[str, Any], name: str, *, normalized: bool, cut: bool
) -> Problems:
    """Return a problem if the lengths of dense vectors matter to a model."""
    if normalized and not cut:
        return []
    why = "cuts vectors to truncate_dim" if normalized else "modules.json has no Normalize"
    return [
        f"{name} compares vectors by {shown(config['similarity_fn_name'])} and {why}, so "
        "lengths matter to this model; dense vectors here have length 1"
    ]


def _prompts(
    config: Mapping[str, Any], name: str, problems: Problems, *, purpose: Purpose, instructed: bool
) -> tuple[str | None, str | None]:
    expected = "SentenceTransformer" if purpose == "encoder" else "CrossEncoder"
    if config.get("model_type") not in (None, expected):
        problems.append(
            f"{name} says that this is a {_text(config['model_type'])}, expected {expected}"
        )
    given = config.get("prompts") or {}
    if not isinstance(given, dict) or not all(
        isinstance(text, str | None) for text in given.values()
    ):
        problems.append(f"{name} has prompts={shown(given)}, expected a text for each name")
        return None, None
    prompts: dict[str, str] = {key: text for key, text in given.items() if text}
    default = config.get("default_prompt_name")
    if purpose == "reranker":
        if prompts.get(_text(default)):
            problems.append(
                f"{name} puts {prompts[_text(default)]!r} before each pair, which no reranker here "
                "does; put it before the questions yourself and remove default_prompt_name"
            )
        return None, None
    document = next((prompts[key] for key in _DOCUMENT_PROMPTS if key in prompts), None)
    roles = ("query", *_DOCUMENT_PROMPTS)
    text = prompts.get(_text(default))
    if text and default not in roles and not instructed:
        problems.append(
            f"{name} puts {text!r} before questions and documents alike by default; give both "
            "instructions when loading the model, such as "
            f"query_instruction={text!r}, document_instruction=''"
        )
    return prompts.get("query"), document


def _unknown(file: str, config: Mapping[str, Any], known: set[str]) -> Problems:
    """Return a problem for each setting that is unknown and not empty."""
    return [
        f"{file} has {key}={shown(value)}, which trivec does not know; vectors could be wrong"
        for key, value in config.items()
        if key not in known and not re.match("_", key) and value not in (None, False, "", [], {})
    ]
