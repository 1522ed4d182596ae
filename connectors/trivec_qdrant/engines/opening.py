"""From a URL or a client to an engine; embedded collections are opened once in a process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from trivec.arguments import type_name
from trivec.errors import InvalidOptionError, MissingDependencyError, StoreError
from trivec.stores.folder import check_name
from trivec.stores.url import StoreUrl
from trivec_qdrant.client import client_class, is_local, open_client
from trivec_qdrant.engines.engine import Engine
from trivec_qdrant.schema import Names

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from trivec_qdrant.engines.local import Guard
    from trivec_qdrant.engines.shard import Shard
    from trivec_qdrant.options import QdrantOptions

T = TypeVar("T")


class _Shared(Generic[T]):
    """Objects that are opened once, and closed after their last user gave them back."""

    def __init__(self, close: Callable[[T], None]) -> None:
        self._close = close
        self._open: dict[Path, tuple[T, int]] = {}
        self._lock = threading.Lock()

    def take(self, path: Path, make: Callable[[Path], T]) -> tuple[T, Callable[[], None]]:
        """Return what is open at a path, or made there, and a function that gives it back once.

        Raises:
            StoreError: If the path cannot be resolved.
        """
        try:
            path = path.resolve()
        except (OSError, RuntimeError) as error:
            raise StoreError(f"the folder {path} cannot be opened: {error}") from error
        with self._lock:
            shared, users = self._open.get(path) or (make(path), 0)
            self._open[path] = shared, users + 1
        given_back = False

        def give_back() -> None:
            nonlocal given_back
            with self._lock:
                if given_back:
                    return
                given_back = True
                shared, users = self._open[path]
                if users > 1:
                    self._open[path] = shared, users - 1
                else:
                    del self._open[path]
                    self._close(shared)

        return shared, give_back


_clients: _Shared[tuple[QdrantClient, Guard]] = _Shared(lambda pair: pair[0].close())
_shards: _Shared[Shard] = _Shared(lambda shard: shard.close())
_memory: list[tuple[QdrantClient, Guard]] = []
_memory_lock = threading.Lock()


def open_engine(url: StoreUrl, options: QdrantOptions) -> Engine:
    """Return the engine of a URL; nothing is sent to a server yet.

    Raises:
        InvalidOptionError: If the URL lacks what its scheme needs.
        MissingDependencyError: If the client, or the embedded engine, is not installed.
        StoreError: If a folder is open in another process.
    """
    names = options.names
    if url.scheme == "qdrant+memory":
        check_name(url.name)
        return _memory_engine(url.name, names)
    if url.scheme in ("qdrant+local", "qdrant+edge"):
        if url.path is None:
            raise InvalidOptionError(
                f"{url.scheme}:{url.name} names no folder; expected {url.scheme}:FOLDER/name, "
                f"such as '{url.scheme}:./{url.name}'"
            )
        check_name(url.name)
        if url.scheme == "qdrant+edge":
            return _edge_engine(url.path / url.name, url.name, names)
        return _local_engine(url.path, url.name, names)
    if url.host is None:
        raise InvalidOptionError(
            f"{url.scheme} needs a server: expected {url.scheme}://host:port/{url.name}, or "
            f"'qdrant+edge:./{url.name}' for a folder"
        )
    client = open_client(url, options)
    return _server_engine(client, url.name, options, on_close=client.close)


def engine_of_client(client: QdrantClient, name: str, options: QdrantOptions) -> Engine:
    """Return the engine of a ready client, which stays its owner's to close.

    Raises:
        InvalidOptionError: If it is no `QdrantClient`.
    """
    if not isinstance(client, client_class()):
        raise InvalidOptionError(
            f"a {type_name(client)} is no QdrantClient; the store makes an asynchronous client "
            "for its asynchronous methods itself"
        )
    if is_local(client):
        from trivec_qdrant.engines.local import Guard, LocalEngine

        return LocalEngine(client, check_name(name), options.names, guard=Guard())
    return _server_engine(client, name, options)


def _server_engine(
    client: QdrantClient,
    name: str,
    options: QdrantOptions,
    *,
    on_close: Callable[[], None] | None = None,
) -> Engine:
    from trivec_qdrant.engines.client import ClientEngine
    from trivec_qdrant.engines.grpc import GrpcEngine

    engine = GrpcEngine if client.init_options.get("prefer_grpc") else ClientEngine
    return engine(client, name, options.names, timeout=options.timeout, on_close=on_close)


def _memory_engine(name: str, names: Names) -> Engine:
    """Return a collection of the one client in memory of this process."""
    make = client_class()
    from trivec_qdrant.engines.local import Guard, LocalEngine

    with _memory_lock:
        if not _memory:
            _memory.append((make(":memory:"), Guard()))
        client, guard = _memory[0]
    return LocalEngine(client, name, names, guard=guard)


def _local_engine(folder: Path, name: str, names: Names) -> Engine:
    client_class()
    from trivec_qdrant.engines.local import LocalEngine, open_client

    (client, guard), give_back = _clients.take(folder, open_client)
    return LocalEngine(client, name, names, guard=guard, on_close=give_back)


def _edge_engine(folder: Path, name: str, names: Names) -> Engine:
    try:
        from trivec_qdrant.engines.edge import EdgeEngine
        from trivec_qdrant.engines.shard import Shard
    except ImportError as error:
        raise MissingDependencyError(
            "qdrant-edge-py is not installed, or has no wheel for this platform; "
            "run: pip install 'trivec[qdrant]', or use qdrant+local:"
        ) from error
    shard, give_back = _shards.take(folder, Shard)
    return EdgeEngine(shard, name, names, path=folder, on_close=give_back)
