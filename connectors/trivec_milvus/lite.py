"""Files of milvus-lite: one server in this process for each, and who may use it at one time."""

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

from trivec.errors import (
    InvalidOptionError,
    MissingDependencyError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from trivec.stores.deadline import seconds_left
from trivec.stores.folder import check_not_linked, check_vacant, make_folder, telling_full

__all__ = ["LiteFile", "Turns", "turns_of"]

HOST = "127.0.0.1"
_IN_FILE = frozenset({"LOCK", "collections", "databases", ".database-staging"})
_IN_COLLECTION = frozenset({
    "schema.json", "manifest.json", "manifest.json.prev", "manifest.json.tmp", "wal", "partitions",
    "snapshots",
})  # fmt: skip
WORKERS = 10  # threads of the server, as many as milvus-lite starts by itself


class Turns:
    """Lets many readers of a file in at one time, or one writer.

    The engine of milvus-lite changes its tables while others read them: of 3,900 reads beside
    writers, 22 missed a document that was written before, or found one that was deleted. A writer
    that waits lets no more readers in.

    Where the disk fails a write, the engine goes on with a log that is torn, or without the
    documents that it was writing out of the log: what it acknowledges then is lost when the
    process dies, or at once. So the collection is read from the disk again before its next use.

    Args:
        path: The file.
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
        """Wait until nobody writes; several read at one time.

        Args:
            name: The collection.

        Raises:
            StoreUnavailableError: If the call's deadline passes before that.
            StoreError: If the collection must be read again, and cannot be.
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
        """Wait until nobody else reads or writes; raises as `reading`.

        Args:
            name: The collection.
        """
        with self._alone():
            self._mend(name)
            with telling_full(Path(self._path)):
                try:
                    yield
                except Exception as error:
                    if "[Errno " in str(error):  # of the system, not of what was asked for
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
    """One file of milvus-lite, whose server lives in this process and is stopped by its last user.

    It computes in Python: 50 searches at once kept the event loop waiting for the interpreter for
    132 ms, and were no faster than one after the other in `searcher`, which let it wait for 33 ms.
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
            InvalidOptionError: If the name does not end in `.db`, by which pymilvus knows it.
            StoreError: If it cannot be opened, such as when another process has it open, or if
                there is a folder of this name that holds something else.
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
            place = _place(path)
            file = _files.get(place)
            if file is None:
                uri = f"http://{HOST}:{_start(place)}"
                file = _files[place] = cls(place, uri, _turns.setdefault(place, Turns(place)))
            file.users += 1
        return file  # type: ignore[return-value]

    def check_only_ours(self, name: str) -> None:
        """Refuse to drop a collection whose folder holds what others put there.

        milvus-lite deletes the folder with all that is in it.

        Raises:
            StoreError: If there is something of another name, or the folder is a link.
        """
        folder = Path(self.path) / "collections" / name
        check_not_linked(folder, name)
        others = sorted(one.name for one in _entries(folder) if one.name not in _IN_COLLECTION)
        if others:
            raise StoreError(
                f"collection {name!r} is not dropped, since {folder} holds what milvus-lite does "
                f"not write: {', '.join(map(repr, others[:3]))}; move that elsewhere first"
            )

    def close(self) -> None:
        """Stop the server if nobody else uses the file; `MilvusClient.close` would not.

        Raises:
            StoreError: If that fails; the file can be opened again all the same.
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
    """Make the folder behind a path for its owner only, unless milvus-lite has made it."""
    make_folder(path.parent)
    if path.is_dir() and not (path / "LOCK").is_file():
        check_vacant(path, lambda entry: entry.name in _IN_FILE)
    if not os.path.lexists(path):
        make_folder(path)


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


_files: dict[str, LiteFile] = {}
_turns: dict[str, Turns] = {}
_lock = threading.Lock()


def turns_of(address: str) -> Turns | None:
    """Return the turns of the file that a server of this process has open.

    Args:
        address: The host and the port that a client calls.

    Returns:
        None if it is none of milvus-lite in this process.
    """
    module = sys.modules.get("milvus_lite.server_manager")
    servers = module.server_manager_instance._servers if module is not None else {}
    for path, (_, _, port) in list(servers.items()):
        if address == f"{HOST}:{port}":
            with _lock:
                return _turns.setdefault(path, Turns(path))
    return None


def _place(path: Path) -> str:
    """Return the path of a file as it was first opened in this process, by whatever link."""
    from milvus_lite.server_manager import server_manager_instance as manager

    real = os.path.realpath(path)
    known = (one for one in [*_files, *manager._servers] if os.path.realpath(one) == real)
    return next(known, os.path.abspath(path))


def _start(path: str) -> int:
    """Return the port of the server of a file, started unless it is there.

    `ServerManager.start_and_get_uri` does the same; but where that fails it hides the reason, and
    a file that it had locked by then stays locked for the life of the process.
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
    """Let go of a collection as it is in memory, and read it from the disk.

    Raises:
        StoreError: If that fails, which can be tried again.
    """
    from milvus_lite.db import DEFAULT_DATABASE_NAME
    from milvus_lite.exceptions import CollectionNotFoundError
    from milvus_lite.server_manager import server_manager_instance as manager

    found = manager._servers.get(path)
    if found is None:
        return
    _, database, _ = found
    try:
        name = database.resolve_collection_name(name)
        _let_go(database._collections.pop((DEFAULT_DATABASE_NAME, name), None))
        database.get_collection(name).load()
    except CollectionNotFoundError:
        return
    except Exception as error:
        raise _unopened(path, error) from error


def _let_go(collection: Any) -> None:  # noqa: ANN401 - milvus-lite has no types
    """Close the files of a collection without writing anything; its log stays."""
    if collection is None:
        return
    collection._bg_closed = True
    collection._bg_executor.shutdown(wait=True)
    for sink in (collection._wal._data_sink, collection._wal._delta_sink):
        if sink is not None:
            with suppress(OSError):  # of what was not written
                sink.close()


def _stop(path: str, torn: Iterable[str]) -> None:
    """Stop the server of a file and let go of the file, whatever fails on the way.

    Args:
        path: The file.
        torn: The collections whose log says more than the engine has in memory.
    """
    from milvus_lite.db import DEFAULT_DATABASE_NAME
    from milvus_lite.server_manager import server_manager_instance as manager

    with manager._lock:
        found = manager._servers.pop(path, None)
    if found is None:
        return
    server, database, _ = found
    failed: list[Exception] = []

    def leave_torn() -> None:
        for name in torn:
            _let_go(database._collections.pop((DEFAULT_DATABASE_NAME, name), None))

    for step in (lambda: server.stop(grace=2).wait(4), leave_torn, database.close):
        try:
            step()
        except Exception as error:
            failed.append(error)
    _unlock(database)
    if failed:
        raise StoreError(
            f"milvus+lite:{path} was not closed in order: {failed[0]}; what was acknowledged is in "
            "its log and comes back when it is opened"
        ) from failed[0]


def _unlock(database: Any) -> None:  # noqa: ANN401 - milvus-lite has no types
    with suppress(Exception):  # it holds no lock, or the lock is gone
        database._release_lock()
