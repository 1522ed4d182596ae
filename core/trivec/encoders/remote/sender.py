"""Requests for batches to one server, side by side; a batch that is too large goes in halves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from trivec.encoders.options import OnProgress
from trivec.encoders.remote.batches import ain_order, in_order
from trivec.encoders.remote.exchange import HttpAnswer, HttpRequest
from trivec.encoders.remote.http import HttpClient

_IN_LOOP_BYTES = 64 * 1024  # of an answer that is read in the event loop; more in a thread


class TextBatch(Protocol):
    """The texts of one request."""

    @property
    def texts(self) -> Sequence[str]:
        """The texts."""
        ...


B = TypeVar("B", bound=TextBatch)
R = TypeVar("R")


@dataclass(frozen=True, slots=True, eq=False)
class BatchSender(Generic[B, R]):
    """Sends batches, and halves of those that the server refuses as too large (413).

    Args:
        client: The connections to the server.
        request: Returns the request for a batch.
        halves: Returns both halves of a batch of at least two texts.
        read: Returns what an answer whose status is 200 holds for its batch.
        at_once: The most requests at the same time.
        done: Called after each batch.
    """

    client: HttpClient
    request: Callable[[B], HttpRequest]
    halves: Callable[[B], tuple[B, B]]
    read: Callable[[B, HttpAnswer], R]
    at_once: int
    done: Callable[[B], None]

    def send(self, batches: Sequence[B]) -> list[R]:
        """Return what is read from the answers, in the order of the batches.

        Raises:
            EncoderUnavailableError: If the server cannot be reached, or is busy for too long.
            EncoderError: If it refuses, or answers wrongly.
        """
        sent = in_order(self._send, batches, at_once=self.at_once, done=self.done)
        return [result for results in sent for result in results]

    async def asend(self, batches: Sequence[B]) -> list[R]:
        """Send batches without blocking the event loop; see `send`."""
        sent = await ain_order(self._asend, batches, at_once=self.at_once, done=self.done)
        return [result for results in sent for result in results]

    def _send(self, batch: B) -> list[R]:
        answer = self.client.exchange(self.request(batch))
        if _is_too_large(answer, batch):
            return [result for half in self.halves(batch) for result in self._send(half)]
        return [self.read(batch, answer.checked())]

    async def _asend(self, batch: B) -> list[R]:
        answer = await self.client.aexchange(self.request(batch))
        if _is_too_large(answer, batch):
            first, second = self.halves(batch)
            return [*await self._asend(first), *await self._asend(second)]
        answer.checked()
        if len(answer.content) <= _IN_LOOP_BYTES:
            return [self.read(batch, answer)]
        return [await asyncio.to_thread(self.read, batch, answer)]


def counting(progress: OnProgress | None, total: int) -> Callable[[TextBatch], None]:
    """Return what reports the progress after each batch.

    Args:
        progress: Called with the number of texts done and the number of all texts.
        total: The number of all texts; none are not reported.
    """
    count = 0

    def done(batch: TextBatch) -> None:
        nonlocal count
        count += len(batch.texts)
        if progress is not None and total:
            progress(count, total)

    return done


def _is_too_large(answer: HttpAnswer, batch: TextBatch) -> bool:
    """Return whether the server refused several texts that it may take in two halves."""
    return answer.status == 413 and len(batch.texts) > 1
