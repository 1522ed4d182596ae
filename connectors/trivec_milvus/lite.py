"""Files of milvus-lite: one server in this process for each, and turns of readers and writers."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from trivec.deadline import seconds_left
from trivec.errors import (
    InvalidOptionError,
    MissingDependencyError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from trivec.stores.folder import check_not_linked, check_vacant, make_folder, telling_full

HOST = "127.0.0.1"
_IN_FILE = frozenset({"LOCK", "collections", "databases", ".database-staging"})
_IN_COLLECTION = frozenset({
    "schema.json", "manifest.json", "manifest.json.prev", "manifest.json.tmp", "wal", "partitions",
    "snapshots",
})  # fmt: skip
WORKERS = 10  # threads of the server, the default of milvus-lite


class Turns:
    """Lets many readers use a file at the same time, or one writer.

    The engine of milvus-lite changes its tables while others read them: of 3,900 reads beside
    writers, 22 missed a document that was written before, or returned a deleted one. While a writer
    waits, no more readers begin.

    If the disk fails during a write, the engine continues with a torn log, or without the documents
    that it was moving out of the log. What it acknowledges then is lost, at once or when the
    process ends. So the collection is read from the disk again before its next use.
    """

    def __init__(self, path: str = "") -> None:
        self._path = path
        self._torn: set[str] = set()
        self._changed = threading.Condition()
        self._readers = 0
        self._writing = False
        self._writers_waiting = 0

    @property
    def torn(self) -> frozenset[str]:
        """The collections that must be read from the disk again."""
        return frozenset(self._torn)

    @contextmanager
    def reading(self, name: str = "") -> Iterator[None]:
        """Wait until no writer is active; several may read at the same time.

        Raises:
            StoreUnavailableError: If the call's deadline passes before that.
            StoreError: If the collection must be read from the disk again, and this fails.
        """
        if name in self._torn:
            with self._alone():
                self._mend(name)
        with self._changed:
            self._wait(lambda: not self._writing and not self._writers_waiting)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def writing(self, name: str = "") -> Iterator[None]:
        """Wait until no reader and no other writer is active; raises as `reading`."""
        with self._alone():
            self._mend(name)
            with telling_full(Path(self._path)):
                try:
                    yield
                except Exception as error:
                    if "[Errno " in str(error):  # a system error, not one of the request
                        self._torn.add(name)
                    raise

    def _mend(self, name: str) -> None:
        if name in self._torn:
            _read_again(self._path, name)
            self._torn.discard(name)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._changed:
            self._writers_waiting += 1
            try:
                self._wait(lambda: not self._writing and not self._readers)
                self._writing = True
            finally:
                self._writers_waiting -= 1
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()

    def _wait(self, free: Any) -> None:  # noqa: ANN401 - a function without arguments
        if not self._changed.wait_for(free, seconds_left()):
            raise StoreUnavailableError(
                "the file of milvus-lite was in use until the call's deadline passed"
            )


@dataclass(eq=False)
class LiteFile:
    """One file of milvus-lite; its server runs in this process until the last user closes it.

    The server computes in Python: 50 searches at the same time kept the event loop waiting for the
    interpreter for 132 ms; one after the other in `searcher`, they took as long in all and kept it
    waiting for 33 ms.
    """

    path: str
    uri: str
    turns: Turns
    users: int = 0
    searcher: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, "trivec-milvus-lite")
    )

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the file at a path, shared by all stores of this process.

        Raises:
            MissingDependencyError: If milvus-lite is not installed.
            InvalidOptionError: If the name does not end in `.db`, by which pymilvus recognizes it.
            StoreError: If it cannot be opened, such as when another process has it open, or if a
                folder of this name holds something else.
        """
        try:
            import milvus_lite  # noqa: F401
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                "milvus+lite: needs milvus-lite, which is not installed; "
                "run: pip install 'trivec[milvus]'"
            ) from error
        if path.suffix != ".db":
            raise InvalidOptionError(f"milvus+lite:{path}: the file's name must end in '.db'")
        _make(path)
        with _lock:
            known = _known_path(path)
            file = _files.get(known)
            if file is None:
                uri = f"http://{HOST}:{_start(known)}"
                file = _files[known] = cls(known, uri, _turns.setdefault(known, Turns(known)))
            file.users += 1
        return file  # type: ignore[return-value]

    def check_only_ours(self, name: str) -> None:
        """Refuse to drop a collection whose folder holds foreign files.

        milvus-lite deletes the folder with everything in it.
        """
        folder = Path(self.path) / "collections" / name
        check_not_linked(folder, name)
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        foreign = sorted(set(names) - _IN_COLLECTION)
        if foreign:
            raise StoreError(
                f"collection {name!r} is not dropped, since {folder} holds files that milvus-lite "
                f"does not write: {', '.join(map(repr, foreign[:3]))}; move that elsewhere first"
            )

    def drop_indexes(self, name: str) -> bool:
        """Delete the index files of a collection, which loading it makes again.

        milvus-lite writes them in place, so one is cut short if the process dies meanwhile, and
        then the collection cannot be loaded.

        Returns:
            Whether there were any.
        """
        with self.turns.writing():
            return _drop_indexes(self.path, name)

    def close(self) -> None:
        """Stop the server if this was the last user; `MilvusClient.close` would not.

        Raises:
            StoreError: If that fails; the file can be opened again even then.
        """
        with _lock:
            self.users -= 1
            if self.users:
                return
            _files.pop(self.path, None)
            try:
                self.searcher.shutdown(cancel_futures=True)
            finally:
                _stop(self.path, self.turns.torn)


