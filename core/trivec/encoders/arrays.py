"""The tensors in a small checkpoint file as numpy arrays, without torch.

A file of `torch.save` is a zip archive with one pickle and one entry for the numbers of each
tensor. The pickle is read by an unpickler that knows the few names of a dictionary of tensors and
refuses every other, so that no code of the file is run.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trivec.encoders.files import flaw, reason
from trivec.errors import CheckpointError

Array = NDArray[np.float32]

_MOST_BYTES = 2**30  # of one file; the heads of the largest published encoders take 50 MB
# The numbers of each storage class of torch, and of each dtype of safetensors. numpy has no
# bfloat16, whose 16 bits are the upper half of a float32.
_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "bfloat16",
}


def read_arrays(path: Path) -> dict[str, Array]:
    """Return the floating-point tensors of a file of safetensors or `torch.save`, in float32.

    Args:
        path: The file, whose name ends in .safetensors, .pt, .pth or .bin.

    Raises:
        CheckpointError: If it cannot be read, holds something else than tensors of floating-point
            numbers, or is larger than 1 GiB.
    """
    wrong = flaw(path)
    if wrong is None and path.stat().st_size > _MOST_BYTES:
        wrong = f"has {path.stat().st_size} bytes; expected a file with one layer"
    if wrong is not None:
        raise CheckpointError(f"{path} {wrong}")
    try:
        return _read_safetensors(path) if path.suffix == ".safetensors" else _read_archive(path)
    except Exception as error:  # the pickle module raises many types
        raise CheckpointError(f"{path} cannot be read: {reason(error)}") from error


def _read_safetensors(path: Path) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        numbers = _numbers(data[start + first : start + last], entry["dtype"])
        arrays[name] = numbers.reshape(entry["shape"])
    return arrays


def _read_archive(path: Path) -> dict[str, Array]:
    if not zipfile.is_zipfile(path):
        raise ValueError(
            "it was written by a version of PyTorch before 1.6; load it there and save it again"
        )
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(names) != 1:
            raise ValueError("it holds no data.pkl, as torch.save writes it")
        folder = names[0].removesuffix("data.pkl")
        entries = {entry.filename: entry for entry in archive.infolist()}
        if f"{folder}byteorder" in entries and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("its numbers have the byte order of another machine")

        def read(key: str) -> bytes:
            entry = entries[f"{folder}data/{key}"]
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError("its tensors are compressed, which torch.save does not do")
            return archive.read(entry)

        state = _Unpickler(archive.read(names[0]), read).load()
    if not isinstance(state, dict) or not all(isinstance(v, np.ndarray) for v in state.values()):
        raise ValueError("it holds something else than a dictionary of tensors")
    return {str(name): tensor for name, tensor in state.items()}


class _Unpickler(pickle.Unpickler):
    """Builds the tensors of a dictionary, and nothing else.

    Args:
        pickled: The pickle.
        read: Returns the bytes of a tensor's storage by its key.
    """

    def __init__(self, pickled: bytes, read: Callable[[str], bytes]) -> None:
        super().__init__(BytesIO(pickled))
        self._read = read

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter
        if module == "torch" and name.endswith("Storage"):
            return name
        raise pickle.UnpicklingError(
            f"it holds a Python object, {module}.{name}, beside tensors, and no code of a "
            "checkpoint is run; save the state_dict of the module alone"
        )

    def persistent_load(self, pid: tuple[str, str, str, str, int]) -> Array:
        _, storage, key, *_ = pid
        return _numbers(self._read(key), storage)


def _numbers(data: bytes, dtype: str) -> Array:
    """Return the numbers of a storage in float32.

    >>> _numbers(bytes.fromhex("803f"), "BF16"), _numbers(bytes.fromhex("003c"), "F16")
    (array([1.], dtype=float32), array([1.], dtype=float32))
    """
    if dtype not in _DTYPES:
        raise ValueError(f"its tensors have the type {dtype}, expected floating-point numbers")
    if _DTYPES[dtype] == "bfloat16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, _DTYPES[dtype]).astype(np.float32)


def _tensor(
    storage: Array, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> Array:
    """Return a tensor that lies in a storage, as a copy of its numbers."""
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    outside = min((offset, *stride)) < 0 or last >= len(storage)
    if outside or int(np.prod(size)) > len(storage):
        raise ValueError("a tensor is larger than its storage")
    steps = [step * storage.itemsize for step in stride]
    view = np.lib.stride_tricks.as_strided(storage[offset:], size, steps)
    return np.array(view, np.float32)


def _parameter(tensor: Array, *_: object) -> Array:
    return tensor
