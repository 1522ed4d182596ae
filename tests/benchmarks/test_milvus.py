"""Client cost of writing to Milvus, and the time of a query on milvus-lite."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trivec import Document, Schema, Store, Vectors, open_store
from trivec.colbert_storage import ColbertStorage
from trivec.rows import SparseRows, TokenRows
from trivec.search import Mode

pytestmark = pytest.mark.benchmark

pymilvus = pytest.importorskip("pymilvus", reason="pymilvus is not installed")

MODES: tuple[Mode, ...] = ("dense", "sparse", "colbert", "hybrid", "rrf")


def _random(n: int, *, dense: int, nnz: int, tokens: int, colbert: int, seed: int = 0) -> Vectors:
    rng = np.random.default_rng(seed)

    def unit(rows: int, dim: int) -> Any:
        values = rng.standard_normal((rows, dim), np.float32)
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    return Vectors(
        dense=unit(n, dense),
        sparse=SparseRows.from_dicts(
            [dict.fromkeys(rng.choice(20_000, nnz, False).tolist(), 0.1) for _ in range(n)]
        ),
        colbert=TokenRows(np.arange(n + 1) * tokens, unit(n * tokens, colbert)),
    )


def _client_ms(write: Callable[[], object], documents: int) -> float:
    """Return the processor time of this process in ms per document, the best of five."""
    best = float("inf")
    for _ in range(5):
        begin = time.process_time()
        write()
        best = min(best, time.process_time() - begin)
    return 1000 * best / documents


def test_client_cost_of_writing(milvus_double: str) -> None:
    """The server is another process, so that this one's processor time is the client's."""
    from trivec_milvus.mapping import rows_of
    from trivec_milvus.schema import Layout

    n = 20
    documents = [Document(f"d{i}", "x" * 1000) for i in range(n)]
    vectors = _random(n, dense=1024, nnz=80, tokens=200, colbert=1024)
    assert vectors.dense is not None
    assert vectors.colbert is not None
    client = pymilvus.MilvusClient(milvus_double.replace("milvus://", "http://"))
    schema = Schema(dense=1024, sparse=True, colbert=1024)
    native = Layout(schema, colbert=ColbertStorage(bits=32), storage="native")
    payload = Layout(schema, storage="payload")
    for name, layout in (("bench_native", native), ("bench_payload", payload)):
        client.create_collection(name, schema=layout.milvus_schema())
        client.create_index(name, layout.index_params(lite=False), sync=False)

    def plain() -> None:
        made = rows_of(documents, vectors, native)
        for i, row in enumerate(made):  # what a user of MilvusClient writes
            row["dense"] = vectors.dense[i].tolist()  # type: ignore[index]
            row["colbert"] = [{"vec": v} for v in vectors.colbert.row(i).tolist()]  # type: ignore[union-attr]
        client.upsert("bench_native", made)

    lists = _client_ms(plain, n)
    arrays = _client_ms(
        lambda: client.upsert("bench_native", rows_of(documents, vectors, native)), n
    )
    packed = _client_ms(
        lambda: client.upsert("bench_payload", rows_of(documents, vectors, payload)), n
    )
    for name in ("bench_native", "bench_payload"):
        client.drop_collection(name)
    client.close()
    print(
        f"\nclient ms per document of 200 x 1,024: lists {lists:.1f}, native {arrays:.1f} "
        f"({lists / arrays:.1f} times less), payload {packed:.1f} ({lists / packed:.1f})"
    )


def test_time_of_a_query_on_milvus_lite(tmp_path: Path) -> None:
    """3,000 documents of small vectors: 256 dense, 40 weights, 32 tokens of 64 dimensions."""
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    n = 3000
    vectors = _random(n, dense=256, nnz=40, tokens=32, colbert=64)
    queries = list(_random(20, dense=256, nnz=12, tokens=12, colbert=64, seed=1))
    with open_store(f"milvus+lite:{tmp_path}/bench.db/docs") as store:
        store.create(Schema(dense=256, sparse=True, colbert=64))
        begin = time.perf_counter()
        store.upsert([Document(f"d{i}", f"text {i}") for i in range(n)], vectors)
        print(f"\nwriting {n / (time.perf_counter() - begin):.0f} documents/s")
        store.search(queries[0])
        for mode in MODES:
            times = []
            for query in queries:
                begin = time.perf_counter()
                store.search(query, mode=mode)
                times.append(1000 * (time.perf_counter() - begin))
            begin = time.perf_counter()
            store.search_many(queries, mode=mode)
            many = 1000 * (time.perf_counter() - begin) / len(queries)
            print(f"{mode}: {statistics.median(times):.1f} ms, {many:.1f} ms in a batch of 20")


STORAGES = ("bits=16", "bits=8", "bits=4", "bits=2", "bits=1", "bits=1,pool=2")


def test_token_vectors_in_few_bits_on_milvus_lite(tmp_path: Path) -> None:
    """Hybrid search over 100 candidates of 200 tokens with 1,024 dimensions, and their bytes.

    Processor times are those of the client and of the server, which is in this process. The
    storages are searched in turn, so that other work on the machine slows all of them.
    """
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    n, tokens, dim = 100, 200, 1024
    vectors = _random(n, dense=dim, nnz=80, tokens=tokens, colbert=dim)
    queries = list(_random(7, dense=dim, nnz=12, tokens=32, colbert=dim, seed=1))
    documents = [Document(f"d{i}", "x" * 1000) for i in range(n)]
    wall: dict[str, list[float]] = {storage: [] for storage in STORAGES}
    processor: dict[str, list[float]] = {storage: [] for storage in STORAGES}
    with ExitStack() as opened:
        stores: dict[str, Store] = {}
        for storage in ("", *STORAGES):
            url = f"milvus+lite:{tmp_path / (storage or 'none')}/bench.db/docs"
            store = opened.enter_context(open_store(url))
            colbert = ColbertStorage.parse(storage) if storage else None
            store.create(
                Schema(dense=dim, sparse=True, colbert=dim if colbert else None), colbert=colbert
            )
            store.upsert(documents, vectors if colbert else replace(vectors, colbert=None))
            store.search(queries[0])
            if storage:
                stores[storage] = store
        for query in queries:
            for storage, store in stores.items():
                begin, begin_processor = time.perf_counter(), time.process_time()
                assert len(store.search(query, candidates=n)) == 10
                wall[storage].append(1000 * (time.perf_counter() - begin))
                processor[storage].append(1000 * (time.process_time() - begin_processor))
    full, without = 4 * dim * tokens, _bytes(tmp_path / "none") / n
    before = statistics.median(processor["bits=16"])
    print(f"\n{n} documents of {tokens} token vectors, which take {full:,} bytes in float32")
    for storage in STORAGES:
        ms, size = statistics.median(processor[storage]), _bytes(tmp_path / storage) / n - without
        print(
            f"{storage}: hybrid {ms:.0f} ms of the processor (1/{before / ms:.1f}), "
            f"{statistics.median(wall[storage]):.0f} ms; on disk {size:,.0f} bytes of token "
            f"vectors a document (1/{full / size:.1f}), {without + size:,.0f} in all"
        )


def _bytes(folder: Path) -> int:
    """Return what the files in a folder take, without logs of writes, which are cut again."""
    files = (file for file in folder.rglob("*") if file.is_file() and "wal" not in file.parts)
    return sum(file.stat().st_size for file in files)
