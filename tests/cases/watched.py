"""An encoder and a store that tell how they were used, and block as real ones do."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from trivec import Vectors
from trivec.stores.memory import MemoryBackend
from trivec.testing import HashEncoder

BUSY_SECONDS = 0.1


class CallCounter(HashEncoder):
    """Counts the calls beside the texts."""

    calls = 0

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        self.calls += 1
        return super().encode_documents(texts)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        self.calls += 1
        return super().encode_queries(texts)


class BlockingEncoder(HashEncoder):
    """Blocks its thread as a forward pass does, and remembers which threads it ran in."""

    def __init__(self, seconds: float = BUSY_SECONDS) -> None:
        super().__init__()
        self.seconds = seconds
        self.threads: set[int] = set()

    def _encode(self, texts: Sequence[str]) -> Vectors:
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)
        return super()._encode(texts)


def block_memory_stores(monkeypatch: pytest.MonkeyPatch, seconds: float = BUSY_SECONDS) -> set[int]:
    """Let memory stores block as a request does; return the threads that they will have run in."""
    threads: set[int] = set()

    def blocking(method: Callable[..., Any]) -> Callable[..., Any]:
        def wait(*arguments: Any) -> Any:
            threads.add(threading.get_ident())
            time.sleep(seconds)
            return method(*arguments)

        return wait

    for name in ("search", "write", "get", "delete", "delete_where", "drop"):
        monkeypatch.setattr(MemoryBackend, name, blocking(getattr(MemoryBackend, name)))
    return threads


def asynchronous_methods(cls: type) -> set[str]:
    """Return the names of a class's public coroutine methods, its own and inherited ones."""
    methods = inspect.getmembers(cls, inspect.iscoroutinefunction)
    return {name for name, _ in methods if not name.startswith("_")}
