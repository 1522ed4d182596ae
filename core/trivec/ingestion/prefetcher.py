"""Reading ahead: an iterator that runs in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

from trivec.deadline import stopped_by
from trivec.ingestion.stopping import Stop

T = TypeVar("T")

POLL_SECONDS = 0.1


def prefetched(items: Iterable[T], stop: Stop) -> Iterator[T]:
    """Yield items, which an iterator in a thread of its own makes one ahead, until `stop`.

    The thread is a daemon: an interrupted run does not wait for a pipe that receives no data.
    """
    abandoned = threading.Event()
    ready: queue.Queue[T | BaseException | None] = queue.Queue(1)
    arguments = (items, ready, abandoned, stop)
    threading.Thread(target=_read, args=arguments, name="trivec-read", daemon=True).start()
    try:
        while not stop.soon.is_set():
            try:
                item = ready.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        abandoned.set()


def _read(
    items: Iterable[T],
    ready: queue.Queue[T | BaseException | None],
    abandoned: threading.Event,
    stop: Stop,
) -> None:
    """Put the items into a queue, and at the end None or an error."""

    def put(item: T | BaseException | None) -> None:
        while not abandoned.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=POLL_SECONDS)
                return

    try:
        with stopped_by(stop.now):
            for item in items:
                put(item)
                if abandoned.is_set():
                    return
        put(None)
    except BaseException as error:  # raised again in the consumer's thread
        put(error)
