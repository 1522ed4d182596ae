"""The searches of a store, written once for the blocking and the asynchronous methods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from trivec.arguments import described
from trivec.collection import Collection
from trivec.encoders.known import known_encoder
from trivec.errors import InvalidVectorsError
from trivec.filters import NEVER
from trivec.grouping import check_group_field
from trivec.hit import Hit
from trivec.search import Search
from trivec.stores.calls import Calls
from trivec.stores.evidence import EvidenceFinder, check_evidence
from trivec.stores.grouped import GroupedSearch, ranked_hits
from trivec.stores.handle import Flow
from trivec.stores.validation import check_mode, check_query
from trivec.stores.view import together
from trivec.vectors import Vector


class Searching(Calls):
    """The searches of a store as flows."""

    def search_many(self, queries: Iterable[Vector], search: Search) -> Flow[list[list[Hit]]]:
        """Answer many queries."""
        listed = _listed_queries(queries)
        empty: list[list[Hit]] = [[] for _ in listed]
        hits = self._twice(lambda: self._search(listed, search))
        return (yield from self._unless_missing(hits, empty))

    def _search(self, queries: Sequence[Vector], search: Search) -> Flow[list[list[Hit]]]:
        collection = yield from self._handle.known()
        self._check_model(collection)
        condition = together((yield from self._bound()), search.filter)
        search = replace(search, filter=self._fitted(collection, condition))
        check_mode(self._name, collection.schema, search.mode)  # also where there is no query
        if search.group_by is not None:
            check_group_field(search.group_by, collection.fields)
        self._backend.limits.check_search(search)
        checked = self._checked(collection, queries, search)
        finder = self._finder(collection, queries, search)
        if not checked or search.filter == NEVER:
            return [[] for _ in checked]
        answers = yield from self._best(collection, checked, search)
        if finder is not None:
            answers = yield from finder.add(answers, checked, search)
        if not any(answers):
            yield from self._note_undeclared(collection, search.filter)
        return answers

    def add_evidence(
        self, queries: Iterable[Vector], answers: Sequence[Sequence[Hit]], search: Search
    ) -> Flow[list[list[Hit]]]:
        """Add evidence to hits."""
        listed = _listed_queries(queries)
        if len(listed) != len(answers):
            raise InvalidVectorsError(
                f"evidence: got {len(listed)} queries and {len(answers)} answers; give the hits of "
                "each query"
            )
        hits = self._twice(lambda: self._add_evidence(listed, answers, search))
        return (yield from self._unless_missing(hits, [list(of_query) for of_query in answers]))

    def _add_evidence(
        self, queries: Sequence[Vector], answers: Sequence[Sequence[Hit]], search: Search
    ) -> Flow[list[list[Hit]]]:
        collection = yield from self._handle.known()
        self._check_model(collection)
        finder = self._finder(collection, queries, search)
        if finder is None:
            return [list(hits) for hits in answers]
        checked = self._checked(collection, queries, search)
        return (yield from finder.add(answers, checked, search))

    def _checked(
        self, collection: Collection, queries: Sequence[Vector], search: Search
    ) -> list[Vector]:
        """Return queries that fit the collection and its database."""
        return [
            self._fit_query(check_query(self._name, collection.schema, query, search))
            for query in queries
        ]

    def _finder(
        self, collection: Collection, queries: Sequence[Vector], search: Search
    ) -> EvidenceFinder | None:
        """Return what finds the evidence that a search asks for, if any."""
        if not search.evidence:
            return None
        check_evidence(self._name, collection.schema, queries)
        encoder = known_encoder(collection.schema.model or self._view.model)
        return EvidenceFinder(self._handle, collection, encoder, self._view.encoded)

    def _best(
        self, collection: Collection, queries: Sequence[Vector], search: Search
    ) -> Flow[list[list[Hit]]]:
        """Return the best hits of checked queries, in groups if the search asks for them."""
        if search.group_by is not None:
            return (yield from GroupedSearch(self._handle, collection).hits(queries, search))
        return (yield from ranked_hits(self._handle, collection, queries, search))


def _listed_queries(queries: Iterable[Vector]) -> list[Vector]:
    """Return many queries as a list; one query alone is an error."""
    if isinstance(queries, (str, Vector)) or not isinstance(queries, Iterable):
        raise InvalidVectorsError(
            "queries: expected Vectors, such as encoder.encode_queries(texts), "
            f"got {described(queries)}"
        )
    return list(queries)
