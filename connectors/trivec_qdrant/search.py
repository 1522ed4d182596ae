"""Searches: one query of the database where it can rank by itself, else the parts of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

from trivec.collection import Capability
from trivec.errors import StoreError
from trivec.hit import Hit
from trivec.ranking import is_cut_tied, until_untied
from trivec.search import Part, Search
from trivec.stores.steps import Steps
from trivec.vectors import Vector
from trivec_qdrant import hits
from trivec_qdrant.engines.engine import Engine, Nearest, PayloadKeys, Query, ScoredRow
from trivec_qdrant.filters import Condition
from trivec_qdrant.mapping import Row, document, stored_id

FORBIDDEN_FORMULA = "Request is forbidden on"
"""How a server in strict mode (search_allow_exact=False) begins its refusal of a formula over a
stage that rescores by a vector without an index. It allows such a stage at the root of a query."""

MAX_TIES = 16_384
"""How many points of one query are read to put those of equal score at the last place in order.
Beyond that the database chooses among them."""

TOO_MANY = "Limit exceeded"
"""How a server in strict mode (max_query_limit) begins its refusal of a limit."""


class Searcher:
    """Answers searches over one collection."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._refusal = ""  # the server's answer to a formula

    @property
    def capability(self) -> Capability:
        """How hybrid scores are computed."""
        if self._refusal:
            return Capability("hybrid", "a batch of rescoring queries", self._refusal)
        return Capability(
            "hybrid", "one query with a formula", "the weighted sum over rescored candidates"
        )

    def search(
        self, questions: Sequence[Vector], search: Search, where: Condition | None
    ) -> Steps[list[list[Hit]]]:
        """Return at least the k best hits for each question; all satisfy the condition."""
        start = partial(_Run, self._engine, questions, search, where)
        if search.mode == "rrf":
            return (yield from start().fused())
        if search.mode != "hybrid":
            return (yield from start().ranked())
        if not self._refusal and hits.is_readable_from_sum(search.weights):
            try:
                return (yield from start().ranked())
            except StoreError as error:
                if FORBIDDEN_FORMULA not in str(error):
                    raise
                self._refusal = str(error)
        return (yield from start().in_parts())


