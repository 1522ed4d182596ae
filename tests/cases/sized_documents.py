"""Documents with BGE-M3's dimensions and random vectors, and their bytes on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from trivec import Document, Vectors
from trivec.rows import SparseRows, TokenRows

TOKENS, TERMS, DIM = 200, 120, 1024
TEXT_BYTES = 800  # about 4 bytes to a token
BATCH = 50


def batch(start: int, n: int, *, colbert: bool = True) -> tuple[list[Document], Vectors]:
    """Return documents whose vectors are random, which nothing can compress.

    Args:
        start: The number of the first one.
        n: How many.
        colbert: Whether they have token vectors.
    """
    rng = np.random.default_rng(start)

    def unit(rows: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        values = rng.standard_normal((rows, DIM), dtype=np.float32)
        return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)

    terms = [rng.choice(250_002, TERMS, replace=False) for _ in range(n)]
    vectors = Vectors(
        dense=unit(n),
        sparse=SparseRows.from_dicts(
            [dict(zip(row.tolist(), rng.uniform(0.02, 0.4, TERMS), strict=True)) for row in terms]
        ),
        colbert=TokenRows(np.arange(n + 1) * TOKENS, unit(n * TOKENS)) if colbert else None,
    )
    letters = rng.integers(97, 123, (n, TEXT_BYTES), dtype=np.uint8)
    texts = [row.tobytes().decode() for row in letters]
    return [Document(f"d{start + i:09d}", texts[i], {"n": start + i}) for i in range(n)], vectors


def bytes_on_disk(folder: Path) -> int:
    """Return what a folder takes: blocks that are written, without the holes of sparse files.

    Logs of writes, which are cut again, do not count.
    """
    paths = [Path(path, name) for path, _, names in os.walk(folder) for name in names]
    return sum(path.lstat().st_blocks * 512 for path in paths if "wal" not in path.parts)
