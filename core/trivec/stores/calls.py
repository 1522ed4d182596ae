"""The base of the calls of a store: its view, typed filters, the policy for long rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from trivec.colbert_storage import ColbertStorage
from trivec.collection import Collection, Page
from trivec.document import PRIVATE_KEY
from trivec.errors import (
    CollectionNotFoundError,
    InvalidDocumentError,
    InvalidFilterError,
    InvalidOptionError,
    InvalidVectorsError,
    StoreError,
)
from trivec.fields import FieldType
from trivec.filters import ALWAYS, Comparison, Filter, Op, check_is_filter
from trivec.filters.declared import fit_filter
from trivec.rows import TokenRows
from trivec.stores.handle import Flow, Handle, call
from trivec.stores.overflow import OverflowingRowError, fit_rows
from trivec.stores.reduction import kept_as, reduced
from trivec.stores.view import View
from trivec.vectors import Vector, Vectors

T = TypeVar("T")

# Errors that an old description can cause: refusals by the checks here, or by the database.
_REFUSALS = (
    *(InvalidDocumentError, InvalidFilterError, InvalidOptionError, InvalidVectorsError),
    StoreError,
)

_log = logging.getLogger("trivec")


class Calls:
    """The parts that the calls of a store share.

    Args:
        handle: The open collection.
        view: How the store shows it.
    """

    def __init__(self, handle: Handle, view: View) -> None:
        self._handle = handle
        self._backend = handle.backend
        self._view = view

    @property
    def _name(self) -> str:
        return self._backend.name

    @property
    def storage(self) -> ColbertStorage | None:
        """How a new collection keeps token vectors, if the view or the options say so."""
        return self._view.colbert or self._handle.options.colbert

    def _twice(self, call: Callable[[], Flow[T]]) -> Flow[T]:
        """Make a call, once more if it is refused because the collection is another one now."""
        known = self._handle.collection
        try:
            return (yield from call())
        except _REFUSALS as error:
            if not (yield from self._handle.has_changed(known, error)):
                raise
        return (yield from call())

    def _unless_missing(self, flow: Flow[T], default: T) -> Flow[T]:
        """Return the default where the first write is still to create the collection."""
        try:
            return (yield from flow)
        except CollectionNotFoundError:
            if not self._view.creates:
                raise
            return default

    def _check_model(self, collection: Collection) -> None:
        """Refuse to compare with the vectors of another model."""
        if self._view.creates:
            collection.schema.check_model(self._view.model)

    def _bound(self) -> Flow[Filter | None]:
        """Return the bound of this view as the store searches it."""
        bound = self._view.bound()
        if bound is None:
            return None
        return fit_filter(bound, (yield from self.declared()))

    def declared(self) -> Flow[Mapping[str, FieldType]]:
        """Return the declared fields, which are those to come until the collection exists."""
        try:
            return (yield from self._handle.known()).fields
        except CollectionNotFoundError:
            if not self._view.creates:
                raise
            return self._view.fields

    def _fitted(self, collection: Collection, condition: Filter | None) -> Filter | None:
        """Return a filter as backends get it; None where it is true of everything.

        It is simplified, and its values are in the types of the declared fields. A filter that is
        never true is `NEVER`, which no backend is asked for.
        """
        if condition is None:
            return None
        only = self._backend.limits.declared_fields_only
        try:
            fitted = fit_filter(
                check_is_filter(condition), collection.fields, declared_only=only
            ).simplified()
        except RecursionError as error:
            raise InvalidFilterError("a filter has too many brackets in one another") from error
        return None if fitted == ALWAYS else fitted

    def _note_undeclared(self, collection: Collection, condition: Filter | None) -> Flow[None]:
        """Warn once of each field of a filter that is not declared and that no document has."""
        if condition is None or self._backend.limits.declared_fields_only:
            return
        for path in {comparison.path for comparison in condition.comparisons()}:
            noted = self._handle.noted
            if path in noted or path in collection.fields or path.startswith(f"{PRIVATE_KEY}."):
                continue
            noted.add(path)
            exists = Comparison(path, Op.EXISTS)
            if not (yield from call(self._backend.count, collection, exists)):
                _log.warning(
                    "collection %r: a filter names the field %r, which no document has; "
                    "its declared fields are %s",
                    *(self._name, path, ", ".join(collection.fields) or "none"),
                )

    def _fit(
        self, vectors: Vectors, names: Sequence[str], storage: ColbertStorage | None
    ) -> tuple[Vectors, tuple[str, ...]]:
        """Reduce token vectors as the collection keeps them, then apply `colbert_overflow`.

        Returns:
            The vectors, and the names of the rows that the policy changed.
        """
        if vectors.colbert is None:
            return vectors, ()
        rows = vectors.colbert if storage is None else reduced(vectors.colbert, storage)
        limit = self._backend.limits.max_colbert_rows(rows.dim)
        policy = self._handle.options.colbert_overflow
        try:
            fitted, changed = fit_rows(rows, limit, policy)
        except OverflowingRowError as error:
            raise InvalidDocumentError(f"{names[error.row]!r}: {error}") from error
        return replace(vectors, colbert=fitted), tuple(names[int(i)] for i in changed)

    def _marked(self, page: Page, collection: Collection) -> Page:
        """Return a page whose token vectors say how the collection keeps them."""
        vectors = page.vectors
        if vectors is None or vectors.colbert is None:
            return page
        rows = kept_as(vectors.colbert, collection.colbert)
        return Page(page.documents, replace(vectors, colbert=rows))

    def _fit_query(self, query: Vector) -> Vector:
        """Apply `colbert_overflow` to a query."""
        if query.colbert is None:
            return query
        limit = self._backend.limits.max_colbert_rows(query.colbert.shape[1])
        if limit is None or len(query.colbert) <= limit:
            return query
        batch = Vectors(colbert=TokenRows.from_arrays([query.colbert]))
        return replace(query, colbert=self._fit(batch, ["the query"], None)[0][0].colbert)
