"""The certificates that servers with TLS are checked with: read once in a process."""

from __future__ import annotations

import os
import ssl
import threading

import httpx

from trivec.encoders.processes import after_fork

_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")

_contexts: dict[tuple[str | None, ...], ssl.SSLContext] = {}
_lock = threading.Lock()


def certificates() -> ssl.SSLContext:
    """Return the context that all clients share, as long as the variables of it are the same.

    Reading the certificates takes 20 ms and more.
    """
    key = tuple(os.environ.get(name) for name in _VARIABLES)
    with _lock:
        if key not in _contexts:
            _contexts[key] = httpx.create_ssl_context()
        return _contexts[key]


def no_certificates() -> ssl.SSLContext:
    """Return a context that trusts nobody and reads no file, for a client that speaks no TLS."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@after_fork
def _new_lock() -> None:
    """Take a new lock, since a thread that the fork did not copy may hold the old one."""
    global _lock
    _lock = threading.Lock()
