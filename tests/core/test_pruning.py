"""Pruning: the token vectors with the least lexical weights are dropped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivec import ColbertStorage
from trivec.errors import InvalidVectorsError
from trivec.pruning import prune_rows
from trivec.rows import TokenRows


def numbered(lengths: list[int], weights: list[float]) -> TokenRows:
    """Return texts whose token vectors are their positions in the batch."""
    values = np.arange(sum(lengths), dtype=np.float32)[:, None]
    indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return TokenRows(indptr, values, np.array(weights, np.float32))


def kept(rows: TokenRows) -> list[list[int]]:
    return [rows.row(i)[:, 0].astype(int).tolist() for i in range(len(rows))]


@given(st.data(), st.lists(st.integers(0, 12), max_size=6), st.floats(0, 0.99))
def test_the_heaviest_and_the_last_are_kept_in_order(
    data: st.DataObject, lengths: list[int], share: float
) -> None:
    count = sum(lengths)
    weights = data.draw(
        st.lists(st.sampled_from([0, 0.1, 0.2, 0.3]), min_size=count, max_size=count)
    )
    rows = numbered(lengths, weights)
    pruned = prune_rows(rows, share)
    assert pruned.weights is not None
    expected = []
    for start, stop in zip(rows.indptr[:-1].tolist(), rows.indptr[1:].tolist(), strict=True):
        dropped = int((stop - start) * share + 1e-9)
        # Of equal weights, those in front; the last token not at all.
        by_weight = sorted(range(start, stop - 1), key=lambda i: (rows.weights[i], i))  # type: ignore[index]
        expected.append([i for i in range(start, stop) if i not in by_weight[:dropped]])
    assert kept(pruned) == expected
    np.testing.assert_array_equal(pruned.weights, rows.weights[pruned.values[:, 0].astype(int)])  # type: ignore[index]
    storage = ColbertStorage(prune=share)
    assert np.diff(pruned.indptr).tolist() == [storage.kept(length) for length in lengths]


@pytest.mark.parametrize(
    ("share", "left"),
    [(0, 9), (0.1, 9), (0.12, 8), (1 / 3, 6), (0.5, 5), (2 / 3, 3), (0.99, 1)],
)
def test_a_share_of_each_text_is_dropped(share: float, left: int) -> None:
    pruned = prune_rows(numbered([9, 9, 0, 1], [0.5] * 19), share)
    assert np.diff(pruned.indptr).tolist() == [left, left, 0, 1]


def test_a_third_is_a_third_of_any_multiple_of_three() -> None:
    for length in range(3, 3000, 3):
        pruned = prune_rows(numbered([length], [0.0] * length), 1 / 3)
        assert len(pruned.values) == length * 2 // 3


def test_the_last_token_stays_whatever_it_weighs() -> None:
    assert kept(prune_rows(numbered([4], [0.3, 0.1, 0.2, 0.0]), 0.75)) == [[3]]
    assert kept(prune_rows(numbered([4], [0.3, 0.1, 0.2, 0.0]), 0.5)) == [[0, 3]]


def test_of_equal_weights_those_in_front_are_dropped() -> None:
    assert kept(prune_rows(numbered([6], [0.0, 0.2, 0.0, 0.2, 0.0, 0.0]), 1 / 3)) == [[1, 3, 4, 5]]


def test_texts_do_not_see_each_other() -> None:
    one, other = [0.3, 0.1, 0.2, 0.0], [30.0, 10.0, 20.0, 0.0]
    assert kept(prune_rows(numbered([4, 4], [*one, *other]), 0.25)) == [[0, 2, 3], [4, 6, 7]]


def test_values_and_storage_are_untouched() -> None:
    values = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float16)
    storage = ColbertStorage(bits=8)
    rows = TokenRows(np.array([0, 6]), values, np.arange(6, dtype=np.float32)[::-1], storage)
    pruned = prune_rows(rows, 0.5)
    assert pruned.storage == storage
    assert pruned.values.dtype == np.float16
    np.testing.assert_array_equal(pruned.values, values[[0, 1, 5]])


def test_without_weights_nothing_can_be_pruned() -> None:
    with pytest.raises(InvalidVectorsError, match="came without; encode the texts"):
        prune_rows(TokenRows.from_arrays([np.eye(3)]), 1 / 3)


def test_where_there_is_no_token_no_weight_is_missing() -> None:
    empty = TokenRows.from_arrays([np.zeros((0, 3)), np.zeros((0, 3))])
    assert kept(prune_rows(empty, 1 / 3)) == [[], []]
    assert len(prune_rows(empty.take(np.zeros(0, np.int64)), 1 / 3)) == 0
