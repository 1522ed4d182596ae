"""The layers of the sparse and the ColBERT head, from separate files or from the weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from trivec.encoders.head_checks import (
    HEAD_SUFFIXES,
    by_last_part,
    difference_problem,
    shape_problem,
)
from trivec.encoders.tensors import TensorFiles, open_weights

Layer = tuple[Tensor, Tensor]


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
        for suffix in HEAD_SUFFIXES:
            file = f"{name}{suffix}"
            if (self.folder / file).is_file():
                self.files.add(file)
                tensors = TensorFiles(self.folder, [file])
                self.problems += tensors.problems
                if not tensors.problems:
                    layers |= self._layer(file, tensors, tensors.shapes, outputs)
        names = [n for n in self.tensors.shapes if f".{n}".rpartition(".")[0].endswith(f".{name}")]
        if names:
            self.names |= set(names)
            layers |= self._layer(f"{name} among the weights", self.tensors, names, outputs)
        if (problem := difference_problem(layers)) is not None:
            self.problems.append(problem)
        return next(iter(layers.values()), None)

    def _layer(
        self, source: str, tensors: TensorFiles, names: Iterable[str], outputs: int | None
    ) -> dict[str, Layer]:
        """Return the layer that some tensors make, under its source; nothing if it is invalid."""
        full = by_last_part(names)
        shapes = {tensor: tensors.shapes[name] for tensor, name in full.items()}
        problem = shape_problem(source, shapes, outputs=outputs, hidden=self.hidden)
        if problem is not None:
            self.problems.append(problem)
        elif integers := [name for name in full.values() if not tensors.is_float(name)]:
            self.problems.append(f"{source}: {integers[0]} is quantised; save it as floating point")
        else:
            weight, bias = (tensors.read(full[tensor]).float() for tensor in ("weight", "bias"))
            if weight.isfinite().all() and bias.isfinite().all():
                return {source: (weight, bias)}
            self.problems.append(f"{source} holds numbers that are not finite")
        return {}


def read_heads_of(
    folder: Path, hidden: int, problems: list[str]
) -> tuple[Layer | None, Layer | None]:
    """Return the sparse and the ColBERT head of another checkpoint.

    Args:
        folder: The other checkpoint's folder; its weights may be missing if its heads have files
            of their own.
        hidden: Width of a token's state in the model that takes the heads.
        problems: A sentence is appended for each problem.
    """
    has_weights = any(
        any(folder.glob(pattern)) for pattern in ("model*.safetensors", "pytorch_model*.bin")
    )
    weights = open_weights(folder) if has_weights else TensorFiles(folder, [])
    found: list[str] = list(weights.problems)
    reader = HeadReader(folder, weights, hidden, found)
    heads = reader.read("sparse_linear", 1), reader.read("colbert_linear", None)
    if not found and heads == (None, None):
        found.append("it has neither sparse_linear nor colbert_linear")
    problems += [
        f"the heads in {folder} do not fit a model of {hidden} numbers per token: {problem}"
        for problem in found
    ]
    return heads
