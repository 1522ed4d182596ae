"""A file of milvus-lite is let go of whatever fails, and its readers and writers take turns."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import gc
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from trivec import Document, Store, open_store
from trivec.deadline import limited
from trivec.errors import (
    CollectionNotFoundError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from trivec.testing import HashEncoder
from trivec_milvus.lite import LiteFile, Turns, turns_of

pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")

TEXTS = [f"blue whale {i}" for i in range(70)]  # so many are flushed by close


def _filled(url: str, encoder: HashEncoder) -> Store:
    store = open_store(url)
    store.create(encoder.schema)
    documents = [Document(f"d{i}", text) for i, text in enumerate(TEXTS)]
    store.upsert(documents, encoder.encode_documents(TEXTS))
    return store


def _check_free(url: str) -> None:
    """Find nobody who holds the lock of a file, and every document in it."""
    place = Path(url.removeprefix("milvus+lite:")).parent
    with (place / "LOCK").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open_store(url) as store:
        assert store.count() == len(TEXTS)


class Broken(RuntimeError):
    """Raised by what a test breaks."""


def _break(monkeypatch: pytest.MonkeyPatch, target: Any, name: str) -> None:
    def broken(*args: object, **options: object) -> None:
        raise Broken(name)

    monkeypatch.setattr(target, name, broken)


def _steps(store: Any) -> dict[str, tuple[Any, str]]:
    from milvus_lite.db import MilvusLite
    from milvus_lite.server_manager import server_manager_instance

    connection = store._handle.backend._connection
    lite = connection.lite
    server = server_manager_instance._servers[lite.path][0]
    return {
        "flush": (connection.client, "flush"),
        "client": (connection.client, "close"),
        "searcher": (lite.searcher, "shutdown"),
        "server": (server, "stop"),
        "database": (MilvusLite, "close"),
    }


@pytest.mark.parametrize("step", ["flush", "client", "searcher", "server", "database"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_close_that_fails_lets_go_of_the_file(
    tmp_path: Path,
    encoder: HashEncoder,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    is_async: bool,
) -> None:
    url = f"milvus+lite:{tmp_path}/held.db/docs"
    store = _filled(url, encoder)
    with monkeypatch.context() as broken:
        _break(broken, *_steps(store)[step])
        with pytest.raises(StoreError, match=_steps(store)[step][1]):
            asyncio.run(store.aclose()) if is_async else store.close()
    store.close()  # a second time is no error
    with pytest.raises(StoreError, match="closed"):
        store.count()
    _check_free(url)


@pytest.mark.parametrize("step", ["_cleanup_database_staging", "server", "client"])
def test_an_open_that_fails_lets_go_of_the_file(
    tmp_path: Path, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    import milvus_lite.adapter.grpc.server as lite_server
    from milvus_lite.db import MilvusLite

    import trivec_milvus.client as client

    url = f"milvus+lite:{tmp_path}/held.db/docs"
    _filled(url, encoder).close()
    targets = {"server": (lite_server, "_build_server"), "client": (client, "MilvusClient")}
    with monkeypatch.context() as broken:
        _break(broken, *targets.get(step, (MilvusLite, step)))
        with pytest.raises(StoreError):
            open_store(url)
        with pytest.raises(StoreError):  # in the same way, and not because it is locked
            open_store(url)
    _check_free(url)


def test_a_create_that_fails_leaves_nothing(
    tmp_path: Path, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"milvus+lite:{tmp_path}/held.db/docs"
    for step in ("create_collection", "create_index", "load_collection", "get_load_state"):
        store: Any = open_store(url)
        with monkeypatch.context() as broken:
            _break(broken, store._handle.backend._connection.client, step)
            with pytest.raises(StoreError, match=step):
                store.create(encoder.schema)
        with pytest.raises(CollectionNotFoundError):
            store.count()
        store.close()
    _filled(url, encoder).close()
    _check_free(url)


def test_an_option_that_is_wrong_leaves_the_file_closed(
    tmp_path: Path, encoder: HashEncoder
) -> None:
    url = f"milvus+lite:{tmp_path}/held.db/docs"
    _filled(url, encoder).close()
    for wrong in ({"consistency": "x"}, {"timeout": -1}, {"batch_bytes": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            open_store(url, **wrong)
    _check_free(url)


def test_a_process_that_ends_without_closing_says_nothing(
    tmp_path: Path, encoder: HashEncoder
) -> None:
    code = """
