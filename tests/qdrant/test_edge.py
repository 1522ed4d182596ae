"""Collections of the embedded engine: what survives, what is refused, what is exact."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as edge

from trivec import ColbertStorage, Document, F, Schema, Vectors, open_store, score
from trivec.errors import InvalidOptionError, SchemaMismatchError, StoreError, StoreFullError
from trivec.rows import TokenRows
from trivec_qdrant.engines.edge import EdgeEngine

Elsewhere = Callable[[str], AbstractContextManager[None]]

SCHEMA = Schema(dense=8, sparse=True, colbert=8, model="m")

WRITER = """
import sys
import numpy as np
from trivec import Document, Schema, Vectors, open_store

store = open_store(sys.argv[1])
store.create(Schema(dense=8, sparse=False, colbert=8), exist_ok=True)
first = store.count()
for start in range(first, first + 100_000, 20):
    documents = [Document(f"d{i}", f"text {i}") for i in range(start, start + 20)]
    store.upsert(documents, Vectors(dense=np.ones((20, 8))))
    print(start + 20, flush=True)
"""


def test_acknowledged_writes_survive_a_kill(tmp_path: Path) -> None:
    url = f"qdrant+edge:{tmp_path}/kill"
    for _ in range(3):
        command = [sys.executable, "-c", WRITER, url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(10)]
            os.kill(writer.pid, signal.SIGKILL)
            acknowledged = int([*lines, *writer.stdout.read().split()][-1])
        with open_store(url) as store:
            count = store.count()
            assert acknowledged <= count
            assert count % 20 == 0  # a batch is there whole or not at all
            ids = [f"d{i}" for i in range(count)]
            assert [d.text for d in store.get(ids).documents] == [f"text {i}" for i in range(count)]


def test_a_batch_goes_in_pieces_that_hold_the_lock_of_python_for_a_short_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [Document(f"d{i}", f"text {i}") for i in range(10)]
    vectors = Vectors(dense=np.ones((10, 8)))
    size = int(vectors.row_bytes()[0])
    monkeypatch.setattr("trivec_qdrant.engines.edge.PIECE_BYTES", 3 * size)
    pieces: list[int] = []
    real = EdgeEngine._update

    def counted(engine: EdgeEngine, points: list[edge.Point], size: int) -> None:
        pieces.append(len(points))
        real(engine, points, size)

    monkeypatch.setattr(EdgeEngine, "_update", counted)
    with open_store(f"qdrant+edge:{tmp_path}/pieces") as store:
        store.create(Schema(dense=8, sparse=False, colbert=None))
        store.upsert(documents, vectors)
        assert pieces == [3, 3, 3, 1]
        assert store.get([document.id for document in documents]).documents == documents


def test_a_folder_belongs_to_one_process(tmp_path: Path, elsewhere: Elsewhere) -> None:
    url = f"qdrant+edge:{tmp_path}/one"
    with (
        elsewhere(url),
        open_store(url) as store,
        pytest.raises(StoreError, match="another process"),
    ):
        store.count()
    with open_store(url) as store:
        assert store.count() == 0


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("service error: No space left on device (os error 28)")

    with open_store(f"qdrant+edge:{tmp_path}/full") as store:
        store.create(SCHEMA)
        monkeypatch.setattr("trivec_qdrant.engines.shard.Shard.open", fail)
        with pytest.raises(StoreFullError, match="os error 28"):
            store.upsert([Document("a", "")], Vectors(dense=np.ones((1, 8))))


def test_the_last_handle_closes_the_folder(tmp_path: Path, make_vectors: Any) -> None:
    url = f"qdrant+edge:{tmp_path}/handles"
    one, two = open_store(url), open_store(url)
    one.create(SCHEMA, fields={"lang": str})
    one.upsert([Document("a", "")], make_vectors(1))
    assert two.count() == 1
    one.close()
    one.close()
    assert two.count() == 1
    two.close()
    shard = edge.EdgeShard.load(str(tmp_path / "handles"))  # nobody holds it any more
    shard.close()


def test_drop_deletes_shards_only(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "keep.txt").write_text("keep")
    with open_store(f"qdrant+edge:{tmp_path}/notes") as store:
        store.drop()
    assert (tmp_path / "notes" / "keep.txt").exists()
    for name in ("..", "."):
        with pytest.raises(InvalidOptionError, match="cannot be the name"):
            open_store(f"qdrant+edge:{tmp_path}/{name}")
    with pytest.raises(InvalidOptionError, match="names no folder"):
        open_store("qdrant+edge:name")


def test_a_shard_of_another_program_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    shard = edge.EdgeShard.create(
        str(folder),
        edge.EdgeConfig(vectors={"dense": edge.EdgeVectorParams(4, edge.Distance.Cosine)}),
    )
    index = edge.UpdateOperation.create_field_index("metadata.lang", edge.PayloadSchemaType.Keyword)
    shard.update(index)
    point = edge.Point(7, {"dense": [1.0, 0, 0, 0]}, {"text": "seven", "metadata": {"lang": "en"}})
    shard.update(edge.UpdateOperation.upsert_points([point]))
    shard.close()
    with open_store(f"qdrant+edge:{tmp_path}/other") as store:
        assert store.schema == Schema(dense=4, sparse=False, colbert=None)
        assert dict(store.fields) == {"lang": "str"}
        pages = list(store.scan(filter=F("lang") == "en"))
        assert pages[0].documents == [Document("7", "seven", {"lang": "en"})]
        with pytest.raises(SchemaMismatchError, match="sparse is False, expected True"):
            store.create(Schema(dense=4, sparse=True, colbert=None), exist_ok=True)


@pytest.fixture
def optimized(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the engine build indexes of a few documents, which it does from 20 MB on."""
    whole = edge.EdgeConfig

    def eager(**options: Any) -> edge.EdgeConfig:
        small = edge.EdgeOptimizersConfig(indexing_threshold=1, default_segment_number=1)
        return whole(**options, optimizers=small)

    monkeypatch.setattr(edge, "EdgeConfig", eager)


