"""One forward pass per text, for all callers."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from trivec import Vectors
from trivec.encoders import CachingEncoder
from trivec.errors import InvalidOptionError
from trivec.testing import HashEncoder


class SlowEncoder(HashEncoder):
    """Blocks in every call until the test releases it."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.go = threading.Event()
        self.fail = False

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        self.entered.set()
        assert self.go.wait(10)
        if self.fail:
            raise RuntimeError("no device")
        return super().encode_queries(texts)


class AsyncEncoder(HashEncoder):
    """Has asynchronous methods only."""

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        raise AssertionError("the asynchronous twin is there")

    async def aencode_documents(self, texts: Sequence[str]) -> Vectors:
        await asyncio.sleep(0.01)
        return super().encode_documents(texts)


class TurningEncoder(HashEncoder):
    """Needs a turn of the event loop before it encodes."""

    async def aencode_queries(self, texts: Sequence[str]) -> Vectors:
        await asyncio.sleep(0)
        return self.encode_queries(texts)


def same(found: Vectors, expected: Vectors) -> None:
    assert found.dense is not None
    assert expected.dense is not None
    assert found.sparse is not None
    assert expected.sparse is not None
    assert found.colbert is not None
    assert expected.colbert is not None
    np.testing.assert_array_equal(found.dense, expected.dense)
    np.testing.assert_array_equal(found.sparse.indptr, expected.sparse.indptr)
    np.testing.assert_array_equal(found.sparse.indices, expected.sparse.indices)
    np.testing.assert_array_equal(found.sparse.values, expected.sparse.values)
    np.testing.assert_array_equal(found.colbert.indptr, expected.colbert.indptr)
    np.testing.assert_array_equal(found.colbert.values, expected.colbert.values)
    assert found.colbert.weights is not None  # by which a collection prunes
    np.testing.assert_array_equal(found.colbert.weights, expected.colbert.weights)


def test_vectors_are_those_of_the_encoder_in_the_order_of_the_texts(encoder: HashEncoder) -> None:
    cached = CachingEncoder(encoder)
    cached.encode_documents(["a b", "c"])
    texts = ["d", "c", "", "a b", "d", "e f g"]
    same(cached.encode_documents(texts), HashEncoder().encode_documents(texts))
    assert encoder.encoded == 2 + 3  # "d", "" and "e f g"


def test_no_texts_are_no_rows(encoder: HashEncoder) -> None:
    vectors = CachingEncoder(encoder).encode_documents([])
    assert len(vectors) == 0
    assert vectors.dense is not None
    assert vectors.dense.shape == (0, 32)


def test_questions_and_documents_are_apart(encoder: HashEncoder) -> None:
    cached = CachingEncoder(encoder)
    cached.encode_documents(["a"])
    cached.encode_query("a")
    assert encoder.encoded == 2


def test_memory_is_bounded_and_the_oldest_go_first(encoder: HashEncoder) -> None:
    probe = CachingEncoder(HashEncoder())
    probe.encode_query("w0")
    cached = CachingEncoder(encoder, max_bytes=3 * probe._bytes)
    for i in range(4):
        cached.encode_query(f"w{i}")
    before = encoder.encoded
    cached.encode_query("w3")
    cached.encode_query("w1")
    assert encoder.encoded == before
    cached.encode_query("w0")
    assert encoder.encoded == before + 1
    cached.encode_query("w2")  # forgotten for w0, as w1 and w3 were used since
    assert encoder.encoded == before + 2


def test_vectors_larger_than_the_limit_are_not_remembered(encoder: HashEncoder) -> None:
    cached = CachingEncoder(encoder, max_bytes=0)
    same(cached.encode_queries(["a", "a"]), HashEncoder().encode_queries(["a", "a"]))
    cached.encode_query("a")
    assert encoder.encoded == 2


def test_a_call_without_keep_forgets_its_texts(encoder: HashEncoder) -> None:
    cached = CachingEncoder(encoder)
    cached.encode_documents(["a", "b"])
    cached.encode_documents(["a", "b", "c"], keep=False)
    assert encoder.encoded == 3
    cached.encode_documents(["a"])
    assert encoder.encoded == 4


def test_entries_without_colbert_are_smaller_and_serve_dense_and_sparse(
    encoder: HashEncoder,
) -> None:
    cached = CachingEncoder(encoder)
    without = cached.encode_documents(["a b", "c"], colbert=False)
    assert without.colbert is None
    assert cached.encode_documents(["c", "d"], colbert=False).colbert is None
    assert encoder.encoded == 3
    same(cached.encode_documents(["c", "e"]), HashEncoder().encode_documents(["c", "e"]))
    assert encoder.encoded == 5
    cached.encode_documents(["c", "e"], colbert=False)
    cached.encode_documents(["c", "e"])
    assert encoder.encoded == 5


