"""Names and folders of embedded collections."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from trivec import Store, open_store
from trivec.errors import InvalidOptionError, StoreError, StoreFullError
from trivec.stores import folder
from trivec.stores.archive import ArchiveBackend
from trivec.stores.memory import MemoryBackend
from trivec_qdrant import QdrantStore

HOSTILE = [
    *("", ".", "..", "a/b", "../b", "a\\b", "a\nb", "a\rb", "a\0b", "\x1b[31m", "a\x7f"),
    *("a ", "a.", "...", "a\u202eb", "a\u2028b", "\ud800", "a" * 256, "ü" * 128),
]


def _local(name: str) -> Store:
    from qdrant_client import QdrantClient

    return QdrantStore(QdrantClient(":memory:"), name)


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_names_that_are_no_names_are_refused(name: str, tmp_path: Path) -> None:
    makers: list[Callable[[str], Store]] = [
        lambda n: Store(MemoryBackend(n)),
        lambda n: Store(ArchiveBackend(tmp_path, n)),
        _local,
        *(
            lambda n, s=scheme: open_store(f"{s}:{tmp_path}/{n}")
            for scheme in ("archive", "qdrant+edge", "qdrant+local")
        ),
    ]
    for make in makers[:3] if {"/", ""} & {name, *name} else makers:
        with pytest.raises(InvalidOptionError, match=r"name|URL"):
            make(name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a", "Article-1_2", "ünïcode", "a b", ".a", "名前", "ü" * 127])
def test_other_names_are_taken(name: str, tmp_path: Path) -> None:
    assert folder.check_name(name) == name
    for scheme in ("memory", "archive"):
        path = "" if scheme == "memory" else str(tmp_path)
        with open_store(f"{scheme}:{path}/{name}") as store:
            store.drop()


def test_every_way_to_say_that_the_disk_is_full() -> None:
    full: list[Exception] = [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EFBIG, "File too large"),
        sqlite3.OperationalError("database or disk is full"),
        RuntimeError("service error: IO Error: File too large (os error 27)"),
        RuntimeError("... (os error 28)"),
    ]
    for error in full:
        with (
            pytest.raises(StoreFullError, match=r"disk of .*make room"),
            folder.telling_full(Path("x")),
        ):
            raise error
    with pytest.raises(KeyError), folder.telling_full(Path("x")):
        raise KeyError
    with pytest.raises(StoreError, match="told before"), folder.telling_full(Path("x")):
        raise StoreError("told before")


def test_what_is_free_is_told(tmp_path: Path) -> None:
    free = folder.free_bytes(tmp_path / "not" / "there")
    assert free > 0
    folder.check_free(tmp_path, 1, "writing")
    with pytest.raises(StoreFullError, match=r"writing needs .* and .* are free; make room"):
        folder.check_free(tmp_path, 1 << 60, "writing")
