"""Requests that are not answered as asked: the HTTP status and the reason."""

from __future__ import annotations

RETRY_SECONDS = 1  # what Retry-After asks for if the queue is full


class Refusal(Exception):
    """A request that is refused.

    Args:
        status: The HTTP status.
        reason: What is wrong, for the client.
        headers: Headers of the answer.
    """

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers or {}
