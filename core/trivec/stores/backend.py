"""The interface that the author of a database connector writes."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from trivec.collection import Capability, Collection, OptimizeReport, Page
from trivec.document import Document
from trivec.errors import InvalidOptionError
from trivec.fields import FieldType
from trivec.filters import Filter
from trivec.hit import Hit
from trivec.schema import Schema
from trivec.search import Search
from trivec.stores.limits import Limits
from trivec.stores.options import StoreOptions
from trivec.stores.steps import Steps
from trivec.stores.storage import StorageChoice
from trivec.stores.url import StoreUrl
from trivec.vectors import Vector, Vectors

T = TypeVar("T")
C = TypeVar("C", bound=Collection)

Stepwise: TypeAlias = T | Steps[T]
"""A result, or a generator that yields requests, receives their answers and returns the result."""


class Backend(ABC, Generic[C]):
    """One collection in one database: what `Store` asks of it.

    A store checks what users give, cuts writes into batches, repeats what fails for now, brings
    ColBERT rows down to the limits and ranks equal scores by id. A backend does the rest. Its
    methods receive checked values, may be called from several threads, and raise the classes below
    `StoreError`: a store repeats a call that raises `StoreUnavailableError`, and halves a write
    that raises `RequestTooLargeError`. `CollectionNotFoundError` says that the collection is gone.

    A method returns its result; the asynchronous methods of the store then run it in a thread. Or
    it is a generator of requests (see `trivec.stores.steps`), which `send` and `asend` send; then
    the asynchronous methods need no thread for each call in flight.

    The type `C` is what `describe` returns: `Collection`, or a class below it with what else the
    backend needs to know of its collection. All methods get it back as `collection`.

    Args:
        name: The collection.

    Attributes:
        name: The collection.
        limits: How much the database holds and returns.
        options: The class of the options that `open_store` takes for this backend.
    """

    limits: Limits = Limits()
    options: ClassVar[type[StoreOptions]] = StoreOptions

    def __init__(self, name: str) -> None:
        self.name = name

    # --- opening -------------------------------------------------------------------------------

    @classmethod
    def from_url(cls, url: StoreUrl, options: Any) -> Self:  # noqa: ANN401 - of the class `options`
        """Return the backend of the collection that a URL names; for `open_store`.

        Args:
            url: The parsed URL.
            options: Of the class `options`.

        Raises:
            InvalidOptionError: If the URL lacks something, or an option is out of range.
        """
        raise InvalidOptionError(f"{cls.__name__} cannot be opened by a URL")

    @classmethod
    def local_files(cls, url: StoreUrl) -> tuple[Path, ...]:
        """Return the files and folders of this machine that an embedded collection takes.

        No command writes its outputs to them. They are `PATH/name` unless a backend says more.
        """
        return () if url.path is None else (url.path / url.name,)

    @classmethod
    def storage_choices(
        cls, schema: Schema, *, tokens: float, terms: float
    ) -> Sequence[StorageChoice]:
        """Return the ways to store vectors and the bytes that they take; for `trivec plan`.

        Args:
            schema: Which vectors there are.
            tokens: The mean ColBERT vectors of a document, as far as `limits` allows.
            terms: The mean lexical terms of a document.
        """
        return ()

    # --- the collection ------------------------------------------------------------------------

    @abstractmethod
    def describe(self, declared: Mapping[str, FieldType]) -> Stepwise[C | None]:
        """Return what the database holds under this name, or None.

        Args:
            declared: The fields that `create` was asked for, for databases whose own description
                of a field fits several types; else empty.
        """

    @abstractmethod
    def create(self, collection: Collection, *, adopt: bool) -> Stepwise[C]:
        """Create the collection, which does not exist, and return its description.

        Args:
            collection: The schema and the declared fields.
            adopt: Whether documents that are there without a description become part of it.
        """

    @abstractmethod
    def drop(self) -> Stepwise[None]:
        """Delete the collection, if it exists."""

    @abstractmethod
    def close(self) -> None:
        """Release what this backend opened itself."""

    async def aclose(self) -> None:
        """Release what this backend opened itself, also what belongs to the running event loop."""
        await asyncio.to_thread(self.close)

    # --- documents -----------------------------------------------------------------------------

    @abstractmethod
    def write(
        self, collection: C, documents: Sequence[Document], vectors: Vectors
    ) -> Stepwise[None]:
        """Write whole documents over those of the same ids; return when searches find them.

        Args:
            collection: What `describe` returned.
            documents: Documents of different ids.
            vectors: One row for each. A dense row of zeros, and an empty sparse or ColBERT row,
                mean that the document lacks this part.
        """

    @abstractmethod
    def get(self, collection: C, ids: Sequence[str], with_vectors: bool) -> Stepwise[Page]:
        """Return the documents with these different ids that exist, in any order."""

    @abstractmethod
    def scan_page(
        self,
        collection: C,
        cursor: object,
        limit: int,
        with_vectors: bool,
        condition: Filter | None,
    ) -> Stepwise[tuple[Page, object]]:
        """Return some documents, and where to go on.

        Args:
            collection: What `describe` returned.
            cursor: None for the first page, then what the page before came with.
            limit: The most documents of the page; fewer are allowed, also none.
            with_vectors: Whether to read the vectors.
            condition: What every document satisfies.

        Returns:
            The page, and the cursor of the next one or None after the last. Documents that exist
            during the whole scan come exactly once.
        """

    @abstractmethod
    def delete(self, collection: C, ids: Sequence[str]) -> Stepwise[None]:
        """Delete the documents with these ids that exist."""

    @abstractmethod
    def delete_where(self, collection: C, condition: Filter) -> Stepwise[None]:
        """Delete the documents that satisfy the condition."""

    @abstractmethod
    def count(self, collection: C, condition: Filter | None) -> Stepwise[int]:
        """Count the documents, or those that satisfy the condition."""

    @abstractmethod
    def search(
        self, collection: C, queries: Sequence[Vector], search: Search
    ) -> Stepwise[list[list[Hit]]]:
        """Answer each query with its `search.hit_limit` best hits, or more of them, in any order.

        Hits and candidates satisfy `search.filter`. Of equal scores at the last place, the lowest
        ids belong to the hits, and to the candidates of each source.
        """

    # --- what few databases need -----------------------------------------------------------------

    def optimize(self, collection: C) -> Stepwise[OptimizeReport]:
        """Build indexes and give back disk, where the database does not do so by itself."""
        return OptimizeReport()

    def check(self, collection: C, documents: Sequence[Document], vectors: Vectors) -> None:
        """Check what only this database refuses, before anything is written.

        Raises:
            InvalidInputError: If a document or its vectors cannot be stored.
        """

    def as_stored(self, document: Document) -> Document:
        """Return a document as the database gives it back, where that differs."""
        return document

    def wire_bytes(self, collection: C, vectors: Vectors) -> NDArray[np.int64]:
        """Return the bytes that each row of vectors takes in a write, int64 (n,)."""
        return vectors.row_bytes()

    def capabilities(self, collection: C) -> tuple[Capability, ...]:
        """Return how this backend does what databases differ in; for `trivec doctor`."""
        return ()

    @property
    def endpoint(self) -> str:
        """The protocol and the port of a server, for errors; "" where the URL says it all."""
        return ""

    # --- requests --------------------------------------------------------------------------------

    def send(self, request: Any) -> Any:  # noqa: ANN401 - a backend's own requests and answers
        """Send one request that a generator of this backend yielded, and wait for its answer."""
        return request()

    def asend(self, request: Any) -> Awaitable[Any] | None:  # noqa: ANN401
        """Send one request from the running event loop.

        Returns:
            An awaitable of the answer, or None to have `send` called in a thread.
        """
        return None
