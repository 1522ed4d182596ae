"""The tensors of a checkpoint's files, whose names and shapes are known before they are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

__all__ = ["TensorFiles", "read_linear", "read_state"]

_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


class TensorFiles:
    """The tensors of the weight files in a folder.

    Args:
        folder: A folder with model.safetensors or pytorch_model.bin, whole or in shards.

    Attributes:
        problems: One sentence for each file that is missing or cannot be read.
        shapes: Each tensor's name and shape.
    """

    def __init__(self, folder: Path) -> None:
        self.problems: list[str] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._readers: dict[str, Callable[[], Tensor]] = {}
        for name in self._files(folder):
            try:
                if name.endswith(".safetensors"):
                    self._add_safetensors(folder / name)
                else:
                    self._add_pickle(folder / name)
            except FileNotFoundError:
                self.problems.append(f"{name} is missing")
            except (OSError, RuntimeError, SafetensorError, ValueError, EOFError) as error:
                self.problems.append(f"{name} cannot be read: {error}")
            except Exception as error:  # the pickle module raises UnpicklingError and others
                self.problems.append(f"{name} cannot be read: {type(error).__name__}: {error}")

    def read(self, name: str) -> Tensor:
        """Read one tensor in the precision in which it is stored."""
        return self._readers[name]()

    def _files(self, folder: Path) -> list[str]:
        for name in _WEIGHT_FILES:
            if (folder / name).is_file():
                return [name]
            index = folder / f"{name}.index.json"
            if index.is_file():
                try:
                    shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
                    return sorted(set(map(str, shards)))
                except (ValueError, KeyError, AttributeError) as error:
                    self.problems.append(f"{index.name} cannot be read: {error!r}")
                    return []
        self.problems.append(f"the weights are missing: {' or '.join(_WEIGHT_FILES)}")
        return []

    def _add_safetensors(self, path: Path) -> None:
        file: Any = safe_open(path, framework="pt")  # untyped
        for name in file.keys():  # noqa: SIM118 - not a mapping
            shape = file.get_slice(name).get_shape()
            self._add(name, tuple(shape), partial(file.get_tensor, name))

    def _add_pickle(self, path: Path) -> None:
        for name, tensor in read_state(path).items():
            self._add(name, tuple(tensor.shape), tensor.clone)

    def _add(self, name: str, shape: tuple[int, ...], read: Callable[[], Tensor]) -> None:
        # BERT checkpoints converted from TensorFlow call the LayerNorm's tensors gamma and beta.
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
        name = name.replace("LayerNorm.beta", "LayerNorm.bias")
        self.shapes[name] = shape
        self._readers[name] = read


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a file that `torch.save` wrote, without running any code in it.

    Raises:
        ValueError: If it is not a dictionary of tensors.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # written before PyTorch 1.6: not a zip file, cannot be mapped
        state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError("expected a dictionary of tensors")
    return {str(name): tensor for name, tensor in state.items()}


def read_linear(
    path: Path, inputs: int, outputs: int | None, problems: list[str]
) -> tuple[Tensor, Tensor] | None:
    """Read the float32 weight (outputs, inputs) and bias (outputs,) of an `nn.Linear`.

    Args:
        path: A head's file; None is returned if it does not exist.
        inputs: The model's hidden size.
        outputs: The rows that the weight must have, or None for any.
        problems: Gets one sentence for each thing that is wrong.
    """
    if not path.is_file():
        return None
    try:
        state = read_state(path)
    except Exception as error:
        problems.append(f"{path.name} cannot be read: {type(error).__name__}: {error}")
        return None
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    rows = outputs or (found.get("weight") or (0,))[0]
    expected = {"weight": (rows, inputs), "bias": (rows,)}
    if rows < 1 or any(found.get(name) != shape for name, shape in expected.items()):
        first = outputs or "dimension"
        problems.append(
            f"{path.name} holds {found}, expected weight ({first}, {inputs}) and bias ({first},)"
        )
        return None
    return state["weight"].float(), state["bias"].float()
