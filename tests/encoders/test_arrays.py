"""Files of heads are read without torch: the same numbers, and no code of the file is run."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from trivec.encoders.arrays import read_arrays
from trivec.errors import CheckpointError


class Command:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo run",)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_the_same_numbers_as_torch(tmp_path: Path, suffix: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    state = {
        "weight": torch.randn(3, 4, generator=generator).to(dtype),
        "bias": torch.randn(3, generator=generator).to(dtype),
    }
    path = tmp_path / f"head{suffix}"
    if suffix == ".pt":
        state |= {"turned": state["weight"].t(), "parameter": torch.nn.Parameter(state["bias"])}
        state |= {"number": state["bias"][1], "part": state["weight"][1:, ::2]}
        torch.save(state, path)
    else:
        save_file(state, path)
    found = read_arrays(path)
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], tensor.detach().float().numpy())


@pytest.mark.parametrize(
    ("state", "match"),
    [
        ({"weight": Command()}, r"holds a Python object, \w+\.system.*no code"),
        (torch.zeros(3), "something else than a dictionary of tensors"),
        ({"weight": 3}, "something else than a dictionary of tensors"),
        ({"weight": torch.zeros(3, dtype=torch.int8)}, "expected floating-point numbers"),
    ],
)
def test_files_that_hold_something_else(tmp_path: Path, state: object, match: str) -> None:
    torch.save(state, tmp_path / "head.pt")
    with pytest.raises(CheckpointError, match=match):
        read_arrays(tmp_path / "head.pt")


def test_damaged_files(tmp_path: Path) -> None:
    good = tmp_path / "head.pt"
    torch.save(torch.nn.Linear(8, 8).state_dict(), good)
    for name, content in (("cut.pt", good.read_bytes()[:-200]), ("none.pt", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=r"cut short|empty"):
            read_arrays(tmp_path / name)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_arrays(tmp_path / "absent.pt")
    torch.save({"w": torch.zeros(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"before 1\.6"):
        read_arrays(tmp_path / "old.pt")
    with zipfile.ZipFile(good) as archive, zipfile.ZipFile(tmp_path / "small.pt", "w") as smaller:
        for entry in archive.infolist():
            content = archive.read(entry)
            smaller.writestr(entry.filename, content[:8] if "/data/" in entry.filename else content)
    with pytest.raises(CheckpointError, match="larger than its storage"):
        read_arrays(tmp_path / "small.pt")
