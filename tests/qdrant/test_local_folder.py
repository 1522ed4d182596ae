"""The folder of the client's pure-Python mode: whose files are deleted, and what damage is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trivec import Document, Schema, open_store
from trivec.errors import CollectionNotFoundError, StoreError

SCHEMA = Schema(dense=8, sparse=True, colbert=8)


def test_drop_deletes_no_files_of_others(tmp_path: Path, make_vectors: Any) -> None:
    folder = tmp_path / "collection" / "one"
    with open_store(f"qdrant+local:{tmp_path}/one") as store:
        store.create(SCHEMA)
        store.upsert([Document("a", "")], make_vectors(1))
        (folder / "inner").mkdir()
        for name in ("notes.txt", "inner/storage.sqlite"):
            (folder / name).write_text("keep")
        store.drop()
        assert sorted(f.name for f in folder.iterdir()) == ["inner", "notes.txt"]
        assert (folder / "inner" / "storage.sqlite").read_text() == "keep"
        with pytest.raises(CollectionNotFoundError):
            store.count()
        with pytest.raises(StoreError, match=r"not empty.*'inner', 'notes.txt'"):
            store.create(SCHEMA)
    with open_store(f"qdrant+local:{tmp_path}/one") as store:
        store.drop()
    assert (folder / "notes.txt").read_text() == "keep"


def test_what_is_no_collection_is_not_dropped(tmp_path: Path) -> None:
    folder = tmp_path / "collection" / "one"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("keep")
    with open_store(f"qdrant+local:{tmp_path}/one") as store:
        store.drop()
    assert (folder / "notes.txt").read_text() == "keep"


def test_what_a_killed_create_left_is_taken_over(tmp_path: Path, make_vectors: Any) -> None:
    with open_store(f"qdrant+local:{tmp_path}/one") as store:
        store.create(SCHEMA)
        store.upsert([Document("old", "")], make_vectors(1))
    (tmp_path / "meta.json").write_text('{"collections": {}, "aliases": {}}')
    with open_store(f"qdrant+local:{tmp_path}/one") as store:
        store.create(SCHEMA)
        assert store.count() == 0
        store.drop()
    assert not (tmp_path / "collection" / "one").exists()


def test_a_collection_is_not_opened_through_a_link(tmp_path: Path) -> None:
    url = f"qdrant+local:{tmp_path}/db/one"
    with open_store(url) as store:
        store.create(SCHEMA)
    folder = tmp_path / "db" / "collection" / "one"
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    with pytest.raises(StoreError, match="outside of the storage folder"):
        open_store(url)
    assert (tmp_path / "moved" / "storage.sqlite").exists()


@pytest.mark.parametrize("content", ["", "{", "7", "{}", '{"collections": 3, "aliases": {}}'])
def test_a_list_of_another_program_is_not_written_over(tmp_path: Path, content: str) -> None:
    (tmp_path / "meta.json").write_text(content)
    with pytest.raises(StoreError, match=rf"{tmp_path}.*another"):
        open_store(f"qdrant+local:{tmp_path}/one")
    assert (tmp_path / "meta.json").read_text() == content


def test_a_damaged_list_is_told(tmp_path: Path) -> None:
    with open_store(f"qdrant+local:{tmp_path}/one") as store:
        store.create(SCHEMA)
    meta = json.loads((tmp_path / "meta.json").read_text())
    meta["collections"]["one"]["vectors"] = {"dense": {"size": "many"}}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(StoreError, match=rf"{tmp_path} is damaged"):
        open_store(f"qdrant+local:{tmp_path}/one")


def test_folders_are_the_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(0o755)
    for name in ("new", "there"):
        with open_store(f"qdrant+local:{tmp_path}/{name}/one") as store:
            store.create(SCHEMA)
    places = ("new", "there", "there/collection", "there/collection/one")
    modes = [(tmp_path / place).stat().st_mode & 0o777 for place in places]
    assert modes == [0o700, 0o755, 0o700, 0o700]
