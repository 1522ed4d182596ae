"""Numbers as Vespa's JSON takes them: the digits of their bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trivec.rows import Float


def to_bfloat16(values: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Return the bits of the nearest bfloat16 values, uint16; ties to even, finite stays finite.

    Vespa itself cuts the lower bits off, which shortens unit vectors of 1,024 dimensions to
    0.9972; when they are rounded, the length is 1.00000.

    Example:
        >>> [hex(bits) for bits in to_bfloat16(np.array([1.0, 1.00390625, -0.3]))]
        ['0x3f80', '0x3f80', '0xbe9a']
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    infinite = (rounded & 0x7FFF) == 0x7F80
    nearest: NDArray[np.uint16] = (rounded - infinite).astype(np.uint16)
    return nearest


def bfloat16_hex(values: NDArray[np.floating]) -> str:
    """Return the nearest bfloat16 values as hex, four digits each."""
    return to_bfloat16(values).astype(">u2").tobytes().hex()


def float_hex(values: NDArray[np.floating]) -> str:
    """Return float32 values as hex, eight digits each, as query tensors take them."""
    return np.ascontiguousarray(values, ">f4").tobytes().hex()


def bfloat16_rows(texts: list[object], dimension: int) -> Float:
    """Return vectors from the bfloat16 hex of each, float32 (n, dimension).

    Raises:
        ValueError: If a text is not the hex of a finite vector.
    """
    bits = _rows(texts, dimension, 2, "bfloat16").view(">u2").astype(np.uint32) << 16
    return _finite(bits.view(np.float32))


def float_rows(texts: list[object], dimension: int) -> Float:
    """Return vectors from the float32 hex of each, float32 (n, dimension).

    Raises:
        ValueError: If a text is not the hex of a finite vector.
    """
    return _finite(_rows(texts, dimension, 4, "float").view(">f4").astype(np.float32))


def byte_rows(texts: list[object], size: int) -> NDArray[np.uint8]:
    """Return the bytes of each text, uint8 (n, size).

    Raises:
        ValueError: If a text is not the hex of as many bytes.
    """
    return _rows(texts, size, 1, "int8")


def _rows(texts: list[object], count: int, width: int, type_: str) -> NDArray[np.uint8]:
    """Return the bytes of vectors of `count` numbers of `width` bytes each."""
    digits = 2 * width * count
    for text in texts:
        if not isinstance(text, str) or len(text) != digits:
            got = f"{len(text)} digits" if isinstance(text, str) else f"a {type(text).__name__}"
            raise ValueError(f"a vector of {count} {type_} takes {digits} digits of hex, got {got}")
    joined = bytes.fromhex("".join(map(str, texts)))
    return np.frombuffer(joined, np.uint8).reshape(len(texts), width * count)


def _finite(rows: Float) -> Float:
    if not np.isfinite(rows).all():
        raise ValueError("a vector holds a number that is not finite")
    return rows
