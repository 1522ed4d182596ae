"""Vectors as columns: what is refused, slices, stacks, files."""

from __future__ import annotations

import contextlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from trivec import Vector, Vectors
from trivec.errors import InvalidVectorsError
from trivec.rows import SparseRows, TokenRows, unit

VALUES = st.floats(-4, 4, width=16)
DICTS = st.dictionaries(st.integers(0, 2**32 - 2), st.floats(0.0009765625, 4, width=32), max_size=5)


@st.composite
def batches(draw: st.DrawFn) -> Vectors:
    n = draw(st.integers(0, 6))
    parts = draw(st.sets(st.sampled_from(["dense", "sparse", "colbert"]), min_size=1))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    tokens = [rng.standard_normal((draw(st.integers(0, 4)), 3)) for _ in range(n)]
    dtype = draw(st.sampled_from([np.float32, np.float16]))
    return Vectors(
        dense=rng.standard_normal((n, 2)).astype(np.float32) if "dense" in parts else None,
        sparse=SparseRows.from_dicts([draw(DICTS) for _ in range(n)])
        if "sparse" in parts
        else None,
        colbert=TokenRows.from_arrays([t.astype(dtype) for t in tokens], dim=3)
        if "colbert" in parts
        else None,
    )


def rows_of(vectors: Vectors) -> list[Any]:
    return [
        (
            None if v.dense is None else v.dense.tolist(),
            None if v.sparse is None else dict(v.sparse),
            None if v.colbert is None else v.colbert.tolist(),
        )
        for v in vectors
    ]


@given(batches(), st.data())
def test_take_slice_and_concatenate_are_those_of_lists(vectors: Vectors, data: Any) -> None:
    rows = rows_of(vectors)
    start, stop = data.draw(st.integers(0, 7)), data.draw(st.integers(0, 7))
    assert rows_of(vectors.slice(start, stop)) == rows[start:stop]
    order = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)) if rows else []
    assert rows_of(vectors.take(order)) == [rows[i] for i in order]
    both = Vectors.concatenate([vectors.slice(0, 2), vectors.slice(2, len(rows))])
    assert rows_of(both) == rows


@given(batches(), st.integers(0, 7), st.integers(0, 7))
def test_files_hold_everything_and_are_read_in_parts(
    tmp_path_factory: Any, vectors: Vectors, start: int, stop: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "vectors.safetensors"
    vectors.save(path)
    assert rows_of(Vectors.load(path)) == rows_of(vectors)
    assert rows_of(Vectors.load(path, start=start, stop=stop)) == rows_of(vectors)[start:stop]


def test_rows_that_lack_a_part_become_zeros() -> None:
    stacked = Vectors.from_rows(
        [Vector(dense=np.ones(2)), Vector(sparse={3: 0.5}, colbert=np.ones((2, 4)))],
        dense=2,
        sparse=True,
        colbert=4,
    )
    assert stacked.dense is not None
    assert stacked.dense.tolist() == [[1, 1], [0, 0]]
    assert rows_of(stacked)[1][1] == {3: 0.5}
    assert stacked.colbert is not None
    assert stacked.colbert.indptr.tolist() == [0, 0, 2]
    with pytest.raises(InvalidVectorsError, match="dense row 1 has dimension 3, expected 2"):
        Vectors.from_rows(
            [Vector(dense=np.ones(2)), Vector(dense=np.ones(3))],
            dense=2,
            sparse=False,
            colbert=None,
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Vectors(), "at least one"),
        (lambda: Vectors(dense=np.ones(3)), r"shape \(3,\)"),
        (lambda: Vectors(dense=np.array([[0.0], [np.nan]])), "dense row 1"),
        (lambda: Vectors(dense=np.array([[0.0], [np.inf]])), "dense row 1"),
        (lambda: Vectors(dense=np.ones((2, 1)), sparse=SparseRows.from_dicts([{}])), "disagree"),
        (lambda: SparseRows.from_dicts([{}, {1: 0.0}]), "sparse row 1 holds the weight 0"),
        (lambda: SparseRows.from_dicts([{1: -0.5}]), "sparse row 0"),
        (lambda: SparseRows.from_dicts([{1: float("nan")}]), "sparse row 0"),
        (lambda: SparseRows.from_dicts([{2**32 - 1: 0.5}]), "2"),
        (lambda: SparseRows.from_dicts([{-1: 0.5}]), "between 0"),
        (lambda: sparse_rows([0, 2], [5, 5]), "row 0 repeats or disorders the index 5"),
        (lambda: sparse_rows([0, 1, 3], [9, 5, 4]), "row 1"),
        (lambda: sparse_rows([0, 3], [1, 2]), "rise from 0 to 2"),
        (lambda: sparse_rows([0, 2, 1, 2], [1, 2]), "rise"),
        (lambda: TokenRows(np.array([0, 1]), np.ones(3)), "expected"),
        (lambda: TokenRows.from_arrays([np.ones((1, 2)), np.array([[1, np.inf]])]), "row 1"),
        (lambda: TokenRows.from_arrays([np.ones((1, 2)), np.ones((1, 3))]), "one dimension"),
        (lambda: Vector(dense=np.array([np.nan])), "not finite"),
    ],
)
def test_what_is_refused(make: Any, message: str) -> None:
    with pytest.raises(InvalidVectorsError, match=message):
        make()


def sparse_rows(indptr: list[int], indices: list[int]) -> SparseRows:
    return SparseRows(
        np.array(indptr), np.array(indices, np.uint32), np.ones(len(indices), np.float32)
    )


def test_a_new_row_may_start_lower_than_the_last_one_ended() -> None:
    assert len(sparse_rows([0, 2, 2, 4], [7, 9, 1, 2])) == 3


