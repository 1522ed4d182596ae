"""Saved vectors: what the contract of all stores does not ask."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from trivec import Document, Schema, Store, open_store
from trivec.errors import (
    CollectionNotFoundError,
    InvalidOptionError,
    SchemaMismatchError,
    StoreError,
)
from trivec.stores.archive import ArchiveBackend
from trivec.testing import HashEncoder


@pytest.fixture
def backend(tmp_path: Path) -> ArchiveBackend:
    return ArchiveBackend(tmp_path, "saved")


@pytest.fixture
def archive(backend: ArchiveBackend, encoder: HashEncoder) -> Store:
    store = Store(backend)
    store.create(encoder.schema)
    return store


def _archive(folder: Path, name: str) -> Store:
    return Store(ArchiveBackend(folder, name))


def _save(store: Store, *ids: str) -> None:
    store.upsert([Document(i, i) for i in ids], HashEncoder().encode_documents(list(ids)))


def _files(store: Store, tmp_path: Path) -> list[str]:
    return sorted(file.name for file in (tmp_path / store.name).iterdir())


def test_replaced_parts_are_removed(archive: Store, tmp_path: Path) -> None:
    _save(archive, "a", "b")
    _save(archive, "c")
    _save(archive, "a")
    assert _files(archive, tmp_path)[:2] == ["000001.safetensors", "000002.safetensors"]
    _save(archive, "b")
    archive.delete(["c"])
    assert _files(archive, tmp_path) == [
        "000003.safetensors",
        "000004.safetensors",
        "documents.sqlite",
    ]
    archive.drop()
    assert not (tmp_path / "saved").exists()


def test_a_write_that_was_cut_off_leaves_the_archive_as_it_was(
    archive: Store, tmp_path: Path
) -> None:
    _save(archive, "a")
    (tmp_path / "saved" / "part.new").write_bytes(b"half a part")
    (tmp_path / "saved" / "000002.safetensors").write_bytes(b"a part without its documents")
    assert archive.count() == 1
    _save(archive, "b")
    page = archive.get(["b"], with_vectors=True)
    assert page.vectors is not None
    wanted = HashEncoder().encode_query("b").dense
    np.testing.assert_array_equal(page.vectors[0].dense, wanted)


def test_another_process_sees_and_is_seen(archive: Store, tmp_path: Path) -> None:
    query = HashEncoder().encode_query("whale")
    _save(archive, "whale")
    with open_store(f"archive:{tmp_path}/saved") as other:
        assert len(other.search(query)) == 1
        _save(archive, "whale song")
        assert len(other.search(query)) == 2
        other.delete(["whale"])
    assert [hit.document.id for hit in archive.search(query)] == ["whale song"]


def test_a_damaged_archive_is_told(archive: Store, tmp_path: Path) -> None:
    _save(archive, "a")
    (tmp_path / "saved" / "000001.safetensors").unlink()
    assert archive.count() == 1
    with pytest.raises(StoreError, match=r"the archive in .* is damaged: 000001"):
        archive.get(["a"], with_vectors=True)
    with pytest.raises(InvalidOptionError, match="write 'archive:host/name'"):
        open_store("archive://host/name")


def test_another_handle_sees_an_archive_that_was_made_anew(
    archive: Store, tmp_path: Path, encoder: HashEncoder
) -> None:
    _save(archive, "old")
    other = _archive(tmp_path, "saved")
    assert len(other.search(encoder.encode_query("old"))) == 1
    archive.drop()
    archive.create(encoder.schema)
    _save(archive, "new")
    assert [d.id for page in other.scan() for d in page.documents] == ["new"]
    assert [hit.document.id for hit in other.search(encoder.encode_query("old"))] == ["new"]
    _save(other, "more")
    assert archive.count() == 2


def test_a_part_that_took_the_number_of_a_deleted_one_stays(
    archive: Store, backend: ArchiveBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = _archive(tmp_path, "saved")
    _save(archive, "x")
    remove = backend._remove

    def late(parts: set[int]) -> None:
        _save(other, "y")  # between the deletion and the removal of files
        remove(parts)

    monkeypatch.setattr(backend, "_remove", late)
    archive.delete(["x"])
    page = archive.get(["y"], with_vectors=True)
    assert page.vectors is not None
    assert len(page.vectors) == 1


@pytest.mark.parametrize("with_vectors", [False, True])
def test_a_scan_ends_though_what_it_gives_is_written_again(
    archive: Store, with_vectors: bool
) -> None:
    ids = [f"d{i:02}" for i in range(20)]
    _save(archive, *ids)
    seen = []
    for page in archive.scan(batch_size=5, with_vectors=with_vectors):
        seen += [document.id for document in page.documents]
        _save(archive, *ids[::-1])
        archive.delete(["d19"])
    assert sorted(seen) == ids[: len(seen)]
    assert len(seen) == 19


def test_a_writer_that_waited_for_a_drop_writes_nothing(
    archive: Store, backend: ArchiveBackend, tmp_path: Path
) -> None:
    _save(archive, "a")
    other = _archive(tmp_path, "saved")
    assert other.count() == 1
    with backend._transaction("IMMEDIATE"):
        thread = threading.Thread(target=other.drop)
        thread.start()
        time.sleep(0.1)
        assert backend._file.is_file()  # the drop waits for who writes
    thread.join()
    with pytest.raises(CollectionNotFoundError):
        _save(archive, "b")
    assert not (tmp_path / "saved").exists()


def test_a_drop_between_opening_and_writing_is_noticed(
    archive: Store,
    backend: ArchiveBackend,
    tmp_path: Path,
    encoder: HashEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _save(archive, "a")
    other = _archive(tmp_path, "saved")
    check, described = backend._check_current, archive.describe()

    def late() -> None:
        monkeypatch.undo()
        for file in (tmp_path / "saved").iterdir():
            file.unlink()
        other.create(encoder.schema)
        check()

    monkeypatch.setattr(backend, "_check_current", late)
    with pytest.raises(CollectionNotFoundError, match="dropped meanwhile"):
        backend.write(described, [Document("b", "b")], encoder.encode_documents(["b"]))
    assert other.count() == 0


def test_drop_deletes_no_files_of_others(archive: Store, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    _save(archive, "a")
    (folder / "model.safetensors").write_text("keep")
    (folder / "1.safetensors").write_text("keep")
    (folder / "000009.safetensors").mkdir()
    (folder / "000008.safetensors").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text("keep")
    archive.drop()
    assert _files(archive, tmp_path) == ["000009.safetensors", "1.safetensors", "model.safetensors"]
    assert (tmp_path / "elsewhere").read_text() == "keep"
    archive.drop()
    with pytest.raises(CollectionNotFoundError):
        archive.count()


def test_a_folder_that_is_no_archive_is_neither_filled_nor_emptied(
    tmp_path: Path, encoder: HashEncoder
) -> None:
    folder = tmp_path / "bge-m3"
    folder.mkdir()
    (folder / "000001.safetensors").write_text("a shard of a model")
    (folder / "model.safetensors").write_text("keep")
    with open_store(f"archive:{tmp_path}/bge-m3") as store:
        store.drop()
        with pytest.raises(StoreError, match=r"not empty.*'000001.safetensors', 'model"):
            store.create(encoder.schema)
        store.drop()
        assert sorted(file.name for file in folder.iterdir()) == [
            "000001.safetensors",
            "model.safetensors",
        ]
        with sqlite3.connect(folder / "documents.sqlite") as database:
            database.execute("CREATE TABLE documents (id TEXT)")
        with pytest.raises(StoreError, match="another program's database"):
            store.drop()
        (folder / "documents.sqlite").write_text("no database")
        with pytest.raises(StoreError, match=r"nothing in .* is deleted"):
            store.drop()
    assert len(list(folder.iterdir())) == 3


def test_what_a_killed_create_and_a_killed_drop_left_is_taken_over(
    archive: Store, tmp_path: Path, encoder: HashEncoder
) -> None:
    folder = tmp_path / "saved"
    _save(archive, "a")
    archive.close()
    (folder / "documents.sqlite").rename(folder / "documents.old")
    (folder / "documents.1a2b3c4d.new").write_text("half")
    (folder / "documents.new").write_text("half, of an earlier version")
    (folder / "part.new").write_text("half")
    again = _archive(tmp_path, "saved")
    with pytest.raises(CollectionNotFoundError):
        again.count()
    again.create(encoder.schema)
    assert again.count() == 0
    assert _files(again, tmp_path) == ["documents.sqlite"]
    _save(again, "b")
    again.close()
    (folder / "documents.sqlite").rename(folder / "documents.old")
    _archive(tmp_path, "saved").drop()
    assert not folder.exists()


def test_nothing_is_deleted_or_written_through_links(archive: Store, tmp_path: Path) -> None:
    _save(archive, "a")
    (tmp_path / "link").symlink_to(tmp_path / "saved")
    linked = _archive(tmp_path, "link")
    assert linked.count() == 1
    with pytest.raises(StoreError, match=r"link to .*saved; open it"):
        linked.drop()
    assert archive.count() == 1
    (tmp_path / "victim").write_text("keep")
    (tmp_path / "saved" / "part.new").symlink_to(tmp_path / "victim")
    _save(archive, "b")
    assert (tmp_path / "victim").read_text() == "keep"
    assert archive.count() == 2


def test_files_are_the_owners_alone(tmp_path: Path, encoder: HashEncoder) -> None:
    (tmp_path / "there").mkdir(0o755)
    for name in ("deep/new", "there"):
        store = _archive(tmp_path / Path(name).parent, Path(name).name)
        store.create(encoder.schema)
        _save(store, "a")
        files = list((tmp_path / name).iterdir())
        assert len(files) == 2
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("deep", "deep/new", "there")]
    assert modes == [0o700, 0o700, 0o755]


@pytest.mark.parametrize("second", ["same", "other"])
def test_of_two_that_create_an_archive_at_once_one_is_first(
    tmp_path: Path, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    from trivec.stores import archive_folder

    publish = archive_folder._publish

    def late(new: Path, database: Path) -> bool:
        monkeypatch.undo()
        _archive(tmp_path, "race").create(encoder.schema)
        return publish(new, database)

    monkeypatch.setattr(archive_folder, "_publish", late)
    store = _archive(tmp_path, "race")
    if second == "same":
        store.create(encoder.schema)
    else:
        with pytest.raises(SchemaMismatchError, match="just created otherwise"):
            store.create(Schema(dense=3, sparse=False, colbert=None))
    assert store.describe().schema == encoder.schema
