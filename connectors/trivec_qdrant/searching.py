"""How a search is answered: in one request where the database can, else in parts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from trivec.collection import Capability
from trivec.errors import StoreError
from trivec.hit import Hit
from trivec.search import Part, Search
from trivec.vectors import Vector
from trivec_qdrant import plan
from trivec_qdrant.engine import Engine, Found, Request
from trivec_qdrant.filters import Condition
from trivec_qdrant.mapping import Row, document, stored_id

__all__ = ["FORBIDDEN_FORMULA", "Searcher"]

FORBIDDEN_FORMULA = "Request is forbidden on"
"""How a server in strict mode (search_allow_exact=False) begins its refusal to rescore, inside of
a formula, by a vector without an index; it allows the same at the root of a query."""

MAX_TIES = 4096
"""The most hits that are read to put those of equal score at the k-th place in order."""


class Searcher:
    """Answers searches over one collection.

    Args:
        engine: Where the collection is.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._refusal = ""  # what the server said to a formula

    @property
    def capability(self) -> Capability:
        """How hybrid scores are computed."""
        if self._refusal:
            return Capability("hybrid", "a batch of rescoring queries", self._refusal)
        return Capability(
            "hybrid", "one query with a formula", "the weighted sum over rescored candidates"
        )

    def answer(
        self, queries: Sequence[Vector], search: Search, where: Condition | None
    ) -> list[list[Hit]]:
        """Answer queries with at least their k best hits each."""
        if search.mode == "rrf":
            return self._fused(queries, search, where)
        if search.mode == "hybrid" and (
            self._refusal or not plan.readable_from_sum(search.weights)
        ):
            return self._in_parts(queries, search, where)
        try:
            return self._ranked(queries, search, where)
        except StoreError as error:
            if search.mode != "hybrid" or FORBIDDEN_FORMULA not in str(error):
                raise
            self._refusal = str(error)
            return self._in_parts(queries, search, where)

    def _ranked(
        self, queries: Sequence[Vector], search: Search, where: Condition | None
    ) -> list[list[Hit]]:
        """Let the database rank, and read further where the k-th place is shared."""
        found: dict[int, list[Found]] = {}
        pending = dict.fromkeys(range(len(queries)), search.k + 1)
        while pending:
            requests = {
                i: request
                for i, limit in pending.items()
                if (request := plan.request(queries[i], search, limit)) is not None
            }
            answers = self._engine.query(list(requests.values()), where) if requests else []
            found.update(zip(requests, answers, strict=True))
            pending = {
                i: 4 * limit
                for i, limit in pending.items()
                if limit <= MAX_TIES and _cut_is_tied(found.get(i, []), search.k, limit)
            }
        names = self._engine.names
        return [
            plan.hits(found.get(i, []), query, search, names) for i, query in enumerate(queries)
        ]

    def _fused(
        self, queries: Sequence[Vector], search: Search, where: Condition | None
    ) -> list[list[Hit]]:
        """Let the database fuse; with the lists at hand, where equal scores need our order."""
        batch: list[Request] = []
        places: list[slice] = []
        for query in queries:
            start = len(batch)
            request = plan.request(query, search, search.k + 1)
            if request is not None:
                batch.append(request)
                batch += [
                    Request(leaf, leaf.limit, payload=self._only_id)
                    for leaf in plan.leaves(query, search)
                ]
            places.append(slice(start, len(batch)))
        answers = self._engine.query(batch, where) if batch else []
        results = []
        for query, place in zip(queries, places, strict=True):
            found, *lists = answers[place] or [[]]
            if any(map(_has_ties, lists)) or _cut_is_tied(found, search.k, search.k + 1):
                ranked = plan.fuse(lists, search, self._engine.names)
                rows = self._read([point for point, _ in ranked], plan.read_along(query, search))
                found = [Found(score, rows[point]) for point, score in ranked if point in rows]
            results.append(plan.hits(found, query, search, self._engine.names))
        return results

    def _in_parts(
        self, queries: Sequence[Vector], search: Search, where: Condition | None
    ) -> list[list[Hit]]:
        """Ask for each part of the hybrid scores by itself, add up, and read the best."""
        asked = [plan.stages(query, search) for query in queries]
        batch = [
            Request(stage, stage.limit, payload=self._only_id)
            for stages in asked
            for stage in stages
        ]
        answers = iter(self._engine.query(batch, where) if batch else [])
        names = self._engine.names
        scored = [
            plan.weigh([next(answers) for _ in stages], stages, query, search, names)
            for query, stages in zip(queries, asked, strict=True)
        ]
        rows = self._read([point for best in scored for point, _ in best], ())
        return [
            [
                Hit(document(rows[point], names), scores.hybrid or 0.0, scores)
                for point, scores in best
                if point in rows
            ]
            for best in scored
        ]

    @property
    def _only_id(self) -> bool | tuple[str, ...]:
        """The payload that tells which document a point is."""
        return (self._engine.names.id,) if self._engine.names.id else False

    def _read(self, points: Sequence[str], parts: Sequence[Part]) -> dict[str, Row]:
        """Return points by id; one may have been deleted since it was found."""
        if not points:
            return {}
        ids = [stored_id(point) for point in dict.fromkeys(points)]
        return {row.id: row for row in self._engine.read(ids, parts)}


def _has_ties(found: Sequence[Found]) -> bool:
    return any(one.score == other.score for one, other in pairwise(found))


def _cut_is_tied(found: Sequence[Found], k: int, limit: int) -> bool:
    """Return whether more hits than were asked for may share the k-th place."""
    return len(found) == limit > k and found[k - 1].score == found[-1].score