def test_single_vectors_cannot_be_changed() -> None:
    vector = Vector(sparse={1: 0.5})
    with pytest.raises(TypeError):
        vector.sparse[2] = 1.0  # type: ignore[index]


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Vectors.load(tmp_path / "nothing.safetensors")


def test_row_bytes() -> None:
    vectors = Vectors(
        dense=np.ones((2, 4), np.float32),
        sparse=SparseRows.from_dicts([{1: 1.0, 2: 1.0}, {}]),
        colbert=TokenRows.from_arrays([np.ones((1, 3)), np.ones((2, 3))]),
    )
    assert vectors.row_bytes().tolist() == [16 + 16 + 12, 16 + 24]


def test_vectors_can_be_pickled() -> None:
    one = Vector(np.ones(2), {3: 0.5}, np.eye(2))
    again = pickle.loads(pickle.dumps(one))
    assert again.sparse == one.sparse
    np.testing.assert_array_equal(again.dense, one.dense)
    np.testing.assert_array_equal(again.colbert, one.colbert)


@pytest.mark.parametrize("rows", [[-1], [0, 2], [2]])
def test_rows_that_are_not_there(rows: list[int]) -> None:
    with pytest.raises(IndexError, match="of 2"):
        Vectors(dense=np.eye(2), sparse=SparseRows.from_dicts([{}, {}])).take(rows)


def test_a_file_is_read_without_some_parts(tmp_path: Path) -> None:
    batch = Vectors(dense=np.eye(2), sparse=SparseRows.from_dicts([{1: 0.5}, {}]))
    batch.save(tmp_path / "v.safetensors")
    read = Vectors.load(tmp_path / "v.safetensors", parts=["sparse"])
    assert read.dense is None
    assert read[0].sparse == {1: 0.5}


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_a_vector_of_any_length_has_unit_length_but_for_zeros(size: float) -> None:
    rows = np.array([[3, 4], [0, 0]], np.float32) * np.float32(size)
    assert unit(rows) == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))
    assert unit(rows).dtype == np.float32


def _file(path: Path, columns: dict[str, Any], header: Mapping[str, Any] | None = None) -> Path:
    """Write arrays as safetensors, or what a header says of 64 bytes."""
    if header is None:
        save_file({name: np.asarray(column) for name, column in columns.items()}, path)
    else:
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(64))
    return path


_ROWS = {"sparse.indices": np.arange(3, dtype=np.uint32), "sparse.values": np.ones(3, np.float32)}
DAMAGED: dict[str, tuple[dict[str, Any], dict[str, Any] | None, str]] = {
    "nothing": ({}, None, "nothing of dense, sparse, colbert"),
    "others": ({"weight": np.ones(3)}, None, "nothing of dense"),
    "one number": ({"dense": np.float32(1)}, None, r"dense has shape \(\)"),
    "one row": ({"dense": np.ones(3, np.float32)}, None, "2 dimensions"),
    "integers": ({"dense": np.ones((2, 2), np.int64)}, None, "type I64"),
    "not finite": ({"dense": np.full((2, 2), np.nan, np.float32)}, None, "dense row 0"),
    "indptr alone": ({"sparse.indptr": np.array([0, 3])}, None, "sparse.indices is missing"),
    "indptr empty": ({**_ROWS, "sparse.indptr": np.zeros(0, np.int64)}, None, "must rise"),
    "indptr short": ({**_ROWS, "sparse.indptr": np.array([0, 2])}, None, "must rise"),
    "indptr long": ({**_ROWS, "sparse.indptr": np.array([0, 2**62])}, None, "must rise"),
    "indptr from 1": ({**_ROWS, "sparse.indptr": np.array([1, 3])}, None, "must rise"),
    "indptr falls": ({**_ROWS, "sparse.indptr": np.array([0, 5, -1, 3])}, None, "must rise"),
    "indptr floats": ({**_ROWS, "sparse.indptr": np.array([0.0, 3.0])}, None, "type F64"),
    "bfloat16": ({}, {"dense": ("BF16", [4, 8])}, "type BF16"),
    "float8": ({}, {"dense": ("F8_E4M3", [8, 8])}, "type F8_E4M3"),
    "rows of nothing": ({}, {"dense": ("F32", [2**40, 0])}, "cut short|without a number"),
    "too large": ({}, {"dense": ("F32", [2**32, 2**32])}, "cut short"),
}


@pytest.mark.parametrize(("columns", "header", "problem"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_files_are_named(
    tmp_path: Path, columns: dict[str, Any], header: dict[str, Any] | None, problem: str
) -> None:
    told = header and {
        name: {"dtype": dtype, "shape": shape, "data_offsets": [0, 64]}
        for name, (dtype, shape) in header.items()
    }
    path = _file(tmp_path / "v.safetensors", columns, told)
    with pytest.raises(InvalidVectorsError, match=rf"v\.safetensors.*({problem})"):
        Vectors.load(path)
    for start, stop in ((1, 2), (5, None), (-1, None)):
        with contextlib.suppress(InvalidVectorsError):  # the rows that are read may be sound
            Vectors.load(path, start=start, stop=stop)


def test_a_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    Vectors(dense=np.eye(4), sparse=SparseRows.from_dicts([{5: 1.0}] * 4)).save(path)
    whole = path.read_bytes()
    for size in {*range(0, len(whole), 7), len(whole) - 1}:
        path.write_bytes(whole[:size])
        with pytest.raises(InvalidVectorsError, match=r"v\.safetensors"):
            Vectors.load(path)
    with pytest.raises(InvalidVectorsError, match="is not a file"):
        Vectors.load(tmp_path)
