"""From a URL to a client of a server."""

from __future__ import annotations

import logging
import math
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from trivec.addresses import is_loopback
from trivec.errors import InvalidOptionError, MissingDependencyError
from trivec.stores.url import StoreUrl
from trivec_qdrant.options import QdrantOptions, check_port

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


API_KEY = "QDRANT_API_KEY"
"""The environment variable that is read where no `api_key` is given."""

TIMEOUT = 60.0
"""Seconds of one request, by default; the client's own 5 over gRPC cut large writes off."""

_REST_PORT = 6333

_log = logging.getLogger("trivec")


def client_class() -> type[QdrantClient]:
    """Return `QdrantClient`, or raise `MissingDependencyError` if it is not installed."""
    try:
        from qdrant_client import QdrantClient
    except ImportError as error:
        raise MissingDependencyError(
            "qdrant-client is not installed; run: pip install 'trivec[qdrant]'"
        ) from error
    return QdrantClient


def is_local(client: QdrantClient) -> bool:
    """Return whether a client is in its pure-Python mode, without a server."""
    options = client.init_options
    return options.get("location") == ":memory:" or options.get("path") is not None


def open_client(url: StoreUrl, options: QdrantOptions) -> QdrantClient:
    """Return a client for the server of a URL; nothing is sent yet.

    Raises:
        InvalidOptionError: If a port is out of range, the key cannot be sent, or the environment
            names files or proxies that the client cannot use.
        MissingDependencyError: If qdrant-client is not installed.
    """
    make = client_class()
    scheme = "https" if url.scheme == "qdrants" else "http"
    port = check_port(url.port if url.port is not None else _REST_PORT, "the URL's port")
    grpc_port = port + 1 if options.grpc_port is None else options.grpc_port
    check_port(grpc_port, "grpc_port")
    api_key = _api_key(options.api_key)
    # As a header, since the client's own option for it warns of every connection without TLS.
    headers = {} if api_key is None else {"api-key": api_key}
    if api_key is not None and scheme == "http" and not is_loopback(url.host or ""):
        _warn_of_plain_key(url.host or "")
    extra: dict[str, Any] = {}
    # The server compresses answers for any client that accepts it: 16.8 s instead of 0.8 s for
    # 82 MB of vectors.
    if not options.compression:
        if options.prefer_grpc:
            extra["grpc_options"] = {"grpc.compression_enabled_algorithms_bitset": 1}
        else:
            headers["Accept-Encoding"] = "identity"
    host = f"[{url.host}]" if ":" in (url.host or "") else url.host
    try:
        return make(
            url=f"{scheme}://{host}:{port}",
            grpc_port=grpc_port,
            prefer_grpc=options.prefer_grpc,
            headers=headers or None,
            timeout=math.ceil(TIMEOUT if options.timeout is None else options.timeout),
            check_compatibility=False,
            **extra,
        )
    except (OSError, ValueError, ImportError) as error:
        raise InvalidOptionError(
            f"no client for {scheme}://{host}:{port} can be made: {error}; look at the host, and "
            "at the environment variables SSL_CERT_FILE, SSL_CERT_DIR, HTTP_PROXY, HTTPS_PROXY and "
            "ALL_PROXY, which name a file with certificates and a proxy"
        ) from error


def _api_key(api_key: str | None) -> str | None:
    """Return the key, or that of the environment.

    Raises:
        InvalidOptionError: If it cannot be sent; the message does not show it.
    """
    key = api_key or os.environ.get(API_KEY) or None
    if key is not None and not (isinstance(key, str) and key.isascii() and key.isprintable()):
        raise InvalidOptionError(
            f"api_key, or {API_KEY}: expected a text of printable ASCII characters, without a line "
            "break at its end"
        )
    return key


@lru_cache
def _warn_of_plain_key(host: str) -> None:
    """Warn once of each host that the key can be read on the way."""
    _log.warning(
        "the api_key goes to %s without TLS, where others can read it; use qdrants:// if the "
        "server speaks TLS",
        host,
    )
