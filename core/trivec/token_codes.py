"""Token vectors with 8, 4, 2 or 1 bits for each number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from trivec.errors import InvalidVectorsError
from trivec.rotation import rotated, rotated_back
from trivec.rows import Float, TokenRows, ragged_take

# Where numbers are cut off before they are rounded to levels, as multiples of their root mean
# square, besides the largest number. The best one is taken for each token.
_CUTS: dict[int, tuple[float, ...]] = {8: (), 4: (2.5,), 2: (1.5,), 1: ()}
_BLOCK = 4096  # token vectors that are decoded at once


@dataclass(frozen=True, slots=True, eq=False)
class TokenCodes:
    """Token vectors of n texts as levels and factors: `bits * dimension / 8 + 2` bytes a token.

    A vector is rotated (`trivec.rotation`). Then a number is one of 2**bits levels, evenly spaced
    from -1 to 1, times the factor of its token: for a rotated vector x with the levels g, the
    factor is |x|² / ⟨x, g⟩. Dot products with the result are then unbiased estimates of those with
    x (RaBitQ, arXiv 2405.12497; more bits: arXiv 2409.09913).

    Args:
        bits: 8, 4, 2 or 1.
        indptr: int64 (n + 1,), where the tokens of each text start.
        packed: uint8 (tokens, bits * dimension / 8), the numbers of the levels, the first one in
            the highest bits of a byte.
        factors: float16 (tokens,).

    Example:
        >>> rows = TokenRows.from_arrays([np.eye(2, 8, dtype=np.float32)])
        >>> codes = TokenCodes.encode(rows, 1)
        >>> codes.packed.shape, codes.factors.tolist()
        ((2, 1), [0.353515625, 0.353515625])
        >>> bool(np.allclose(codes.decoded().values, rows.values, atol=1e-3))
        True
    """

    bits: int
    indptr: NDArray[np.int64]
    packed: NDArray[np.uint8]
    factors: NDArray[np.float16]

    @classmethod
    def encode(cls, rows: TokenRows, bits: int) -> Self:
        """Return token vectors with few bits.

        What `decoded` returned is encoded exactly as before.

        Args:
            rows: Token vectors whose dimension times `bits` is a multiple of 8.
            bits: 8, 4, 2 or 1.

        Raises:
            InvalidVectorsError: If a vector is too long for a factor in float16.
        """
        packed = np.empty((len(rows.values), rows.dim * bits // 8), np.uint8)
        factors = np.empty(len(rows.values), np.float16)
        for start in range(0, len(packed), _BLOCK):
            block = slice(start, start + _BLOCK)
            with np.errstate(over="ignore", invalid="ignore"):  # such a factor is not finite
                values = rotated(np.asarray(rows.values[block], np.float32))
                packed[block], factors[block] = _encoded(values, bits)
        # Vectors too short for a factor are zeros, and zeros are written in one way.
        packed[factors == 0] = _packed(np.full((1, rows.dim), 2 ** (bits - 1), np.uint8), bits)
        bad = np.flatnonzero(~np.isfinite(factors))
        if len(bad):
            row = int(np.searchsorted(rows.indptr, bad[0], side="right")) - 1
            raise InvalidVectorsError(
                f"ColBERT row {row} holds a vector that is too long for {bits} bits; scale token "
                "vectors to unit length"
            )
        return cls(bits, rows.indptr, packed, factors)

    @classmethod
    def from_texts(
        cls,
        texts: Sequence[tuple[NDArray[np.uint8], NDArray[np.float16]]],
        bits: int,
        dimension: int,
    ) -> Self:
        """Join the packed levels and the factors of each text, as `row` returns them."""
        lengths = np.fromiter((len(factors) for _, factors in texts), np.int64, len(texts))
        packed = [np.zeros((0, dimension * bits // 8), np.uint8)]
        factors = [np.zeros(0, np.float16)]
        for levels, of_tokens in texts:
            packed.append(levels)
            factors.append(of_tokens)
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        return cls(bits, indptr, np.concatenate(packed), np.concatenate(factors))

    @classmethod
    def concatenate(cls, batches: Sequence[Self]) -> Self:
        """Join batches of the same bits and dimension."""
        lengths = np.concatenate([np.diff(batch.indptr) for batch in batches])
        return cls(
            batches[0].bits,
            np.concatenate([[0], np.cumsum(lengths)]),
            np.concatenate([batch.packed for batch in batches]),
            np.concatenate([batch.factors for batch in batches]),
        )

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def dim(self) -> int:
        """The dimension of one token vector."""
        return int(self.packed.shape[1]) * 8 // self.bits

    def row(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
        """Return the packed levels and the factors of text `index`, without a copy."""
        tokens = slice(self.indptr[index], self.indptr[index + 1])
        return self.packed[tokens], self.factors[tokens]

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Return the rows at these positions, in this order."""
        indptr, flat = ragged_take(self.indptr, rows)
        return type(self)(self.bits, indptr, self.packed[flat], self.factors[flat])

    def decoded(self) -> TokenRows:
        """Return the vectors that the codes stand for, in float32."""
        values = np.empty((len(self.packed), self.dim), np.float32)
        for start in range(0, len(values), _BLOCK):
            block = slice(start, start + _BLOCK)
            values[block] = rotated_back(self.vectors(np.arange(*block.indices(len(values)))))
        return TokenRows(self.indptr, values)

    def turned(self, query: Float) -> Float:
        """Return token vectors of a query rotated, as `products` and `vectors` are."""
        return rotated(query)

    def vectors(self, tokens: NDArray[np.int64]) -> Float:
        """Return the rotated vectors of the tokens at these positions, (tokens, dimension)."""
        factors = self.factors[tokens].astype(np.float32)
        return _levels(self.packed[tokens], self.bits) * factors[:, None]

    def products(self, tokens: slice, columns: Float) -> Float:
        """Return the dot products of a run of tokens with turned float32 (dimension, queries)."""
        packed = self.packed[tokens]
        products = np.empty((len(packed), columns.shape[1]), np.float32)
        for start in range(0, len(packed), _BLOCK):
            block = slice(start, start + _BLOCK)
            np.matmul(_levels(packed[block], self.bits), columns, out=products[block])
        products *= self.factors[tokens].astype(np.float32)[:, None]
        return products