def test_remembered_rows_do_not_keep_their_batch_alive(encoder: HashEncoder) -> None:
    cached = CachingEncoder(encoder, max_bytes=100_000)
    cached.encode_documents([f"word{i}" for i in range(500)])
    held = [row.vectors for row in cached._rows.values()]
    assert held
    for vectors in held:
        assert vectors.colbert is not None
        assert vectors.sparse is not None
        assert vectors.colbert.values.base is None
        assert vectors.sparse.values.base is None


def test_two_threads_that_ask_for_one_text_share_one_pass() -> None:
    encoder = SlowEncoder()
    cached = CachingEncoder(encoder)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cached.encode_queries, ["a", "b"])
        assert encoder.entered.wait(10)
        second = pool.submit(cached.encode_queries, ["b"])
        encoder.go.set()
        same(second.result(10), HashEncoder().encode_queries(["b"]))
        first.result(10)
    assert encoder.encoded == 2


def test_an_error_reaches_each_caller_and_is_not_remembered() -> None:
    encoder = SlowEncoder()
    encoder.fail = True
    cached = CachingEncoder(encoder)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cached.encode_query, "a")
        assert encoder.entered.wait(10)
        second = pool.submit(cached.encode_query, "a")
        encoder.go.set()
        for call in (first, second):
            with pytest.raises(RuntimeError, match="no device"):
                call.result(10)
    encoder.fail = False
    assert cached.encode_query("a").dense is not None


async def test_tasks_that_ask_for_one_text_share_one_pass(encoder: HashEncoder) -> None:
    cached = CachingEncoder(encoder)
    found = await asyncio.gather(*(cached.aencode_queries(["a", f"b{i % 3}"]) for i in range(12)))
    assert encoder.encoded == 4
    same(found[4], HashEncoder().encode_queries(["a", "b1"]))


async def test_waiting_tasks_encode_the_texts_of_a_cancelled_task() -> None:
    encoder = SlowEncoder()
    cached = CachingEncoder(encoder)
    first = asyncio.create_task(cached.aencode_query("a"))
    await asyncio.to_thread(encoder.entered.wait, 10)
    second = asyncio.create_task(cached.aencode_query("a"))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    encoder.go.set()
    assert (await second).dense is not None


async def test_the_texts_of_a_task_cancelled_before_remembering_are_encoded_again() -> None:
    encoder, busy = AsyncEncoder(), threading.Event()
    cached = CachingEncoder(encoder)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    loop.run_in_executor(None, busy.wait, 10)  # so that keeping them has to queue
    first = asyncio.create_task(cached.aencode_documents(["a"]))
    while not encoder.encoded:
        await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.wait([first])
    busy.set()
    same(
        await asyncio.wait_for(cached.aencode_documents(["a"]), 10),
        HashEncoder().encode_documents(["a"]),
    )


async def test_a_call_on_the_loop_does_not_wait_for_a_task_of_the_loop() -> None:
    encoder = TurningEncoder()
    cached = CachingEncoder(encoder)
    task = asyncio.create_task(cached.aencode_queries(["a", "b"]))
    await asyncio.sleep(0)
    expected = HashEncoder().encode_queries(["a", "b"])
    same(cached.encode_queries(["a"]), expected.take([0]))
    assert not task.done()
    same(await task, expected)
    cached.encode_queries(["a", "b"])
    assert encoder.encoded == 3


async def test_an_encoder_with_asynchronous_twins_is_awaited() -> None:
    encoder = AsyncEncoder()
    cached = CachingEncoder(encoder)
    await asyncio.gather(*(cached.aencode_documents(["a", "b"]) for _ in range(3)))
    assert encoder.encoded == 2


def test_all_users_of_an_encoder_share_its_cache(encoder: HashEncoder) -> None:
    cached = CachingEncoder.sharing(encoder)
    assert CachingEncoder.sharing(encoder) is cached
    assert CachingEncoder.sharing(cached) is cached
    assert CachingEncoder.sharing(HashEncoder()) is not cached
    assert cached.schema == encoder.schema


def test_a_cache_ends_with_its_last_user() -> None:
    cached = weakref.ref(CachingEncoder.sharing(HashEncoder()))
    gc.collect()
    assert cached() is None


def test_a_negative_limit_is_refused(encoder: HashEncoder) -> None:
    with pytest.raises(InvalidOptionError, match="max_bytes=-1"):
        CachingEncoder(encoder, max_bytes=-1)
