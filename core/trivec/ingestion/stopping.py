"""How a run is asked to stop: once to finish what is in flight, twice to end at once."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Stop"]

_log = logging.getLogger("trivec")


class Stop:
    """Who wants a run to stop says so here; the run looks here.

    Attributes:
        soon: Set when nothing new should begin.
        now: Set when nothing should be waited for either.
    """

    def __init__(self) -> None:
        self.soon = threading.Event()
        self.now = threading.Event()

    def ask(self) -> None:
        """Ask to finish what is in flight; the second time, not to wait for it."""
        if self.soon.is_set():
            self.now.set()
        self.soon.set()

    @contextmanager
    def by_signal(self) -> Iterator[None]:
        """Let the first Ctrl-C ask; the second one asks again and interrupts as ever."""
        before = signal.getsignal(signal.SIGINT)
        in_main = threading.current_thread() is threading.main_thread()
        if not in_main or before is not signal.default_int_handler:
            yield
            return

        def handle(number: int, frame: FrameType | None) -> None:
            if self.soon.is_set():
                self.ask()
                raise KeyboardInterrupt
            self.ask()
            _log.warning("finishing what is in flight; Ctrl-C again stops at once")

        signal.signal(signal.SIGINT, handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
