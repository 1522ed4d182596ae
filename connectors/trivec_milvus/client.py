"""The clients of pymilvus: how they are opened, called and closed."""

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
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pymilvus import AsyncMilvusClient, MilvusClient

from trivec.addresses import is_loopback
from trivec.deadline import request_seconds
from trivec.errors import InvalidOptionError, StoreError, StoreUnavailableError
from trivec.stores.url import StoreUrl
from trivec_milvus.channel import aio_channel, channel, once_each
from trivec_milvus.errors import store_errors
from trivec_milvus.lite import LiteFile, Turns, turns_of
from trivec_milvus.options import MilvusOptions
from trivec_milvus.requests import Request

CONNECT_SECONDS = 10.0

_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")  # through which gRPC would connect
# pymilvus pings the server every ten seconds. The server of milvus-lite allows one ping in five
# minutes, and otherwise closes the connection after about 80 s without a call; the next client of
# the file could not connect. A proxy of the environment is for other machines.
_LITE_OPTIONS = {"grpc.keepalive_time_ms": 2**31 - 1, "grpc.enable_http_proxy": 0}
_YES = {"1", "true", "yes", "on"}
_NO = {"0", "false", "no", "off", ""}
_log = logging.getLogger("trivec")


@dataclass(frozen=True, slots=True)
class Address:
    """A server and the credentials for it; the secrets are left out of `repr`.

    Args:
        uri: The server, or that of a file of milvus-lite in this process.
        token: The token.
        user: The user, if there is no token.
        password: The user's password.
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
    def of(cls, url: StoreUrl, options: MilvusOptions) -> Self:
        """Take options that are None from `MILVUS_TOKEN`, `MILVUS_USER` and so on."""

        def given(value: str | Path | None, variable: str) -> str:
            return os.environ.get(f"MILVUS_{variable}", "") if value is None else str(value)

        secure = _flag("MILVUS_TLS") if options.tls is None else options.tls
        authority = given(options.ca_file, "CA_FILE")
        scheme = "https" if secure or authority else "http"
        host = f"[{url.host}]" if url.host and ":" in url.host else url.host
        return cls(
            f"{scheme}://{host}:{url.port or 19530}",
            given(options.token, "TOKEN"),
            given(options.user, "USER"),
            given(options.password, "PASSWORD"),
            given(options.database, "DATABASE"),
            _certificates(authority) if authority else None,
        )

    @property
    def target(self) -> str:
        """The host and the port."""
        return urlsplit(self.uri).netloc

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.uri.startswith("https:")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that no message may repeat."""
        return _secrets(self.token, self.password)

    def warn_of_plain_secrets(self) -> None:
        """Log a warning if secrets leave this machine without encryption."""
        if self.secrets and not self.secure and not is_loopback(urlsplit(self.uri).hostname or ""):
            _log.warning(
                "milvus://%s: the token or the password is sent without encryption; pass tls=True "
                "or set MILVUS_TLS=yes",
                self.target,
            )

    def client_options(self, open_channel: Callable[..., Any], timeout: float) -> dict[str, Any]:
        """Return the arguments of either client of pymilvus."""
        return {
            "uri": self.uri,
            "token": self.token,
            "user": self.user,
            "password": self.password,
            "db_name": self.database,
            "timeout": request_seconds(CONNECT_SECONDS),
            "dedicated": True,
            "channel": open_channel(
                self.target,
                self.roots,
                secure=self.secure,
                timeout=timeout,
                options=_LITE_OPTIONS if self.lite else {},
            ),
        }