def _make(path: Path) -> None:
    """Create the folder behind a path for its owner only, unless milvus-lite has created it."""
    make_folder(path.parent)
    if path.is_dir() and not (path / "LOCK").is_file():
        check_vacant(path, lambda entry: entry.name in _IN_FILE)
    if not os.path.lexists(path):
        make_folder(path)


_files: dict[str, LiteFile] = {}
_turns: dict[str, Turns] = {}
_lock = threading.Lock()


def turns_of(address: str) -> Turns | None:
    """Return the turns of the file of milvus-lite behind `host:port`, if this process has one."""
    module = sys.modules.get("milvus_lite.server_manager")
    servers = module.server_manager_instance._servers if module is not None else {}
    for path, (_, _, port) in list(servers.items()):
        if address == f"{HOST}:{port}":
            with _lock:
                return _turns.setdefault(path, Turns(path))
    return None


def _known_path(path: Path) -> str:
    """Return the path by which a file was first opened in this process, through any link."""
    from milvus_lite.server_manager import server_manager_instance as manager

    real = os.path.realpath(path)
    same = (known for known in [*_files, *manager._servers] if os.path.realpath(known) == real)
    return next(same, os.path.abspath(path))


def _start(path: str) -> int:
    """Return the port of the server of a file; start the server if it does not run.

    `ServerManager.start_and_get_uri` does the same, but if it fails it hides the reason and leaves
    the file locked until the process ends.
    """
    from milvus_lite.adapter.grpc.server import _build_server
    from milvus_lite.db import MilvusLite
    from milvus_lite.server_manager import server_manager_instance as manager

    with manager._lock:
        if path in manager._servers:
            return int(manager._servers[path][2])
        database = MilvusLite.__new__(MilvusLite)
        try:
            database.__init__(path)
            server = _build_server(database, WORKERS)
            port = int(server.add_insecure_port(f"{HOST}:0"))
            server.start()
        except Exception as error:
            _unlock(database)
            raise _unopened(path, error) from error
        manager._servers[path] = (server, database, port)
        return port


def _unopened(path: str, error: Exception) -> StoreError:
    text = f"milvus+lite:{path} cannot be opened: {error}"
    if type(error).__name__ == "DataDirLockedError":
        return StoreError(f"{text}; a file of milvus-lite can be open in one process only")
    if "No space left on device" in text:
        return StoreFullError(text)
    return StoreError(text)


def _read_again(path: str, name: str) -> None:
    """Drop a collection from memory and read it from the disk."""
    from milvus_lite.db import DEFAULT_DATABASE_NAME
    from milvus_lite.exceptions import CollectionNotFoundError
    from milvus_lite.server_manager import server_manager_instance as manager

    running = manager._servers.get(path)
    if running is None:
        return
    _, database, _ = running
    try:
        name = database.resolve_collection_name(name)
        _close_files(database._collections.pop((DEFAULT_DATABASE_NAME, name), None))
        collection = database.get_collection(name)
        try:
            collection.load()
        except Exception:  # perhaps the disk was full when an index was written
            if not _drop_indexes(path, name):
                raise
            collection.load()
    except CollectionNotFoundError:
        return
    except Exception as error:
        raise _unopened(path, error) from error


def _drop_indexes(path: str, name: str) -> bool:
    """Delete the index files of a collection; return whether there were any."""
    folder = Path(path) / "collections" / name
    files = [*folder.rglob("*.idx"), *folder.rglob("*.sidx")]
    for file in files:
        file.unlink(missing_ok=True)
    return bool(files)


def _close_files(collection: Any) -> None:  # noqa: ANN401 - milvus-lite has no types
    """Close the files of a collection without writing to them; its log stays."""
    if collection is None:
        return
    collection._bg_closed = True
    collection._bg_executor.shutdown(wait=True)
    for sink in (collection._wal._data_sink, collection._wal._delta_sink):
        if sink is not None:
            with suppress(OSError):  # from buffered data that cannot be written
                sink.close()


def _stop(path: str, torn: Iterable[str]) -> None:
    """Stop the server of a file and unlock the file, even if a step fails.

    Args:
        path: The file.
        torn: The collections whose log holds more than the engine has in memory.
    """
    from milvus_lite.db import DEFAULT_DATABASE_NAME
    from milvus_lite.server_manager import server_manager_instance as manager

    with manager._lock:
        running = manager._servers.pop(path, None)
    if running is None:
        return
    server, database, _ = running
    failed: list[Exception] = []

    def close_torn() -> None:
        for name in torn:
            _close_files(database._collections.pop((DEFAULT_DATABASE_NAME, name), None))

    for step in (lambda: server.stop(grace=2).wait(4), close_torn, database.close):
        try:
            step()
        except Exception as error:
            failed.append(error)
    _unlock(database)
    if failed:
        raise StoreError(
            f"milvus+lite:{path} was not closed in order: {failed[0]}; acknowledged documents are "
            "in its log and come back when it is opened"
        ) from failed[0]


def _unlock(database: Any) -> None:  # noqa: ANN401 - milvus-lite has no types
    with suppress(Exception):  # raised if there is no lock
        database._release_lock()
