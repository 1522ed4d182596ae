"""Files of vectors: writing them, and reading them with checks of everything they contain."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trivec.colbert_storage import ColbertStorage
from trivec.errors import InvalidOptionError, InvalidVectorsError
from trivec.rows import SparseRows, TokenRows
from trivec.token_codes import TokenCodes

_FLOATS: dict[str, np.dtype[Any]] = {"F16": np.dtype(np.float16), "F32": np.dtype(np.float32)}
_HALVES: dict[str, np.dtype[Any]] = {"F16": np.dtype(np.float16)}
_BYTES: dict[str, np.dtype[Any]] = {"U8": np.dtype(np.uint8)}
_IDS: dict[str, np.dtype[Any]] = {"U32": np.dtype(np.uint32)}
_STARTS: dict[str, np.dtype[Any]] = {"I64": np.dtype(np.int64)}


class _Layout(NamedTuple):
    """The types and dimensions that a column may have."""

    dtypes: Mapping[str, np.dtype[Any]]
    dimensions: int


_COLUMNS = {
    "dense": _Layout(_FLOATS, 2),
    "sparse.indptr": _Layout(_STARTS, 1),
    "sparse.indices": _Layout(_IDS, 1),
    "sparse.values": _Layout(_FLOATS, 1),
    "colbert.indptr": _Layout(_STARTS, 1),
    "colbert.values": _Layout(_FLOATS, 2),
    "colbert.weights": _Layout(_FLOATS, 1),
    # In place of the values where they have fewer than 16 bits; see TokenCodes.
    "colbert.packed": _Layout(_BYTES, 2),
    "colbert.factors": _Layout(_HALVES, 1),
}
# The columns of each ragged part besides its indptr: alternatives, then those that may be missing.
_RAGGED: Mapping[str, tuple[Sequence[Sequence[str]], Sequence[str]]] = {
    "sparse": ([["indices", "values"]], []),
    "colbert": ([["values"], ["packed", "factors"]], ["weights"]),
}
_STORAGE = "colbert.storage"
PARTS = ("dense", *_RAGGED)


def token_columns(rows: TokenRows) -> dict[str, NDArray[Any]]:
    """Return the columns of token vectors, in as few bits as they were kept with."""
    columns: dict[str, NDArray[Any]] = {"colbert.indptr": rows.indptr}
    if rows.storage is not None and rows.storage.bits < 16:
        codes = TokenCodes.encode(rows, rows.storage.bits)
        columns |= {"colbert.packed": codes.packed, "colbert.factors": codes.factors}
    else:
        columns["colbert.values"] = rows.values
    if rows.weights is not None:
        columns["colbert.weights"] = rows.weights
    return columns


def write_columns(
    file: BinaryIO, columns: Mapping[str, NDArray[Any]], storage: ColbertStorage | None = None
) -> None:
    """Write columns of float16, float32, uint8, uint32 or int64 in the format of safetensors.

    The format is the length of the header in 8 bytes, little-endian; the header in JSON, padded
    with blanks; and the columns (https://huggingface.co/docs/safetensors). The library itself would
    create a new file, even in place of a pipe or a device.
    """
    ordered = dict(sorted(columns.items(), key=lambda item: -item[1].itemsize))  # for alignment
    header, end = dict[str, object](), 0
    if storage is not None:
        header["__metadata__"] = {_STORAGE: str(storage)}
    for name, column in ordered.items():
        span = [end, end := end + column.nbytes]
        dtype = f"{column.dtype.kind.upper()}{column.itemsize * 8}"  # F16, F32, U8, U32, I64
        header[name] = {"dtype": dtype, "shape": list(column.shape), "data_offsets": span}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for column in ordered.values():
        little = np.ascontiguousarray(column, column.dtype.newbyteorder("<"))
        file.write(little.view(np.uint8).data)


def read_columns(path: str | os.PathLike[str], rows: slice, parts: Sequence[str]) -> dict[str, Any]:
    """Read some rows of some parts of a file that `Vectors.save` wrote: the arguments of `Vectors`.

    The step of `rows` must be None. Parts that the file lacks are left out.
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
            f"{os.fspath(path)!r} is not a file of Vectors.save, or it is cut short: {error}"
        ) from error


def columns_of_bytes(content: bytes) -> dict[str, Any]:
    """Read what `write_columns` wrote from memory: the arguments of `Vectors`.

    Raises:
        InvalidVectorsError: If it is cut short or malformed.
    """
    import safetensors
    from safetensors import SafetensorError

    deserialize: Any = safetensors.deserialize  # it has no types
    try:
        tensors = dict(deserialize(content))
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__")
        return _Columns(_InMemory(tensors, metadata)).read(slice(None), tuple(PARTS))
    except InvalidVectorsError:
        raise
    except (SafetensorError, ValueError, TypeError) as error:
        raise InvalidVectorsError(f"no vectors, or they are cut short: {error}") from error


