"""How a search is answered: in one request where the database can, else in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from trivec.collection import Capability
from trivec.errors import StoreError
from trivec.hit import Hit
from trivec.ranking import is_cut_tied
from trivec.scores import Scores
from trivec.search import Part, Search
from trivec.vectors import Vector
from trivec_qdrant import plan
from trivec_qdrant.engine import Engine, Found, Nearest, Request
from trivec_qdrant.filters import Condition
from trivec_qdrant.mapping import Row, document, stored_id

__all__ = ["FORBIDDEN_FORMULA", "Searcher"]

FORBIDDEN_FORMULA = "Request is forbidden on"
"""How a server in strict mode (search_allow_exact=False) begins its refusal to rescore, inside of
a formula, by a vector without an index; it allows the same at the root of a query."""

MAX_TIES = 4096
"""How many hits may be read, and then four times as many once more, to put those of equal score at
the last place in order. Beyond that the database chooses among them."""

TOO_MANY = "Limit exceeded"
"""How a server in strict mode (max_query_limit) begins its refusal of a limit."""


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
        """Let the database rank; ask again where an order among equal scores was its choice."""
        sources = {i: plan.leaves(query, search) for i, query in enumerate(queries)}
        unchecked = sources
        found: dict[int, list[Found]] = {}
        pending = dict.fromkeys(range(len(queries)), search.k + 1)
        while pending:
            requests = {
                i: request
                for i, limit in pending.items()
                if (request := plan.request(queries[i], search, limit, sources[i])) is not None
            }
            answers, chosen = self._checked(list(requests.values()), unchecked, where)
            found.update(zip(requests, answers, strict=False))  # none, if they were too many
            sources, unchecked = {**sources, **chosen}, {}
            pending = {
                i: limit if i in chosen else 4 * limit
                for i, limit in pending.items()
                if i in chosen or (answers and _is_open(found.get(i, []), search.k, limit))
            }
        names = self._engine.names
        return [
            plan.hits(found.get(i, []), query, search, names) for i, query in enumerate(queries)
        ]

    def _fused(
        self, queries: Sequence[Vector], search: Search, where: Condition | None
    ) -> list[list[Hit]]:
        """Let the database fuse; with the lists at hand, where equal scores need our order."""
        names = self._engine.names
        sources = [plan.leaves(query, search) for query in queries]
        batch: list[Request] = []
        places: list[slice] = []
        for query, leaves in zip(queries, sources, strict=True):
            start = len(batch)
            request = plan.request(query, search, search.k + 1, leaves)
            if request is not None:
                batch.append(request)
                batch += [self._probe(leaf, leaf.limit + 1, self._only_id) for leaf in leaves]
            places.append(slice(start, len(batch)))
        answers = self._engine.query(batch, where) if batch else []
        results = []
        for query, leaves, place in zip(queries, sources, places, strict=True):
            found, *lists = answers[place] or [[]]
            if any(map(_has_ties, lists)) or _cut_is_tied(found, search.k, search.k + 1):
                ordered = self._in_order(list(zip(leaves, lists, strict=True)), where)
                ranked = plan.fuse(ordered, search, names)
                rows = self._read([point for point, _ in ranked], plan.read_along(query, search))
                found = [Found(score, rows[point]) for point, score in ranked if point in rows]
            results.append(plan.hits(found, query, search, names))
        return results

    def _in_parts(
        self, queries: Sequence[Vector], search: Search, where: Condition | None
    ) -> list[list[Hit]]:
        """Ask for each part of the hybrid scores by itself, add up, and read the best."""
        sources = {i: plan.leaves(query, search) for i, query in enumerate(queries)}
        unchecked = sources
        pending = list(sources)
        names = self._engine.names
        scored: dict[int, list[tuple[str, Scores]]] = {}
        while pending:
            asked = {i: plan.stages(queries[i], search, sources[i]) for i in pending}
            batch = [
                Request(stage, stage.limit, payload=self._only_id)
                for stages in asked.values()
                for stage in stages
            ]
            answers, chosen = self._checked(batch, unchecked, where)
            following = iter(answers)
            for i, stages in asked.items():
                lists = [next(following) for _ in stages]
                scored[i] = plan.weigh(lists, stages, queries[i], search, names)
            sources, unchecked = {**sources, **chosen}, {}
            pending = list(chosen)
        rows = self._read([point for best in scored.values() for point, _ in best], ())
        return [
            [
                Hit(document(rows[point], names), scores.hybrid or 0.0, scores)
                for point, scores in scored[i]
                if point in rows
            ]
            for i in range(len(queries))
        ]

    def _checked(
        self,
        batch: Sequence[Request],
        sources: Mapping[int, tuple[Nearest, ...]],
        where: Condition | None,
    ) -> tuple[list[list[Found]], dict[int, tuple[Nearest, ...]]]:
        """Answer requests, and see in the same trip whether the candidates were a choice.

        Args:
            batch: The requests. Where the server allows no such limits, there are no answers to
                those that read on, and the first ones go unchecked.
            sources: Where the candidates of each query come from, as far as it is to be checked.
            where: The condition.

        Returns:
            The answers, and the sources that give the right candidates for those queries for which
            the database chose among documents of equal score.
        """
        leaves = [leaf for of_query in sources.values() for leaf in of_query]
        probes = [self._probe(leaf, leaf.limit + 1, False) for leaf in leaves]
        whole = [*batch, *probes]
        try:
            answers = self._engine.query(whole, where) if whole else []
        except StoreError as error:
            if TOO_MANY not in str(error):
                raise
            return (self._engine.query(list(batch), where) if sources else []), {}
        lists = iter(answers[len(batch) :])
        chosen = {}
        for i, of_query in sources.items():
            found = [next(lists) for _ in of_query]
            pairs = zip(of_query, found, strict=True)
            if any(_cut_is_tied(points, leaf.limit, leaf.limit + 1) for leaf, points in pairs):
                ordered = self._in_order(list(zip(of_query, found, strict=True)), where)
                chosen[i] = tuple(map(plan.only, of_query, ordered))
        return answers[: len(batch)], chosen

    def _in_order(
        self, lists: Sequence[tuple[Nearest, Sequence[Found]]], where: Condition | None
    ) -> list[list[Found]]:
        """Return the candidates that sources give by the definition.

        Args:
            lists: Each source, with one more point than it gives.
            where: The condition.
        """
        found = [list(points) for _, points in lists]
        pending = {i: leaf.limit + 1 for i, (leaf, _) in enumerate(lists)}
        while pending := {
            i: 4 * limit
            for i, limit in pending.items()
            if _is_open(found[i], lists[i][0].limit, limit)
        }:
            probes = [
                self._probe(lists[i][0], limit, self._only_id) for i, limit in pending.items()
            ]
            answers, _ = self._checked(probes, {}, where)
            for i, answer in zip(list(pending), answers, strict=False):
                found[i] = answer
            if not answers:
                break
        names = self._engine.names
        return [plan.cut(f, leaf.limit, names) for f, (leaf, _) in zip(found, lists, strict=True)]

    def _probe(self, leaf: Nearest, limit: int, payload: bool | tuple[str, ...]) -> Request:
        """Return the request for what a source gives, and more."""
        return Request(replace(leaf, limit=limit), limit, payload=payload)

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
    return is_cut_tied([one.score for one in found], k, limit)


def _is_open(found: Sequence[Found], k: int, limit: int) -> bool:
    """Return whether to read on, since more may share the k-th place."""
    return limit <= max(MAX_TIES, 2 * k) and _cut_is_tied(found, k, limit)
