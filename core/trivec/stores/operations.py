"""The calls of a store except searches, once for blocking and asynchronous methods."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trivec.arguments import expect
from trivec.colbert_storage import ColbertStorage
from trivec.collection import Capability, Collection, OptimizeReport, Page, UpsertReport
from trivec.document import Document
from trivec.errors import (
    CollectionNotFoundError,
    InvalidDocumentError,
    InvalidFilterError,
    RequestTooLargeError,
    SchemaMismatchError,
    StoreError,
)
from trivec.fields import FieldType, field_types
from trivec.filters import NEVER, Filter, check_is_filter
from trivec.filters.counterexample import counterexample
from trivec.passages.stored import is_passage_of, look_up, parent_id_of
from trivec.rows import spans
from trivec.schema import Schema
from trivec.stores.backend import Stepwise
from trivec.stores.calls import Calls
from trivec.stores.handle import Flow, call
from trivec.stores.options import agreed_colbert
from trivec.stores.steps import Pause, Steps, delegate
from trivec.stores.validation import (
    check_documents,
    check_ids,
    check_storage,
    check_vectors,
    storage_differences,
)
from trivec.stores.view import batches_of, check_replaces, check_within, together, within
from trivec.twins import answered
from trivec.vectors import Vectors

_creating = threading.Lock()


@dataclass(slots=True)
class Scan:
    """How far a scan has come."""

    collection: Collection
    condition: Filter | None
    batch_size: int
    with_vectors: bool
    cursor: object = None
    is_over: bool = False
    is_empty: bool = True


class Operations(Calls):
    """The calls of a store, without searches, as flows; `Store` says what each does."""

    # --- the collection ------------------------------------------------------------------------

    def create(
        self,
        schema: Schema,
        fields: Mapping[str, type | FieldType] | None,
        colbert: ColbertStorage | None,
        exist_ok: bool,
    ) -> Flow[None]:
        """Create the collection, or check that the one that exists fits."""
        expect(schema, Schema, "schema", "a Schema, usually encoder.schema")
        expect(exist_ok, bool, "exist_ok", "True or False")
        colbert = agreed_colbert(colbert, self.storage)
        if colbert is not None:
            self._backend.limits.check_colbert(colbert)
            colbert.check_dimension(schema.colbert)
        declared = field_types(fields or {})
        existing = yield from self._handle.describe(declared)
        if existing is None:
            wanted = Collection(schema, declared, colbert or ColbertStorage())
            self._handle.created((yield from call(self._creation(wanted, adopt=exist_ok))))
            return
        if not exist_ok:
            raise SchemaMismatchError(f"collection {self._name!r} exists; pass exist_ok=True")
        problems = schema.differences(existing.schema) + [
            f"field {path!r} is {existing.fields.get(path, 'not declared')}, expected {type}"
            for path, type in declared.items()
            if existing.fields.get(path) != type
        ]
        problems += storage_differences(existing, colbert)
        if problems:
            self._handle.forget()
            raise SchemaMismatchError(
                f"collection {self._name!r} exists and does not fit: {'; '.join(problems)}. "
                "Use another name, or drop it and ingest again"
            )

    def _creation(self, wanted: Collection, *, adopt: bool) -> Callable[[], Stepwise[Collection]]:
        """Return what creates the collection, and may be called again if its answer was lost."""
        is_repeated = False

        def create() -> Steps[Collection]:
            nonlocal is_repeated
            if is_repeated:
                existing: Collection | None
                existing = yield from delegate(self._backend.describe(wanted.fields))
                if existing is not None and (
                    not wanted.schema.differences(existing.schema)
                    and dict(existing.fields) == dict(wanted.fields)
                ):
                    return existing
            is_repeated = True
            created: Collection = yield from delegate(self._backend.create(wanted, adopt=adopt))
            return created

        return create

    def drop(self) -> Flow[None]:
        """Delete the collection."""
        yield from call(self._backend.drop)
        self._handle.forget()

    def optimize(self) -> Flow[OptimizeReport]:
        """Build indexes and give back disk."""
        collection = yield from self._handle.known(anew=True)
        return (yield from call(self._backend.optimize, collection))

    def clear(self) -> Flow[None]:
        """Delete every document within the bound; without one, create the collection anew."""
        try:
            collection = yield from self._handle.known(anew=True)
            bound = yield from self._bound()
            if bound is not None:
                yield from call(self._backend.delete_where, collection, bound)
                return
        except CollectionNotFoundError:
            if self._view.creates:
                return
            raise
        yield from self.drop()
        yield from self.create(
            collection.schema, collection.fields, collection.colbert, exist_ok=True
        )

    # --- documents -----------------------------------------------------------------------------

    def upsert(self, documents: Sequence[Document], vectors: Vectors) -> Flow[UpsertReport]:
        """Write documents with their vectors."""
        if not self._view.creates:
            return (yield from self._upsert(documents, vectors))
        bound = yield from self._bound()
        if bound is not None:
            check_within(documents, bound)  # before the collection is created for them
        fitted = yield from self._created(vectors)
        try:
            return (yield from self._upsert(documents, fitted))
        except CollectionNotFoundError:  # another handle dropped it meanwhile
            fitted = yield from self._created(vectors)
            return (yield from self._upsert(documents, fitted))

    def _created(self, vectors: Vectors) -> Flow[Vectors]:
        """Create the collection if need be; return the parts of the vectors that it holds."""
        check_vectors(vectors)
        given = self._view.schema_of(vectors)
        try:
            # Another handle may have put another model's collection in the place of this one.
            collection = yield from self._handle.known(anew=True)
        except CollectionNotFoundError:
            # Of two first writes at the same time, one creates the collection.
            while not _creating.acquire(blocking=False):
                yield from call(_pause)
            try:
                yield from self.create(given, self._view.fields, self._view.colbert, exist_ok=True)
            finally:
                _creating.release()
            return vectors
        check_storage(self._name, collection, self._view.colbert)
        return vectors.only(given.held_by(collection.schema))

    def _upsert(self, documents: Sequence[Document], vectors: Vectors) -> Flow[UpsertReport]:
        collection = yield from self._handle.known(anew=True)
        check_documents(self._name, collection, documents, vectors, self._backend.limits)
        documents = list(documents)  # of whatever type of sequence, for cutting
        bound = yield from self._bound()
        if bound is not None:
            check_within(documents, bound)
            for ids in batches_of([document.id for document in documents]):
                page = yield from call(self._backend.get, collection, ids, False)
                check_replaces(page.documents, bound)
        self._backend.check(collection, documents, vectors)
        ids = [document.id for document in documents]
        # A collection that does not record its storage keeps whole vectors.
        vectors, overflowed = self._fit(vectors, ids, collection.colbert or ColbertStorage())
        texts = np.fromiter((d.size_bytes for d in documents), np.int64, len(documents))
        sizes = self._backend.wire_bytes(collection, vectors) + texts
        requests = 0
        for start, stop in spans(sizes, self._handle.options.batch_bytes):
            requests += yield from self._write(
                collection, documents[start:stop], vectors.slice(start, stop)
            )
        return UpsertReport(len(documents), requests, int(sizes.sum()), overflowed)

    def _write(
        self, collection: Collection, documents: Sequence[Document], vectors: Vectors
    ) -> Flow[int]:
        """Write one batch, by halves if the database finds it too large; return the requests."""
        try:
            yield from call(self._backend.write, collection, documents, vectors)
        except RequestTooLargeError as error:
            if len(documents) == 1:
                raise StoreError(
                    f"document {documents[0].id!r} alone is too large for the database: {error}"
                ) from error
            half = len(documents) // 2
            first = yield from self._write(collection, documents[:half], vectors.slice(0, half))
            rest = vectors.slice(half, len(documents))
            return first + (yield from self._write(collection, documents[half:], rest))
        return 1

    def get(self, ids: Iterable[str], with_vectors: bool) -> Flow[Page]:
        """Return documents in the order of their ids."""
        wanted = check_ids(ids)
        found = self._twice(lambda: self._get(wanted, with_vectors))
        return (yield from self._unless_missing(found, Page([], None)))

    def _get(self, ids: Sequence[str], with_vectors: bool) -> Flow[Page]:
        collection = yield from self._handle.known(anew=with_vectors)
        if with_vectors:
            self._check_model(collection)
        page = Page([], None)
        if ids:
            page = yield from call(self._backend.get, collection, ids, with_vectors)
            page = self._marked(page, collection)
        index = {document.id: i for i, document in enumerate(page.documents)}
        order = [index[id] for id in ids if id in index]
        vectors = page.vectors
        if with_vectors and vectors is None:
            vectors = Vectors.none(collection.schema)
        bound = yield from self._bound()
        documents = [page.documents[i] for i in order]
        return within(Page(documents, None if vectors is None else vectors.take(order)), bound)

    def delete(self, ids: Iterable[str], passages: bool) -> Flow[None]:
        """Delete documents by their ids."""
        expect(passages, bool, "passages", "True or False")
        yield from self._unless_missing(self._delete(check_ids(ids), passages), None)

    def _delete(self, ids: Sequence[str], passages: bool) -> Flow[None]:
        collection = yield from self._handle.known(anew=True)
        bound = yield from self._bound()
        if passages:
            kept: set[str] = set()
            for batch in batches_of(ids):
                kept |= yield from self._delete_passages(collection, batch, bound)
            ids = [id for id in ids if id not in kept]
        if bound is None:
            if ids:
                yield from call(self._backend.delete, collection, ids)
            return
        for batch in batches_of(ids):
            page = yield from self._get(batch, False)
            if page.documents:
                inside = [document.id for document in page.documents]
                yield from call(self._backend.delete, collection, inside)

    def _delete_passages(
        self, collection: Collection, ids: Sequence[str], bound: Filter | None
    ) -> Flow[set[str]]:
        """Delete the passages of documents, the first ones last: they lead to all others.

        Returns:
            Those ids under which a passage of another document is stored. They name the documents
            whose passages were deleted, so what is stored under them stays.
        """

        def read(ids: list[str]) -> Flow[list[Document]]:
            page = yield from call(self._backend.get, collection, ids, False)
            return within(page, bound).documents

        try:
            existing = yield from answered(look_up(dict.fromkeys(ids, 0)), read)
        except InvalidDocumentError:  # an attached collection whose ids cannot be those of passages
            return set()
        passages = [
            (n, id, passage.id)
            for id, numbered in existing.items()
            for n, passage in numbered.items()
            if is_passage_of(passage, id)
        ]
        passages.sort(reverse=True)
        for those in ([id for n, _, id in passages if n], [id for n, _, id in passages if not n]):
            for batch in batches_of(those):
                yield from call(self._backend.delete, collection, batch)
        both = [id for id in {id for _, id, _ in passages} if "#" in id]
        stored = (yield from read(both)) if both else []
        return {document.id for document in stored if parent_id_of(document) is not None}

    def delete_where(self, filter: Filter) -> Flow[None]:
        """Delete the documents that satisfy a condition."""
        yield from self._unless_missing(self._delete_where(filter), None)

    def _delete_where(self, filter: Filter) -> Flow[None]:
        collection = yield from self._handle.known(anew=True)
        condition = self._fitted(collection, check_is_filter(filter))
        if all(comparison.value == () for comparison in filter.comparisons()):
            raise InvalidFilterError(
                f"delete_where({filter!r}) compares nothing; use drop() to delete everything"
            )
        bound = yield from self._bound()
        if condition is None or counterexample(condition, collection.fields) is None:
            which, instead = ("there can be", "drop()")
            if bound is not None:
                which, instead = ("that this store is bound to", "clear()")
            raise InvalidFilterError(
                f"delete_where({filter!r}) would delete every document {which}; use {instead} to "
                "delete them all"
            )
        condition = self._fitted(collection, together(bound, condition))
        if condition is not None and condition != NEVER:
            yield from self._note_undeclared(collection, condition)
            yield from call(self._backend.delete_where, collection, condition)

    def count(self, filter: Filter | None) -> Flow[int]:
        """Count documents."""
        return (yield from self._unless_missing(self._count(filter), 0))

    def _count(self, filter: Filter | None) -> Flow[int]:
        collection = yield from self._handle.known(anew=True)
        condition = self._fitted(collection, together((yield from self._bound()), filter))
        count = 0
        if condition != NEVER:
            count = yield from call(self._backend.count, collection, condition)
        if not count:
            yield from self._note_undeclared(collection, condition)
        return count

    def scan(self, batch_size: int, with_vectors: bool, filter: Filter | None) -> Flow[Scan | None]:
        """Return a scan that has not begun."""
        start = self._scan(batch_size, with_vectors, filter)
        return (yield from self._unless_missing(start, None))

    def _scan(
        self, batch_size: int, with_vectors: bool, filter: Filter | None
    ) -> Flow[Scan | None]:
        collection = yield from self._handle.known(anew=True)
        condition = self._fitted(collection, together((yield from self._bound()), filter))
        return Scan(collection, condition, batch_size, with_vectors)

    def next_page(self, scan: Scan | None) -> Flow[Page | None]:
        """Return the next page of a scan that holds a document, or None at its end."""
        self._handle.check_open()
        while scan is not None and not scan.is_over:
            if scan.condition == NEVER:
                scan.is_over = True
                break
            page = yield from self._unless_missing(self._page(scan), Page([], None))
            if page.documents:
                scan.is_empty = False
                return page
        if scan is not None and scan.is_empty:
            scan.is_empty = False  # said once
            yield from self._note_undeclared(scan.collection, scan.condition)
        return None

    def _page(self, scan: Scan) -> Flow[Page]:
        scan.is_over = True  # also if the collection turns out to be gone
        page, scan.cursor = yield from call(
            self._backend.scan_page,
            scan.collection,
            scan.cursor,
            scan.batch_size,
            scan.with_vectors,
            scan.condition,
        )
        scan.is_over = scan.cursor is None
        return self._marked(page, scan.collection)

    def capabilities(self) -> Flow[tuple[Capability, ...]]:
        """Return how the backend does what databases differ in."""
        collection = yield from self._handle.known()
        return (yield from call(self._backend.capabilities, collection))


def _pause() -> Stepwise[bool]:
    """Wait a moment for another write to create the collection."""
    yield [Pause(0.01)]
    return True
