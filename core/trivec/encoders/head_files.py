"""The sparse and the ColBERT head: in files of their own or among the weights."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from trivec.encoders.tensors import TensorFiles, read_tensors

__all__ = ["HeadReader"]

Layer = tuple[Tensor, Tensor]

# `torch.save` of FlagEmbedding; converted folders have the others.
_MOST = 2**28  # numbers of a head, 1 GiB of float32
_SUFFIXES = (".pt", ".safetensors", ".bin", ".pth")


@dataclass(slots=True)
class HeadReader:
    """Reads the heads of a folder and keeps a record of what it has read.

    Args:
        folder: The model's folder.
        tensors: Its weights; fine-tuning saves the heads there, behind any prefix.
        hidden: Width of a token's state.
        problems: Gets one sentence for each thing that is wrong.

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
            outputs: The rows that the weight must have, or None for any.

        Returns:
            The layer, or None if the checkpoint has none or a wrong one.
        """
        found: dict[str, Layer] = {}
        for source, state in self._sources(name):
            layer = self._layer(source, state, outputs)
            if layer is not None:
                found[source] = layer
        layers = list(found.values())
        if any(not _equal(layers[0], layer) for layer in layers[1:]):
            self.problems.append(
                f"{' and '.join(found)} hold different heads; keep the one that is meant"
            )
        return layers[0] if layers else None

    def _sources(self, name: str) -> Iterable[tuple[str, dict[str, Tensor]]]:
        for path in (self.folder / f"{name}{suffix}" for suffix in _SUFFIXES):
            if path.is_file():
                self.files.add(path.name)
                problems: list[str] = []
                state = read_tensors(path, problems)
                self.problems += problems
                if not problems:
                    yield path.name, _without_prefix(state)
        among = [n for n in self.tensors.shapes if f".{n}".rpartition(".")[0].endswith(f".{name}")]
        if among:
            self.names |= set(among)
            if odd := [n for n in among if not self.tensors.is_float(n)]:
                self.problems.append(f"{odd[0]} among the weights is no floating point")
                return
            if large := [n for n in among if math.prod(self.tensors.shapes[n]) > _MOST]:
                self.problems.append(
                    f"{large[0]} among the weights has shape {self.tensors.shapes[large[0]]}, "
                    "which no head has"
                )
                return
            state = {n: self.tensors.read(n) for n in among}
            yield f"{name} among the weights", _without_prefix(state)

    def _layer(self, source: str, state: dict[str, Tensor], outputs: int | None) -> Layer | None:
        found = {name: tuple(tensor.shape) for name, tensor in state.items()}
        rows = outputs or (found.get("weight") or (0,))[0]
        expected = {"weight": (rows, self.hidden), "bias": (rows,)}
        if not 1 <= rows * self.hidden <= _MOST or found != expected:
            first = outputs or "dimension"
            self.problems.append(
                f"{source} holds {found}, expected weight ({first}, {self.hidden}) "
                f"and bias ({first},)"
            )
            return None
        if not all(tensor.is_floating_point() for tensor in state.values()):
            kinds = sorted({str(tensor.dtype) for tensor in state.values()})
            self.problems.append(f"{source} holds {' and '.join(kinds)}, expected floating point")
            return None
        return state["weight"].float(), state["bias"].float()


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a layer's tensors as weight and bias, whatever its name was; else as they are."""
    short = {name.rpartition(".")[2]: tensor for name, tensor in state.items()}
    return short if len(short) == len(state) else state


def _equal(one: Layer, other: Layer) -> bool:
    pairs: Collection[tuple[Tensor, Tensor]] = list(zip(one, other, strict=True))
    return all(a.shape == b.shape and torch.allclose(a, b, rtol=2**-7) for a, b in pairs)
