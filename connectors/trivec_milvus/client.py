"""The clients of pymilvus: opening and closing them, and calling them."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import socket
import ssl
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pymilvus import AsyncMilvusClient, MilvusClient

from trivec.arguments import expect
from trivec.errors import InvalidOptionError, StoreUnavailableError
from trivec.stores.deadline import request_seconds
from trivec.stores.url import StoreUrl, is_loopback
from trivec_milvus.channel import aio_channel, channel, once_each
from trivec_milvus.failures import translated
from trivec_milvus.lite import LiteFile, Turns, turns_of
from trivec_milvus.requests import Request

__all__ = ["Address", "Connection", "LoopClient"]

CONNECT_SECONDS = 10.0
# In one event loop, which parses their answers: 50 answers that come together would block it.
SEARCHES_AT_ONCE = 8

_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")  # by which gRPC would connect
# pymilvus asks every ten seconds whether the server is alive. That of milvus-lite allows one such
# ping in five minutes, and after about 80 s without a call it cut the connection off: the next
# client of the file could not connect.
# A proxy of the environment is for other machines.
_OF_LITE = {"grpc.keepalive_time_ms": 2**31 - 1, "grpc.enable_http_proxy": 0}
_YES = {"1", "true", "yes", "on"}
_NO = {"0", "false", "no", "off", ""}
_log = logging.getLogger("trivec")


@dataclass(frozen=True, slots=True)
class Address:
    """Where Milvus is and how to enter; the secrets do not show.

    Args:
        uri: The server, or that of a file of milvus-lite in this process.
        token: The token.
        user: The user, where there is no token.
        password: Their password.
        database: The database.
        roots: The certificates to trust, PEM.
        lite: Whether it is the server of a file.
    """

    uri: str
    token: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    database: str = ""
    roots: bytes | None = field(default=None, repr=False)
    lite: bool = False

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
        """Complete the parts that are None from `MILVUS_TOKEN`, `MILVUS_USER` and so on.

        Raises:
            InvalidOptionError: If `tls` or `MILVUS_TLS` is neither yes nor no, or the file with
                certificates cannot be read.
        """

        def known(value: str | None, variable: str) -> str:
            return os.environ.get(f"MILVUS_{variable}", "") if value is None else value

        if tls is not None:
            expect(tls, bool, "tls", "True or False")
        secure = _flag("MILVUS_TLS") if tls is None else tls
        authority = known(None if ca_file is None else str(ca_file), "CA_FILE")
        scheme = "https" if secure or authority else "http"
        host = f"[{url.host}]" if url.host and ":" in url.host else url.host
        return cls(
            f"{scheme}://{host}:{url.port or 19530}",
            known(token, "TOKEN"),
            known(user, "USER"),
            known(password, "PASSWORD"),
            known(database, "DATABASE"),
            _certificates(authority) if authority else None,
        )

    @property
    def target(self) -> str:
        """The host and the port."""
        return urlsplit(self.uri).netloc

    @property
    def secure(self) -> bool:
        """Whether what is sent is encrypted."""
        return self.uri.startswith("https:")

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may repeat."""
        return _secrets(self.token, self.password)

    def warn_of_plain_secrets(self) -> None:
        """Say in the log that secrets go over the network as they are, except to this machine."""
        if self.secrets and not self.secure and not is_loopback(urlsplit(self.uri).hostname or ""):
            _log.warning(
                "milvus://%s: the token or the password is sent without encryption; pass tls=True "
                "or set MILVUS_TLS=yes",
                self.target,
            )

    def options(self, of_channel: Callable[..., Any], timeout: float) -> dict[str, Any]:
        """Return the arguments of either client of pymilvus.

        Args:
            of_channel: What makes its channel.
            timeout: The seconds of a call.
        """
        return {
            "uri": self.uri,
            "token": self.token,
            "user": self.user,
            "password": self.password,
            "db_name": self.database,
            "timeout": request_seconds(CONNECT_SECONDS),
            "dedicated": True,
            "channel": of_channel(
                self.target,
                self.roots,
                secure=self.secure,
                timeout=timeout,
                options=_OF_LITE if self.lite else {},
            ),
        }


