"""ColBERT rows longer than a database can hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trivec import ColbertStorage, Document, Schema, Store, Vectors
from trivec.colbert_storage import Overflow
from trivec.errors import InvalidInputError
from trivec.pooling import pool_tokens
from trivec.rows import TokenRows
from trivec.stores.limits import Limits
from trivec.stores.memory import MemoryBackend
from trivec.stores.options import StoreOptions
from trivec.stores.overflow import fit_rows


class SmallBackend(MemoryBackend):
    """A memory backend that holds at most four token vectors of a document."""

    limits = Limits(colbert_rows=4, colbert_bits=(16, 1))


def _store(policy: Overflow) -> Store:
    return Store(SmallBackend(f"overflow-{policy}"), StoreOptions(colbert_overflow=policy))


@pytest.fixture
def long() -> Vectors:
    rng = np.random.default_rng(0)
    return Vectors(colbert=TokenRows.from_arrays([rng.standard_normal((n, 3)) for n in (2, 9, 4)]))


@pytest.mark.parametrize(("policy", "left"), [("pool", 4), ("truncate", 4), ("drop", 0)])
def test_a_policy_is_applied_and_reported(long: Vectors, policy: Overflow, left: int) -> None:
    with _store(policy) as store:
        store.create(_schema())
        vectors = replace(long, dense=np.eye(3, dtype=np.float32))
        report = store.upsert([Document(i, i) for i in "abc"], vectors)
        assert report.overflowed == ("b",)
        stored = store.get(["a", "b", "c"], with_vectors=True).vectors
        assert stored is not None
        assert stored.colbert is not None
        assert np.diff(stored.colbert.indptr).tolist() == [2, left, 4]
        store.drop()


def test_error_names_the_document(long: Vectors) -> None:
    with _store("error") as store:
        store.create(_schema())
        vectors = replace(long, dense=np.eye(3, dtype=np.float32))
        with pytest.raises(InvalidInputError, match="'b': 9 ColBERT vectors"):
            store.upsert([Document(i, i) for i in "abc"], vectors)
        assert store.count() == 0
        store.drop()


@pytest.mark.parametrize(("policy", "left"), [("pool", 4), ("truncate", 4), ("drop", 0)])
@pytest.mark.parametrize("bits", [16, 1])
def test_a_policy_is_for_what_is_left_after_pooling(policy: Overflow, left: int, bits: int) -> None:
    storage = ColbertStorage(bits=bits, pool=2)
    rng = np.random.default_rng(1)
    tokens = TokenRows.from_arrays([rng.standard_normal((n, 8)) for n in (2, 8, 11)])
    vectors = Vectors(dense=np.eye(3, dtype=np.float32), colbert=tokens)
    with _store(policy) as store:
        store.create(Schema(dense=3, sparse=False, colbert=8), colbert=storage)
        report = store.upsert([Document(i, i) for i in "abc"], vectors)
        assert report.overflowed == ("c",)
        for _ in range(2):
            stored = store.get(["a", "b", "c"], with_vectors=True).vectors
            assert stored is not None
            assert stored.colbert is not None
            assert stored.colbert.storage == storage
            assert np.diff(stored.colbert.indptr).tolist() == [2, 4, left]
            again = store.upsert([Document(i, i) for i in "abc"], stored)  # changes nothing
            assert again.overflowed == ()
        store.drop()


def test_pooling_keeps_directions_and_order() -> None:
    tokens = np.repeat(np.eye(4, dtype=np.float16), 3, axis=0)
    pooled = pool_tokens(tokens, 5)
    assert pooled.dtype == np.float16
    np.testing.assert_array_equal(pooled, np.eye(4)[[0, 1, 2, 3, 3]])  # the last one stays alone
    np.testing.assert_allclose(np.linalg.norm(pool_tokens(tokens, 4), axis=1), 1, atol=1e-3)
    assert pool_tokens(tokens, 12) is tokens


def test_nothing_changes_without_a_limit(long: Vectors) -> None:
    assert long.colbert is not None
    rows, changed = fit_rows(long.colbert, None, "error")
    assert rows is long.colbert
    assert len(changed) == 0


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="'pool'"):
        StoreOptions(colbert_overflow="squash")  # type: ignore[arg-type]


def _schema() -> Schema:
    return Schema(dense=3, sparse=False, colbert=3)
