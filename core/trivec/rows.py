"""Rows of different lengths, concatenated: lexical weights and token vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from numbers import Number
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import described
from trivec.colbert_storage import ColbertStorage
from trivec.errors import InvalidVectorsError

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
        indices = _vocabulary_ids(integers(self.indices, "sparse indices"))
        object.__setattr__(self, "indices", indices)
        object.__setattr__(self, "indptr", _indptr(self.indptr, len(indices), "sparse"))
        values = floats(self.values, "sparse values").astype(np.float32, copy=False)
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

        Raises:
            InvalidVectorsError: If a row is not a mapping, or an id or a weight is not a number.

        >>> SparseRows.from_dicts([{7: 0.5, 3: 0.25}, {}]).indices
        array([3, 7], dtype=uint32)
        """
        rows = _listed(rows, "sparse rows", "{vocabulary id: weight}")
        for i, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise InvalidVectorsError(
                    f"sparse row {i}: expected {{vocabulary id: weight}}, got {described(row)}"
                )
        lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
        ids = list(chain.from_iterable(rows))
        weights = list(chain.from_iterable(row.values() for row in rows))
        indices = integers(ids, "sparse ids, the keys of {vocabulary id: weight},")
        values = floats(weights, "sparse weights, the values of {vocabulary id: weight},")
        order = np.lexsort((indices, np.repeat(np.arange(len(rows)), lengths)))
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        return cls(indptr, _vocabulary_ids(indices[order]), values[order])

    def row(self, index: int) -> dict[int, float]:
        """Return row `index` as `{vocabulary id: weight}`."""
        start, stop = self.indptr[index], self.indptr[index + 1]
        return dict(
            zip(self.indices[start:stop].tolist(), self.values[start:stop].tolist(), strict=True)
        )

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Return the rows at these positions, in this order."""
        indptr, flat = ragged_take(self.indptr, rows)
        return type(self)(indptr, self.indices[flat], self.values[flat])


@dataclass(frozen=True, slots=True, eq=False)
class TokenRows:
    """ColBERT token vectors of n texts, concatenated.

    Args:
        indptr: int64 (n + 1,), where the tokens of each text start.
        values: float32 or float16 (tokens, dimension), finite.
        weights: float32 (tokens,), the lexical weight that each vector's token has in its text, at
            least 0; None if they are not known. `ColbertStorage(prune=…)` needs them.
        storage: How the collection keeps them that they were read from, if it keeps less than the
            vectors themselves; None for vectors of an encoder.

    Raises:
        InvalidVectorsError: If the columns do not fit together; the row is named.
    """

    indptr: NDArray[np.int64]
    values: Tokens
    weights: Float | None = None
    storage: ColbertStorage | None = None

    def __post_init__(self) -> None:
        values = floats(self.values, "ColBERT values")
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
        if self.weights is not None:
            weights = floats(self.weights, "ColBERT weights").astype(np.float32, copy=False)
            object.__setattr__(self, "weights", weights)
            if weights.shape != (len(values),) or not (np.isfinite(weights) & (weights >= 0)).all():
                raise InvalidVectorsError(
                    f"ColBERT weights have shape {weights.shape}; expected one finite weight of at "
                    f"least 0 for each of {len(values)} vectors"
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

        `dim` is needed only if the list is empty.

        Raises:
            InvalidVectorsError: If a row is not an array of numbers in that shape.
        """
        rows = [
            floats(row, f"ColBERT row {i}")
            for i, row in enumerate(_listed(rows, "ColBERT rows", "(tokens, dimension) arrays"))
        ]
        if any(row.ndim != 2 for row in rows) or len({row.shape[1] for row in rows}) > 1:
            raise InvalidVectorsError(
                f"ColBERT rows have the shapes {_some({row.shape for row in rows})}; expected "
                "(tokens, dimension) with one dimension for all"
            )
        lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
        values: Tokens = np.concatenate(rows) if rows else np.zeros((0, dim or 0), np.float32)
        return cls(np.concatenate([[0], np.cumsum(lengths)]), values)

    def row(self, index: int) -> Tokens:
        """Return the token vectors of text `index`, (tokens, dimension), without a copy."""
        return self.values[self.indptr[index] : self.indptr[index + 1]]

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Return the rows at these positions, in this order."""
        indptr, flat = ragged_take(self.indptr, rows)
        weights = None if self.weights is None else self.weights[flat]
        return type(self)(indptr, self.values[flat], weights, self.storage)

    def turned(self, query: Float) -> Float:
        """Return token vectors of a query as `products` and `vectors` take them: as they are."""
        return query

    def products(self, tokens: slice, columns: Float) -> Float:
        """Return the dot products of a run of tokens with turned float32 (dimension, queries)."""
        products: Float = self.values[tokens].astype(np.float32, copy=False) @ columns
        return products

    def vectors(self, tokens: NDArray[np.int64]) -> Float:
        """Return the vectors of the tokens at these positions, float32 (tokens, dimension)."""
        vectors: Float = self.values[tokens].astype(np.float32, copy=False)
        return vectors


def floats(values: object, what: str) -> Float:
    """Return real numbers as an array of float32; an array of float16 stays float16.

    >>> floats([[1, 2]], "dense").dtype
    dtype('float32')
    """
    array = _array(values, what, "numbers")
    if array.dtype in (np.float16, np.float32):
        return array
    try:
        with np.errstate(over="ignore"):  # becomes infinity, which the caller rejects
            return array.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidVectorsError(f"{what}: expected numbers, got {described(values)}") from error


def integers(values: object, what: str) -> NDArray[np.integer]:
    """Return integers as an array of one dimension; True, 1.5 and "1" are not integers.

    >>> integers([], "rows").dtype
    dtype('int64')
    """
    array = _array(values, what, "integers")
    if array.ndim == 1 and not array.size:
        return array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InvalidVectorsError(
            f"{what}: expected integers in a row, got an array of shape {array.shape} and type "
            f"{array.dtype}"
        )
    return array


def _array(values: object, what: str, expected: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except (RuntimeError, TypeError, ValueError) as error:  # ragged rows, tensors on a GPU
        raise InvalidVectorsError(f"{what}: expected {expected}: {error}") from error
    if array.dtype.kind in "OSUcMm":  # numpy would truncate, parse or count these
        raise InvalidVectorsError(
            f"{what}: expected {expected}, got {described(_first_odd(values))}"
        )
    return array


def _first_odd(values: object) -> object:
    """Return the first element that is not a number, or `values` itself if it has none."""
    if not isinstance(values, list | tuple):
        return values
    return next((v for v in values if not isinstance(v, Number | list | tuple)), values)


def _listed(rows: Iterable[Any], what: str, each: str) -> list[Any]:
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
        raise InvalidVectorsError(
            f"{what}: expected a list with {each} for each text, got {described(rows)}"
        )
    return list(rows)


def _some(shapes: set[tuple[int, ...]]) -> str:
    """Return a few of the shapes as text."""
    shown = sorted(shapes)[:4]
    return ", ".join(map(str, shown)) + (", …" if len(shapes) > len(shown) else "")


def _indptr(indptr: NDArray[np.int64], size: int, part: str) -> NDArray[np.int64]:
    indptr = integers(indptr, f"{part} indptr").astype(np.int64, copy=False)
    ok = indptr.ndim == 1 and len(indptr) > 0 and indptr[0] == 0 and indptr[-1] == size
    if not ok or np.any(np.diff(indptr) < 0):
        raise InvalidVectorsError(
            f"{part} indptr must rise from 0 to {size}, one entry more than there are rows"
        )
    return indptr


def _vocabulary_ids(indices: NDArray[np.integer]) -> NDArray[np.uint32]:
    # 2**32 - 2 is the largest index that every database accepts.
    if len(indices) and (indices.min() < 0 or indices.max() >= 2**32 - 1):
        raise InvalidVectorsError("sparse indices must lie between 0 and 2**32 - 2")
    return indices.astype(np.uint32, copy=False)


def first_not_finite(values: NDArray[Any]) -> int | None:
    """Return the first row with NaN or infinity, or None if all values are finite."""
    # float64: a sum of finite float16 or float32 values can overflow.
    with np.errstate(invalid="ignore"):
        if np.isfinite(values.sum(dtype=np.float64)):
            return None
    return int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])


def _row_of(indptr: NDArray[np.int64], position: int) -> int:
    return int(np.searchsorted(indptr, position, side="right")) - 1


def ragged_take(
    indptr: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64] | slice]:
    """Return the indptr and the flat positions of these rows; consecutive rows give a slice."""
    lengths = np.diff(indptr)[rows]
    taken = np.concatenate([[0], np.cumsum(lengths)])
    if len(rows) and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
        return taken, slice(int(indptr[rows[0]]), int(indptr[rows[-1] + 1]))
    flat = np.arange(taken[-1]) + np.repeat(indptr[rows] - taken[:-1], lengths)
    return taken, flat


def unit(rows: Float) -> Float:
    """Scale vectors to unit length, as stores expect; zeros stay zeros.

    >>> unit(np.array([[3, 4], [0, 0]], np.float32)).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    values = np.asarray(rows, np.float64)  # their squares neither overflow nor vanish
    norms = np.linalg.norm(values, axis=-1, keepdims=True)
    return (values / np.where(norms > 0, norms, 1)).astype(np.float32)


def spans(sizes: NDArray[np.int64], limit: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows whose sizes sum to at most `limit`; a larger row is a range by itself.

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
