"""An open collection: its backend, what is known of it, and how calls reach the database."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, ParamSpec, TypeAlias, TypeVar

from trivec.collection import Collection
from trivec.deadline import unless_limited
from trivec.errors import (
    AuthenticationError,
    CollectionNotFoundError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    TrivecError,
)
from trivec.fields import FieldType
from trivec.retry import aretrying, retrying
from trivec.stores.backend import Backend, Stepwise
from trivec.stores.options import StoreOptions
from trivec.stores.steps import arun, run
from trivec.stores.validation import check_storage
from trivec.twins import adrive, drive

P = ParamSpec("P")
T = TypeVar("T")

Flow: TypeAlias = Generator[partial[Any], Any, T]
"""A call of a store: yields calls of its backend, receives their results and returns its own.

So the text of a call is written once, for the blocking method and its asynchronous twin.
"""

_THREADS = 4
# Errors that another description of the collection would not avoid.
_NOT_BY_DESCRIPTION = (AuthenticationError, StoreFullError, StoreUnavailableError)


def call(hook: Callable[P, Stepwise[T]], *args: P.args, **kwargs: P.kwargs) -> Flow[T]:
    """Call a method of a backend and return its result."""
    result: T = yield partial(hook, *args, **kwargs)
    return result


class Handle:
    """One open collection, which may have several stores as views.

    The description of the collection is read once and kept. Another handle, here or in another
    process, may drop the collection or make it anew. So writes, deletions, counts and scans read
    the description anew, and a search or `get` that is refused does so too, and is repeated once
    if the description has changed. A handle that is told that the collection is gone forgets it.

    Args:
        backend: The database.
        options: The options of the store.
        address: Where the collection is, without secrets.

    Attributes:
        noted: The undeclared fields that filters named so far.
    """

    def __init__(self, backend: Backend[Any], options: StoreOptions, address: str) -> None:
        self.backend = backend
        self.options = options
        self.address = address
        self.noted: set[str] = set()
        self._declared: Mapping[str, FieldType] = {}
        self._collection: Collection | None = None
        self._closed = False
        self._reached = False  # whether the database has ever answered
        # Few threads compute, since an event loop waits for Python's lock as long as all of them
        # want it; others wait for answers.
        self._computing = _Threads(f"trivec-{backend.name}", _THREADS)
        sending = max(_THREADS, backend.limits.connections)
        self._sending = _Threads(f"trivec-{backend.name}-request", sending)

    # --- what is known of the collection ---------------------------------------------------------

    @property
    def collection(self) -> Collection | None:
        """The description as far as it is known."""
        return self._collection

    def describe(self, declared: Mapping[str, FieldType] | None = None) -> Flow[Collection | None]:
        """Read the description, and remember it."""
        if declared is not None:
            self._declared = declared
        self._collection = yield from call(self.backend.describe, self._declared)
        return self._collection

    def created(self, collection: Collection) -> None:
        """Remember the description of a new collection."""
        self._collection = collection

    def forget(self) -> None:
        """Forget the description; the next call reads it."""
        self._collection = None

    def known(self, *, anew: bool = False) -> Flow[Collection]:
        """Return the description, reading it on first use.

        Args:
            anew: Whether to read it in any case, since another handle may have changed it.

        Raises:
            CollectionNotFoundError: If the collection does not exist.
            SchemaMismatchError: If it keeps token vectors otherwise than the store's options say.
        """
        self.check_open()
        known = None if anew else self._collection
        if known is None:
            known = yield from self.describe()
        if known is None:
            raise CollectionNotFoundError(
                f"collection {self.backend.name!r} does not exist; call create(encoder.schema) "
                "first"
            )
        check_storage(self.backend.name, known, self.options.colbert)
        return known

    def has_changed(self, known: Collection | None, error: TrivecError) -> Flow[bool]:
        """Return whether the collection is another one than a refused call took it for.

        Args:
            known: The description that the call went by; None if it read it itself.
            error: The refusal.
        """
        if known is None or self._closed or isinstance(error, _NOT_BY_DESCRIPTION):
            return False
        try:
            now = yield from self.describe()
        except TrivecError:  # the refusal says more
            return False
        return now != known

    # --- calls -----------------------------------------------------------------------------------

    def run(self, flow: Flow[T], *, timed: bool = True) -> T:
        """Return the result of a call, blocking.

        Args:
            flow: The call.
            timed: Whether all of it has the time of one call, or each part has.
        """
        with self._time() if timed else nullcontext():
            return drive(flow, self._call)

    async def arun(self, flow: Flow[T], *, timed: bool = True) -> T:
        """Return the result of a call, without blocking the event loop."""
        self.check_open()
        with self._time() if timed else nullcontext():
            return await adrive(flow, self._acall, self._computing.run)

    def check_open(self) -> None:
        """Raise `StoreError` if the store was closed."""
        if self._closed:
            raise StoreError(
                f"collection {self.backend.name!r}: the store is closed; open it again with "
                "open_store"
            )

    def close(self) -> None:
        """Release the backend and the threads."""
        self._end_threads()
        self.backend.close()

    async def aclose(self) -> None:
        """Release the backend and the threads, also what belongs to the running event loop."""
        self._end_threads()
        await self.backend.aclose()

    def _end_threads(self) -> None:
        self._closed = True
        self._computing.close()
        self._sending.close()

    def _call(self, call: partial[Any]) -> object:
        """Call the backend, again after a wait while the database is unavailable."""
        self.check_open()
        pool = self._sending.pool if self.backend.limits.connections > 1 else None

        def attempt() -> object:
            return run(call(), self.backend, pool=pool)

        with self._failing(), self._time():
            result: object = retrying(reached=self._reached)(attempt)
        self._reached = True
        return result

    async def _acall(self, call: partial[Any]) -> object:
        self.check_open()

        async def attempt() -> object:
            if inspect.isgeneratorfunction(call.func):
                result: Any = call()  # nothing runs yet
            else:
                result = await self._sending.run(call)
            return await arun(
                result,
                self.backend,
                connections=self.backend.limits.connections,
                computing=self._computing.run,
                sending=self._sending.run,
            )

        with self._failing(), self._time():
            result: object = await aretrying(reached=self._reached)(attempt)
        self._reached = True
        return result

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Forget a collection that is gone, and say where nothing answers."""
        try:
            yield
        except CollectionNotFoundError:
            self.forget()
            raise
        except StoreUnavailableError as error:
            if not error.unreachable:
                raise
            endpoint = self.backend.endpoint
            where = f"{self.address} ({endpoint})" if endpoint else self.address
            raise StoreUnavailableError(
                f"nothing answers at {where}: {error}", unreachable=True
            ) from error

    def _time(self) -> AbstractContextManager[None]:
        """Give the block the time of one call, unless a call is under way."""
        return unless_limited(self.options.deadline)


class _Threads:
    """Threads that start when they are needed.

    Args:
        name: What they are called.
        most: How many there are at most.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    @property
    def pool(self) -> ThreadPoolExecutor:
        """The threads, started if need be."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._most, self._name)
            return self._pool

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a thread, with the caller's context."""
        call = partial(contextvars.copy_context().run, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self.pool, call)

    def close(self) -> None:
        """End the threads, without waiting for them."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
