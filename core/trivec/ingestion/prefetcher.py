"""Reading ahead: an iterator that runs in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from trivec.ingestion.stopping import Stop
from trivec.stores.deadline import stopped_by

T = TypeVar("T")

POLL_SECONDS = 0.1


class Prefetcher(Generic[T]):
    """Runs an iterator in a thread of its own, one item ahead of its consumer.

    The thread is a daemon: an interrupted run does not wait for a pipe that receives no data.

    Args:
        items: The iterator.
        stop: Ends the iteration when it is set.
    """

    def __init__(self, items: Iterable[T], stop: Stop) -> None:
        self._items = items
        self._stop = stop
        self._abandoned = threading.Event()
        self._ready: queue.Queue[T | BaseException | None] = queue.Queue(1)

    def __iter__(self) -> Iterator[T]:
        threading.Thread(target=self._read, name="trivec-read", daemon=True).start()
        try:
            while not self._stop.soon.is_set():
                try:
                    item = self._ready.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self._abandoned.set()

    def _read(self) -> None:
        try:
            with stopped_by(self._stop.now):
                for item in self._items:
                    if not self._put(item):
                        return
            self._put(None)
        except BaseException as error:  # raised again in the consumer's thread
            self._put(error)

    def _put(self, item: T | BaseException | None) -> bool:
        while not self._abandoned.is_set():
            try:
                self._ready.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False