@pytest.mark.parametrize("quantization", ["int8", "binary", "turbo4", "turbo2", "turbo1"])
@pytest.mark.usefixtures("optimized")
def test_scores_are_exact_whatever_finds_the_candidates(
    tmp_path: Path, make_vectors: Any, quantization: str
) -> None:
    vectors = make_vectors(200, dense=128, colbert=64, tokens=5)
    url = f"qdrant+edge:{tmp_path}/quantized"
    with open_store(url, quantization=quantization) as store:
        store.create(Schema(dense=128, sparse=True, colbert=64), colbert=ColbertStorage(bits=32))
        store.upsert([Document(str(i), "") for i in range(200)], vectors)
        store.optimize()
        query = make_vectors(1, dense=128, colbert=64, seed=3)[0]
        for mode in ("dense", "hybrid", "colbert"):
            hits = store.search(query, mode=mode, candidates=50)
            for hit in hits:
                wanted = score(query, vectors[int(hit.document.id)])
                expected = getattr(wanted, mode)
                assert hit.score == pytest.approx(expected, abs=1e-6), mode


@pytest.mark.parametrize(
    ("bits", "tolerance"),
    [(32, 1e-6), (16, 1e-4), (8, 5e-3), (4, 3e-2)],
)
@pytest.mark.usefixtures("optimized")
def test_every_precision_keeps_to_its_error(
    tmp_path: Path, make_vectors: Any, bits: int, tolerance: float
) -> None:
    vectors = make_vectors(60, dense=64, colbert=128, tokens=10)
    with open_store(f"qdrant+edge:{tmp_path}/precise") as store:
        store.create(Schema(dense=64, sparse=True, colbert=128), colbert=ColbertStorage(bits))
        assert store.describe().colbert == ColbertStorage(bits)
        store.upsert([Document(str(i), "") for i in range(60)], vectors)
        store.optimize()
        query = make_vectors(1, dense=64, colbert=128, tokens=8, seed=3)[0]
        for hit in store.search(query, k=60):
            wanted = score(query, vectors[int(hit.document.id)])
            assert hit.score == pytest.approx(wanted.hybrid, abs=tolerance)
            assert hit.scores.colbert == pytest.approx(wanted.colbert, abs=3 * tolerance)


def test_precisions_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match=r"precision has another name.*ColbertStorage"):
        open_store(f"qdrant+edge:{tmp_path}/x", precision="float32")
    with pytest.raises(InvalidOptionError, match="quantization='x4'"):
        open_store(f"qdrant+edge:{tmp_path}/x", quantization="x4")


def test_more_token_vectors_than_a_server_takes_are_pooled(tmp_path: Path) -> None:
    tokens = np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32)
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    vectors = Vectors(colbert=TokenRows.from_arrays([tokens, tokens[:1023]]))
    documents = [Document("long", ""), Document("fits", "")]
    for policy, rows in (("pool", 1023), ("truncate", 1023), ("drop", 0)):
        url = f"qdrant+edge:{tmp_path}/{policy}"
        with open_store(url, colbert_overflow=policy) as store:
            store.create(Schema(dense=2, sparse=False, colbert=1024))
            report = store.upsert(documents, vectors)
            assert report.overflowed == ("long",)
            stored = store.get(["long", "fits"], with_vectors=True).vectors
            assert stored is not None
            assert stored.colbert is not None
            assert np.diff(stored.colbert.indptr).tolist() == [rows, 1023]
    with open_store(f"qdrant+edge:{tmp_path}/error", colbert_overflow="error") as store:
        store.create(Schema(dense=2, sparse=False, colbert=1024))
        with pytest.raises(ValueError, match=r"'long'.*1024.*1023"):
            store.upsert(documents, vectors)


def test_importing_and_searching_need_no_torch(tmp_path: Path) -> None:
    code = """
import sys
import numpy as np
from trivec import Document, Schema, Vector, Vectors, open_store
store = open_store(sys.argv[1])
store.create(Schema(dense=2, sparse=False, colbert=None))
store.upsert([Document("a", "")], Vectors(dense=np.eye(2)[:1]))
assert store.search(Vector(dense=np.eye(2)[0]), mode="dense")[0].score == 1
assert "torch" not in sys.modules, "torch was imported"
assert "transformers" not in sys.modules, "transformers was imported"
"""
    command = [sys.executable, "-c", code, f"qdrant+edge:{tmp_path}/light"]
    subprocess.run(command, check=True, timeout=60)
