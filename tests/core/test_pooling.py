"""Pooling: which tokens are merged, and what remains of them."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivec import pooling
from trivec.colbert_storage import pooled_size
from trivec.errors import InvalidOptionError
from trivec.pooling import clusters, pool_rows, pool_tokens
from trivec.rows import TokenRows, Tokens, unit


def tokens_of(count: int, dim: int = 16, *, seed: int = 0) -> Tokens:
    """Return random vectors of different lengths."""
    rng = np.random.default_rng(seed)
    rows: Tokens = rng.standard_normal((count, dim)).astype(np.float32)
    return rows * rng.uniform(0.5, 2, (count, 1)).astype(np.float32)


def planted(groups: int, size: int, *, seed: int = 0) -> tuple[Tokens, list[int]]:
    """Return tokens around `groups` directions in any order, and the group of each."""
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.standard_normal((64, 64)))[0][:groups]
    group = rng.permutation(np.repeat(np.arange(groups), size))
    noise = 0.05 * rng.standard_normal((len(group), 64))
    return (centres[group] + noise).astype(np.float32), group.tolist()


def similarity(tokens: Tokens, labels: list[int] | np.ndarray, pooled: Tokens) -> float:
    """Return the mean cosine of the tokens to the vectors that stand for them."""
    return float(np.sum(unit(tokens) * unit(pooled)[labels], axis=1).mean())


@settings(deadline=None)  # the first call imports scipy
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 5))
def test_exactly_as_many_as_allowed(count: int, most: int, seed: int) -> None:
    tokens = tokens_of(count, 4, seed=seed)
    labels = clusters(tokens, most)
    assert sorted(set(labels.tolist())) == list(range(min(count, most)))
    assert pool_tokens(tokens, most).shape == (min(count, most), 4)
    firsts = np.unique(labels, return_index=True)[1]
    assert np.all(np.diff(firsts) > 0)
    if count >= 2 and most >= 2:
        assert labels.tolist().count(labels[-1]) == 1


@pytest.mark.parametrize("count", [511, 513, 514, 1025, 1500, 5000])
@pytest.mark.parametrize("most", [2, 3, 4, 64, 300, 500])
def test_windows_use_all_that_is_allowed(count: int, most: int) -> None:
    tokens = tokens_of(count, 4)
    labels = clusters(tokens, most)
    assert set(labels.tolist()) == set(range(most))
    assert labels.tolist().count(labels[-1]) == 1
    assert len(pool_tokens(tokens, most)) == most


def test_each_window_has_a_share() -> None:
    labels = clusters(tokens_of(2049, 8), 1025)
    for start in range(0, 2048, 512):
        assert np.unique(labels[start : start + 512]).tolist() == list(
            range(start // 2, start // 2 + 256)
        )


def test_planted_clusters_are_found_and_the_last_token_stays_alone() -> None:
    tokens, groups = planted(12, 6)
    labels = clusters(tokens, 13)
    assert labels[-1] == 12
    pairs = set(zip(groups[:-1], labels[:-1].tolist(), strict=True))
    assert len(pairs) == 12


@pytest.mark.parametrize("factor", [2, 3, 6])
@pytest.mark.parametrize(("groups", "size"), [(12, 6), (50, 30)])
def test_similar_tokens_lose_less_than_neighbours(groups: int, size: int, factor: int) -> None:
    tokens, _ = planted(groups, size)
    most = pooled_size(len(tokens), factor)
    runs = np.arange(len(tokens)) * most // len(tokens)
    neighbours = np.add.reduceat(tokens, np.searchsorted(runs, np.arange(most)), axis=0)
    ward = similarity(tokens, clusters(tokens, most), pool_tokens(tokens, most))
    assert ward > 0.9
    assert similarity(tokens, runs, neighbours) < 0.8


def test_a_merged_vector_is_the_mean_direction_in_the_mean_length() -> None:
    tokens = tokens_of(300)
    labels = clusters(tokens, 40)
    pooled = pool_tokens(tokens, 40)
    for label in range(40):
        members = tokens[labels == label]
        if len(members) == 1:
            np.testing.assert_array_equal(pooled[label], members[0])
            continue
        mean = unit(unit(members).mean(axis=0))
        length = np.linalg.norm(members, axis=1).mean()
        np.testing.assert_allclose(pooled[label], mean * length, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_types_are_kept_and_single_members_stay_as_they_are(dtype: type[np.floating]) -> None:
    tokens = np.concatenate([np.repeat(tokens_of(3), 4, axis=0), tokens_of(9, seed=1)])
    tokens = tokens.astype(dtype)
    pooled = pool_tokens(tokens, 12)
    assert pooled.dtype == dtype
    np.testing.assert_array_equal(pooled[3:], tokens[12:])
    np.testing.assert_allclose(pooled[:3], tokens[[0, 4, 8]], rtol=2e-3)


def test_enough_room_gives_the_array_itself() -> None:
    tokens = tokens_of(7)
    assert pool_tokens(tokens, 7) is tokens
    assert pool_tokens(tokens[:0], 0).shape == (0, 16)
    with pytest.raises(InvalidOptionError, match="most=0"):
        pool_tokens(tokens, 0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("count", [2, 9, 600])
@pytest.mark.parametrize("most", [1, 2, 5, 299])
def test_odd_vectors_give_finite_ones(dtype: type[np.floating], count: int, most: int) -> None:
    highest = np.finfo(dtype).max
    signs = np.where(tokens_of(count) > 0, highest, -highest).astype(dtype)
    cases = {
        "zeros": np.zeros((count, 16), dtype),
        "equal": np.ones((count, 16), dtype),
        "opposite": np.outer(np.resize([1, -1], count), np.ones(16)).astype(dtype),
        "highest": signs,
        "smallest": np.full((count, 16), np.finfo(dtype).smallest_subnormal, dtype),
    }
    for name, tokens in cases.items():
        pooled = pool_tokens(tokens, most)
        assert pooled.shape == (min(count, most), 16), name
        assert np.isfinite(pooled).all(), name
    assert not pool_tokens(cases["zeros"], most).any()
    np.testing.assert_allclose(pool_tokens(cases["equal"], most), 1, rtol=1e-3)


def test_sizes() -> None:
    assert [pooled_size(tokens, 2) for tokens in range(8)] == [0, 1, 2, 2, 2, 2, 3, 3]
    assert pooled_size(200, 8) == 25
    assert pooled_size(7, 1) == 7


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_text_depends_neither_on_its_batch_nor_on_the_run(dtype: type[np.floating]) -> None:
    texts = [tokens_of(n, 24, seed=n).astype(dtype) for n in (0, 1, 2, 3, 40, 700, 200, 1300)]
    rows = TokenRows.from_arrays(texts)
    pooled = pool_rows(rows, 3)
    assert pooled.values.dtype == dtype
    assert np.diff(pooled.indptr).tolist() == [pooled_size(len(text), 3) for text in texts]
    backwards = pool_rows(TokenRows.from_arrays(texts[::-1]), 3)
    for i, text in enumerate(texts):
        alone = pool_rows(TokenRows.from_arrays([text]), 3)
        for other in (alone.row(0), backwards.row(len(texts) - 1 - i)):
            np.testing.assert_array_equal(pooled.row(i), other)
    np.testing.assert_array_equal(pool_rows(rows, 1).values, rows.values)


def test_no_texts() -> None:
    pooled = pool_rows(TokenRows.from_arrays([], dim=8), 2)
    assert len(pooled) == 0
    assert pooled.dim == 8


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("most", [4096, 1024, 4])
def test_a_long_text_needs_little_memory(dtype: type[np.floating], most: int) -> None:
    tokens = tokens_of(8192, 1024).astype(dtype)
    pool_tokens(tokens[:4], 3)  # imports
    tracemalloc.start()
    pool_tokens(tokens, most)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6


def test_scipy_is_imported_by_pooling_only() -> None:
    code = f"import sys, trivec, {pooling.__name__}; print('scipy.cluster' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"
