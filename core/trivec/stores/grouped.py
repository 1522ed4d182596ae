"""Searches with groups, which ask for more candidates until there are enough groups."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

from trivec.collection import Collection
from trivec.errors import (
    AuthenticationError,
    CollectionNotFoundError,
    IncompleteResultError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from trivec.grouping import group_hits
from trivec.hit import Hit
from trivec.ranking import rank_hits
from trivec.search import Search
from trivec.stores.handle import Flow, Handle, call
from trivec.vectors import Vector

_TIMES = 4  # as many candidates in the next request
_MOST_TIMES = 64  # as many candidates in the last request as the search asks for
_HITS = 2**15  # of the queries of one request after the first
# Errors that fewer candidates would not avoid.
_NOT_BY_SIZE = (
    *(AuthenticationError, CollectionNotFoundError, IncompleteResultError, StoreFullError),
    StoreUnavailableError,
)

_log = logging.getLogger("trivec")


def ranked_hits(
    handle: Handle, collection: Collection, queries: Sequence[Vector], search: Search
) -> Flow[list[list[Hit]]]:
    """Return the best hits of each query, best first; with groups, all candidates.

    Args:
        handle: The open collection.
        collection: Its description.
        queries: Queries that fit it.
        search: The options, with the filter as backends get it.
    """
    answers = yield from call(handle.backend.search, collection, queries, search)
    return [rank_hits(hits, search.hit_limit) for hits in answers]


class GroupedSearch:
    """One search with groups in an open collection.

    Args:
        handle: The open collection.
        collection: Its description.
    """

    def __init__(self, handle: Handle, collection: Collection) -> None:
        self._handle = handle
        self._collection = collection
        # For each query that may have more groups: its candidates, and the refusal of more, if any.
        self._ended: list[tuple[int, str]] = []

    def hits(self, queries: Sequence[Vector], search: Search) -> Flow[list[list[Hit]]]:
        """Return the hits of the best groups of each query; those of a group side by side."""
        backend = self._handle.backend
        limit, largest = backend.limits.max_candidates(search), _MOST_TIMES * search.candidates
        groups = yield from self._groups(queries, search, min(largest, limit))
        if self._ended:
            candidates, refusal = max(self._ended)
            advice = "the database returns no more at once, so pass a filter or a smaller k"
            if candidates < limit:
                advice = "pass a larger candidates, a filter or a smaller k"
            _log.warning(
                "collection %r: %d of %d queries have fewer than k=%d groups by %r among "
                "candidates=%d, and there may be more groups: %s",
                *(backend.name, len(self._ended), len(queries), search.k, search.group_by),
                *(candidates, refusal or advice),
            )
        return [[hit for members in of_query for hit in members] for of_query in groups]

    def _groups(
        self, queries: Sequence[Vector], search: Search, most: int
    ) -> Flow[list[list[list[Hit]]]]:
        """Return the groups of each query, among at most so many candidates."""
        answers = yield from self._ranked(queries, search)
        groups = [group_hits(hits, search, self._collection.fields) for hits in answers]
        counts = {
            i: len(answers[i]) for i, of_query in enumerate(groups) if len(of_query) < search.k
        }
        del answers  # thousands of documents for each query
        lacking = yield from self._cut(queries, counts, search)
        if search.candidates >= most:
            self._end(len(lacking), search)
            return groups
        wider = replace(search, candidates=min(_TIMES * search.candidates, most))
        for some in _batches(lacking, wider):
            try:
                more = yield from self._groups([queries[i] for i in some], wider, most)
            except StoreError as error:
                self._handle.check_open()
                if isinstance(error, _NOT_BY_SIZE):
                    raise
                self._end(len(some), search, f"the database refused to return more: {error}")
            else:
                for i, of_query in zip(some, more, strict=True):
                    groups[i] = of_query
        return groups

    def _cut(
        self, queries: Sequence[Vector], counts: dict[int, int], search: Search
    ) -> Flow[list[int]]:
        """Return those of some queries that may have more candidates than they got.

        If no source gave as many candidates as it was asked for, these are all. In mode "colbert",
        only candidates with token vectors are hits, so "rrf" tells how many there are.

        Args:
            queries: All queries.
            counts: The positions of some, and how many hits they have.
            search: The options.
        """
        unsure: list[int] = []
        if search.mode == "colbert":
            unsure = [
                i
                for i, count in counts.items()
                if count < search.candidates and search.sources(queries[i])
            ]
        if unsure:
            fused = replace(search, mode="rrf")
            answers = yield from self._ranked([queries[i] for i in unsure], fused)
            counts |= {i: len(hits) for i, hits in zip(unsure, answers, strict=True)}
        return [i for i, count in counts.items() if count >= search.candidates]

    def _ranked(self, queries: Sequence[Vector], search: Search) -> Flow[list[list[Hit]]]:
        return (yield from ranked_hits(self._handle, self._collection, queries, search))

    def _end(self, queries: int, search: Search, refusal: str = "") -> None:
        self._ended += [(search.candidates, refusal)] * queries


def _batches(queries: Sequence[int], search: Search) -> Iterator[Sequence[int]]:
    """Split queries so that the hits of each request fit in memory together."""
    step = max(1, _HITS // search.hit_limit)
    for start in range(0, len(queries), step):
        yield queries[start : start + step]
