"""A fixed rotation that spreads what a vector holds evenly over its numbers."""

from __future__ import annotations

from functools import lru_cache
from hashlib import shake_256

import numpy as np
from numpy.typing import NDArray

from trivec.rows import Float

_SEED = b"trivec"  # never changes: collections hold vectors that were rotated with it


def rotated(values: Float) -> Float:
    """Return rotated vectors: fixed random signs, then Hadamard's transform in blocks.

    Encoders put much of a vector into a few numbers, which few bits describe badly. The blocks have
    the largest power of two that divides the dimension. Dot products stay what they are.

    Args:
        values: float32 (n, dimension).

    Example:
        >>> turned = rotated(np.eye(2, 8, dtype=np.float32))
        >>> np.abs(turned).round(3)[0, :3], bool(abs(turned[0] @ turned[1]) < 1e-6)
        (array([0.354, 0.354, 0.354], dtype=float32), True)
    """
    return _transformed(values * _signs(values.shape[1]))


def rotated_back(values: Float) -> Float:
    """Return the vectors that `rotated` rotated, float32 (n, dimension)."""
    return _transformed(values) * _signs(values.shape[1])


def _transformed(values: Float) -> Float:
    """Apply Hadamard's orthonormal transform, which is its own inverse, to each block of numbers.

    A block of 2**(a + b) numbers is a matrix; the transform goes over its rows, then its columns.
    """
    n, dimension = values.shape
    power = (dimension & -dimension).bit_length() - 1
    rows, columns = _hadamard(power // 2), _hadamard(power - power // 2)
    blocks = values.reshape(-1, len(rows), len(columns)) @ columns
    blocks = np.ascontiguousarray(blocks.swapaxes(1, 2)) @ rows
    return np.ascontiguousarray(blocks.swapaxes(1, 2)).reshape(n, dimension)


@lru_cache
def _hadamard(power: int) -> NDArray[np.float32]:
    """Return the orthonormal Hadamard matrix of order 2**power, float32."""
    matrix = np.ones((1, 1))
    for _ in range(power):
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return np.asarray(matrix / np.sqrt(len(matrix)), np.float32)


@lru_cache
def _signs(dimension: int) -> NDArray[np.float32]:
    digest = shake_256(_SEED).digest(-(-dimension // 8))
    bits = np.unpackbits(np.frombuffer(digest, np.uint8), count=dimension)
    return np.where(bits, np.float32(1), np.float32(-1))
