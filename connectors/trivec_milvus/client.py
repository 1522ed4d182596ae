"""The clients of pymilvus: opening and closing them, and their errors as ours."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import weakref
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import grpc
from pymilvus import AsyncMilvusClient, MilvusClient
from pymilvus.exceptions import ConnectionConfigException, ErrorCode, MilvusException

from trivec.errors import (
    AuthenticationError,
    CollectionNotFoundError,
    InvalidOptionError,
    MissingDependencyError,
    RequestTooLargeError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from trivec.stores.url import StoreUrl
from trivec_milvus.requests import Request

__all__ = ["Address", "Connection", "LiteFile", "translated"]

CONNECT_SECONDS = 10.0
# In one event loop, which parses their answers: 50 answers that come together would block it.
SEARCHES_AT_ONCE = 8

# pkg/util/merr of the server: 1400 to 1402 are its privilege errors; 2 unavailable, 4 too many
# requests, 8 rate limit; 3 memory, 7 disk, 9 quota exceeded, which deny all writes.
_REFUSED = {1400, 1401, 1402}
_FULL = {3, 7, 9}
_LATER = {2, 4, int(ErrorCode.RATE_LIMIT)}
_LATER_STATUS = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")  # by which gRPC would connect
# pymilvus asks every ten seconds whether the server is alive. That of milvus-lite allows one such
# ping in five minutes, and after about 80 s without a call it cut the connection off: the next
# client of the file could not connect.
_NO_PINGS = {"grpc.keepalive_time_ms": 2**31 - 1}
_REFUSED_STATUS = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Raise what pymilvus raises inside as the error of ours that says what to do."""
    try:
        yield
    except (MilvusException, grpc.RpcError) as error:
        raise _translate(error, name) from error


def _translate(error: MilvusException | grpc.RpcError, name: str) -> StoreError:
    if isinstance(error, grpc.RpcError):
        code: object = error.code() if hasattr(error, "code") else None
        message = str(error.details() if hasattr(error, "details") else error)
        retriable = False
    else:
        code, message, retriable = error.code, str(error.message), error.retriable
    said = message.lower()
    text = f"Milvus: {message}"
    if code == ErrorCode.COLLECTION_NOT_FOUND:
        return CollectionNotFoundError(f"collection {name!r} does not exist: {message}")
    if code in _REFUSED or code in _REFUSED_STATUS or "auth check failure" in said:
        return AuthenticationError(f"{text}; check token, user, password and database")
    if "larger than max" in said or "message size" in said:
        return RequestTooLargeError(text)
    if code in _FULL or "no space left on device" in said:
        return StoreFullError(text)
    exhausted = code == grpc.StatusCode.RESOURCE_EXHAUSTED
    if retriable or code in _LATER or code in _LATER_STATUS or exhausted or _is_timeout(said):
        return StoreUnavailableError(text)
    return StoreError(text)


def _is_timeout(message: str) -> bool:
    return "retry timeout" in message or "fail connecting to server" in message


@dataclass(eq=False)
class LiteFile:
    """One file of milvus-lite, whose server lives in this process and is stopped by its last user.

    Its engine takes one writer at a time, so writers hold the lock. It also computes in Python:
    50 searches at once kept the event loop waiting for the interpreter for 132 ms, and were no
    faster than one after the other in `searcher`, which let it wait for 33 ms.
    """

    path: str
    users: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    searcher: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, "trivec-milvus-lite")
    )

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the file at a path, shared by all stores of this process.

        Raises:
            MissingDependencyError: If milvus-lite is not installed.
            InvalidOptionError: If the name does not end in `.db`, by which pymilvus knows it.
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
        with _files_lock:
            file = _files.setdefault(os.path.abspath(path), cls(os.path.abspath(path)))
            file.users += 1
        return file  # type: ignore[return-value]

    def close(self) -> None:
        """Stop the server if nobody else uses the file; `MilvusClient.close` would not."""
        from milvus_lite.server_manager import server_manager_instance

        with _files_lock:
            self.users -= 1
            if self.users == 0:
                _files.pop(self.path, None)
                self.searcher.shutdown(cancel_futures=True)
                server_manager_instance.release_server(self.path)