@dataclass(slots=True)
class LoopClient:
    """The client of one event loop, and how many searches use it at once.

    Args:
        options: The arguments of the client.
        turns: Held by each search.
        client: The client, once it has connected.
        connecting: Held by who connects: a client that is called by two before it has connected
            connects twice, and sends its headers twice from then on.
    """

    options: Callable[[], dict[str, Any]]
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SEARCHES_AT_ONCE))
    client: AsyncMilvusClient | None = None
    connecting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def call(self, request: Request, common: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Connect if that has not been done, and send a request."""
        async with self.connecting:
            if self.client is None:
                options = self.options()
                try:
                    self.client = await AsyncMilvusClient(**options).__aenter__()
                except BaseException:
                    await options["channel"].close()
                    raise
        return await getattr(self.client, request.method)(**common, **request.options)

    async def close(self) -> None:
        """Close the client."""
        client, self.client = self.client, None
        if client is not None:
            await client.close()


class Connection:
    """A client of pymilvus for blocking calls, and one for each event loop that searches.

    Args:
        client: A client that somebody else closes; None to open one.
        address: Where to open clients; None leaves only the one that was handed in.
        lite: The file behind the address, if it is one of milvus-lite; closed with the client.
        timeout: The seconds of a call, where the store's call leaves as many.
    """

    def __init__(
        self,
        client: MilvusClient | None = None,
        *,
        address: Address | None = None,
        lite: LiteFile | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.timeout = timeout
        self.lite = lite
        self._address = address
        self._given = client
        self._client: Any = None
        self._channel_of_given: object = None
        self._turns: Turns | None = lite.turns if lite is not None else None
        self._secrets = () if address is None else address.secrets
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopClient] = (
            weakref.WeakKeyDictionary()
        )
        if client is not None:
            handler = getattr(client, "_handler", None)
            self._turns = turns_of(str(getattr(handler, "server_address", "")))
            self._secrets = _secrets(str(getattr(getattr(client, "_config", None), "token", "")))
        elif address is not None:
            try:
                self._client = self._open(address)
            except BaseException:
                if lite is not None:
                    lite.close()
                raise

    @property
    def client(self) -> Any:  # noqa: ANN401 - pymilvus has no types
        """The client of blocking calls; None when it is closed."""
        if self._given is not None:
            channel_now = getattr(getattr(self._given, "_handler", None), "_final_channel", None)
            if self._client is None or channel_now is not self._channel_of_given:
                self._client = once_each(self._given, self.timeout)
                self._channel_of_given = channel_now
        return self._client

    def calls(self, name: str) -> AbstractContextManager[None]:
        """Raise what calls of pymilvus raise inside as errors of ours, without secrets."""
        return translated(name, self._secrets)

    def reads(self, name: str) -> AbstractContextManager[object]:
        """Return what a reader holds: milvus-lite takes no writers beside readers."""
        return nullcontext() if self._turns is None else self._turns.reading(name)

    def writes(self, name: str) -> AbstractContextManager[object]:
        """Return what a writer holds: milvus-lite takes one, and no readers beside it."""
        return nullcontext() if self._turns is None else self._turns.writing(name)

    def of_loop(self) -> LoopClient | None:
        """Return the client of the running loop, made on its first use; None without an address."""
        if self._address is None:
            return None
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            self._loops[loop] = LoopClient(
                partial(self._address.options, aio_channel, self.timeout)
            )
        return self._loops[loop]

    def call(self, request: Request, name: str, common: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Send a request with the arguments that all have in common, and wait."""
        with self.calls(name), self.reads(name):
            return getattr(self.client, request.method)(**common, **request.options)

    async def aclose(self) -> None:
        """Close the client of the running loop.

        Raises:
            StoreError: If that fails.
        """
        mine = self._loops.pop(asyncio.get_running_loop(), None)
        if mine is not None:
            with self.calls(""):
                await mine.close()

    def close(self) -> None:
        """Close what was opened here, all of it, whatever fails.

        Raises:
            StoreError: If something failed.
        """
        client, lite = self._client, self.lite
        self._client = self.lite = None
        try:
            if client is not None and self._given is None:
                with self.calls(""):
                    client.close()
        finally:
            if lite is not None:
                with self.calls(""):
                    lite.close()

    def _open(self, address: Address) -> MilvusClient:
        _check_listens(address)
        with self.calls(""):
            return MilvusClient(**address.options(channel, self.timeout))


def _secrets(*given: str) -> tuple[str, ...]:
    """Return secrets, the password in a token `user:password`, and all as they are sent.

    Those of three characters and less are left out, since they are in many words.
    """
    parts = [*given, *(token.partition(":")[2] for token in given)]
    sent = [base64.b64encode(token.encode()).decode() for token in given]
    return tuple(text for text in [*parts, *sent] if len(text) > 3)


def _flag(variable: str) -> bool:
    """Return what an environment variable says, yes or no; no where it is not set."""
    said = os.environ.get(variable, "")
    word = said.strip().lower()
    if word in _YES or word in _NO:
        return word in _YES
    raise InvalidOptionError(
        f"{variable}={said!r}; expected one of 1, true, yes, on, or 0, false, no, off"
    )


def _certificates(path: str) -> bytes:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise InvalidOptionError(
            f"ca_file (MILVUS_CA_FILE) {path!r}: expected a file of certificates in PEM, and "
            f"reading it failed: {error}"
        ) from error


def _check_listens(address: Address) -> None:
    """Find out at once whether nobody listens, and why.

    Raises:
        StoreUnavailableError: If there is no such host, or nobody listens there.
    """
    server = urlsplit(address.uri)
    if not server.hostname or any(os.environ.get(name) for name in _PROXIES):
        return
    place = (server.hostname, server.port or 19530)
    try:
        socket.create_connection(place, request_seconds(CONNECT_SECONDS)).close()
    except (OSError, UnicodeError) as error:
        raise StoreUnavailableError(
            f"nothing answers at milvus://{server.netloc}: {error}", unreachable=True
        ) from error