@dataclass(slots=True)
class LoopClient:
    """The client of one event loop.

    Args:
        address: The server.
        timeout: The seconds of a call.
        client: The client, once it has connected.
        connecting: Held while connecting: a client that two callers connect at the same time
            connects twice, and sends its headers twice from then on.
    """

    address: Address
    timeout: float
    client: AsyncMilvusClient | None = None
    connecting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def call(self, method: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Call a method of the client, which connects on its first use."""
        async with self.connecting:
            if self.client is None:
                options = self.address.client_options(aio_channel, self.timeout)
                try:
                    self.client = await AsyncMilvusClient(**options).__aenter__()
                except BaseException:
                    await options["channel"].close()
                    raise
        return await getattr(self.client, method)(**arguments)

    async def close(self) -> None:
        """Close the client."""
        client, self.client = self.client, None
        if client is not None:
            await client.close()


class Connection:
    """A client of pymilvus for blocking calls, and one for each event loop.

    Args:
        options: The options of the store.
        client: A ready client, which its owner closes; None to open one.
        address: The server to open clients for; None to use only the ready one.
        lite: The file of milvus-lite behind the address, if any; closed with the client.
    """

    def __init__(
        self,
        options: MilvusOptions,
        *,
        client: MilvusClient | None = None,
        address: Address | None = None,
        lite: LiteFile | None = None,
    ) -> None:
        self.options = options
        self.lite = lite
        self._address = address
        self._ready = client
        self._client: Any = None
        self._channel_of_ready: object = None
        self._version = ""
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
                _check_listens(address)
                with self.calls(""):
                    arguments = address.client_options(channel, options.timeout)
                    self._client = MilvusClient(**arguments)
            except BaseException:
                if lite is not None:
                    lite.close()
                raise

    @property
    def client(self) -> Any:  # noqa: ANN401 - pymilvus has no types
        """The client of blocking calls; None when it is closed."""
        if self._ready is not None:
            channel_now = getattr(getattr(self._ready, "_handler", None), "_final_channel", None)
            if self._client is None or channel_now is not self._channel_of_ready:
                self._client = once_each(self._ready, self.options.timeout)
                self._channel_of_ready = channel_now
        return self._client

    @property
    def version(self) -> str:
        """The version of the server; a request, the first time."""
        if not self._version:
            with self.calls(""):
                version = self.client.get_server_version(
                    timeout=request_seconds(self.options.timeout)
                )
            if not isinstance(version, str) or not version:
                raise StoreError(f"Milvus answered {version!r} where it was asked for its version")
            self._version = version
        return self._version

    def calls(self, name: str) -> AbstractContextManager[None]:
        """Translate exceptions of pymilvus into StoreErrors without secrets."""
        return store_errors(name, self._secrets)

    def send(self, name: str, request: Request) -> Any:  # noqa: ANN401 - pymilvus has no types
        """Send a request for a collection and wait for its answer."""
        turn: AbstractContextManager[object] = nullcontext()
        if self._turns is not None:
            turn = self._turns.reading(name) if request.reads else self._turns.writing(name)
        with self.calls(name), turn:
            return getattr(self.client, request.method)(**self._arguments(name, request))

    async def asend(self, name: str, request: Request, client: LoopClient) -> Any:  # noqa: ANN401
        """Send a request for a collection."""
        with self.calls(name):
            return await client.call(request.method, self._arguments(name, request))

    def of_loop(self) -> LoopClient | None:
        """Return the client of the running loop, or None for a store with a ready client."""
        if self._address is None:
            return None
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            self._loops[loop] = LoopClient(self._address, self.options.timeout)
        return self._loops[loop]

    async def aclose(self) -> None:
        """Close the client of the running loop."""
        client = self._loops.pop(asyncio.get_running_loop(), None)
        if client is not None:
            with self.calls(""):
                await client.close()

    def close(self) -> None:
        """Close what was opened here; an error of one part does not stop the others."""
        client, lite = self._client, self.lite
        self._client = self.lite = None
        try:
            if client is not None and self._ready is None:
                with self.calls(""):
                    client.close()
        finally:
            if lite is not None:
                with self.calls(""):
                    lite.close()

    def _arguments(self, name: str, request: Request) -> dict[str, Any]:
        seconds = request_seconds(self.options.timeout)
        arguments = {"collection_name": name, "timeout": seconds, **request.options}
        if request.is_consistent:
            arguments["consistency_level"] = self.options.consistency
        return arguments


def _secrets(*given: str) -> tuple[str, ...]:
    """Return secrets, the password in a token `user:password`, and all of them as they are sent.

    Those of three characters and less are left out, since many words contain them.
    """
    parts = [*given, *(token.partition(":")[2] for token in given)]
    sent = [base64.b64encode(token.encode()).decode() for token in given]
    return tuple(text for text in [*parts, *sent] if len(text) > 3)


def _flag(variable: str) -> bool:
    """Return the value of an environment variable, yes or no; no if it is not set."""
    value = os.environ.get(variable, "")
    word = value.strip().lower()
    if word in _YES or word in _NO:
        return word in _YES
    raise InvalidOptionError(
        f"{variable}={value!r}; expected one of 1, true, yes, on, or 0, false, no, off"
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
    """Fail at once if nothing listens, and say why."""
    server = urlsplit(address.uri)
    if not server.hostname or any(os.environ.get(name) for name in _PROXIES):
        return
    try:
        endpoint = (server.hostname, server.port or 19530)
        socket.create_connection(endpoint, request_seconds(CONNECT_SECONDS)).close()
    except (OSError, UnicodeError) as error:
        raise StoreUnavailableError(
            f"nothing answers at milvus://{server.netloc}: {error}", unreachable=True
        ) from error
