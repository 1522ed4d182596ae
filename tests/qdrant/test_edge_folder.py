"""The folder of the embedded engine: whose files are deleted, what is kept small, what is full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as edge

from trivec import Document, Schema, Vectors, open_store
from trivec.errors import CollectionNotFoundError, StoreError, StoreFullError
from trivec.rows import TokenRows
from trivec_qdrant.engines import shard, shard_files
from trivec_qdrant.engines.shard import Shard

Elsewhere = Callable[[str], AbstractContextManager[None]]

SCHEMA = Schema(dense=8, sparse=True, colbert=8, model="m")
SMALL = Schema(dense=2, sparse=False, colbert=None)


def _files(folder: Path) -> list[str]:
    return sorted(
        str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_symlink() or f.is_file()
    )


def test_drop_deletes_no_files_of_others(tmp_path: Path, make_vectors: Any) -> None:
    folder = tmp_path / "shard"
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "page_0.dat").write_text("keep")
    with open_store(f"qdrant+edge:{tmp_path}/shard") as store:
        store.create(SCHEMA)
        store.upsert([Document("a", "")], make_vectors(1))
        (segment,) = (folder / "segments").iterdir()
        others = ["notes.txt", "segments/notes.txt", "wal/notes.txt"]
        others += [f"segments/{segment.name}/notes.txt", "inner/edge_config.json"]
        for name in others:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("keep")
        (segment / "link").symlink_to(tmp_path / "outside")
        store.drop()
        assert _files(folder) == sorted([*others, f"segments/{segment.name}/link"])
        assert (tmp_path / "outside" / "page_0.dat").exists()
        with pytest.raises(CollectionNotFoundError):
            store.count()
        with pytest.raises(StoreError, match=r"not empty.*'inner', 'notes.txt', 'segments' and"):
            store.create(SCHEMA)


def test_drop_leaves_nothing_of_a_whole_collection(
    tmp_path: Path, make_vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = edge.EdgeConfig

    def eager(**options: Any) -> edge.EdgeConfig:
        small = edge.EdgeOptimizersConfig(indexing_threshold=1, default_segment_number=1)
        return whole(**options, optimizers=small)

    monkeypatch.setattr(edge, "EdgeConfig", eager)
    kinds: dict[str, Any] = {"a": str, "b": int, "c": float, "d": bool, "e": list[str]}
    with open_store(f"qdrant+edge:{tmp_path}/shard", quantization="int8") as store:
        store.create(Schema(dense=128, sparse=True, colbert=64), fields=kinds)
        documents = [Document(str(i), "", {"a": "x", "b": i, "c": 0.5}) for i in range(200)]
        store.upsert(documents, make_vectors(200, dense=128, colbert=64))
        assert store.optimize().bytes_after is not None
        store.upsert(documents[:20], make_vectors(20, dense=128, colbert=64))
        store.drop()
    assert not (tmp_path / "shard").exists()


def test_a_folder_with_other_files_is_not_filled(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "keep.txt").write_text("keep")
    with open_store(f"qdrant+edge:{tmp_path}/notes") as store:
        with pytest.raises(StoreError, match=r"not empty.*'keep.txt'"):
            store.create(SCHEMA)
        store.drop()
    assert _files(tmp_path / "notes") == ["keep.txt"]


def test_what_a_killed_create_left_is_taken_over(tmp_path: Path, make_vectors: Any) -> None:
    url = f"qdrant+edge:{tmp_path}/killed"
    code = (
        "import os, sys; from trivec import open_store, Schema\n"
        "from trivec_qdrant.engines.shard import Shard\n"
        "Shard.finish = lambda *_: os._exit(9)\n"
        "open_store(sys.argv[1]).create(Schema(dense=2, sparse=False, colbert=None))"
    )
    command = [sys.executable, "-c", code, url]
    assert subprocess.run(command, timeout=60, check=False).returncode == 9
    assert (tmp_path / "killed" / shard_files.CONFIG).exists()
    with open_store(url) as store:
        with pytest.raises(CollectionNotFoundError):
            store.count()
        store.create(SCHEMA)
        store.upsert([Document("a", "")], make_vectors(1))
        assert store.describe().schema == SCHEMA
        store.drop()
    assert not (tmp_path / "killed").exists()
    assert subprocess.run(command, timeout=60, check=False).returncode == 9
    with open_store(url) as store:
        store.drop()
    assert not (tmp_path / "killed").exists()


def test_a_create_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Shard, "finish", fail)
    with open_store(f"qdrant+edge:{tmp_path}/full") as store:
        with pytest.raises(StoreFullError, match="make room"):
            store.create(SCHEMA)
        assert not (tmp_path / "full").exists()
        monkeypatch.undo()
        store.create(SCHEMA)
        assert store.count() == 0


def test_a_shard_of_another_program_is_dropped_by_its_names(tmp_path: Path) -> None:
    config = edge.EdgeConfig(vectors={"dense": edge.EdgeVectorParams(4, edge.Distance.Cosine)})
    (tmp_path / "other").mkdir()
    edge.EdgeShard.create(str(tmp_path / "other"), config).close()
    (tmp_path / "other" / "README").write_text("keep")
    with open_store(f"qdrant+edge:{tmp_path}/other") as store:
        assert store.count() == 0
        store.drop()
    assert _files(tmp_path / "other") == ["README"]


def test_what_another_process_has_open_is_not_dropped(tmp_path: Path, elsewhere: Elsewhere) -> None:
    url = f"qdrant+edge:{tmp_path}/one"
    with (
        elsewhere(url),
        open_store(url) as store,
        pytest.raises(StoreError, match="another process"),
    ):
        store.drop()


def test_a_collection_is_not_dropped_through_a_link(tmp_path: Path) -> None:
    with open_store(f"qdrant+edge:{tmp_path}/there") as store:
        store.create(SMALL)
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with open_store(f"qdrant+edge:{tmp_path}/link") as store:
        assert store.count() == 0
        with pytest.raises(StoreError, match=r"link to .*there"):
            store.drop()
        assert store.count() == 0
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StoreError, match="cannot be"):
        open_store(f"qdrant+edge:{tmp_path}/loop").create(SMALL)


def test_nobody_but_the_owner_reads_the_files(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(0o755)
    old = os.umask(0)
    try:
        for name in ("new", "there"):
            with open_store(f"qdrant+edge:{tmp_path}/{name}") as store:
                store.create(SMALL)
    finally:
        os.umask(old)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "there").stat().st_mode & 0o777 == 0o755
    assert {f.stat().st_mode & 0o077 for f in (tmp_path / "there").iterdir()} == {0}


def _write(store: Any, ids: list[str], vectors: Vectors) -> None:
    store.upsert([Document(one, "a text " * 20) for one in ids], vectors)


def test_writing_the_same_again_and_again_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's log alone would be 80 MB."""
    monkeypatch.setattr(shard, "FLUSH_BYTES", 4 * 1024 * 1024)
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((4000, 128)).astype(np.float32)
    vectors = Vectors(
        dense=np.ones((200, 8), np.float32), colbert=TokenRows(np.arange(201) * 20, tokens)
    )
    ids = [str(i) for i in range(200)]
    with open_store(f"qdrant+edge:{tmp_path}/again") as store:
        store.create(Schema(dense=8, sparse=False, colbert=128))
        sizes = []
        for _ in range(30):
            _write(store, ids, vectors)
            sizes.append(shard_files.allocated_bytes(tmp_path / "again"))
        assert store.count() == 200
    # Of two files of the log, each of 32 MiB, one is full and one is begun.
    assert max(sizes) < 75_000_000


