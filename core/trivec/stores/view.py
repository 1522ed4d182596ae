"""How a store shows its collection: whether writes create it, and what bounds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from trivec.colbert_storage import ColbertStorage
from trivec.collection import Page
from trivec.document import Document
from trivec.errors import InvalidDocumentError
from trivec.fields import FieldType
from trivec.filters import Filter
from trivec.schema import Schema
from trivec.vectors import Vectors

_PAGE = 256  # documents whose vectors fit in memory together


@dataclass(frozen=True, slots=True)
class View:
    """How a store shows its collection.

    Args:
        creates: Whether the first write creates the collection. Until then it counts as empty.
        model: The name of the model that makes the vectors; "" when unknown.
        fields: The metadata that filters will use, declared when the collection is created.
        colbert: How the collection keeps token vectors when it is created; one that exists must
            keep them so. None for the default, and any that exists.
        bound: Returns the condition of all that the store reads, writes and deletes, or None for
            everything. It is called once per call of the store, since a condition may depend on
            the declared fields.
        encoded: Returns the text that the vectors of a document were made of, which holds the
            document's own text. Evidence is looked for in the latter.
    """

    creates: bool = False
    model: str = ""
    fields: Mapping[str, FieldType] = field(default_factory=dict)
    colbert: ColbertStorage | None = None
    bound: Callable[[], Filter | None] = lambda: None
    encoded: Callable[[Document], str] = lambda document: document.text

    def schema_of(self, vectors: Vectors) -> Schema:
        """Return the schema of a collection that these vectors create."""
        return Schema(
            dense=None if vectors.dense is None else vectors.dense.shape[1],
            sparse=vectors.sparse is not None,
            colbert=None if vectors.colbert is None else vectors.colbert.dim,
            model=self.model,
        )


def together(*conditions: Filter | None) -> Filter | None:
    """Return one filter that holds where all of these do, or None where there is none.

    >>> from trivec import F
    >>> together(None, F("a") == 1, F("b") == 2).matches({"a": 1, "b": 3})
    False
    """
    given = [condition for condition in conditions if condition is not None]
    if not given:
        return None
    first, *rest = given
    for condition in rest:
        first = first & condition
    return first


def batches_of(ids: Sequence[str]) -> Iterator[list[str]]:
    """Yield ids in batches whose vectors fit in memory together."""
    rest = iter(ids)
    while batch := list(islice(rest, _PAGE)):
        yield batch


def within(page: Page, bound: Filter | None) -> Page:
    """Return the documents of a page that satisfy the bound."""
    if bound is None:
        return page
    rows = [i for i, d in enumerate(page.documents) if bound.matches(d.metadata)]
    vectors = None if page.vectors is None else page.vectors.take(rows)
    return Page([page.documents[i] for i in rows], vectors)


def check_within(documents: Sequence[Document], bound: Filter) -> None:
    """Raise `InvalidDocumentError` if a document does not satisfy the bound."""
    for document in documents:
        if not bound.matches(document.metadata):
            raise InvalidDocumentError(
                f"document {document.id!r} does not satisfy the filter that bounds this store, "
                f"{bound.to_dict()}; give it that metadata, or write it through a store without "
                "this filter"
            )


def check_replaces(stored: Sequence[Document], bound: Filter) -> None:
    """Raise `InvalidDocumentError` if a stored document of the same id is outside the bound."""
    for document in stored:
        if not bound.matches(document.metadata):
            raise InvalidDocumentError(
                f"document {document.id!r}: the collection holds a document of this id outside "
                "the filter that bounds this store, and does not overwrite it; choose another id"
            )
