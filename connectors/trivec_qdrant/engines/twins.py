"""Asynchronous clients with the options of a blocking client, one for each event loop."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from qdrant_client import AsyncQdrantClient, QdrantClient

_USER_AGENTS = ("User-Agent", "grpc.primary_user_agent")  # which the client sets itself
_EXTRA_OPTIONS = {"verify", "cert", "trust_env", "http2", "limits", "metadata", "grpc_compression"}


class Twins:
    """The asynchronous twins of a server's client."""

    def __init__(self, client: QdrantClient) -> None:
        self._options = _options(client)
        self._headers = _headers(client)
        self._twins: dict[asyncio.AbstractEventLoop, asyncio.Task[AsyncQdrantClient | None]] = {}

    @property
    def possible(self) -> bool:
        """Whether a client can be made that does the same as the blocking one."""
        return self._options is not None

    async def get(self) -> AsyncQdrantClient | None:
        """Return the client of the running event loop, or None where none is possible."""
        loop = asyncio.get_running_loop()
        if loop not in self._twins:
            for other in [other for other in self._twins if other.is_closed()]:
                del self._twins[other]
            # In a thread, since reading the certificates takes 20 ms.
            self._twins[loop] = asyncio.create_task(asyncio.to_thread(self._make))
        return await asyncio.shield(self._twins[loop])

    def _make(self) -> AsyncQdrantClient | None:
        if self._options is None:
            return None
        grpc_options = dict(self._options["grpc_options"]) or None  # the client adds to them
        twin = AsyncQdrantClient(**{**self._options, "grpc_options": grpc_options})
        if _headers(twin) != self._headers:
            self._options = None
            return None
        return twin

    async def aclose(self) -> None:
        """Close the client of the running event loop."""
        task = self._twins.pop(asyncio.get_running_loop(), None)
        if task is not None and (twin := await task) is not None:
            await twin.close()

    def close(self) -> None:
        """Have the clients closed by those event loops that still run."""
        while self._twins:
            loop, task = self._twins.popitem()
            if loop.is_running() and task.done() and (twin := task.result()) is not None:
                asyncio.run_coroutine_threadsafe(twin.close(), loop)


def _options(client: QdrantClient) -> dict[str, Any] | None:
    """Return the options of a twin, or None where they do not tell all that the client does."""
    options = {key: value for key, value in client.init_options.items() if value is not None}
    known = {*inspect.signature(AsyncQdrantClient.__init__).parameters, *_EXTRA_OPTIONS}
    if options.pop("auth_token_provider", None) is not None or options.keys() - known:
        return None
    key = options.pop("api_key", None)
    headers = {k: v for k, v in options.get("headers", {}).items() if k not in _USER_AGENTS}
    if key is not None:
        # As a header, since the client warns of each key that goes without TLS, as it did before.
        headers["api-key"] = key
        options.setdefault("https", True)
    grpc_options = options.get("grpc_options", {})
    return {
        **options,
        "headers": headers or None,
        "grpc_options": {k: v for k, v in grpc_options.items() if k not in _USER_AGENTS},
        "check_compatibility": False,
    }


def _headers(client: QdrantClient | AsyncQdrantClient) -> object:
    """Return the headers of the requests over REST; None where the client does not show them."""
    api: Any = client.http.client
    http: Any = getattr(api, "_client", None) or getattr(api, "_async_client", None)
    return getattr(http, "headers", None)
