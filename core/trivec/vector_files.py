"""Files of vectors: writing them, and reading them without believing what is not checked."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trivec.errors import InvalidVectorsError
from trivec.rows import SparseRows, TokenRows

_FLOATS: dict[str, np.dtype[Any]] = {"F16": np.dtype(np.float16), "F32": np.dtype(np.float32)}
_IDS: dict[str, np.dtype[Any]] = {"U32": np.dtype(np.uint32)}
_STARTS: dict[str, np.dtype[Any]] = {"I64": np.dtype(np.int64)}


class _Kind(NamedTuple):
    """What a column must be."""

    dtypes: Mapping[str, np.dtype[Any]]
    dimensions: int


_COLUMNS = {
    "dense": _Kind(_FLOATS, 2),
    "sparse.indptr": _Kind(_STARTS, 1),
    "sparse.indices": _Kind(_IDS, 1),
    "sparse.values": _Kind(_FLOATS, 1),
    "colbert.indptr": _Kind(_STARTS, 1),
    "colbert.values": _Kind(_FLOATS, 2),
}


def write_columns(file: BinaryIO, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write columns to a file that is open, in the format of safetensors.

    That is the length of the header, 8 bytes, little-endian; the header in JSON, filled up with
    blanks; the columns (https://huggingface.co/docs/safetensors). The library would make a file of
    its own, also in the place of a pipe or a device.

    Args:
        file: The file.
        columns: The columns by name, of float16, float32, uint32 or int64.

    Raises:
        OSError: If it cannot be written.
    """
    ordered = dict(sorted(columns.items(), key=lambda item: -item[1].itemsize))  # for alignment
    header, place = dict[str, object](), 0
    for name, column in ordered.items():
        span = [place, place := place + column.nbytes]
        kind = f"{column.dtype.kind.upper()}{column.itemsize * 8}"  # F16, F32, U32, I64
        header[name] = {"dtype": kind, "shape": list(column.shape), "data_offsets": span}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for column in ordered.values():
        little = np.ascontiguousarray(column, column.dtype.newbyteorder("<"))
        file.write(little.view(np.uint8).data)


def read_columns(path: str | os.PathLike[str], rows: slice, parts: Sequence[str]) -> dict[str, Any]:
    """Read some rows of some parts of a file that `Vectors.save` wrote.

    Args:
        path: The file.
        rows: Which rows, without a step.
        parts: Which representations, of those that the file has.

    Returns:
        The arguments of `Vectors`.

    Raises:
        FileNotFoundError: If there is no such file.
        InvalidVectorsError: If it cannot be read, is damaged, or is another kind of file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return _Columns(file).read(rows, parts)
    except FileNotFoundError:
        raise
    except InvalidVectorsError as error:
        raise InvalidVectorsError(f"{os.fspath(path)!r} is damaged: {error}") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise InvalidVectorsError(
            f"{os.fspath(path)!r} is no file that Vectors.save wrote, or it is cut short: {error}"
        ) from error


class _Columns:
    """The columns of one file, with their shapes as its header has them."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401 - safe_open is untyped
        self._file = file
        self._names = set(file.keys())

    def read(self, rows: slice, parts: Sequence[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if "dense" in self._names and "dense" in parts:
            count = self._shape("dense")[0]
            first, last, _ = rows.indices(count)
            found["dense"] = self._slice("dense", first, last)
        if "sparse.indptr" in self._names and "sparse" in parts:
            found["sparse"] = self._ragged(
                rows,
                "sparse.indptr",
                ("sparse.indices", "sparse.values"),
                lambda indptr, indices, values: SparseRows(indptr, indices, values),
            )
        if "colbert.indptr" in self._names and "colbert" in parts:
            found["colbert"] = self._ragged(
                rows,
                "colbert.indptr",
                ("colbert.values",),
                lambda indptr, values: TokenRows(indptr, values),
            )
        if not found:
            held = sorted(self._names & set(_COLUMNS)) or "nothing"
            raise InvalidVectorsError(f"it holds {held} of {', '.join(parts)}")
        return found

    def _ragged(
        self, rows: slice, name: str, columns: Sequence[str], make: Callable[..., object]
    ) -> object:
        (count,) = self._shape(name)
        indptr = self._slice(name, 0, count)
        sizes = {self._shape(column)[0] for column in columns}
        if (
            not count
            or sizes != {int(indptr[-1])}
            or indptr[0] != 0
            or bool((indptr[1:] < indptr[:-1]).any())
        ):
            raise InvalidVectorsError(
                f"{name} must rise from 0 to the number of rows of {' and '.join(columns)}"
            )
        first, last, _ = rows.indices(count - 1)
        indptr = indptr[first : max(first, last) + 1]
        start, stop = int(indptr[0]), int(indptr[-1])
        return make(indptr - start, *(self._slice(column, start, stop) for column in columns))

    def _shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a column, which must be one that `save` writes."""
        if name not in self._names:
            raise InvalidVectorsError(f"{name} is missing")
        column = self._file.get_slice(name)
        shape, dtype = tuple(column.get_shape()), column.get_dtype()
        kind = _COLUMNS[name]
        if len(shape) != kind.dimensions or dtype not in kind.dtypes:
            raise InvalidVectorsError(
                f"{name} has shape {shape} and type {dtype}, expected {kind.dimensions} "
                f"dimensions of {' or '.join(kind.dtypes)}"
            )
        if shape[0] and 0 in shape:
            raise InvalidVectorsError(f"{name} has {shape[0]} rows without a number")
        return shape

    def _slice(self, name: str, first: int, last: int) -> NDArray[Any]:
        column = self._file.get_slice(name)
        if first >= last:  # safetensors refuses to slice nothing
            dtype = _COLUMNS[name].dtypes[column.get_dtype()]
            return np.zeros((0, *column.get_shape()[1:]), dtype)
        return np.asarray(column[first:last])
