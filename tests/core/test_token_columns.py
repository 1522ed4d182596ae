"""Weights and storage of token vectors: slices, stacks, single vectors, files, pickles."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from trivec import ColbertStorage, Schema, Vector, Vectors
from trivec.errors import InvalidVectorsError
from trivec.rows import SparseRows, TokenRows
from trivec.stores.reduction import reduced
from trivec.token_codes import TokenCodes

STORAGES = [
    *(None, ColbertStorage(bits=8), ColbertStorage(bits=4, pool=3), ColbertStorage(bits=2)),
    *(ColbertStorage(bits=1, pool=2), ColbertStorage(bits=1, prune=1 / 3), ColbertStorage(pool=2)),
    ColbertStorage(bits=32, prune=0.25),
]


def tokens(
    lengths: list[int],
    storage: ColbertStorage | None = None,
    *,
    seed: int = 0,
    weights: bool = True,
) -> TokenRows:
    """Return token vectors as a collection of this storage gives them back."""
    rng = np.random.default_rng(seed)
    rows = TokenRows.from_arrays([rng.standard_normal((n, 8)) for n in lengths], dim=8)
    rows = replace(rows, weights=rng.random(len(rows.values)) if weights else None)
    if storage is None:
        return rows
    kept = reduced(replace(rows, weights=rng.random(len(rows.values))), storage)
    return kept if weights else replace(kept, weights=None)


def assert_same(got: TokenRows | None, wanted: TokenRows) -> None:
    assert got is not None
    np.testing.assert_array_equal(got.indptr, wanted.indptr)
    np.testing.assert_array_equal(got.values, wanted.values)
    assert (got.weights is None) == (wanted.weights is None)
    if got.weights is not None and wanted.weights is not None:
        np.testing.assert_array_equal(got.weights, wanted.weights)
    assert got.storage == wanted.storage


def as_read(rows: TokenRows) -> TokenRows:
    """Return the token vectors in the bits of their storage."""
    if rows.storage is None or rows.storage.bits >= 16:
        return rows
    return replace(rows, values=TokenCodes.encode(rows, rows.storage.bits).decoded().values)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 6), max_size=6),
    st.sampled_from(STORAGES),
    st.booleans(),
    st.integers(0, 7),
    st.integers(0, 7),
)
def test_files_hold_weights_storage_and_few_bits(
    tmp_path_factory: Any,
    lengths: list[int],
    storage: ColbertStorage | None,
    weights: bool,
    start: int,
    stop: int,
) -> None:
    rows = as_read(tokens(lengths, storage, weights=weights))
    vectors = Vectors(dense=np.ones((len(lengths), 2)), colbert=rows)
    path = tmp_path_factory.getbasetemp() / "tokens.safetensors"
    vectors.save(path)
    assert_same(Vectors.load(path).colbert, rows)
    part = Vectors.load(path, start=start, stop=stop)
    assert_same(part.colbert, rows.take(np.arange(*slice(start, stop).indices(len(lengths)))))
    assert Vectors.load(path, parts=["dense"]).colbert is None


@pytest.mark.parametrize("bits", [8, 4, 2, 1])
def test_a_file_takes_the_bytes_of_the_storage(tmp_path: Path, bits: int) -> None:
    storage = ColbertStorage(bits=bits, pool=2)
    path = tmp_path / "v.safetensors"
    Vectors(colbert=tokens([200, 200], storage)).save(path)
    columns = load_file(path)
    assert set(columns) == {"colbert.indptr", "colbert.packed", "colbert.factors"}
    size = columns["colbert.packed"].nbytes + columns["colbert.factors"].nbytes
    assert size == 2 * storage.kept(200) * storage.token_bytes(8)
    with safe_open(path, framework="numpy") as file:
        assert file.metadata() == {"colbert.storage": str(storage)}


@pytest.mark.parametrize(
    ("change", "text", "problem"),
    [
        ({}, None, "does not say how many bits"),
        ({}, "bits=16", "does not say how many bits"),
        ({}, "bits=3", "bits=3"),
        ({}, "nonsense", "nonsense"),
        ({"colbert.factors": None}, "bits=1", "colbert.factors is missing"),
        ({"colbert.factors": np.ones(4, np.float32)}, "bits=1", "type F32"),
        ({"colbert.packed": np.ones((4, 1), np.float32)}, "bits=1", "type F32"),
        ({"colbert.packed": np.ones((3, 1), np.uint8)}, "bits=1", "must rise"),
        ({"colbert.weights": np.ones(3, np.float32)}, "bits=1", "must rise"),
        ({"colbert.weights": np.full(4, -1, np.float32)}, "bits=1", "weight"),
        ({"colbert.factors": np.full(4, np.nan, np.float16)}, "bits=1", "not finite"),
    ],
)
def test_damaged_files_are_named(
    tmp_path: Path, change: dict[str, Any], text: str | None, problem: str
) -> None:
    columns: dict[str, Any] = {
        "colbert.indptr": np.array([0, 4]),
        "colbert.packed": np.ones((4, 1), np.uint8),
        "colbert.factors": np.ones(4, np.float16),
    }
    columns = {name: column for name, column in (columns | change).items() if column is not None}
    path = tmp_path / "v.safetensors"
    save_file(columns, path, None if text is None else {"colbert.storage": text})
    with pytest.raises(InvalidVectorsError, match=rf"v\.safetensors.*{problem}"):
        Vectors.load(path)


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_slices_and_stacks_keep_weights_and_storage(storage: ColbertStorage | None) -> None:
    rows = tokens([3, 0, 9, 4], storage)
    vectors = Vectors(colbert=rows)
    both = Vectors.concatenate([vectors.slice(0, 1), vectors.slice(1, 4)])
    assert_same(both.colbert, rows)
    assert_same(vectors.take([2, 0]).colbert, rows.take(np.array([2, 0])))
    schema = Schema(dense=None, sparse=False, colbert=8)
    assert vectors.only(schema).colbert is vectors.colbert


def test_texts_without_tokens_know_of_no_weights_and_no_storage() -> None:
    storage = ColbertStorage(bits=8)
    rows, none = tokens([3, 2], storage), TokenRows.from_arrays([np.zeros((0, 8))])
    assert rows.weights is not None
    batches = [Vectors(colbert=part) for part in (none, rows, none)]
    joined = Vectors.concatenate(batches).colbert
    assert joined is not None
    assert joined.weights is not None
    assert joined.storage == storage
    assert np.diff(joined.indptr).tolist() == [0, 3, 2, 0]


def test_weights_of_some_are_the_weights_of_none() -> None:
    joined = Vectors.concatenate(
        [Vectors(colbert=tokens([2])), Vectors(colbert=tokens([3], weights=False))]
    )
    assert joined.colbert is not None
    assert joined.colbert.weights is None


@pytest.mark.parametrize(
    "storages",
    [
        (None, ColbertStorage(bits=1)),
        (ColbertStorage(bits=1), ColbertStorage(bits=2)),
        (ColbertStorage(pool=2), ColbertStorage(pool=3)),
    ],
    ids=str,
)
def test_batches_of_different_storages_do_not_mix(storages: Any) -> None:
    batches = [Vectors(colbert=tokens([3], storage)) for storage in storages]
    with pytest.raises(InvalidVectorsError, match="come from collections that keep them diff"):
        Vectors.concatenate(batches)
    with pytest.raises(InvalidVectorsError, match="come from collections that keep them diff"):
        Vectors.from_rows([batch[0] for batch in batches], dense=None, sparse=False, colbert=8)


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_a_vector_keeps_the_storage(storage: ColbertStorage | None) -> None:
    vectors = Vectors(dense=np.eye(2), colbert=tokens([3, 4], storage))
    assert [vector.storage for vector in vectors] == [storage, storage]
    again = Vectors.from_rows(list(vectors), dense=2, sparse=False, colbert=8)
    assert again.colbert is not None
    assert again.colbert.storage == storage
    plain = Vectors(dense=np.eye(2))[0]
    assert plain.storage is None


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_pickles_hold_weights_and_storage(storage: ColbertStorage | None) -> None:
    vectors = Vectors(sparse=SparseRows.from_dicts([{3: 0.5}, {}]), colbert=tokens([3, 4], storage))
    assert vectors.colbert is not None
    assert_same(pickle.loads(pickle.dumps(vectors)).colbert, vectors.colbert)
    vector: Vector = pickle.loads(pickle.dumps(vectors[0]))
    assert vector.storage == storage
    np.testing.assert_array_equal(np.asarray(vector.colbert), vectors.colbert.row(0))


@pytest.mark.parametrize(
    "weights",
    [np.ones(2), np.ones((3, 1)), [0.1, -0.1, 0.2], [0.1, np.nan, 0.2], [0.1, np.inf, 0.2], "abc"],
)
def test_weights_are_one_for_each_vector(weights: Any) -> None:
    with pytest.raises(InvalidVectorsError, match="ColBERT weights"):
        TokenRows(np.array([0, 3]), np.eye(3), weights)