def test_the_place_of_deleted_documents_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard, "FLUSH_BYTES", 100_000)
    vectors = Vectors(dense=np.ones((100, 256), np.float32))
    url = f"qdrant+edge:{tmp_path}/turning"
    storage: list[int] = []
    for turn in range(3):  # the count of the dead survives the process
        with open_store(url) as store:
            store.create(Schema(dense=256, sparse=False, colbert=None), exist_ok=True)
            for i in range(10):
                _write(store, [f"{turn}-{i}-{j}" for j in range(100)], vectors)
                before = (turn, i - 1) if i else (turn - 1, 9)
                store.delete([f"{before[0]}-{before[1]}-{j}" for j in range(100)])
                storage.append(shard_files.points_of_all_times(tmp_path / "turning"))
            assert store.count() == 100
    assert max(storage) < 2000  # of 3,000 that were written
    assert max(storage) > 1000


def test_optimising_says_what_it_gave_back(tmp_path: Path) -> None:
    with open_store(f"qdrant+edge:{tmp_path}/shard") as store:
        store.create(Schema(dense=256, sparse=False, colbert=None))
        vectors = Vectors(dense=np.ones((1500, 256), np.float32))
        _write(store, [str(i) for i in range(1500)], vectors)
        store.delete([str(i) for i in range(1400)])
        report = store.optimize()
        assert report.bytes_before is not None
        assert report.bytes_after is not None
        assert report.bytes_before - report.bytes_after > 1_000_000
        assert store.count() == 100


@pytest.mark.parametrize("action", ["create", "upsert", "delete", "optimize", "open"])
def test_a_disk_that_is_nearly_full_is_told_before_the_engine_dies_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    def run(store: Any) -> None:
        if action == "create":
            store.create(SMALL)
        elif action == "upsert":
            store.upsert([Document("b", "")], Vectors(dense=np.eye(2)[:1]))
        elif action == "delete":
            store.delete(["a"])
        elif action == "optimize":
            store.optimize()
        else:
            store.count()

    url = f"qdrant+edge:{tmp_path}/full"
    with open_store(url) as store:
        if action != "create":
            store.create(SMALL)
            store.upsert([Document("a", "")], Vectors(dense=np.eye(2)[:1]))
        if action == "open":
            store.close()
            store = open_store(url)
        monkeypatch.setattr("trivec.stores.folder.free_bytes", lambda folder: 1_000_000)
        with pytest.raises(StoreFullError, match=r"needs [\d.]+ MiB, and 976.6 KiB are free"):
            run(store)
        monkeypatch.undo()
        run(store)
        store.close()


DAMAGE = ["", "{", "[]", "7", "null", '{"trivec": 3}', '{"trivec": {"fields": {"n": "x"}}}']


@pytest.mark.parametrize("content", DAMAGE)
def test_a_damaged_description_is_told(tmp_path: Path, content: str) -> None:
    url = f"qdrant+edge:{tmp_path}/damaged"
    with open_store(url) as store:
        store.create(SMALL)
    (tmp_path / "damaged" / shard_files.OURS).write_text(content)
    with open_store(url) as store:
        with pytest.raises(StoreError, match=rf"{tmp_path}.*damaged"):
            store.describe()
        store.drop()
    assert not (tmp_path / "damaged").exists()
