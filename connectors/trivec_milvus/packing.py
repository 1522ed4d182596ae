"""Token vectors packed into strings: a header, then their numbers in base64."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trivec.rows import Tokens
from trivec_milvus.schema import MAX_VARCHAR_BYTES

Codes = tuple[NDArray[np.uint8], NDArray[np.float16]]
"""The packed levels and the factors of one document; see `TokenCodes`."""

# The most bytes whose base64 form fits one string: 4 characters for every 3 bytes.
_STRING_BYTES = MAX_VARCHAR_BYTES // 4 * 3
_FLOAT16 = "float16"


def pack_tokens(tokens: Tokens) -> list[str]:
    """Return token vectors (t, dimension) as strings: a header, then float16 values in base64.

    Returns:
        Nothing for no token; else "float16 t dimension" and strings of at most 65,535 bytes with
        whole vectors in them.

    Example:
        >>> packed = pack_tokens(np.eye(2, 4))
        >>> packed[0], unpack_tokens(packed, 4).dtype.name, unpack_tokens(packed, 4).shape
        ('float16 2 4', 'float16', (2, 4))
    """
    if not len(tokens):
        return []
    values = np.ascontiguousarray(tokens, np.float16)
    vector_bytes = values.shape[1] * values.itemsize
    step = max(1, _STRING_BYTES // vector_bytes) * vector_bytes
    header = f"{_FLOAT16} {values.shape[0]} {values.shape[1]}"
    return [header, *_strings(values.tobytes(), step)]


def unpack_tokens(packed: Sequence[str], dimension: int) -> Tokens:
    """Return the token vectors that `pack_tokens` packed, float16 (t, dimension).

    Raises:
        ValueError: If the strings are damaged, or hold something else.
    """
    count, data = _contents(packed, _FLOAT16, dimension, 2 * dimension)
    return np.frombuffer(data, np.float16).reshape(count, dimension)


def pack_codes(codes: Codes, bits: int) -> list[str]:
    """Return the codes of one document as strings: a header, then levels and factors in base64.

    Args:
        codes: The packed levels (t, dimension * bits / 8) and the factors (t,).
        bits: The bits of one number.

    Returns:
        Nothing for no token; else "bits1 t dimension" with these bits, and strings of at most
        65,535 bytes that hold all levels and then all factors.

    Example:
        >>> pack_codes((np.uint8([[255], [15]]), np.float16([1, 2])), 1)
        ['bits1 2 8', '/w8APABA']
    """
    levels, factors = codes
    if not len(factors):
        return []
    data = levels.tobytes() + factors.astype("<f2", copy=False).tobytes()
    dimension = levels.shape[1] * 8 // bits
    return [f"bits{bits} {len(factors)} {dimension}", *_strings(data, _STRING_BYTES)]


def unpack_codes(packed: Sequence[str], bits: int, dimension: int) -> Codes:
    """Return the codes that `pack_codes` packed.

    Raises:
        ValueError: If the strings are damaged, or hold something else.

    >>> unpack_codes(["bits1 2 8", "/w8APABA"], 1, 8)[1].tolist()
    [1.0, 2.0]
    """
    width = dimension * bits // 8
    count, data = _contents(packed, f"bits{bits}", dimension, width + 2)
    levels = np.frombuffer(data, np.uint8, count * width).reshape(count, width)
    factors = np.frombuffer(data, "<f2", count, count * width).astype(np.float16, copy=False)
    if not (np.isfinite(factors) & (factors >= 0)).all():
        raise ValueError("a factor is negative or not finite")
    return levels, factors


def packed_bytes(bits: int, dimension: int) -> float:
    """Return the bytes of one packed token vector.

    >>> packed_bytes(16, 1024), packed_bytes(1, 1024)
    (2730.6666666666665, 173.33333333333334)
    """
    factor = 2 if bits < 16 else 0
    return (dimension * bits / 8 + factor) * 4 / 3


def _strings(data: bytes, step: int) -> list[str]:
    return [
        base64.b64encode(data[start : start + step]).decode("ascii")
        for start in range(0, len(data), step)
    ]


def _contents(
    packed: Sequence[str], type: str, dimension: int, vector_bytes: int
) -> tuple[int, bytes]:
    """Return the number of token vectors and their bytes, if the header says what is expected."""
    words = packed[0].split()
    if len(words) != 3 or words[0] != type or words[2] != str(dimension):
        raise ValueError(
            f"they are kept as {packed[0][:60]!r}, expected '{type} COUNT {dimension}'; a newer "
            "trivec, or another program, wrote them"
        )
    count = int(words[1])
    data = b"".join(base64.b64decode(string, validate=True) for string in packed[1:])
    if count < 1 or len(data) != count * vector_bytes:
        raise ValueError(f"{count} vectors have {count * vector_bytes} bytes, got {len(data)}")
    return count, data
