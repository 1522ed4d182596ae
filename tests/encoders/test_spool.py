"""Rows on disk are complete, limited in bytes, and never cause errors."""

from __future__ import annotations

import errno
import shutil
import tempfile
from typing import Any

import numpy as np
import pytest
from watched import CallCounter

from trivec import Vectors
from trivec.encoders import CachingEncoder
from trivec.encoders.spool import Spool
from trivec.testing import HashEncoder

SLOT = 16 * 1024


def row(text: str) -> Vectors:
    return HashEncoder().encode_documents([text])


def same(found: Vectors | None, expected: Vectors) -> bool:
    """Return whether two batches hold the same numbers, bit for bit."""
    if found is None:
        return False
    assert found.dense is not None
    assert found.sparse is not None
    assert found.colbert is not None
    assert expected.dense is not None
    assert expected.sparse is not None
    assert expected.colbert is not None
    assert found.colbert.weights is not None
    assert expected.colbert.weights is not None
    return (
        np.array_equal(found.dense, expected.dense)
        and np.array_equal(found.sparse.indptr, expected.sparse.indptr)
        and np.array_equal(found.sparse.indices, expected.sparse.indices)
        and np.array_equal(found.sparse.values, expected.sparse.values)
        and np.array_equal(found.colbert.indptr, expected.colbert.indptr)
        and np.array_equal(found.colbert.values, expected.colbert.values)
        and np.array_equal(found.colbert.weights, expected.colbert.weights)
    )


@pytest.mark.parametrize("text", ["blue whale", "", "word " * 3000])
def test_a_row_comes_back_as_it_was(text: str) -> None:
    spool = Spool()
    spool.put("a", row("something else"))
    spool.put("a", row(text))
    spool.put("b", row("grey seal"))
    assert same(spool.get("a"), row(text))
    assert same(spool.get("b"), row("grey seal"))
    spool.forget("a")
    assert spool.get("a") is None
    assert same(spool.get("b"), row("grey seal"))


def test_other_dtypes_and_missing_parts_come_back() -> None:
    spool = Spool()
    half = Vectors.from_rows([row("whale")[0]], dense=32, sparse=True, colbert=16)
    assert half.colbert is not None
    values = half.colbert.values.astype(np.float16)
    half = Vectors(colbert=type(half.colbert)(half.colbert.indptr, values))
    spool.put("half", half)
    found = spool.get("half")
    assert found is not None
    assert (found.dense, found.sparse) == (None, None)
    assert found.colbert is not None
    assert found.colbert.values.dtype == np.float16
    assert np.array_equal(found.colbert.values, values)


def test_the_oldest_rows_are_replaced_and_the_others_stay_complete() -> None:
    long = "word " * 700  # 45 kB: three slots and more
    texts = [f"text {i} {long if i % 3 == 0 else ''}" for i in range(60)]
    spool = Spool(10 * SLOT)
    for i, text in enumerate(texts):
        spool.put(i, row(text))
        assert spool._file is not None
        assert spool._file.seek(0, 2) <= 10 * SLOT
        kept = [j for j in range(i + 1) if j in spool]
        assert kept == list(range(kept[0], i + 1))  # the youngest
        assert len(kept) >= min(i + 1, 3)
        assert all(same(spool.get(j), row(texts[j])) for j in kept)


def test_a_row_larger_than_the_file_is_not_kept() -> None:
    spool = Spool(SLOT)
    spool.put("a", row("whale"))
    spool.put("long", row("word " * 3000))
    assert "long" not in spool
    assert same(spool.get("a"), row("whale"))


def test_dropping_the_last_row_frees_the_disk() -> None:
    spool = Spool()
    for i in range(4):
        spool.put(i, row(f"text {i}"))
    assert spool._file is not None
    assert spool._file.seek(0, 2) > 3 * SLOT
    for i in range(4):
        spool.forget(i)
    assert spool._file.seek(0, 2) == 0


def test_at_most_half_of_the_free_disk_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(tempfile.gettempdir())._replace(free=4 * SLOT)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    spool = Spool()
    for i in range(9):
        spool.put(i, row(f"text {i}"))
    assert [i for i in range(9) if i in spool] == [7, 8]


def test_a_disk_that_fails_loses_rows_and_raises_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spool = Spool()
    spool.put("a", row("whale"))

    class Full:
        def seek(self, *_: Any) -> int:
            return 0

        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def read(self, _: int) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(spool, "_file", Full())
    spool.put("b", row("seal"))
    assert "b" not in spool
    assert spool.get("a") is None


# --- below the cache ----------------------------------------------------------------------------


async def test_texts_for_a_store_are_encoded_once_even_with_little_memory() -> None:
    encoder = CallCounter()
    cached = CachingEncoder(encoder, max_bytes=20_000)
    texts = [f"text {i} of a whale" for i in range(50)]
    expected = HashEncoder().encode_documents(texts)
    assert same(cached.encode_documents(texts, for_store=True), expected)
    assert cached._bytes <= 20_000
    assert same(cached.encode_documents(texts, keep=False), expected)
    assert encoder.encoded == 50
    assert (cached._bytes, len(cached._spool._slots)) == (0, 0)

    await cached.aencode_documents(texts, for_store=True)
    backwards = texts[::-1]
    found = await cached.aencode_documents(backwards, keep=False)
    assert same(found, expected.take(np.arange(50)[::-1]))
    assert encoder.encoded == 100
    assert (cached._bytes, len(cached._spool._slots)) == (0, 0)


def test_texts_for_no_store_are_not_written_to_disk() -> None:
    cached = CachingEncoder(HashEncoder(), max_bytes=20_000)
    cached.encode_documents([f"text {i}" for i in range(50)])
    cached.encode_queries([f"text {i}" for i in range(50)])
    assert cached._spool._file is None


async def test_a_replaced_row_is_encoded_again() -> None:
    encoder = CallCounter()
    cached = CachingEncoder(encoder, max_bytes=0, spool_bytes=4 * SLOT)
    texts = [f"text {i}" for i in range(9)]
    expected = HashEncoder().encode_documents(texts)
    cached.encode_documents(texts, for_store=True)
    assert same(cached.encode_documents(texts, keep=False), expected)
    assert encoder.encoded == 9 + 5
    cached.encode_documents(texts[:2], for_store=True)
    cached._spool.get = lambda _: None  # type: ignore[method-assign, assignment]
    assert same(cached.encode_documents(texts[:2]), HashEncoder().encode_documents(texts[:2]))
    found = await cached.aencode_documents(texts[:2], keep=False)
    assert same(found, HashEncoder().encode_documents(texts[:2]))
