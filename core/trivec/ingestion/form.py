"""What is written for the documents of a source: the documents themselves, or their passages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias

from trivec.document import Document
from trivec.errors import InvalidInputError
from trivec.ingestion.batches import Batch
from trivec.stores.store import Store

Refuse: TypeAlias = Callable[[Document, InvalidInputError], None]


class Form(Protocol):
    """How documents of a source are stored; a journal and a report are about these documents."""

    def batches(self, documents: list[Document], refuse: Refuse) -> Iterator[Batch]:
        """Yield batches to encode, in which documents come in their order.

        Args:
            documents: Documents with distinct ids.
            refuse: Called with each document that cannot be stored so.
        """
        ...

    def with_stored_vectors(
        self, documents: Sequence[Document]
    ) -> tuple[int, Iterable[Batch], list[Document]]:
        """Return what can be written with the vectors of the store, which has the same texts.

        Returns:
            The number of these documents, their batches with vectors, and the other documents.
        """
        ...

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Return the ids of documents that the store does not have."""
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Delete what was written for documents."""
        ...


class WholeDocuments:
    """Documents are stored as they are.

    Args:
        store: The collection.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def batches(self, documents: list[Document], refuse: Refuse) -> Iterator[Batch]:
        """Yield the documents as one batch."""
        yield Batch(documents)

    def with_stored_vectors(
        self, documents: Sequence[Document]
    ) -> tuple[int, Iterable[Batch], list[Document]]:
        """Return the documents whose texts the store has, with their vectors, and the others."""
        same, changed = with_stored_vectors(self._store, documents)
        return len(same.documents), [same] if same.documents else [], changed

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Return the ids of documents that the store does not have."""
        existing = {document.id for document in self._store.get(ids).documents}
        return [id for id in ids if id not in existing]

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents."""
        self._store.delete(ids)


def with_stored_vectors(
    store: Store, documents: Sequence[Document]
) -> tuple[Batch, list[Document]]:
    """Return the documents whose texts the store has, with their vectors, and the other ones."""
    if not documents:
        return Batch([]), []
    page = store.get([document.id for document in documents], with_vectors=True)
    row = {document.id: i for i, document in enumerate(page.documents)}
    texts = {document.id: document.text for document in page.documents}
    same, changed = list[Document](), list[Document]()
    for document in documents:
        is_same = texts.get(document.id) == store.as_stored(document).text
        (same if is_same else changed).append(document)
    vectors = None if page.vectors is None else page.vectors.take([row[d.id] for d in same])
    return Batch(same, vectors), changed
