"""The real server of an encoder in a thread of the tests, so that no model is loaded twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.applications import Starlette

from trivec.serving.process import bind, server


@contextmanager
def thread_server(app: Starlette) -> Iterator[int]:
    """Serve an application inside the `with` block, and yield the port."""
    ready = threading.Event()
    running = server(app, ready=ready.set)
    with bind("127.0.0.1", 0) as bound:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            assert ready.wait(60)
            yield bound.getsockname()[1]
        finally:
            running.should_exit = True
            thread.join()
