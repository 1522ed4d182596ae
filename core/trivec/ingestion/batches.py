"""Batches: what is encoded and written together, and for which documents of a source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeAlias

from trivec.collection import UpsertReport
from trivec.document import Document
from trivec.errors import InvalidInputError
from trivec.stores.store import Store
from trivec.vectors import Vectors

Encode: TypeAlias = Callable[[Sequence[str]], Vectors]


@dataclass(frozen=True, slots=True)
class Written:
    """The result of writing one batch.

    Args:
        completed: The documents of the source that are stored now.
        report: The report of the store.
        passages: How many passages the completed documents have.
    """

    completed: list[Document]
    report: UpsertReport
    passages: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents with distinct ids that are written together, with vectors if these are known.

    Args:
        documents: The documents of the source.
        vectors: One row for each document that is stored for them; None if these are to be encoded.
        refusal: Why the encoder refused the text of the only document.
    """

    documents: list[Document]
    vectors: Vectors | None = None
    refusal: InvalidInputError | None = None

    def encoded(self, encode: Encode) -> Self:
        """Return the batch with vectors."""
        return replace(self, vectors=encode([document.text for document in self.documents]))

    def halves(self) -> tuple[Batch, Batch]:
        """Return two batches of half of the documents each; there are at least two documents."""
        half, count = len(self.documents) // 2, len(self.documents)
        first, second = self.documents[:half], self.documents[half:]
        if self.vectors is None:
            return Batch(first), Batch(second)
        return (
            Batch(first, self.vectors.slice(0, half)),
            Batch(second, self.vectors.slice(half, count)),
        )

    def write(self, store: Store) -> Written:
        """Write what is stored for the documents; the batch has vectors."""
        assert self.vectors is not None
        return Written(self.documents, store.upsert(self.documents, self.vectors))

    def discard(self, store: Store) -> None:
        """Leave nothing half-written of the only document, which was refused."""