_files: dict[str, LiteFile] = {}
_files_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Address:
    """Where Milvus is and how to enter; the secrets do not show."""

    uri: str
    token: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    database: str = ""
    ca_file: str = ""

    @classmethod
    def of(
        cls,
        url: StoreUrl,
        *,
        token: str | None,
        user: str | None,
        password: str | None,
        database: str | None,
        tls: bool | None,
        ca_file: str | Path | None,
    ) -> Self:
        """Complete the parts that are None from `MILVUS_TOKEN`, `MILVUS_USER` and so on."""

        def known(value: str | None, variable: str) -> str:
            return os.environ.get(f"MILVUS_{variable}", "") if value is None else value

        secure = known(None, "TLS") not in ("", "0", "false") if tls is None else tls
        authority = known(None if ca_file is None else str(ca_file), "CA_FILE")
        scheme = "https" if secure or authority else "http"
        host = f"[{url.host}]" if url.host and ":" in url.host else url.host
        return cls(
            f"{scheme}://{host}:{url.port or 19530}",
            known(token, "TOKEN"),
            known(user, "USER"),
            known(password, "PASSWORD"),
            known(database, "DATABASE"),
            authority,
        )

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of both clients of pymilvus."""
        return {
            "uri": self.uri,
            "token": self.token,
            "user": self.user,
            "password": self.password,
            "db_name": self.database,
            "timeout": CONNECT_SECONDS,
            **({"server_pem_path": self.ca_file} if self.ca_file else {}),
            **({} if "://" in self.uri else {"grpc_options": _NO_PINGS}),
        }


@dataclass(frozen=True, slots=True)
class LoopClient:
    """The client of one event loop, and how many searches use it at once."""

    client: AsyncMilvusClient
    turns: asyncio.Semaphore


class Connection:
    """A client of pymilvus for blocking calls, and one for each event loop that searches.

    Args:
        client: A client that somebody else closes; None to open one.
        address: Where to open clients; None leaves only the one that was handed in.
        lite: The file behind the address, if it is one of milvus-lite.
    """

    def __init__(
        self,
        client: MilvusClient | None = None,
        *,
        address: Address | None = None,
        lite: LiteFile | None = None,
    ) -> None:
        self._owned = client is None
        self._address = address
        self.lite = lite
        self.client: Any = client
        if client is None and address is not None:
            try:
                self.client = _open(address)
            except StoreError:
                if lite is not None:
                    lite.close()
                raise
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopClient] = (
            weakref.WeakKeyDictionary()
        )

    def of_loop(self) -> LoopClient | None:
        """Return the client of the running loop, made on its first use; None without an address."""
        if self._address is None:
            return None
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            client = AsyncMilvusClient(**self._address.options, dedicated=True)
            self._loops[loop] = LoopClient(client, asyncio.Semaphore(SEARCHES_AT_ONCE))
        return self._loops[loop]

    def call(self, request: Request, name: str, common: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Send a request with the arguments that all have in common, and wait."""
        with translated(name):
            return getattr(self.client, request.method)(**common, **request.options)

    async def aclose(self) -> None:
        """Close the client of the running loop."""
        mine = self._loops.pop(asyncio.get_running_loop(), None)
        if mine is not None:
            await mine.client.close()

    def close(self) -> None:
        """Close what was opened here."""
        if self._owned and self.client is not None:
            self.client.close()
            self.client = None
            if self.lite is not None:
                self.lite.close()


def _check_listens(address: Address) -> None:
    """Find out at once whether nobody listens, which takes pymilvus ten seconds.

    Raises:
        StoreUnavailableError: If there is no such host, or nobody listens there.
    """
    server = urlsplit(address.uri)
    if not server.hostname or any(os.environ.get(name) for name in _PROXIES):
        return
    try:
        socket.create_connection((server.hostname, server.port or 19530), CONNECT_SECONDS).close()
    except OSError as error:
        raise StoreUnavailableError(
            f"nothing answers at milvus://{server.netloc}: {error}", unreachable=True
        ) from error


def _open(address: Address) -> MilvusClient:
    _check_listens(address)
    try:
        return MilvusClient(**address.options, dedicated=True)
    except ConnectionConfigException as error:
        raise StoreError(
            f"{address.uri}: {error.message}; a file of milvus-lite can be open in one process only"
        ) from error
    except (MilvusException, grpc.RpcError) as error:
        raise _translate(error, "") from error
