"""Rows of different lengths, concatenated: lexical weights and token vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from trivec.errors import InvalidVectorsError

__all__ = ["Float", "SparseRows", "TokenRows", "Tokens", "first_not_finite", "spans", "unit"]

Float = NDArray[np.floating]
Tokens = NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class SparseRows:
    """Lexical weights of n texts in compressed sparse rows.

    Args:
        indptr: int64 (n + 1,), where each row starts.
        indices: uint32 (nnz,), vocabulary ids; unique and ascending in each row.
        values: float32 (nnz,), weights above 0.

    Raises:
        InvalidVectorsError: If the columns do not fit together; the row is named.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.uint32]
    values: Float

    def __post_init__(self) -> None:
        object.__setattr__(self, "indptr", _indptr(self.indptr, len(self.indices), "sparse"))
        object.__setattr__(self, "indices", _vocabulary_ids(self.indices))
        values = np.asarray(self.values, np.float32)
        object.__setattr__(self, "values", values)
        if values.shape != self.indices.shape:
            raise InvalidVectorsError(
                f"sparse values have shape {values.shape}, indices {self.indices.shape}; "
                "give one value per index"
            )
        bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if len(bad):
            raise InvalidVectorsError(
                f"sparse row {_row_of(self.indptr, bad[0])} holds the weight {values[bad[0]]}; "
                "weights are finite and above 0 (leave zeros out)"
            )
        steps = np.diff(self.indices.astype(np.int64))
        steps[
            self.indptr[1:-1][(self.indptr[1:-1] > 0) & (self.indptr[1:-1] < len(values))] - 1
        ] = 1
        bad = np.flatnonzero(steps <= 0)
        if len(bad):
            raise InvalidVectorsError(
                f"sparse row {_row_of(self.indptr, bad[0])} repeats or disorders the index "
                f"{self.indices[bad[0] + 1]}; indices are unique and ascending in a row"
            )

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @classmethod
    def from_dicts(cls, rows: Sequence[Mapping[int, float]]) -> Self:
        """Build the columns from one `{vocabulary id: weight}` per text.

        >>> SparseRows.from_dicts([{7: 0.5, 3: 0.25}, {}]).indices
        array([3, 7], dtype=uint32)
        """
        lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        total = int(indptr[-1])
        indices = np.fromiter((i for row in rows for i in sorted(row)), np.int64, total)
        values = np.fromiter((row[i] for row in rows for i in sorted(row)), np.float32, total)
        return cls(indptr, _vocabulary_ids(indices), values)

    def row(self, index: int) -> dict[int, float]:
        """Return row `index` as `{vocabulary id: weight}`."""
        start, stop = self.indptr[index], self.indptr[index + 1]
        return dict(
            zip(self.indices[start:stop].tolist(), self.values[start:stop].tolist(), strict=True)
        )

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Return the rows at these positions, in this order."""
        indptr, flat = _ragged_take(self.indptr, rows)
        return type(self)(indptr, self.indices[flat], self.values[flat])


@dataclass(frozen=True, slots=True, eq=False)
class TokenRows:
    """ColBERT token vectors of n texts, concatenated.

    Args:
        indptr: int64 (n + 1,), where the tokens of each text start.
        values: float32 or float16 (tokens, dimension), finite.

    Raises:
        InvalidVectorsError: If the columns do not fit together; the row is named.
    """

    indptr: NDArray[np.int64]
    values: Tokens

    def __post_init__(self) -> None:
        given = np.asarray(self.values)
        values: Tokens = (
            given if given.dtype == np.float16 else given.astype(np.float32, copy=False)
        )
        if values.ndim != 2:
            raise InvalidVectorsError(
                f"ColBERT values have shape {values.shape}, expected (tokens, dimension)"
            )
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "indptr", _indptr(self.indptr, len(values), "ColBERT"))
        bad = first_not_finite(values)
        if bad is not None:
            raise InvalidVectorsError(
                f"ColBERT row {_row_of(self.indptr, bad)} holds a value that is not finite"
            )

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def dim(self) -> int:
        """The dimension of one token vector."""
        return int(self.values.shape[1])

    @classmethod
    def from_arrays(cls, rows: Sequence[Tokens], *, dim: int | None = None) -> Self:
        """Concatenate one (tokens, dimension) array per text.

        `dim` is needed only when there is no row to read it from.
        """
        lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
        if any(row.ndim != 2 for row in rows) or len({row.shape[1] for row in rows}) > 1:
            raise InvalidVectorsError(
                f"ColBERT rows have shapes {sorted({row.shape[1:] for row in rows})}, "
                "expected (tokens, dimension) with one dimension"
            )
        values: Tokens = np.concatenate(rows) if rows else np.zeros((0, dim or 0), np.float32)
        return cls(np.concatenate([[0], np.cumsum(lengths)]), values)

    def row(self, index: int) -> Tokens:
        """Return the token vectors of text `index`, (tokens, dimension), without a copy."""
        return self.values[self.indptr[index] : self.indptr[index + 1]]

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Return the rows at these positions, in this order."""
        indptr, flat = _ragged_take(self.indptr, rows)
        return type(self)(indptr, self.values[flat])