def _encoded(values: Float, bits: int) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Return the packed levels and the factors of token vectors, float32 (tokens, dimension)."""
    squares = np.einsum("ij,ij->i", values, values)
    if bits == 1:
        signs = values >= 0
        return np.packbits(signs, axis=1), _factors(squares, np.abs(values).sum(axis=1))
    largest = np.abs(values).max(axis=1, initial=0)
    root = np.sqrt(squares / max(1, values.shape[1]))
    best = _rounded(values, largest, bits)
    for cut in _CUTS[bits]:
        other = _rounded(values, np.minimum(cut * root, largest), bits)
        better = other.cosines > best.cosines * (1 + 1e-6)
        best = _Rounded(
            np.where(better[:, None], other.codes, best.codes),
            np.where(better, other.dots, best.dots),
            np.where(better, other.cosines, best.cosines),
        )
    return _packed(best.codes, bits), _factors(squares, best.dots)


@dataclass(frozen=True, slots=True)
class _Rounded:
    """Token vectors rounded to levels.

    Args:
        codes: uint8 (tokens, dimension), the numbers of the levels.
        dots: float32 (tokens,), the dot products of the vectors and their levels.
        cosines: float32 (tokens,), the dot products over the lengths of the levels.
    """

    codes: NDArray[np.uint8]
    dots: Float
    cosines: Float


def _rounded(values: Float, largest: Float, bits: int) -> _Rounded:
    top = 2**bits - 1
    scale = np.divide(top, 2 * largest, out=np.zeros_like(largest), where=largest > 0)
    codes = np.rint(np.clip(values * scale[:, None] + top / 2, 0, top)).astype(np.uint8)
    levels = _levels(_packed(codes, bits), bits)
    dots = np.einsum("ij,ij->i", values, levels)
    lengths = np.sqrt(np.einsum("ij,ij->i", levels, levels))
    return _Rounded(codes, dots, dots / np.maximum(lengths, 1e-30))


def _factors(squares: Float, dots: Float) -> NDArray[np.float16]:
    factors = np.divide(squares, dots, out=np.zeros_like(squares), where=~(dots <= 0))
    return factors.astype(np.float16)


def _packed(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Pack codes of `bits` bits into bytes, the first one in the highest bits."""
    if bits == 8:
        return codes
    count = 8 // bits
    groups = codes.reshape(len(codes), -1, count)
    packed = np.zeros(groups.shape[:2], np.uint8)
    for i in range(count):
        packed |= groups[:, :, i] << np.uint8(8 - bits * (i + 1))
    return packed


def _levels(packed: NDArray[np.uint8], bits: int) -> NDArray[np.float32]:
    """Return the levels of packed codes, float32 (tokens, dimension)."""
    if bits == 8:
        levels: NDArray[np.float32] = packed.astype(np.float32) * np.float32(2 / 255)
        levels -= 1
        return levels
    if bits == 4 and packed.shape[1] % 2 == 0:  # two bytes at once: twice as fast
        return np.take(_pairs(), packed.view("<u2"), axis=0).reshape(len(packed), -1)
    return np.take(_table(bits), packed, axis=0).reshape(len(packed), -1)


@lru_cache
def _pairs() -> NDArray[np.float32]:
    """Return the levels that two bytes of 4 bits stand for, float32 (65536, 4)."""
    table = _table(4)
    return np.concatenate([np.tile(table, (256, 1)), np.repeat(table, 256, axis=0)], axis=1)


@lru_cache
def _table(bits: int) -> NDArray[np.float32]:
    """Return the levels that a byte of 4 bits or fewer stands for, float32 (256, 8 / bits).

    >>> _table(2)[0b00_01_10_11]
    array([-1.        , -0.33333334,  0.33333334,  1.        ], dtype=float32)
    """
    top = 2**bits - 1
    shifts = np.arange(8 - bits, -1, -bits)
    codes = (np.arange(256)[:, None] >> shifts) & top
    return np.asarray((2 * codes - top) / top, np.float32)
