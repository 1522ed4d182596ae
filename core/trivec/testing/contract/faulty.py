"""A backend that fails as told, in front of the one under test."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import GeneratorType
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from trivec.collection import Capability, Collection, OptimizeReport, Page
from trivec.document import Document
from trivec.errors import RequestTooLargeError
from trivec.fields import FieldType
from trivec.filters import Filter
from trivec.hit import Hit
from trivec.search import Search
from trivec.stores.backend import Backend, Stepwise
from trivec.stores.steps import Steps
from trivec.stores.store import Store
from trivec.vectors import Vector, Vectors

P = ParamSpec("P")
T = TypeVar("T")

Moment = Literal["before", "after"]
"""Whether a fault comes before the database does its work, or when its answer is lost."""


class Faults:
    """The faults to inject, each once.

    Attributes:
        most_documents: The most documents of one write; None for any number.
        requests: How many requests were sent since `count_anew`.
        calls: The hooks that were called since then, in turn.
    """

    def __init__(self) -> None:
        self.most_documents: int | None = None
        self.requests = 0
        self.calls: list[str] = []
        self._hooks: dict[tuple[str, Moment], list[Exception | None]] = {}
        self._request: tuple[int, Moment, Exception] | None = None
        self._lock = threading.Lock()

    @property
    def pending(self) -> int:
        """How many faults have not happened yet."""
        planned = [error for errors in self._hooks.values() for error in errors if error]
        return len(planned) + (self._request is not None)

    def fail(self, hook: str, moment: Moment, *errors: Exception | None) -> None:
        """Let the next calls of a hook fail.

        Args:
            hook: The name of the hook.
            moment: When it fails.
            errors: What the calls raise, in turn; None for one that does not fail.
        """
        self._hooks[hook, moment] = list(errors)

    def fail_request(self, number: int, moment: Moment, error: Exception) -> None:
        """Let one request fail.

        Args:
            number: Which one, counted from 0 since `count_anew`.
            moment: When it fails.
            error: What it raises.
        """
        self._request = number, moment, error

    def count_anew(self) -> None:
        """Begin to count calls and requests at 0."""
        self.requests = 0
        self.calls.clear()

    def check_hook(self, hook: str, moment: Moment) -> None:
        """Raise what this call of a hook is to raise."""
        with self._lock:
            errors = self._hooks.get((hook, moment))
            error = errors.pop(0) if errors else None
        if error is not None:
            raise error

    def next_request(self) -> int:
        """Return the number of the next request."""
        with self._lock:
            self.requests += 1
            return self.requests - 1

    def check_request(self, number: int, moment: Moment) -> None:
        """Raise what this request is to raise."""
        with self._lock:
            planned = self._request
            if planned is None or planned[:2] != (number, moment):
                return
            self._request = None
        raise planned[2]


class FaultyBackend(Backend[Any]):
    """Passes everything on to another backend, and fails as told.

    Args:
        inner: The other backend, which stays open when this one is closed.
        faults: What is to fail.
    """

    def __init__(self, inner: Backend[Any], faults: Faults) -> None:
        super().__init__(inner.name)
        self.limits = inner.limits
        self._inner = inner
        self._faults = faults

    @property
    @override
    def endpoint(self) -> str:
        return self._inner.endpoint

    @override
    def describe(self, declared: Mapping[str, FieldType]) -> Stepwise[Collection | None]:
        return self._pass_on(self._inner.describe, declared)

    @override
    def create(self, collection: Collection, *, adopt: bool) -> Stepwise[Collection]:
        return self._pass_on(self._inner.create, collection, adopt=adopt)

    @override
    def drop(self) -> Stepwise[None]:
        return self._pass_on(self._inner.drop)

    @override
    def close(self) -> None:
        pass

    @override
    def write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> Stepwise[None]:
        most = self._faults.most_documents
        if most is not None and len(documents) > most:
            raise RequestTooLargeError(f"{len(documents)} documents are too many")
        return self._pass_on(self._inner.write, collection, documents, vectors)

    @override
    def get(self, collection: Collection, ids: Sequence[str], with_vectors: bool) -> Stepwise[Page]:
        return self._pass_on(self._inner.get, collection, ids, with_vectors)

    @override
    def scan_page(
        self,
        collection: Collection,
        cursor: object,
        limit: int,
        with_vectors: bool,
        condition: Filter | None,
    ) -> Stepwise[tuple[Page, object]]:
        return self._pass_on(
            self._inner.scan_page, collection, cursor, limit, with_vectors, condition
        )

    @override
    def delete(self, collection: Collection, ids: Sequence[str]) -> Stepwise[None]:
        return self._pass_on(self._inner.delete, collection, ids)

    @override
    def delete_where(self, collection: Collection, condition: Filter) -> Stepwise[None]:
        return self._pass_on(self._inner.delete_where, collection, condition)

    @override
    def count(self, collection: Collection, condition: Filter | None) -> Stepwise[int]:
        return self._pass_on(self._inner.count, collection, condition)

    @override
    def search(
        self, collection: Collection, queries: Sequence[Vector], search: Search
    ) -> Stepwise[list[list[Hit]]]:
        return self._pass_on(self._inner.search, collection, queries, search)

    @override
    def optimize(self, collection: Collection) -> Stepwise[OptimizeReport]:
        return self._pass_on(self._inner.optimize, collection)

    @override
    def check(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> None:
        self._inner.check(collection, documents, vectors)

    @override
    def as_stored(self, document: Document) -> Document:
        return self._inner.as_stored(document)

    @override
    def wire_bytes(self, collection: Collection, vectors: Vectors) -> NDArray[np.int64]:
        return self._inner.wire_bytes(collection, vectors)

    @override
    def capabilities(self, collection: Collection) -> tuple[Capability, ...]:
        return self._inner.capabilities(collection)

    @override
    def send(self, request: Any) -> Any:
        number = self._faults.next_request()
        self._faults.check_request(number, "before")
        answer = self._inner.send(request)
        self._faults.check_request(number, "after")
        return answer

    @override
    def asend(self, request: Any) -> Awaitable[Any] | None:
        answer = self._inner.asend(request)
        return None if answer is None else self._answer(answer)

    async def _answer(self, answer: Awaitable[Any]) -> Any:
        number = self._faults.next_request()
        result = await answer
        self._faults.check_request(number, "after")
        return result

    def _pass_on(
        self, hook: Callable[P, Stepwise[T]], *args: P.args, **kwargs: P.kwargs
    ) -> Stepwise[T]:
        name = hook.__name__
        self._faults.calls.append(name)
        self._faults.check_hook(name, "before")
        result = hook(*args, **kwargs)
        if isinstance(result, GeneratorType):
            steps: Steps[T] = result
            return self._steps(name, steps)
        self._faults.check_hook(name, "after")
        return result

    def _steps(self, hook: str, steps: Steps[T]) -> Steps[T]:
        result = yield from steps
        self._faults.check_hook(hook, "after")
        return result


def with_faults(store: Store) -> tuple[Store, Faults]:
    """Return a store of the same collection whose database fails as told; not to be closed."""
    handle, faults = store._handle, Faults()
    backend = FaultyBackend(handle.backend, faults)
    return Store(backend, handle.options, address=store.address), faults
