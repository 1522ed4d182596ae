"""Batches of dense, sparse and ColBERT vectors, kept as columns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import described, expect
from trivec.colbert_storage import ColbertStorage, common_storage
from trivec.errors import InvalidVectorsError
from trivec.outputs import written_beside
from trivec.rows import Float, SparseRows, TokenRows, Tokens, first_not_finite, floats, integers
from trivec.schema import Schema

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """The three representations of one text.

    Args:
        dense: One unit vector for the meaning of the whole text, float32 (dimension,), or None.
        sparse: The lexical weight of each of its tokens, `{vocabulary id: weight}` with weights
            above 0, or None.
        colbert: One unit vector for each token in its context, float32 or float16
            (tokens, dimension), or None.
        storage: How the collection keeps the token vectors that they were read from, if it keeps
            less than the vectors themselves.

    Raises:
        InvalidVectorsError: If a shape is wrong or a value is not finite.
    """

    dense: Float | None = None
    sparse: Mapping[int, float] | None = None
    colbert: Tokens | None = None
    storage: ColbertStorage | None = None

    def __post_init__(self) -> None:
        dense = None if self.dense is None else floats(self.dense, "dense")
        if dense is not None and dense.ndim != 1:
            raise InvalidVectorsError(f"dense has shape {dense.shape}, expected (dimension,)")
        batch = Vectors(
            dense=None if dense is None else dense[None],
            sparse=None if self.sparse is None else SparseRows.from_dicts([self.sparse]),
            colbert=None if self.colbert is None else TokenRows.from_arrays([self.colbert]),
        )
        if batch.dense is not None:
            object.__setattr__(self, "dense", batch.dense[0])
        if batch.sparse is not None:
            object.__setattr__(self, "sparse", MappingProxyType(batch.sparse.row(0)))
        if batch.colbert is not None:
            object.__setattr__(self, "colbert", batch.colbert.values)

    def __reduce__(self) -> tuple[type[Vector], tuple[object, ...]]:
        """Pickle the weights as a dict, since a read-only view cannot be pickled."""
        sparse = None if self.sparse is None else dict(self.sparse)
        return type(self), (self.dense, sparse, self.colbert, self.storage)


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """The three representations of n texts, as columns.

    If a text lacks a part that other texts of the batch have, it has a row of zeros (dense) or an
    empty row (sparse, ColBERT), and its score for that part is 0.

    Args:
        dense: float32 (n, dimension), or None if the batch has no dense vectors.
        sparse: n rows of lexical weights, or None.
        colbert: n rows of token vectors, or None.

    Raises:
        InvalidVectorsError: If the parts have different numbers of rows, or a value is not finite.

    Example:
        >>> import numpy as np
        >>> batch = Vectors(dense=np.eye(2), sparse=SparseRows.from_dicts([{5: 0.5}, {}]))
        >>> len(batch), batch[0].sparse[5], batch[1].colbert is None
        (2, 0.5, True)
    """

    dense: Float | None = None
    sparse: SparseRows | None = None
    colbert: TokenRows | None = None

    def __post_init__(self) -> None:
        if self.dense is not None:
            dense = floats(self.dense, "dense").astype(np.float32, copy=False)
            object.__setattr__(self, "dense", dense)
            if dense.ndim != 2:
                raise InvalidVectorsError(f"dense has shape {dense.shape}, expected (n, dimension)")
            bad = first_not_finite(dense)
            if bad is not None:
                raise InvalidVectorsError(f"dense row {bad} holds a value that is not finite")
        if self.sparse is not None:
            expected = "SparseRows, such as SparseRows.from_dicts(rows)"
            expect(self.sparse, SparseRows, "sparse", expected, error=InvalidVectorsError)
        if self.colbert is not None:
            expected = "TokenRows, such as TokenRows.from_arrays(rows)"
            expect(self.colbert, TokenRows, "colbert", expected, error=InvalidVectorsError)
        parts = {"dense": self.dense, "sparse": self.sparse, "colbert": self.colbert}
        lengths = {name: len(part) for name, part in parts.items() if part is not None}
        if len(set(lengths.values())) > 1:
            raise InvalidVectorsError(f"the parts disagree on the number of texts: {lengths}")
        if not lengths:
            raise InvalidVectorsError("give at least one of dense, sparse and colbert")

    def __len__(self) -> int:
        part = next(p for p in (self.dense, self.sparse, self.colbert) if p is not None)
        return len(part)

    def __getitem__(self, index: int) -> Vector:
        if not isinstance(index, int | np.integer):
            raise InvalidVectorsError(
                f"vectors[…]: expected the number of one row, got {described(index)}; "
                "vectors.slice(start, stop) and vectors.take(rows) return several"
            )
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        index %= len(self)
        return Vector(
            dense=None if self.dense is None else self.dense[index],
            sparse=None if self.sparse is None else self.sparse.row(index),
            colbert=None if self.colbert is None else self.colbert.row(index),
            storage=None if self.colbert is None else self.colbert.storage,
        )

    def __iter__(self) -> Iterator[Vector]:
        return (self[i] for i in range(len(self)))

    def only(self, schema: Schema) -> Vectors:
        """Return the parts of a schema, without copying."""
        expect(schema, Schema, "schema", "a Schema, such as store.schema")
        return Vectors(
            dense=None if schema.dense is None else self.dense,
            sparse=self.sparse if schema.sparse else None,
            colbert=None if schema.colbert is None else self.colbert,
        )

    def filled(self, schema: Schema) -> Vectors:
        """Return the vectors with every part of a schema: zeros and empty rows where one lacks."""
        n, dense, sparse, colbert = len(self), self.dense, self.sparse, self.colbert
        if dense is None and schema.dense is not None:
            dense = np.zeros((n, schema.dense), np.float32)
        if sparse is None and schema.sparse:
            sparse = SparseRows.from_dicts([{}] * n)
        if colbert is None and schema.colbert is not None:
            none = np.zeros((0, schema.colbert), np.float32)
            colbert = TokenRows(np.zeros(n + 1, np.int64), none)
        return Vectors(dense=dense, sparse=sparse, colbert=colbert)

    def slice(self, start: int, stop: int) -> Vectors:
        """Return rows `start` to `stop` (exclusive)."""
        for name, row in (("start", start), ("stop", stop)):
            expect(row, (int, np.integer), name, "the number of a row")
        return self.take(np.arange(*slice(start, stop).indices(len(self)), dtype=np.int64))

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> Vectors:
        """Return the rows at these positions, in this order.

        Raises:
            IndexError: If a row does not exist.
            InvalidVectorsError: If they are not integers; `np.flatnonzero` converts a mask.
        """
        rows = integers(rows, "rows").astype(np.int64, copy=False)
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)}")
        return Vectors(
            dense=None if self.dense is None else self.dense[rows],
            sparse=None if self.sparse is None else self.sparse.take(rows),
            colbert=None if self.colbert is None else self.colbert.take(rows),
        )

    @staticmethod
    def concatenate(batches: Sequence[Vectors]) -> Vectors:
        """Join batches that hold the same parts.

        Raises:
            InvalidVectorsError: If the list is empty, or batches differ in parts or dimensions.
        """
        expect(batches, (list, tuple), "batches", "a list of Vectors", error=InvalidVectorsError)
        for batch in batches:
            expect(batch, Vectors, "batches: each", "Vectors", error=InvalidVectorsError)
        if not batches:
            raise InvalidVectorsError("nothing to concatenate")
        dense = _same_parts([b.dense for b in batches], "dense")
        sparse = _same_parts([b.sparse for b in batches], "sparse")
        colbert = _same_parts([b.colbert for b in batches], "colbert")
        for rows in dense[1:]:
            _expect_dim(rows, dense[0].shape[1], "the dense vectors of a batch")
        for tokens in colbert[1:]:
            _expect_dim(tokens.values, colbert[0].dim, "the ColBERT vectors of a batch")
        return Vectors(
            dense=np.concatenate(dense) if dense else None,
            sparse=SparseRows(
                _join_indptr([s.indptr for s in sparse]),
                np.concatenate([s.indices for s in sparse]),
                np.concatenate([s.values for s in sparse]),
            )
            if sparse
            else None,
            colbert=_join_tokens(colbert) if colbert else None,
        )

    @staticmethod
    def from_rows(
        rows: Sequence[Vector], *, dense: int | None, sparse: bool, colbert: int | None
    ) -> Vectors:
        """Stack single vectors; a part that a row lacks becomes zeros or an empty row.

        Args:
            rows: The vectors of n texts.
            dense: The dense dimension, or None to leave that part out.
            sparse: Whether the batch has lexical weights.
            colbert: The ColBERT dimension, or None to leave that part out.

        Raises:
            InvalidVectorsError: If a row has another dimension.
        """
        expect(rows, (list, tuple), "rows", "a list of Vector", error=InvalidVectorsError)
        for row in rows:
            expect_vector(row, "rows: each")
        stacked = None
        if dense is not None:
            stacked = np.zeros((len(rows), dense), np.float32)
            for i, row in enumerate(rows):
                if row.dense is not None:
                    _expect_dim(row.dense, dense, f"dense row {i}")
                    stacked[i] = row.dense
        tokens = None
        if colbert is not None:
            none = np.zeros((0, colbert), np.float32)
            arrays = [none if row.colbert is None else row.colbert for row in rows]
            for i, array in enumerate(arrays):
                _expect_dim(array, colbert, f"ColBERT row {i}")
            storage = common_storage(row.storage for row in rows if row.colbert is not None)
            tokens = replace(TokenRows.from_arrays(arrays, dim=colbert), storage=storage)
        return Vectors(
            dense=stacked,
            sparse=SparseRows.from_dicts([row.sparse or {} for row in rows]) if sparse else None,
            colbert=tokens,
        )

    @staticmethod
    def none(schema: Schema) -> Vectors:
        """Return the vectors of no text, with the parts of a schema."""
        return Vectors.from_rows(
            [], dense=schema.dense, sparse=schema.sparse, colbert=schema.colbert
        )

    def row_bytes(self) -> NDArray[np.int64]:
        """Return the bytes that each text takes in these columns, int64 (n,)."""
        total = np.zeros(len(self), np.int64)
        if self.dense is not None:
            total += self.dense.shape[1] * self.dense.itemsize
        if self.sparse is not None:
            total += np.diff(self.sparse.indptr) * 8
        if self.colbert is not None:
            total += np.diff(self.colbert.indptr) * self.colbert.dim * self.colbert.values.itemsize
        return total

    def save(self, path: str | Path) -> None:
        """Write the columns to a safetensors file, whole or not at all.

        Args:
            path: The file. An existing file is replaced; a new file is private to its owner.

        Raises:
            OutputError: If it cannot be written.
        """
        with written_beside(path) as file:
            self.write_to(file)

    def write_to(self, file: BinaryIO) -> None:
        """Write the columns to an open file, as `save` does."""
        from trivec.vector_files import token_columns, write_columns

        columns: dict[str, NDArray[Any]] = {}
        if self.dense is not None:
            columns["dense"] = self.dense
        if self.sparse is not None:
            columns["sparse.indptr"] = self.sparse.indptr
            columns["sparse.indices"] = self.sparse.indices
            columns["sparse.values"] = self.sparse.values
        storage = None
        if self.colbert is not None:
            columns.update(token_columns(self.colbert))
            storage = self.colbert.storage
        write_columns(file, columns, storage)

    @staticmethod
    def load(
        path: str | Path,
        *,
        start: int = 0,
        stop: int | None = None,
        parts: Sequence[str] = ("dense", "sparse", "colbert"),
    ) -> Vectors:
        """Read rows `start` to `stop` (exclusive) of a file of `save`, and nothing else of it.

        Args:
            path: The file.
            start: The first row.
            stop: The row after the last one; None reads to the end.
            parts: The representations to read, if the file has them.

        Raises:
            FileNotFoundError: If the file does not exist.
            InvalidVectorsError: If it cannot be read, is damaged, or is another kind of file.

        Example:
            >>> import tempfile, numpy as np
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     Vectors(dense=np.eye(3)).save(folder + "/v.safetensors")
            ...     Vectors.load(folder + "/v.safetensors", start=2).dense
            array([[0., 0., 1.]], dtype=float32)
        """
        from trivec.vector_files import read_columns

        expect(path, (str, os.PathLike), "path", "the path of a file")
        for name, row in (("start", start), ("stop", stop)):
            if row is not None:
                expect(row, (int, np.integer), name, "the number of a row")
        columns = read_columns(path, slice(start, stop), parts)
        try:
            return Vectors(**columns)
        except InvalidVectorsError as error:
            raise InvalidVectorsError(f"{os.fspath(path)!r} is damaged: {error}") from error


def expect_vector(value: object, what: str) -> None:
    """Raise `InvalidVectorsError` unless a value is the `Vector` of one text."""
    expected = "a Vector, such as encoder.encode_query(text) or vectors[0]"
    expect(value, Vector, what, expected, error=InvalidVectorsError)


def _join_tokens(parts: Sequence[TokenRows]) -> TokenRows:
    filled = [part for part in parts if len(part.values)]  # others know of no weights and storage
    weights = [part.weights for part in filled if part.weights is not None]
    return TokenRows(
        _join_indptr([part.indptr for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate(weights) if filled and len(weights) == len(filled) else None,
        common_storage(part.storage for part in filled),
    )


def _join_indptr(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.concatenate([np.diff(p) for p in parts]))])


def _same_parts(parts: Sequence[T | None], name: str) -> list[T]:
    present = [part for part in parts if part is not None]
    if present and len(present) < len(parts):
        raise InvalidVectorsError(
            f"only {len(present)} of {len(parts)} batches hold {name} vectors"
        )
    return present


def _expect_dim(array: NDArray[Any], dim: int, what: str) -> None:
    if array.shape[-1] != dim:
        raise InvalidVectorsError(f"{what} has dimension {array.shape[-1]}, expected {dim}")