def _indptr(indptr: NDArray[np.int64], size: int, part: str) -> NDArray[np.int64]:
    indptr = np.asarray(indptr, np.int64)
    ok = indptr.ndim == 1 and len(indptr) > 0 and indptr[0] == 0 and indptr[-1] == size
    if not ok or np.any(np.diff(indptr) < 0):
        raise InvalidVectorsError(
            f"{part} indptr must rise from 0 to {size}, one entry more than there are rows"
        )
    return indptr


def _vocabulary_ids(indices: NDArray[np.integer]) -> NDArray[np.uint32]:
    indices = np.asarray(indices)
    # 2**32 - 1 is the first index that Milvus refuses.
    if len(indices) and (indices.min() < 0 or indices.max() >= 2**32 - 1):
        raise InvalidVectorsError("sparse indices must lie between 0 and 2**32 - 2")
    return indices.astype(np.uint32, copy=False)


def first_not_finite(values: NDArray[Any]) -> int | None:
    """Return the first row with NaN or infinity, looking row by row only if there is one."""
    # float64: a sum of float16 or float32 overflows on values that are all finite.
    with np.errstate(invalid="ignore"):
        if np.isfinite(values.sum(dtype=np.float64)):
            return None
    return int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])


def _row_of(indptr: NDArray[np.int64], position: int) -> int:
    return int(np.searchsorted(indptr, position, side="right")) - 1


def _ragged_take(
    indptr: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64] | slice]:
    """Return the indptr and the flat positions of these rows; a run of rows is a slice."""
    lengths = np.diff(indptr)[rows]
    taken = np.concatenate([[0], np.cumsum(lengths)])
    if len(rows) and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
        return taken, slice(int(indptr[rows[0]]), int(indptr[rows[-1] + 1]))
    flat = np.arange(taken[-1]) + np.repeat(indptr[rows] - taken[:-1], lengths)
    return taken, flat


def unit(rows: Float) -> Float:
    """Scale the vectors that any model made to unit length, as stores expect; zeros stay zeros.

    >>> unit(np.array([[3, 4], [0, 0]], np.float32)).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    values = np.asarray(rows, np.float64)  # whose squares neither overflow nor vanish
    norms = np.linalg.norm(values, axis=-1, keepdims=True)
    return (values / np.where(norms > 0, norms, 1)).astype(np.float32)


def spans(sizes: NDArray[np.int64], limit: int) -> Iterator[tuple[int, int]]:
    """Yield runs of rows whose sizes sum to at most `limit`; a larger row stands alone.

    >>> [*spans(np.array([3, 4, 9, 1]), 7)]
    [(0, 2), (2, 3), (3, 4)]
    """
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + limit, side="right")))
        yield start, stop
        start = stop