class _Run:
    """One search; its questions are known by their position."""

    def __init__(
        self, engine: Engine, questions: Sequence[Vector], search: Search, where: Condition | None
    ) -> None:
        self._engine = engine
        self._names = engine.names
        self._questions = questions
        self._search = search
        self._where = where
        self._sources = [hits.sources(question, search) for question in questions]
        self._are_checked = False  # whether the sources give the right candidates

    def ranked(self) -> Steps[list[list[Hit]]]:
        """Let the database rank."""

        def ask(limits: Mapping[int, int]) -> Steps[Mapping[int, list[ScoredRow]]]:
            def queries(i: int) -> list[Query]:
                query = hits.query(self._questions[i], self._search, limits[i], self._sources[i])
                return [] if query is None else [query]

            results = yield from self._over_candidates(limits, queries)
            reading.goes_on = bool(results)
            return {i: lists[0] if lists else [] for i, lists in results.items()}

        reading = _Reading(self._search.hit_limit)
        questions = range(len(self._questions))
        points = yield from until_untied(
            questions, reading.k + 1, ask, reading.is_tied, most=reading.most
        )
        return [self._hits(i, points[i]) for i in questions]

    def in_parts(self) -> Steps[list[list[Hit]]]:
        """Ask for each part of the hybrid scores by itself, add up, and read the best."""
        stages: dict[int, Sequence[Nearest]] = {}

        def queries(i: int) -> list[Query]:
            stages[i] = hits.stages(self._questions[i], self._search, self._sources[i])
            return [Query(stage, stage.limit, self._only_id) for stage in stages[i]]

        results = yield from self._over_candidates(range(len(self._questions)), queries)
        scored = [
            hits.weigh(lists, stages[i], self._questions[i], self._search, self._names)
            for i, lists in results.items()
        ]
        rows = yield from self._read(id for best in scored for id, _ in best)
        return [
            [
                Hit(document(rows[id], self._names), scores.hybrid or 0.0, scores)
                for id, scores in best
                if id in rows
            ]
            for best in scored
        ]

    def fused(self) -> Steps[list[list[Hit]]]:
        """Let the database fuse the lists; do so here where equal scores have to be ordered."""
        limit = self._search.hit_limit + 1
        batch: list[Query] = []
        for question, sources in zip(self._questions, self._sources, strict=True):
            query = hits.query(question, self._search, limit, sources)
            if query is not None:
                batch += [query, *(_list_of(source, 1, self._only_id) for source in sources)]
        results = iter((yield from self._query(batch)))
        answers: list[list[Hit]] = []
        for i, sources in enumerate(self._sources):
            points = next(results) if sources else []
            lists = [next(results) for _ in sources]
            if any(map(_has_ties, lists)) or _is_cut_tied(points, self._search.hit_limit, limit):
                ordered = yield from self._ordered(dict(enumerate(lists)), sources)
                fused = hits.fuse(ordered, self._search, self._names)
                along = hits.vectors_read(self._questions[i], self._search)
                rows = yield from self._read((id for id, _ in fused), along)
                points = [ScoredRow(score, rows[id]) for id, score in fused if id in rows]
            answers.append(self._hits(i, points))
        return answers

    def _over_candidates(
        self, questions: Iterable[int], queries: Callable[[int], list[Query]]
    ) -> Steps[dict[int, list[list[ScoredRow]]]]:
        """Answer queries over the candidates of questions.

        The first time, the same request reads one more candidate than each source gives. If that
        scores the same as the last one, the database chose among equal scores. Then the right
        candidates are read, and the queries sent again over exactly these.

        Returns:
            For each question, by its position, the results of its queries; nothing if the server
            refuses the limit, after it has allowed a smaller one.
        """
        batches = {i: queries(i) for i in questions}
        lists = [] if self._are_checked else [s for i in batches for s in self._sources[i]]
        batch = [query for queries_of_one in batches.values() for query in queries_of_one]
        were_checked, self._are_checked = self._are_checked, True
        try:
            probes = [_list_of(source, 1, False) for source in lists]
            results = iter((yield from self._query([*batch, *probes])))
        except StoreError as error:
            if TOO_MANY not in str(error):
                raise
            if were_checked:
                return {}
            results, lists = iter((yield from self._query(batch))), []
        answers = {i: [next(results) for _ in batches[i]] for i in batches}
        if not lists:
            return answers
        chosen: list[int] = []
        for i in batches:
            sources = self._sources[i]
            given = {j: next(results) for j in range(len(sources))}
            if any(_is_cut_tied(given[j], s.limit, s.limit + 1) for j, s in enumerate(sources)):
                ordered = yield from self._ordered(given, sources)
                self._sources[i] = tuple(map(hits.only, sources, ordered))
                chosen.append(i)
        if chosen:
            answers |= yield from self._over_candidates(chosen, queries)
        return answers

    def _ordered(
        self, given: Mapping[int, list[ScoredRow]], sources: Sequence[Nearest]
    ) -> Steps[list[list[ScoredRow]]]:
        """Return the candidates that sources give by the definition, lowest ids first.

        All sources have the same limit, and each was asked for one more than that (`given`).
        """
        reading = _Reading(self._search.source_limit)

        def ask(limits: Mapping[int, int]) -> Steps[Mapping[int, list[ScoredRow]]]:
            if max(limits.values()) == reading.k + 1:
                return given
            more = [_list_of(sources[j], n - reading.k, self._only_id) for j, n in limits.items()]
            try:
                return dict(zip(limits, (yield from self._query(more)), strict=True))
            except StoreError as error:
                if TOO_MANY not in str(error):
                    raise
                reading.goes_on = False
                return {}

        points = yield from until_untied(
            given, reading.k + 1, ask, reading.is_tied, most=reading.most
        )
        return [hits.cut(points[j], reading.k, self._names) for j in given]

    def _query(self, batch: Sequence[Query]) -> Steps[list[list[ScoredRow]]]:
        return (yield from self._engine.query(batch, self._where)) if batch else []

    def _read(self, ids: Iterable[str], parts: Sequence[Part] = ()) -> Steps[dict[str, Row]]:
        """Return points by id; one may have been deleted since the query returned it."""
        different = [stored_id(id) for id in dict.fromkeys(ids)]
        rows = (yield from self._engine.read(different, parts)) if different else []
        return {row.id: row for row in rows}

    def _hits(self, i: int, points: Sequence[ScoredRow]) -> list[Hit]:
        return hits.hits(points, self._questions[i], self._search, self._names)

    @property
    def _only_id(self) -> PayloadKeys:
        """The payload that tells which document a point is."""
        return [self._names.id] if self._names.id else False


class _Reading:
    """Whether to read on, since more points may share the k-th place."""

    def __init__(self, k: int) -> None:
        self.k = k
        self.most = max(MAX_TIES, 8 * k)
        self.goes_on = True  # whether the server allows larger limits

    def is_tied(self, i: int, points: Sequence[ScoredRow], limit: int) -> bool:
        """Return whether points, which were read up to a limit, may lack some of the k best."""
        return self.goes_on and _is_cut_tied(points, self.k, limit)


def _list_of(source: Nearest, more: int, payload: PayloadKeys) -> Query:
    """Return the query for the points of a source, and so many more."""
    limit = source.limit + more
    return Query(replace(source, limit=limit), limit, payload)


def _has_ties(points: Sequence[ScoredRow]) -> bool:
    return any(point.score == following.score for point, following in pairwise(points))


def _is_cut_tied(points: Sequence[ScoredRow], k: int, limit: int) -> bool:
    """Return whether more points than the limit may share the k-th place."""
    return is_cut_tied([point.score for point in points], k, limit)
