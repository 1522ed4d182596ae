"""Threads for calls whose callers leave when their time is over."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
_Jobs = SimpleQueue[Callable[[], None] | None]


class Workers:
    """Threads that run one call after the other, as many as there are calls at the same time.

    They are kept, since the client's first request in a thread takes five times as long as the
    next one. The end of the process does not wait for them.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._idle: list[_Jobs] = []
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = False

    def close(self) -> None:
        """End the threads; those that are busy end when they are done."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for jobs in idle:
            jobs.put(None)

    @contextmanager
    def running(self, work: Callable[[threading.Event], T]) -> Iterator[Future[T]]:
        """Have a thread run a function, whose result the block waits for.

        The function gets an event, which is set when the block ends and nobody waits any more.
        """
        abandoned = threading.Event()
        outcome: Future[T] = Future()

        def job() -> None:
            if not outcome.set_running_or_notify_cancel():  # its caller has left already
                return
            try:
                outcome.set_result(work(abandoned))
            except BaseException as error:  # the caller raises it
                outcome.set_exception(error)

        self._thread().put(job)
        try:
            yield outcome
        finally:
            abandoned.set()

    def _thread(self) -> _Jobs:
        """Return the queue of an idle thread, or of a new one."""
        with self._lock:
            if self._process != os.getpid():  # threads do not survive a fork
                self._process, self._idle = os.getpid(), []
            if self._idle:
                return self._idle.pop()
        jobs: _Jobs = SimpleQueue()
        threading.Thread(target=self._run, args=(jobs,), name=self._name, daemon=True).start()
        return jobs

    def _run(self, jobs: _Jobs) -> None:
        while (job := jobs.get()) is not None:
            job()
            del job  # and with it the answer, while idle
            with self._lock:
                if self._closed:
                    return
                self._idle.append(jobs)
