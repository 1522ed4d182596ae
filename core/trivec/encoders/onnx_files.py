"""The folder of an exported model: its files, and the settings that its vectors depend on."""

from __future__ import annotations

import hashlib
import json
import os.path
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

from trivec.arguments import shown
from trivec.encoders.files import expanded, flaw, read_json
from trivec.encoders.settings import Pooling
from trivec.errors import CheckpointError

OPSET = 17
FORMAT = 1
SETTINGS, GRAPH, DATA, TOKENIZER = (
    "trivec-onnx.json",
    "model.onnx",
    "model.onnx_data",
    "tokenizer.json",
)
FILES = (GRAPH, DATA, TOKENIZER)

_SAMPLES, _SAMPLE = 64, 2**20  # a fingerprint reads at most so many blocks of so many bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """The settings of an exported model.

    Args:
        model: The model's name in a `Schema`.
        revision: The commit on the hub, or None if it is unknown.
        dense: The dense dimension.
        hidden: The numbers of a state, of which the first `dense` make the dense vector.
        sparse: Whether there are lexical weights.
        colbert: The dimension of a token vector, or None.
        pooling: The states that make the dense vector.
        include_prompt: Whether the tokens of an instruction are pooled with those of the text.
        query_instruction: The text before each question.
        document_instruction: The text before each document.
        heads: The name of the checkpoint of the sparse and the ColBERT head, None for its own.
        max_length: The default for the most tokens of a text.
        own_length: The same by the checkpoint, without the option of the export.
        model_length: The most tokens that the model can take.
        vocabulary: The number of token ids that the model knows.
        special_ids: The ids that carry no lexical weight.
        padding: The id that fills shorter texts of a batch.
        keep_end: Whether a text that is too long loses its beginning.
    """

    model: str
    revision: str | None
    dense: int
    hidden: int
    sparse: bool
    colbert: int | None
    pooling: Pooling
    include_prompt: bool
    query_instruction: str
    document_instruction: str
    heads: str | None
    max_length: int
    own_length: int
    model_length: int
    vocabulary: int
    special_ids: list[int]
    padding: int
    keep_end: bool

    def write(self, folder: Path) -> None:
        """Write the settings beside the other files, which must be complete."""
        prints = {name: fingerprint(folder / name) for name in FILES}
        content = {"format": FORMAT, "opset": OPSET, "settings": asdict(self), "files": prints}
        text = json.dumps(content, indent=2, ensure_ascii=False)
        (folder / SETTINGS).write_text(f"{text}\n", encoding="utf-8")


def is_export(folder: str | Path) -> bool:
    """Return whether a folder is one that `trivec export` wrote."""
    return os.path.isfile(expanded(folder) / SETTINGS)  # unlike Path.is_file, never raises


def exported_name(folder: Path) -> str | None:
    """Return the name of an exported model; None if the folder has none that can be read."""
    if not is_export(folder):
        return None
    settings = (read_json(folder, SETTINGS, []) or {}).get("settings")
    name = settings.get("model") if isinstance(settings, dict) else None
    return name if isinstance(name, str) else None


def read_export(folder: Path) -> ExportSettings:
    """Read the settings of an exported model, and check that its files are the exported ones.

    Raises:
        CheckpointError: If files are missing, damaged or of another model; the message lists all
            problems.
    """
    problems: list[str] = []
    settings = None
    if not is_export(folder):
        problems.append(f"{SETTINGS} is missing; `trivec export MODEL DIR` writes such a folder")
    elif (content := read_json(folder, SETTINGS, problems)) is not None:
        settings = _settings(content, problems)
        prints = content.get("files")
        prints = prints if isinstance(prints, dict) else {}
        for name in FILES if not problems else ():
            problems += _file_problems(folder / name, prints.get(name))
    if problems or settings is None:
        raise CheckpointError(
            f"the exported model in {folder} cannot be loaded:\n"
            + "\n".join(f"- {problem}" for problem in problems)
        )
    return settings


def _file_problems(path: Path, expected: object) -> list[str]:
    if not path.is_file():
        return [f"{path.name} is missing; export the model again"]
    if wrong := flaw(path):
        return [f"{path.name} {wrong}"]
    if fingerprint(path) != expected:
        return [
            f"{path.name} is not the file that was exported with {SETTINGS}: it is damaged or of "
            "another model; export the model again"
        ]
    return []


def _settings(content: Mapping[str, Any], problems: list[str]) -> ExportSettings | None:
    for key, known in (("format", FORMAT), ("opset", OPSET)):
        if content.get(key) != known:
            problems.append(
                f"{SETTINGS} has {key}={shown(content.get(key))}, expected {known}; export the "
                "model again with this version of trivec"
            )
            return None
    given = content.get("settings")
    given = given if isinstance(given, dict) else {}
    wrong = [name for name, holds in _CHECKS.items() if not holds(given.get(name))]
    if not wrong and given["dense"] > given["hidden"]:
        wrong = ["dense"]
    if wrong:
        problems.append(
            f"{SETTINGS} has {wrong[0]}={shown(given.get(wrong[0]))}, which no export writes; "
            "export the model again"
        )
        return None
    return ExportSettings(**{field.name: given[field.name] for field in fields(ExportSettings)})


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31


def _is_id(value: object) -> bool:
    return (value == 0 and not isinstance(value, bool)) or _is_count(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_ids(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_id, value))


_CHECKS = {
    "model": _is_text,
    "revision": lambda value: value is None or _is_text(value),
    "dense": _is_count,
    "hidden": _is_count,
    "sparse": _is_flag,
    "colbert": lambda value: value is None or _is_count(value),
    "pooling": lambda value: value in get_args(Pooling),
    "include_prompt": _is_flag,
    "query_instruction": _is_text,
    "document_instruction": _is_text,
    "heads": lambda value: value is None or _is_text(value),
    "max_length": _is_count,
    "own_length": _is_count,
    "model_length": _is_count,
    "vocabulary": _is_count,
    "special_ids": _is_ids,
    "padding": _is_id,
    "keep_end": _is_flag,
}


def fingerprint(path: Path) -> str:
    """Return a digest of a file's size and of its content, or of blocks all over a large one.

    Reading gigabytes at each start would take seconds. Another model's file of the same size
    differs in every block.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for number in range(_SAMPLES):
            start = number * _SAMPLE
            if size > _SAMPLES * _SAMPLE:
                start = number * (size - _SAMPLE) // (_SAMPLES - 1)
            file.seek(start)
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()
