"""The heads of a model, which turn the states of its backbone into vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trivec.encoders.arrays import Array, read_arrays
from trivec.encoders.hub import fetch
from trivec.errors import CheckpointError, MissingDependencyError

Layer = tuple[Array, Array]
"""The weight (outputs, hidden) and the bias (outputs,) of a linear layer."""

_SUFFIXES = (".safetensors", ".pt", ".bin", ".pth")
_FILES = [f"{name}_linear{suffix}" for name in ("sparse", "colbert") for suffix in _SUFFIXES]


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
            folder = fetch(model, revision=None, cache_dir=None, local_only=False, files=_FILES)
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
        CheckpointError: If the file cannot be read, or is no linear layer.
    """
    path = next((p for s in _SUFFIXES if (p := folder / f"{name}{s}").is_file()), None)
    if path is None:
        return None
    arrays = {key.rpartition(".")[2]: array for key, array in read_arrays(path).items()}
    weight, bias = arrays.get("weight"), arrays.get("bias")
    if weight is not None and bias is not None and len(arrays) == 2 and weight.ndim == 2:
        outputs = 1 if name == "sparse_linear" else len(weight)
        if len(weight) == outputs > 0 and bias.shape == (outputs,):
            return weight, bias
    shapes = {key: array.shape for key, array in arrays.items()}
    first = 1 if name == "sparse_linear" else "dimension"
    raise CheckpointError(
        f"{path} holds {shapes}, expected weight ({first}, hidden) and bias ({first},)"
    )
