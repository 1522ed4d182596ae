"""From a URL to the engine it names; embedded folders are opened once in a process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from trivec.arguments import type_name
from trivec.errors import InvalidOptionError, MissingDependencyError, StoreError
from trivec.stores.folder import check_name
from trivec.stores.url import StoreUrl
from trivec_qdrant.engine import Engine
from trivec_qdrant.schema import Names

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from trivec_qdrant.local import Guard
    from trivec_qdrant.shard import Shard

__all__ = ["API_KEY", "engine_of_client", "open_engine"]

API_KEY = "QDRANT_API_KEY"
"""The environment variable that is read where no `api_key` is given."""

REST_PORT = 6333

T = TypeVar("T")


class _Shared(Generic[T]):
    """Things that are opened once and closed when the last of their users is gone."""

    def __init__(self, close: Callable[[T], None]) -> None:
        self._close = close
        self._open: dict[Path, tuple[T, int]] = {}
        self._lock = threading.Lock()

    def take(self, path: Path, make: Callable[[Path], T]) -> tuple[T, Callable[[], None]]:
        """Return what is open at a path, and how to give it back, once."""
        try:
            path = path.resolve()
        except (OSError, RuntimeError) as error:
            raise StoreError(f"the folder {path} cannot be opened: {error}") from error
        with self._lock:
            thing, users = self._open.get(path) or (make(path), 0)
            self._open[path] = thing, users + 1
        given_back = False

        def give_back() -> None:
            nonlocal given_back
            with self._lock:
                if given_back:
                    return
                given_back = True
                thing, users = self._open[path]
                if users > 1:
                    self._open[path] = thing, users - 1
                else:
                    del self._open[path]
                    self._close(thing)

        return thing, give_back


_clients: _Shared[tuple[QdrantClient, Guard]] = _Shared(lambda pair: pair[0].close())
_shards: _Shared[Shard] = _Shared(lambda shard: shard.close())
_memory: list[tuple[QdrantClient, threading.RLock]] = []
_memory_lock = threading.Lock()


def open_engine(
    url: StoreUrl,
    names: Names,
    *,
    api_key: str | None,
    prefer_grpc: bool,
    grpc_port: int | None,
    timeout: int,
    compression: bool,
) -> Engine:
    """Return the engine of a URL; nothing is sent to a server yet.

    Raises:
        InvalidOptionError: If the URL lacks what its scheme needs.
        MissingDependencyError: If the client, or the embedded engine, is not installed.
        StoreError: If a folder is open in another process.
    """
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
    return _server_engine(
        url,
        names,
        api_key=api_key or os.environ.get(API_KEY) or None,
        prefer_grpc=prefer_grpc,
        grpc_port=grpc_port,
        timeout=timeout,
        compression=compression,
    )


def engine_of_client(
    client: QdrantClient,
    name: str,
    names: Names,
    *,
    on_close: Callable[[], None] | None = None,
) -> Engine:
    """Return the engine of a client, which stays its owner's unless `on_close` closes it."""
    from trivec_qdrant.client import ClientEngine, is_local
    from trivec_qdrant.packed import PackedEngine, can_pack

    if not isinstance(client, _client_class()):
        raise InvalidOptionError(
            f"a {type_name(client)} is no QdrantClient; the store's own asynchronous methods "
            "run a QdrantClient in threads"
        )
    if is_local(client):
        check_name(name)
    grpc = not is_local(client) and client.init_options.get("prefer_grpc")
    kind = PackedEngine if grpc and can_pack() else ClientEngine
    return kind(client, name, names, on_close=on_close)


def _server_engine(
    url: StoreUrl,
    names: Names,
    *,
    api_key: str | None,
    prefer_grpc: bool,
    grpc_port: int | None,
    timeout: int,
    compression: bool,
) -> Engine:
    client_class = _client_class()
    scheme = "https" if url.scheme == "qdrants" else "http"
    port = url.port or REST_PORT
    options: dict[str, Any] = {}
    # The server compresses answers for any client that accepts it: 16.8 s instead of 0.8 s for
    # 82 MB of vectors.
    if not compression:
        if prefer_grpc:
            options["grpc_options"] = {"grpc.compression_enabled_algorithms_bitset": 1}
        else:
            options["headers"] = {"Accept-Encoding": "identity"}
    host = f"[{url.host}]" if ":" in (url.host or "") else url.host
    client = client_class(
        url=f"{scheme}://{host}:{port}",
        grpc_port=grpc_port or port + 1,
        prefer_grpc=prefer_grpc,
        api_key=api_key,
        timeout=timeout,
        check_compatibility=False,
        **options,
    )
    return engine_of_client(client, url.name, names, on_close=client.close)


def _memory_engine(name: str, names: Names) -> Engine:
    client, lock = _memory_client()
    from trivec_qdrant.client import ClientEngine

    return ClientEngine(client, name, names, lock=lock)


def _local_engine(folder: Path, name: str, names: Names) -> Engine:
    _client_class()
    from trivec_qdrant.local import LocalEngine, open_client

    (client, guard), give_back = _clients.take(folder, open_client)
    return LocalEngine(client, name, names, guard=guard, on_close=give_back)


def _memory_client() -> tuple[QdrantClient, threading.RLock]:
    """Return the one client in memory of this process."""
    with _memory_lock:
        if not _memory:
            _memory.append((_client_class()(":memory:"), threading.RLock()))
        return _memory[0]


def _client_class() -> type[QdrantClient]:
    try:
        from qdrant_client import QdrantClient
    except ImportError as error:
        raise MissingDependencyError(
            "qdrant-client is not installed; run: pip install 'trivec[qdrant]'"
        ) from error
    return QdrantClient


def _edge_engine(folder: Path, name: str, names: Names) -> Engine:
    try:
        from trivec_qdrant.edge import EdgeEngine
        from trivec_qdrant.shard import Shard
    except ImportError as error:
        raise MissingDependencyError(
            "qdrant-edge-py is not installed, or has no wheel for this platform; "
            "run: pip install 'trivec[qdrant]', or use qdrant+local:"
        ) from error
    shard, give_back = _shards.take(folder, Shard)
    return EdgeEngine(shard, name, names, path=folder, on_close=give_back)
