"""The bounded queue: how much is accepted and not yet answered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trivec.serving.refusal import RETRY_SECONDS, Refusal


class Queue:
    """Counts the texts and bytes of the requests that are accepted and not yet answered.

    Args:
        max_texts: The most texts.
        max_bytes: The most bytes.

    Attributes:
        requests (int): The requests that are accepted and not yet answered.
        texts (int): Their texts.
        bytes (int): Their bytes.

    Example:
        >>> queue = Queue(max_texts=8, max_bytes=1000)
        >>> with queue.accepted(texts=8, size=10):
        ...     queue.texts
        8
        >>> queue.texts
        0
    """

    def __init__(self, *, max_texts: int, max_bytes: int) -> None:
        self._max_texts = max_texts
        self._max_bytes = max_bytes
        self.requests = self.texts = self.bytes = 0

    @contextmanager
    def accepted(self, *, texts: int, size: int) -> Iterator[None]:
        """Count a request as accepted inside the `with` block, or refuse it with 503."""
        if self.texts + texts > self._max_texts or self.bytes + size > self._max_bytes:
            raise Refusal(
                503,
                f"{self.texts} texts of {self.requests} requests wait already; send the request "
                "again a little later",
                {"Retry-After": str(RETRY_SECONDS)},
            )
        self._add(1, texts, size)
        try:
            yield
        finally:
            self._add(-1, -texts, -size)

    def _add(self, requests: int, texts: int, size: int) -> None:
        self.requests += requests
        self.texts += texts
        self.bytes += size
