"""The tensors in a checkpoint's files; names and shapes are known before tensors are read."""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from trivec.arguments import shown
from trivec.encoders.files import flaw, reason

_logger = logging.getLogger(__name__)

_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
_FLOATS = ("F64", "F32", "F16", "BF16", "float64", "float32", "float16", "bfloat16")


class TensorFiles:
    """The tensors of some files in a folder.

    Args:
        folder: A model's folder.
        files: The names of files of safetensors or of `torch.save`.

    Attributes:
        problems: One sentence for each file that is missing or cannot be read.
        shapes: The shape of each tensor, by name.
        files: The names of the files.
    """

    def __init__(self, folder: Path, files: Iterable[str]) -> None:
        self.problems: list[str] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.files = set(files)
        self._dtypes: dict[str, str] = {}
        self._readers: dict[str, Callable[[], Tensor]] = {}
        self._first_rows: dict[str, Callable[[], Tensor]] = {}
        for name in sorted(self.files):
            path = folder / name
            if not os.path.isfile(path):
                self.problems.append(f"{name} is missing")
            elif wrong := flaw(path):
                self.problems.append(f"{name} {wrong}")
            else:
                try:
                    self._add_file(path)
                except Exception as error:  # the pickle module raises many types
                    self.problems.append(f"{name} {_unread(error)}")

    def read(self, name: str) -> Tensor:
        """Read one tensor in the dtype in which it is stored."""
        return self._readers[name]()

    def is_float(self, name: str) -> bool:
        """Return whether a tensor holds floating-point numbers, not quantised ones."""
        return self._dtypes[name] in _FLOATS

    def difference(self, other: TensorFiles) -> str | None:
        """Return the name of a tensor whose shape or first row differs, or None."""
        for name in sorted(self.shapes.keys() & other.shapes.keys()):
            if self.shapes[name] != other.shapes[name]:
                return name
            if not self.is_float(name) or not other.is_float(name):
                if self._dtypes[name] != other._dtypes[name]:
                    return name
                continue
            row, other_row = self._first_rows[name](), other._first_rows[name]()
            # The same weights may be stored in two dtypes; bfloat16 has 8 bits.
            loss = 0.0 if row.dtype == other_row.dtype else 2**-7
            if not torch.allclose(row.float(), other_row.float(), rtol=loss, atol=loss * 1e-4):
                return name
        return None

    def _add_file(self, path: Path) -> None:
        if path.suffix == ".safetensors":
            file: Any = safe_open(path, framework="pt")  # untyped
            for name in file.keys():  # noqa: SIM118 - not a mapping
                tensor = file.get_slice(name)
                shape = tuple(tensor.get_shape())
                read = partial(file.get_tensor, name)
                first_row = partial(tensor.__getitem__, slice(0, 1)) if shape else read
                self._add(name, shape, tensor.get_dtype(), read, first_row)
        else:
            for name, tensor in _read_state(path).items():
                dtype = str(tensor.dtype).removeprefix("torch.")
                row = tensor[:1] if tensor.ndim else tensor
                self._add(name, tuple(tensor.shape), dtype, tensor.clone, row.clone)

    def _add(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        read: Callable[[], Tensor],
        first_row: Callable[[], Tensor],
    ) -> None:
        # BERT checkpoints converted from TensorFlow call the LayerNorm's tensors gamma and beta.
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
        name = name.replace("LayerNorm.beta", "LayerNorm.bias")
        if name in self.shapes:
            self.problems.append(f"the weights hold {name} twice")
        self.shapes[name], self._dtypes[name] = shape, dtype
        self._readers[name], self._first_rows[name] = read, first_row


def open_weights(folder: Path) -> TensorFiles:
    """Open a model's weights: model.safetensors or pytorch_model.bin, whole or in shards.

    If a folder has several of them, the first one is read, as in transformers. It is a problem if
    the others hold different tensors.
    """
    problems: list[str] = []
    layouts = _layouts(folder, problems)
    if not layouts and not problems:
        problems.append(f"the weights are missing: {' or '.join(_WEIGHT_FILES)}")
    weights = TensorFiles(folder, layouts[0] if layouts else [])
    weights.problems[:0] = problems
    if weights.problems:
        return weights
    for files in layouts[1:]:
        if not any((folder / name).is_file() for name in files):
            continue  # an index without its files
        other = TensorFiles(folder, files)
        if other.problems:
            _logger.warning("%s is read; %s", layouts[0][0], "; ".join(other.problems))
        elif name := weights.difference(other):
            weights.problems.append(
                f"{layouts[0][0]} and {files[0]} hold different weights, such as {name}; keep only "
                "the right ones"
            )
        weights.files |= other.files
    return weights


def _layouts(folder: Path, problems: list[str]) -> list[list[str]]:
    """Return the files of each set of weights in a folder; the first set is the one to read."""
    layouts = []
    for name in _WEIGHT_FILES:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            layouts.append([name])
        elif index.is_file():
            wrong = flaw(index)
            try:
                shards = set(map(str, json.loads(index.read_bytes())["weight_map"].values()))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                problems.append(f"{index.name} {wrong or 'names no files in a weight_map'}")
                continue
            if not shards or any(Path(shard).name != shard or len(shard) > 200 for shard in shards):
                problems.append(
                    f"{index.name} names {shown(sorted(shards))}, expected files beside it"
                )
                continue
            layouts.append(sorted(shards))
    if layouts:  # the same weights in other dtypes, such as model.fp16.safetensors
        variants = [*folder.glob("model.*.safetensors"), *folder.glob("pytorch_model.*.bin")]
        layouts += [[path.name] for path in sorted(variants)]
    return layouts


def _unread(error: Exception) -> str:
    """Return why a file of tensors was not read."""
    text = str(error)
    if isinstance(error, EOFError | IndexError) or re.search(
        r"truncated|central directory|unexpected EOF", text
    ):
        return "is cut short; the download or the copy was interrupted, get the file again"
    if isinstance(error, pickle.UnpicklingError):
        match = re.search(r"GLOBAL (\S+)", text)
        content = f"a Python object, {match[1]}," if match else "Python objects"
        return (
            f"cannot be read: it holds {content} beside tensors, and no code of a checkpoint is "
            "run; save the state_dict of the module alone"
        )
    return f"cannot be read: {reason(error)}"


def _read_state(path: Path) -> dict[str, Tensor]:
    """Read a file that `torch.save` wrote, without running any code in it.

    Raises:
        ValueError: If it is not a dictionary of tensors.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # written before PyTorch 1.6: not a zip file, cannot be mapped
        state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}, expected a dictionary of tensors")
    others = {str(name): type(v).__name__ for name, v in state.items() if not isinstance(v, Tensor)}
    if others:
        name, type_name = next(iter(others.items()))
        raise ValueError(
            f"expected a dictionary of tensors, and {name!r} is a {type_name}; save the state_dict "
            "alone"
        )
    return {str(name): tensor for name, tensor in state.items()}
