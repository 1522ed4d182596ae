"""The layers of the sparse and the ColBERT head, from separate files or from the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from trivec.encoders.tensors import TensorFiles, read_tensors

Layer = tuple[Tensor, Tensor]

_MAX_NUMBERS = 2**28  # of a head; 1 GiB of float32
# FlagEmbedding writes .pt; converted folders have the others.
_SUFFIXES = (".pt", ".safetensors", ".bin", ".pth")


@dataclass(slots=True)
class HeadReader:
    """Reads the heads of a folder and records what it has read.

    Args:
        folder: The model's folder.
        tensors: The model's weights; fine-tuning saves the heads there, under any prefix.
        hidden: Width of a token's state.
        problems: A sentence is appended for each problem.

    Attributes:
        files: The names of the files that were read.
        names: The names of the tensors among the weights that were read.
    """

    folder: Path
    tensors: TensorFiles
    hidden: int
    problems: list[str]
    files: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    def read(self, name: str, outputs: int | None) -> Layer | None:
        """Return the float32 weight (outputs, hidden) and bias (outputs,) of a head.

        Args:
            name: sparse_linear or colbert_linear.
            outputs: The number of rows that the weight must have, or None for any.

        Returns:
            The layer, or None if the checkpoint has no valid one.
        """
        layers: dict[str, Layer] = {}
        for source, state in self._sources(name):
            layer = self._layer(source, state, outputs)
            if layer is not None:
                layers[source] = layer
        heads = list(layers.values())
        if any(not _equal(heads[0], head) for head in heads[1:]):
            self.problems.append(
                f"{' and '.join(layers)} hold different heads; keep only the right one"
            )
        return heads[0] if heads else None

    def _sources(self, name: str) -> Iterable[tuple[str, dict[str, Tensor]]]:
        for path in (self.folder / f"{name}{suffix}" for suffix in _SUFFIXES):
            if path.is_file():
                self.files.add(path.name)
                problems: list[str] = []
                state = read_tensors(path, problems)
                self.problems += problems
                if not problems:
                    yield path.name, _without_prefix(state)
        shapes = self.tensors.shapes
        names = [n for n in shapes if f".{n}".rpartition(".")[0].endswith(f".{name}")]
        if names:
            self.names |= set(names)
            if integers := [n for n in names if not self.tensors.is_float(n)]:
                self.problems.append(f"{integers[0]} among the weights is not floating point")
                return
            if large := [n for n in names if math.prod(shapes[n]) > _MAX_NUMBERS]:
                self.problems.append(
                    f"{large[0]} among the weights has shape {shapes[large[0]]}, which no head has"
                )
                return
            state = {n: self.tensors.read(n) for n in names}
            yield f"{name} among the weights", _without_prefix(state)

    def _layer(self, source: str, state: dict[str, Tensor], outputs: int | None) -> Layer | None:
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        rows = outputs or (shapes.get("weight") or (0,))[0]
        expected = {"weight": (rows, self.hidden), "bias": (rows,)}
        if not 1 <= rows * self.hidden <= _MAX_NUMBERS or shapes != expected:
            first = outputs or "dimension"
            self.problems.append(
                f"{source} holds {shapes}, expected weight ({first}, {self.hidden}) "
                f"and bias ({first},)"
            )
            return None
        if not all(tensor.is_floating_point() for tensor in state.values()):
            dtypes = sorted({str(tensor.dtype) for tensor in state.values()})
            self.problems.append(f"{source} holds {' and '.join(dtypes)}, expected floating point")
            return None
        return state["weight"].float(), state["bias"].float()


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors named by the last component of their names, if these are unique."""
    short = {name.rpartition(".")[2]: tensor for name, tensor in state.items()}
    return short if len(short) == len(state) else state


def _equal(first: Layer, second: Layer) -> bool:
    return all(
        a.shape == b.shape and torch.allclose(a, b, rtol=2**-7)
        for a, b in zip(first, second, strict=True)
    )
