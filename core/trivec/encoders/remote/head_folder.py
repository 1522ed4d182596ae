"""The files of a model that turn the states of its backbone into vectors: heads and tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trivec.encoders.arrays import Array, read_arrays
from trivec.encoders.files import read_json, reason
from trivec.encoders.hub import fetch
from trivec.encoders.tokenizer import TextTokenizer
from trivec.errors import CheckpointError

Layer = tuple[Array, Array]
"""The weight (outputs, hidden) and the bias (outputs,) of a linear layer."""

_SUFFIXES = (".safetensors", ".pt", ".bin", ".pth")
_SPECIAL = ("cls", "bos", "eos", "sep", "pad", "unk")  # as `TextTokenizer.load`


@dataclass(frozen=True, slots=True, eq=False)
class HeadFolder:
    """The heads of a model and its tokenizer, read without torch and transformers.

    Args:
        sparse: The layer of the lexical weights, or None.
        colbert: The layer of the token vectors, or None.
        tokenizer: The tokenizer, or None if the model has no head.
        source: Where they come from, for messages.
    """

    sparse: Layer | None
    colbert: Layer | None
    tokenizer: TextTokenizer | None
    source: str

    @classmethod
    def read(cls, model: str | Path) -> HeadFolder:
        """Read the files of a local folder, or of a model on the hub.

        Raises:
            CheckpointError: If there is no such model, or a file is missing or damaged.
        """
        folder = fetch(model, revision=None, cache_dir=None, local_only=False, weights=False)
        sparse, colbert = read_layer(folder, "sparse_linear"), read_layer(folder, "colbert_linear")
        widths = {layer[0].shape[1] for layer in (sparse, colbert) if layer is not None}
        if len(widths) > 1:
            raise CheckpointError(
                f"the heads in {folder} take {' and '.join(map(str, sorted(widths)))} numbers for "
                "a token; they belong to different models"
            )
        tokenizer = load_tokenizer(folder) if widths else None
        return cls(sparse, colbert, tokenizer, str(model))

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


def load_tokenizer(folder: Path) -> TextTokenizer:
    """Load the tokenizer.json of a model folder, which needs no transformers.

    Raises:
        CheckpointError: If it is missing or cannot be read.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} has heads and no tokenizer.json, which they need")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library's exceptions have no type of their own
        raise CheckpointError(f"{path} cannot be read: {reason(error)}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    problems: list[str] = []
    ids: list[int] = []
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        settings: dict[str, Any] = read_json(folder, name, problems) or {}
        for role in _SPECIAL:
            token = settings.get(f"{role}_token")
            token = token.get("content") if isinstance(token, dict) else token
            number = tokenizer.token_to_id(token) if isinstance(token, str) else None
            if number is not None:
                ids.append(number)
    if problems:
        raise CheckpointError(f"{folder}: {'; '.join(problems)}")
    first = TextTokenizer(tokenizer, ids)
    # As `TextTokenizer.load`: the tokens around a text are special whatever their names.
    return TextTokenizer(tokenizer, [*ids, first.first, first.last])