import asyncio, sys
from trivec import Document, open_store
from trivec.testing import HashEncoder
encoder = HashEncoder()
store = open_store(sys.argv[1])
store.create(encoder.schema)
texts = [f"blue whale {i}" for i in range(70)]
store.upsert([Document(t, t) for t in texts], encoder.encode_documents(texts))
asyncio.run(store.asearch(encoder.encode_query("blue")))
"""
    url = f"milvus+lite:{tmp_path}/held.db/docs"
    run = [sys.executable, "-c", code, url]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    _check_free(url)


# --- turns -------------------------------------------------------------------------------------


def test_readers_share_and_writers_do_not() -> None:
    turns = Turns()
    together = threading.Barrier(2, timeout=10)

    def read() -> None:
        with turns.reading():
            together.wait()  # ends only if both are inside

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(read) for _ in range(2)]:
            future.result()
    for outer, inner in (
        (turns.writing, turns.writing),
        (turns.writing, turns.reading),
        (turns.reading, turns.writing),
    ):
        with outer(), ThreadPoolExecutor(1) as pool:
            assert pool.submit(_is_refused, inner).result()
        with inner():  # who gave up is not waited for
            pass


def _is_refused(turn: Any) -> bool:
    with limited(0.05):
        try:
            with turn():
                return False
        except StoreUnavailableError:
            return True


def test_a_writer_that_waits_goes_before_later_readers() -> None:
    turns, order = Turns(), list[str]()

    def write() -> None:
        with turns.writing():
            order.append("write")

    def read() -> None:
        with turns.reading():
            order.append("read")

    writer, reader = threading.Thread(target=write), threading.Thread(target=read)
    with turns.reading():
        writer.start()
        while not turns._writers_waiting:
            pass
        reader.start()
        reader.join(0.05)
        assert order == []
    writer.join()
    reader.join()
    assert order == ["write", "read"]


def test_all_handles_on_a_file_take_turns_with_each_other(
    tmp_path: Path, encoder: HashEncoder
) -> None:
    from pymilvus import MilvusClient

    from trivec_milvus import MilvusStore

    url = f"milvus+lite:{tmp_path}/shared.db"
    with _filled(f"{url}/a", encoder) as one, open_store(f"{url}/b") as two:
        shared: Any = [one, two]
        client = MilvusClient(f"{tmp_path}/shared.db")
        shared.append(MilvusStore(client, "a"))
        assert len({id(store._handle.backend._connection._turns) for store in shared}) == 1
        with (
            shared[0]._handle.backend._connection._turns.writing("a"),
            ThreadPoolExecutor(1) as pool,
        ):
            assert all(pool.submit(_is_late, store).result() for store in shared)
        assert shared[2].count() == len(TEXTS)
        client.close()
    assert turns_of("127.0.0.1:1") is None


def _is_late(store: Store) -> bool:
    with limited(0.05):
        try:
            store.describe()
        except StoreUnavailableError:
            return True
    return False


async def test_a_search_that_waits_for_its_turn_does_not_block_the_loop(
    tmp_path: Path, encoder: HashEncoder
) -> None:
    store: Any = _filled(f"milvus+lite:{tmp_path}/shared.db/a", encoder)
    query = encoder.encode_query("blue whale")
    with store._handle.backend._connection._turns.writing("a"):
        search = asyncio.create_task(store.asearch(query))
        count = asyncio.create_task(store.acount())
        await asyncio.sleep(0.1)  # which the loop has time for
        assert not search.done()
        assert not count.done()
    assert len(await search) == 10
    assert await count == len(TEXTS)
    await store.aclose()


def test_one_file_by_two_paths_is_one_file(tmp_path: Path, encoder: HashEncoder) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with (
        _filled(f"milvus+lite:{tmp_path}/a.db/docs", encoder),
        open_store(f"milvus+lite:{tmp_path}/link/a.db/docs") as linked,
    ):
        assert linked.count() == len(TEXTS)


def test_the_last_user_closes(tmp_path: Path) -> None:
    from milvus_lite.server_manager import server_manager_instance

    files = [LiteFile.open(tmp_path / "a.db") for _ in range(3)]
    assert files[0] is files[1] is files[2]
    for file in files:
        assert file.path in server_manager_instance._servers
        file.close()
    assert files[0].path not in server_manager_instance._servers


def _after_a_crash(url: str, copy: Path) -> int:
    """Count what another process would find if this one died now."""
    place = Path(url.removeprefix("milvus+lite:"))
    shutil.copytree(place.parent, copy)
    with open_store(f"milvus+lite:{copy}/{place.name}") as store:
        return store.count()


def _write(store: Store, encoder: HashEncoder, numbers: range) -> None:
    texts = [f"fox {i}" for i in numbers]
    documents = [Document(f"f{i}", text) for i, text in zip(numbers, texts, strict=True)]
    store.upsert(documents, encoder.encode_documents(texts))


def _full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_log_torn_by_a_full_disk_is_not_written_on(
    tmp_path: Path, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from milvus_lite.storage.wal import WAL

    def half(self: Any, batch: object) -> None:
        self._data_sink.write(b"\xff\xff\xff\xff\x10\x01")
        self._data_sink.flush()
        raise _full()

    url = f"milvus+lite:{tmp_path}/a.db/c"
    with _filled(url, encoder) as store:
        with monkeypatch.context() as broken:
            broken.setattr(WAL, "write_insert", half)
            with pytest.raises(StoreFullError):
                _write(store, encoder, range(5))
        assert store.count() == len(TEXTS)
        _write(store, encoder, range(5))
        store.delete(["d0"])
        assert store.count() == len(TEXTS) + 4
        assert _after_a_crash(url, tmp_path / "copy.db") == len(TEXTS) + 4
        assert store.search(encoder.encode_query("fox 3"), k=1)[0].document.id == "f3"


# The engine leaves the log open that it could not write out.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("closed", [True, False])
def test_documents_are_not_lost_when_a_flush_finds_the_disk_full(
    tmp_path: Path,
    encoder: HashEncoder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    closed: bool,
) -> None:
    def fail(*args: object) -> str:
        raise _full()

    url = f"milvus+lite:{tmp_path}/a.db/c"
    store = _filled(url, encoder)
    with monkeypatch.context() as broken:
        broken.setattr("milvus_lite.engine.flush.write_data_file", fail)
        with pytest.raises(StoreFullError):
            _write(store, encoder, range(1000))  # so many are flushed
        assert store.count() == len(TEXTS) + 1000
    if closed:
        store.close()
        store = open_store(url)
    _write(store, encoder, range(1000, 2100))
    assert store.count() == len(TEXTS) + 2100
    assert _after_a_crash(url, tmp_path / "copy.db") == len(TEXTS) + 2100
    store.close()
    with open_store(url) as again:
        assert again.count() == len(TEXTS) + 2100
    caplog.clear()  # whose traces hold the log
    gc.collect()


@pytest.mark.parametrize("share", [0, 0.5])
def test_an_index_file_that_was_cut_short_is_made_again(
    tmp_path: Path, encoder: HashEncoder, share: float
) -> None:
    url = f"milvus+lite:{tmp_path}/a.db/c"
    store = _filled(url, encoder)
    _write(store, encoder, range(1100))  # so many are flushed, and get an index
    query = encoder.encode_query("fox 7")
    found = [hit.document.id for hit in store.search(query, mode="dense", k=5)]
    store.close()
    indexes = list((tmp_path / "a.db").rglob("*.idx"))
    assert indexes
    for file in indexes:
        with file.open("r+b") as opened:
            opened.truncate(int(file.stat().st_size * share))
    with open_store(url) as again:
        assert again.count() == len(TEXTS) + 1100
        assert [hit.document.id for hit in again.search(query, mode="dense", k=5)] == found


def test_an_index_file_is_made_again_when_a_collection_is_read_after_a_full_disk(
    tmp_path: Path, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _filled(f"milvus+lite:{tmp_path}/a.db/c", encoder) as store:
        _write(store, encoder, range(1100))
        indexes = list((tmp_path / "a.db").rglob("*.idx"))
        assert indexes

        def fail(*args: object) -> None:
            for file in indexes:
                file.write_bytes(b"")
            raise _full()

        with monkeypatch.context() as broken:
            broken.setattr("milvus_lite.storage.wal.WAL.write_insert", fail)
            with pytest.raises(StoreFullError):
                _write(store, encoder, range(1100, 1110))
        assert store.count() == len(TEXTS) + 1100
        found = store.search(encoder.encode_query("fox 7"), mode="dense", k=5)
        assert len(found) == 5


def test_a_folder_of_something_else_is_refused_and_stays(
    tmp_path: Path, encoder: HashEncoder
) -> None:
    others = tmp_path / "photos.db" / "collections" / "holiday" / "whale.jpg"
    others.parent.mkdir(parents=True)
    others.write_bytes(b"whale")
    (tmp_path / "photos.db" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"photos\.db is not empty.*'notes\.txt'"):
        open_store(f"milvus+lite:{tmp_path}/photos.db/holiday")
    assert sorted(path.name for path in (tmp_path / "photos.db").iterdir()) == [
        "collections",
        "notes.txt",
    ]
    assert others.read_bytes() == b"whale"


def test_a_collection_with_files_of_others_is_not_dropped(
    tmp_path: Path, encoder: HashEncoder
) -> None:
    with _filled(f"milvus+lite:{tmp_path}/a.db/c", encoder) as store:
        note = tmp_path / "a.db" / "collections" / "c" / "notes.txt"
        note.write_text("mine")
        with pytest.raises(StoreError, match=r"'c' is not dropped.*'notes\.txt'.*move that"):
            store.drop()
        assert store.count() == len(TEXTS)
        note.rename(tmp_path / "notes.txt")
        store.drop()
        assert (tmp_path / "notes.txt").read_text() == "mine"
        with pytest.raises(CollectionNotFoundError):
            store.count()


def test_the_folder_is_for_its_owner_only(tmp_path: Path, encoder: HashEncoder) -> None:
    before = os.umask(0)
    try:
        with _filled(f"milvus+lite:{tmp_path}/sub/a.db/c", encoder):
            pass
    finally:
        os.umask(before)
    for folder in (tmp_path / "sub", tmp_path / "sub" / "a.db"):
        assert folder.stat().st_mode & 0o777 == 0o700
