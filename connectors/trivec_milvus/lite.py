"""Files of milvus-lite: one server in this process for each, and who may use it at one time."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
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

__all__ = ["LiteFile", "Turns", "turns_of"]

HOST = "127.0.0.1"
WORKERS = 10  # threads of the server, as many as milvus-lite starts by itself


class Turns:
    """Lets many readers in at one time, or one writer.

    The engine of milvus-lite changes its tables while others read them: of 3,900 reads beside
    writers, 22 missed a document that was written before, or found one that was deleted. A writer
    that waits lets no more readers in.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._writing = False
        self._writers_waiting = 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Wait until nobody writes; several read at one time.

        Raises:
            StoreUnavailableError: If the call's deadline passes before that.
        """
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
    def writing(self) -> Iterator[None]:
        """Wait until nobody else reads or writes.

        Raises:
            StoreUnavailableError: If the call's deadline passes before that.
        """
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
            StoreError: If it cannot be opened, such as when another process has it open.
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
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the folder {path.parent} cannot be made: {error}") from error
        with _lock:
            place = _place(path)
            file = _files.get(place)
            if file is None:
                uri = f"http://{HOST}:{_start(place)}"
                file = _files[place] = cls(place, uri, _turns.setdefault(place, Turns()))
            file.users += 1
        return file  # type: ignore[return-value]

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
                _stop(self.path)


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
                return _turns.setdefault(path, Turns())
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


def _stop(path: str) -> None:
    """Stop the server of a file and let go of the file, whatever fails on the way."""
    from milvus_lite.server_manager import server_manager_instance as manager

    with manager._lock:
        found = manager._servers.pop(path, None)
    if found is None:
        return
    server, database, _ = found
    failed: list[Exception] = []
    for step in (lambda: server.stop(grace=2).wait(4), database.close):
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