def dtype_named(name: str) -> np.dtype[Any]:
    """Return the type of a column that safetensors calls by this name.

    Raises:
        InvalidVectorsError: If no column has such a type.
    """
    dtypes = {**_FLOATS, **_BYTES, **_IDS, **_STARTS}
    if not isinstance(name, str) or name not in dtypes:
        raise InvalidVectorsError(f"no column has the type {str(name)[:20]!r}")
    return dtypes[name]


def assembled(
    columns: Mapping[str, NDArray[Any]], storage: ColbertStorage | None = None
) -> dict[str, Any]:
    """Return the arguments of `Vectors` from the columns of a file."""
    made: dict[str, Any] = {}
    if "dense" in columns:
        made["dense"] = columns["dense"]
    if "sparse.indptr" in columns:
        sparse = (columns[f"sparse.{name}"] for name in ("indptr", "indices", "values"))
        made["sparse"] = SparseRows(*sparse)
    if "colbert.indptr" in columns:
        indptr, weights = columns["colbert.indptr"], columns.get("colbert.weights")
        if "colbert.packed" in columns:
            if storage is None or storage.bits >= 16:
                raise InvalidVectorsError("it does not say how many bits its token vectors have")
            packed, factors = columns["colbert.packed"], columns["colbert.factors"]
            values = TokenCodes(storage.bits, indptr, packed, factors).decoded().values
        else:
            values = columns["colbert.values"]
        made["colbert"] = TokenRows(indptr, values, weights, storage)
    return made


class _InMemory:
    """Has the methods of `safe_open` for tensors that were read already."""

    def __init__(
        self, tensors: Mapping[str, Mapping[str, Any]], metadata: Mapping[str, str] | None
    ) -> None:
        self._tensors = tensors
        self._metadata = metadata

    def keys(self) -> list[str]:
        return list(self._tensors)

    def metadata(self) -> Mapping[str, str] | None:
        return self._metadata

    def get_slice(self, name: str) -> _Tensor:
        return _Tensor(self._tensors[name])


class _Tensor:
    """Has the methods of a slice of `safe_open`."""

    def __init__(self, tensor: Mapping[str, Any]) -> None:
        self._tensor = tensor

    def get_shape(self) -> list[int]:
        return list(self._tensor["shape"])

    def get_dtype(self) -> str:
        return str(self._tensor["dtype"])

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        # Not of a type "<f4": its arrays equal those of "f4", but libraries refuse their buffers.
        dtype = dtype_named(self.get_dtype())
        values = np.frombuffer(self._tensor["data"], dtype).reshape(self.get_shape())[rows]
        return values if sys.byteorder == "little" else values.byteswap()


class _Columns:
    """The columns of one file."""

    def __init__(self, file: _InMemory | Any) -> None:  # noqa: ANN401 - safe_open is untyped
        self._file = file
        self._names = set(file.keys())

    def read(self, rows: slice, parts: Sequence[str]) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        if "dense" in self._names and "dense" in parts:
            count = self._shape("dense")[0]
            first, last, _ = rows.indices(count)
            columns["dense"] = self._slice("dense", first, last)
        for part in _RAGGED:
            if f"{part}.indptr" in self._names and part in parts:
                columns |= self._ragged(rows, part)
        if not columns:
            held = sorted(self._names & set(_COLUMNS)) or "nothing"
            raise InvalidVectorsError(f"it holds {held} of {', '.join(parts)}")
        return assembled(columns, self._storage())

    def _storage(self) -> ColbertStorage | None:
        text = (self._file.metadata() or {}).get(_STORAGE)
        try:
            return None if text is None else ColbertStorage.parse(text)
        except InvalidOptionError as error:
            raise InvalidVectorsError(str(error)) from error

    def _ragged(self, rows: slice, part: str) -> dict[str, NDArray[Any]]:
        alternatives, optional = _RAGGED[part]
        needed = next((a for a in alternatives if f"{part}.{a[0]}" in self._names), alternatives[0])
        columns = [f"{part}.{column}" for column in needed]
        columns += [name for name in (f"{part}.{c}" for c in optional) if name in self._names]
        name = f"{part}.indptr"
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
        sliced = {column: self._slice(column, start, stop) for column in columns}
        return {name: indptr - start, **sliced}

    def _shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a column after checking it and the type."""
        if name not in self._names:
            raise InvalidVectorsError(f"{name} is missing")
        column = self._file.get_slice(name)
        shape, dtype = tuple(column.get_shape()), column.get_dtype()
        layout = _COLUMNS[name]
        if len(shape) != layout.dimensions or dtype not in layout.dtypes:
            raise InvalidVectorsError(
                f"{name} has shape {shape} and type {dtype}, expected {layout.dimensions} "
                f"dimensions of {' or '.join(layout.dtypes)}"
            )
        if shape[0] and 0 in shape:
            raise InvalidVectorsError(f"{name} has {shape[0]} rows without a number")
        return shape

    def _slice(self, name: str, first: int, last: int) -> NDArray[Any]:
        column = self._file.get_slice(name)
        if first >= last:  # safetensors refuses empty slices
            dtype = _COLUMNS[name].dtypes[column.get_dtype()]
            return np.zeros((0, *column.get_shape()[1:]), dtype)
        return np.asarray(column[first:last])
