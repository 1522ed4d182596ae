"""What a hybrid query takes on the Vespa stand-in, and what a document takes in the feed.

The stand-in computes MaxSim with plain loops in Java, over doubles, and decodes packed vectors for
each query; the vectors in bfloat16 are decoded once. A real content node computes in C++.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest

import vespa_standin
from trivec import ColbertStorage, Document, Schema, Store, Vector, Vectors, open_store
from trivec.collection import Collection
from trivec.rows import SparseRows, TokenRows, unit
from trivec.stores.reduction import reduced

pytest.importorskip("vespa")

from trivec_vespa.mapping import feed_fields

DOCUMENTS, TOKENS, QUERY_TOKENS, DIM, ROUNDS = 100, 200, 32, 1024, 5
SCHEMA = Schema(dense=DIM, sparse=True, colbert=DIM)
STORAGES = ["bits=16", "bits=8", "bits=4", "bits=2", "bits=1", "bits=1,pool=2"]


def _vectors(count: int, seed: int) -> Vectors:
    rng = np.random.default_rng(seed)
    tokens = unit(rng.standard_normal((count * TOKENS, DIM), dtype=np.float32))
    return Vectors(
        dense=tokens[::TOKENS],
        sparse=SparseRows.from_dicts([dict.fromkeys(range(120), 0.2)] * count),
        colbert=TokenRows(np.arange(count + 1) * TOKENS, tokens),
    )


def _store(storage: str, number: int, stack: ExitStack) -> Store:
    """Return a collection in a process of its own."""
    served = vespa_standin.StandIn()
    stack.callback(served.close)
    store = open_store(served.url(f"bench_{number}"), config_server=served.config_server)
    stack.callback(store.close)
    store.create(SCHEMA, colbert=ColbertStorage.parse(storage))
    stack.callback(store.drop)
    for start in range(0, DOCUMENTS, 20):
        documents = [Document(f"d{i}", "") for i in range(start, start + 20)]
        store.upsert(documents, _vectors(20, start))
    return store


@pytest.mark.benchmark
def test_hybrid_queries(capsys: pytest.CaptureFixture[str]) -> None:
    vespa_standin.need()
    vector = _vectors(1, 99)[0]
    assert vector.colbert is not None
    query = Vector(vector.dense, vector.sparse, vector.colbert[:QUERY_TOKENS])
    with ExitStack() as stack:
        stores = {name: _store(name, i, stack) for i, name in enumerate(STORAGES)}
        seconds: dict[str, list[float]] = {name: [] for name in stores}
        for _ in range(ROUNDS + 2):
            for name, store in stores.items():
                start = time.perf_counter()
                store.search(query, mode="hybrid", k=10, candidates=DOCUMENTS)
                seconds[name].append(time.perf_counter() - start)
    best = {name: min(taken[2:]) for name, taken in seconds.items()}
    with capsys.disabled():
        print(f"\nhybrid, {DOCUMENTS} candidates of {TOKENS} x {DIM}, {QUERY_TOKENS} query tokens:")
        for name, least in best.items():
            print(f"  {name}: {1000 * least:.0f} ms, {least / best['bits=16']:.2f} of bits=16")


@pytest.mark.benchmark
def test_bytes_fed(capsys: pytest.CaptureFixture[str]) -> None:
    vectors = _vectors(1, 0)
    assert vectors.colbert is not None
    with capsys.disabled():
        for name in ("bits=32", *STORAGES):
            storage = ColbertStorage.parse(name)
            small = replace(vectors, colbert=reduced(vectors.colbert, storage))
            fields = feed_fields(Document("a", ""), small, 0, Collection(SCHEMA, {}, storage))
            tokens = {key: value for key, value in fields.items() if key.startswith("colbert")}
            print(
                f"\n{name}: {len(json.dumps({'fields': fields})):,} bytes fed, "
                f"{len(json.dumps(tokens)):,} of them token vectors",
                end="",
            )
        print()
