"""The heads of a model, which turn the states of its backbone into vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trivec.encoders.arrays import Array, read_arrays
from trivec.encoders.head_checks import (
    HEAD_FILES,
    HEAD_SUFFIXES,
    by_last_part,
    difference_problem,
    shape_problem,
)
from trivec.encoders.hub import fetch
from trivec.errors import CheckpointError, MissingDependencyError

Layer = tuple[Array, Array]
"""The weight (outputs, hidden) and the bias (outputs,) of a linear layer."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadLayers:
    """The heads of a model, read without its weights and without torch.

    Args:
        sparse: The layer of the lexical weights, or None.
        colbert: The layer of the token vectors, or None.
    """

    sparse: Layer | None
    colbert: Layer | None

    @classmethod
    def read(cls, model: str | Path) -> HeadLayers:
        """Read the files of a local folder, or of a model on the hub.

        Raises:
            CheckpointError: If there is no such model, or a file is damaged.
            MissingDependencyError: If it is on the hub, and huggingface-hub is not installed.
        """
        try:
            folder = fetch(model, revision=None, cache_dir=None, local_only=False, files=HEAD_FILES)
        except ImportError as error:
            raise MissingDependencyError(
                f"the heads of {str(model)!r} are on the hub, and huggingface-hub is not "
                "installed; run: pip install 'trivec[tei]', or give a folder with "
                "sparse_linear.pt and colbert_linear.pt as heads"
            ) from error
        sparse, colbert = read_layer(folder, "sparse_linear"), read_layer(folder, "colbert_linear")
        widths = {layer[0].shape[1] for layer in (sparse, colbert) if layer is not None}
        if len(widths) > 1:
            raise CheckpointError(
                f"the heads in {folder} take {' and '.join(map(str, sorted(widths)))} numbers for "
                "a token; they belong to different models"
            )
        return cls(sparse, colbert)

    @property
    def hidden(self) -> int | None:
        """The number of inputs of the heads, or None if there is none."""
        layer = self.sparse or self.colbert
        return None if layer is None else int(layer[0].shape[1])


def read_layer(folder: Path, name: str) -> Layer | None:
    """Return a head of a model folder, or None if the folder has none.

    Args:
        folder: A folder with files of heads, such as BAAI/bge-m3's.
        name: sparse_linear or colbert_linear.

    Raises:
        CheckpointError: If a file cannot be read or is no linear layer, or two files differ.
    """
    outputs = 1 if name == "sparse_linear" else None
    paths = [folder / f"{name}{suffix}" for suffix in HEAD_SUFFIXES]
    layers = {path.name: _read(path, outputs) for path in paths if path.is_file()}
    if (problem := difference_problem(layers)) is not None:
        raise CheckpointError(f"{folder}: {problem}")
    return next(iter(layers.values()), None)


def _read(path: Path, outputs: int | None) -> Layer:
    """Return the layer in a file, whose weight has so many rows, or any number if None."""
    arrays = read_arrays(path)
    full = by_last_part(arrays)
    shapes = {tensor: arrays[name].shape for tensor, name in full.items()}
    problem = shape_problem(str(path), shapes, outputs=outputs, hidden=None)
    if problem is not None:
        raise CheckpointError(problem)
    weight, bias = arrays[full["weight"]], arrays[full["bias"]]
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise CheckpointError(f"{path} holds numbers that are not finite")
    return weight, bias
