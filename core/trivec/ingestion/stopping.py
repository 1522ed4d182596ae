"""Requests to stop a run: the first finishes the writes in flight, the second ends at once."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_log = logging.getLogger("trivec")


class Stop:
    """The requests to stop one run.

    Attributes:
        soon: Set when no new work should begin.
        now: Set when the run should not wait for the work in flight either.
    """

    def __init__(self) -> None:
        self.soon = threading.Event()
        self.now = threading.Event()

    def ask(self) -> None:
        """Ask to finish the work in flight; a second call asks not to wait for it."""
        if self.soon.is_set():
            self.now.set()
        self.soon.set()

    @contextmanager
    def by_signal(self) -> Iterator[None]:
        """Make the first Ctrl-C call `ask`; the second calls it again and interrupts as usual."""
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
