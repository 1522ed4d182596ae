"""The tensors of a checkpoint's files, whose names and shapes are known before they are read."""

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

__all__ = ["TensorFiles", "open_weights", "read_state", "read_tensors"]

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
        shapes: Each tensor's name and shape.
        files: The names of the files.
    """

    def __init__(self, folder: Path, files: Iterable[str]) -> None:
        self.problems: list[str] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.files = set(files)
        self._kinds: dict[str, str] = {}
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
                except Exception as error:  # the pickle module raises all kinds of them
                    self.problems.append(f"{name} {_unread(error)}")

    def read(self, name: str) -> Tensor:
        """Read one tensor in the precision in which it is stored."""
        return self._readers[name]()

    def is_float(self, name: str) -> bool:
        """Return whether a tensor holds numbers that can be used as they are."""
        return self._kinds[name] in _FLOATS

    def difference(self, other: TensorFiles) -> str | None:
        """Return a tensor that is not the same in both, by its shape and its first row."""
        for name in sorted(self.shapes.keys() & other.shapes.keys()):
            if self.shapes[name] != other.shapes[name]:
                return name
            if not self.is_float(name) or not other.is_float(name):
                if self._kinds[name] != other._kinds[name]:
                    return name
                continue
            ours, theirs = self._first_rows[name](), other._first_rows[name]()
            # The same weights may be stored in two precisions; bfloat16 has 8 bits.
            loss = 0.0 if ours.dtype == theirs.dtype else 2**-7
            if not torch.allclose(ours.float(), theirs.float(), rtol=loss, atol=loss * 1e-4):
                return name
        return None

    def _add_file(self, path: Path) -> None:
        if path.suffix == ".safetensors":
            file: Any = safe_open(path, framework="pt")  # untyped
            for name in file.keys():  # noqa: SIM118 - not a mapping
                part = file.get_slice(name)
                shape = tuple(part.get_shape())
                read = partial(file.get_tensor, name)
                first = partial(part.__getitem__, slice(0, 1)) if shape else read
                self._add(name, shape, part.get_dtype(), read, first)
        else:
            for name, tensor in read_state(path).items():
                kind = str(tensor.dtype).removeprefix("torch.")
                row = tensor[:1] if tensor.ndim else tensor
                self._add(name, tuple(tensor.shape), kind, tensor.clone, row.clone)

    def _add(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: str,
        read: Callable[[], Tensor],
        first: Callable[[], Tensor],
    ) -> None:
        # BERT checkpoints converted from TensorFlow call the LayerNorm's tensors gamma and beta.
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
        name = name.replace("LayerNorm.beta", "LayerNorm.bias")
        if name in self.shapes:
            self.problems.append(f"the weights hold {name} twice")
        self.shapes[name], self._kinds[name] = shape, kind
        self._readers[name], self._first_rows[name] = read, first


def open_weights(folder: Path) -> TensorFiles:
    """Open a model's weights: model.safetensors or pytorch_model.bin, whole or in shards.

    Where a folder has several of them, the first is read, as transformers does, and a problem
    says so if the others hold something else.
    """
    problems: list[str] = []
    layouts = _layouts(folder, problems)
    if not layouts and not problems:
        problems.append(f"the weights are missing: {' or '.join(_WEIGHT_FILES)}")
    found = TensorFiles(folder, layouts[0] if layouts else [])
    found.problems[:0] = problems
    if found.problems:
        return found
    for files in layouts[1:]:
        if not any((folder / name).is_file() for name in files):
            continue  # an index that came alone
        other = TensorFiles(folder, files)
        if other.problems:
            _logger.warning("%s is read; %s", layouts[0][0], "; ".join(other.problems))
        elif name := found.difference(other):
            found.problems.append(
                f"{layouts[0][0]} and {files[0]} hold different weights, such as {name}; keep the "
                "one that is meant"
            )
        found.files |= other.files
    return found


def _layouts(folder: Path, problems: list[str]) -> list[list[str]]:
    """Return the files of each set of weights in a folder, the one that is read first."""
    found = []
    for name in _WEIGHT_FILES:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            found.append([name])
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
            found.append(sorted(shards))
    if found:  # the same in another precision, such as model.fp16.safetensors
        variants = [*folder.glob("model.*.safetensors"), *folder.glob("pytorch_model.*.bin")]
        found += [[path.name] for path in sorted(variants)]
    return found


def _unread(error: Exception) -> str:
    """Say why a file of tensors was not read."""
    text = str(error)
    if isinstance(error, EOFError | IndexError) or re.search(
        r"truncated|central directory|unexpected EOF", text
    ):
        return "is cut short; the download or the copy was interrupted, get the file again"
    if isinstance(error, pickle.UnpicklingError):
        found = re.search(r"GLOBAL (\S+)", text)
        what = f"a Python object, {found[1]}," if found else "Python objects"
        return (
            f"cannot be read: it holds {what} beside tensors, and no code of a checkpoint is run; "
            "save the state_dict of the module alone"
        )
    return f"cannot be read: {reason(error)}"


def read_state(path: Path) -> dict[str, Tensor]:
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
        name, kind = next(iter(others.items()))
        raise ValueError(
            f"expected a dictionary of tensors, and {name!r} is a {kind}; save the state_dict alone"
        )
    return {str(name): tensor for name, tensor in state.items()}


def read_tensors(path: Path, problems: list[str]) -> dict[str, Tensor]:
    """Read all tensors of one small file; if it cannot be read, that is a problem.

    Args:
        path: A .safetensors file, or one that `torch.save` wrote.
        problems: Gets one sentence if it cannot be read.
    """
    wrong = flaw(path)
    if wrong is None:
        try:
            if path.suffix != ".safetensors":
                return read_state(path)
            file: Any = safe_open(path, framework="pt")  # untyped
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except Exception as error:
            wrong = _unread(error)
    problems.append(f"{path.name} {wrong}")
    return {}
