"""A handle on one collection in a database, which connectors write and stores build on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar, ParamSpec, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from trivec.arguments import at_least_one
from trivec.collection import Capability, Collection, OptimizeReport, Page
from trivec.document import Document
from trivec.errors import (
    AuthenticationError,
    CollectionNotFoundError,
    InvalidDocumentError,
    InvalidFilterError,
    InvalidVectorsError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    TrivecError,
)
from trivec.fields import FieldType
from trivec.filters import Filter
from trivec.hit import Hit
from trivec.schema import Schema
from trivec.search import Search
from trivec.stores.deadline import (
    DEADLINE_SECONDS,
    check_seconds,
    in_time,
    unless_limited,
)
from trivec.stores.limits import Limits
from trivec.stores.overflow import Overflow, check_overflow
from trivec.stores.retry import retrying
from trivec.stores.url import StoreUrl
from trivec.vectors import Vector, Vectors

__all__ = ["BATCH_BYTES", "REFUSALS", "Handle"]

P = ParamSpec("P")
T = TypeVar("T")

BATCH_BYTES = 32 * 1024 * 1024

REFUSALS = (InvalidDocumentError, InvalidFilterError, InvalidVectorsError, StoreError)
"""What an old description can cause: refusals by the checks here, or by the database."""
_NOT_BY_DESCRIPTION = (AuthenticationError, StoreFullError, StoreUnavailableError)


class Handle(ABC):
    """A handle on one collection: what a connector writes, and what is known of the collection.

    What the collection holds is read once and kept. Another handle, here or in another process,
    may drop the collection or make it anew. So writes, deletions, counts and scans read the
    description anew, and a search or `get` that is refused does so too, and is tried once more if
    the description has changed. Whoever is told that the collection is gone forgets it.

    Attributes:
        name: The collection.
        address: Where the collection is, without secrets; the URL that `open_store` was given.
    """

    declared_only: ClassVar[bool] = False
    """Whether the database can filter on declared fields only."""
    limits: ClassVar[Limits] = Limits()
    """How much of one document the database holds."""

    def __init__(
        self,
        name: str,
        *,
        colbert_overflow: Overflow = "pool",
        batch_bytes: int = BATCH_BYTES,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        batch_bytes = at_least_one(batch_bytes, "batch_bytes")
        self.name = self._checked_name(name)
        self.address = f"{type(self).__name__}/{name}"
        self._overflow: Overflow = check_overflow(colbert_overflow)
        self._batch_bytes = batch_bytes
        self._deadline = check_seconds(deadline, "deadline")
        self._collection: Collection | None = None
        self._closed = False
        self._reached = False  # whether the database has ever answered

    # --- what a connector writes ---------------------------------------------------------------

    @classmethod
    @abstractmethod
    def from_url(cls, url: StoreUrl) -> Self:
        """Open the collection that a URL names; keyword-only options follow in the connector."""

    @abstractmethod
    def _describe(self) -> Collection | None:
        """Return what the database holds under this name, or None."""

    @abstractmethod
    def _create(self, collection: Collection) -> None:
        """Create the collection, which does not exist."""

    @abstractmethod
    def _write(self, documents: Sequence[Document], vectors: Vectors) -> None:
        """Write whole documents over those of the same ids; return when they can be found.

        A dense row of zeros and an empty sparse or ColBERT row mean that the part is absent.
        """

    @abstractmethod
    def _search(self, queries: Sequence[Vector], search: Search) -> list[list[Hit]]:
        """Answer each query with at least its k best hits, in any order."""

    @abstractmethod
    def _get(self, ids: Sequence[str], with_vectors: bool) -> Page:
        """Return those of these different ids that exist, in any order."""

    @abstractmethod
    def _scan(
        self, batch_size: int, with_vectors: bool, condition: Filter | None
    ) -> Iterator[Page]:
        """Yield every document once, streamed."""

    @abstractmethod
    def _delete(self, ids: Sequence[str]) -> None:
        """Delete those of these ids that exist."""

    @abstractmethod
    def _delete_where(self, condition: Filter) -> None:
        """Delete what satisfies the condition."""

    @abstractmethod
    def _count(self, condition: Filter | None) -> int:
        """Count what satisfies the condition."""

    @abstractmethod
    def _drop(self) -> None:
        """Delete the collection, if it is there."""

    @abstractmethod
    def _close(self) -> None:
        """Release what this store opened itself."""

    def _optimize(self) -> OptimizeReport:
        """Build indexes and give back disk, in stores that do not do so by themselves."""
        return OptimizeReport()

    @staticmethod
    def _checked_name(name: str) -> str:
        """Return the collection's name, or raise `InvalidOptionError` where it cannot be one."""
        return name

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """How this store does what databases differ in."""
        return ()

    def _endpoint(self) -> str:
        """Return where the database is looked for, in the user's words."""
        return self.address

    def _max_colbert_rows(self, schema: Schema) -> int | None:
        """Return the most token vectors of one document; None for any number."""
        return None

    def _check_documents(self, documents: Sequence[Document], vectors: Vectors) -> None:  # noqa: B027
        """Raise `InvalidInputError` for what only this database refuses; nothing is written yet."""

    def _wire_bytes(self, vectors: Vectors) -> NDArray[np.int64]:
        """Return the bytes that each row of vectors takes in a write, int64 (n,)."""
        return vectors.row_bytes()

    # --- what is known of the collection ---------------------------------------------------------

    @property
    def schema(self) -> Schema:
        """Which vectors the collection holds, as far as it is known; see `describe`."""
        return self._known().schema

    @property
    def fields(self) -> Mapping[str, FieldType]:
        """The declared metadata fields, as far as they are known; see `describe`."""
        return self._known().fields

    @in_time
    def describe(self) -> Collection:
        """Read what the collection holds; `schema` and `fields` may be older.

        Raises:
            CollectionNotFoundError: If it is not there.
        """
        return self._known(anew=True)

    @property
    def overflow(self) -> Overflow:
        """What is done with ColBERT rows longer than the database can hold."""
        return self._overflow

    @property
    def deadline(self) -> float:
        """The seconds that one call, or one batch of a write, may take in all."""
        return self._deadline

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(
                f"collection {self.name!r}: the store is closed; open it again with open_store"
            )

    def _retrying(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a connector's method, again after a wait while the database is unavailable."""
        self._check_open()
        try:
            with self._forgetting(), unless_limited(self._deadline):
                result = retrying(reached=self._reached)(function, *args, **kwargs)
        except StoreUnavailableError as error:
            if not error.unreachable:
                raise
            raise StoreUnavailableError(
                f"nothing answers at {self._endpoint()}: {error}", unreachable=True
            ) from error
        self._reached = True
        return result

    def _known(self, *, anew: bool = False) -> Collection:
        """Return what is known of the collection, reading it on first use.

        Args:
            anew: Whether to read it in any case, since another handle may have changed it.
        """
        self._check_open()
        known = None if anew else self._collection
        if known is None:
            known = self._collection = self._retrying(self._describe)
        if known is None:
            raise CollectionNotFoundError(
                f"collection {self.name!r} does not exist; call create(encoder.schema) first"
            )
        return known

    def _forget(self) -> None:
        """Forget what is known of the collection; the next call reads it."""
        self._collection = None

    @contextmanager
    def _forgetting(self) -> Iterator[None]:
        """Forget the collection if it turns out not to be there."""
        try:
            yield
        except CollectionNotFoundError:
            self._forget()
            raise

    def _has_changed(self, known: Collection | None, error: TrivecError) -> bool:
        """Return whether the collection is another one than a refused call took it for.

        Args:
            known: What the call went by; None if it read the description itself.
            error: The refusal.
        """
        if known is None or self._closed or isinstance(error, _NOT_BY_DESCRIPTION):
            return False
        try:
            self._collection = self._describe()
        except TrivecError:  # the refusal says more
            return False
        return self._collection != known
