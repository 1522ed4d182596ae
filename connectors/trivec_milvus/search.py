"""The steps of a search: which requests to send, and what to make of their answers.

A search is a generator that yields the requests of one step, which do not depend on each other,
and receives their answers; so one text serves the blocking and the asynchronous client.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from trivec.errors import InvalidOptionError
from trivec.hit import Hit
from trivec.ranking import is_cut_tied, level, reciprocal_ranks
from trivec.scores import PartScores, Scores, Weights, score_many
from trivec.search import Part, Search
from trivec.vectors import Vector
from trivec_milvus.mapping import Row, document, vectors_of
from trivec_milvus.replies import check_among, scored
from trivec_milvus.requests import (
    PARTS,
    Requests,
    Steps,
    answer_bytes,
    fetch,
    fields_of,
    has_tokens,
)
from trivec_milvus.schema import Layout

__all__ = ["answer"]

MAX_LIMIT = 16_384  # hits of one search; the server's quotaAndLimits.limits.topK
_GROUP_BYTES = 256 * 1024 * 1024  # of packed vectors held at once
_SPARE = 8  # hits beyond k, since the server adds in float32 and we rank by exact sums
_NEAR = 1e-6  # scores that float32 may have put in the wrong order


class _Found(NamedTuple):
    """One document in the answer of a search."""

    id: str
    score: float
    row: Mapping[str, Any]


def answer(queries: Sequence[Vector], search: Search, layout: Layout) -> Steps[list[list[Hit]]]:
    """Search for every query, in as few steps as the mode needs.

    Raises:
        InvalidOptionError: If more hits are asked for than Milvus returns at once.
    """
    if search.candidate_limit > MAX_LIMIT:
        raise InvalidOptionError(
            f"Milvus returns at most {MAX_LIMIT} hits at once: k={search.k} and "
            f"candidates={search.candidates} of two sources are too many"
        )
    plan = _Plan(queries, search, layout)
    if search.mode == "dense" or search.mode == "sparse":
        return plan.single(search.mode)
    return plan.fused()


class _Plan:
    """The search of several queries in one collection."""

    def __init__(self, queries: Sequence[Vector], search: Search, layout: Layout) -> None:
        self._queries = queries
        self._search = search
        self._layout = layout
        self._requests = Requests(search, layout)
        self._sources = [self._requests.sources(query) for query in queries]

    # --- modes ---------------------------------------------------------------------------------

    def single(self, part: Part) -> Steps[list[list[Hit]]]:
        """Rank by one part: one step."""
        output = fields_of(self._layout, ())
        lists = yield from self._ranked(self._search.k, output)
        return [
            [_hit(found, part, self._layout) for found in ranked.get(part, ())] for ranked in lists
        ]

    def fused(self) -> Steps[list[list[Hit]]]:
        """Rank the union of the candidates: two or three steps."""
        names, layout = self._layout.names, self._layout
        output = [names.id] + ([names.tokens] if layout.schema.colbert is not None else [])
        lists = yield from self._ranked(self._search.candidates, output)
        unions: list[dict[str, int]] = [
            {f.id: f.row.get(names.tokens, 0) for ranked in by_part.values() for f in ranked}
            for by_part in lists
        ]
        if self._search.mode == "rrf":
            return (yield from self._rrf(lists))
        if self._search.mode == "colbert":
            unions = [{i: n for i, n in union.items() if n > 0} for union in unions]
        answers: list[list[Hit]] = [[] for _ in unions]
        server = {
            i: u for i, u in enumerate(unions) if u and self._requests.on_server(self._queries[i])
        }
        here = {i: u for i, u in enumerate(unions) if u and i not in server}
        if server:
            rank = self._colbert if self._search.mode == "colbert" else self._hybrid
            answers = _merge(answers, (yield from rank(server)))
        for group in _groups(here, layout):
            answers = _merge(answers, (yield from self._rescored(group)))
        return answers

    def _rrf(self, lists: Sequence[Mapping[Part, list[_Found]]]) -> Steps[list[list[Hit]]]:
        ranked = []
        for by_part in lists:
            scores = reciprocal_ranks([one.id for one in found] for found in by_part.values())
            best = sorted(scores, key=lambda i: (-scores[i], i))[: self._search.k]
            ranked.append({i: scores[i] for i in best})
        rows = yield from self._rows(dict.fromkeys((i for r in ranked for i in r), 0))
        return [
            self._hits(query, {i: rows[i] for i in best if i in rows}, fused=best)
            for query, best in zip(self._queries, ranked, strict=True)
        ]

    def _rescored(self, unions: Mapping[int, Mapping[str, int]]) -> Steps[dict[int, list[Hit]]]:
        """Read the stored vectors of all candidates and compute the scores here."""
        rows = yield from self._rows({i: n for union in unions.values() for i, n in union.items()})
        return {
            place: self._hits(self._queries[place], {i: rows[i] for i in union if i in rows})
            for place, union in unions.items()
        }

    def _rows(self, tokens: Mapping[str, int]) -> Steps[dict[str, Row]]:
        wanted = fields_of(self._layout, self._search.parts)
        return (yield from fetch(self._layout, tokens, wanted))

    def _colbert(self, unions: Mapping[int, Mapping[str, int]]) -> Steps[dict[int, list[Hit]]]:
        """Rank the candidates by the ColBERT score that Milvus computes."""
        scores = yield from self._max_sim(unions)
        best = {
            place: dict(sorted(found.items(), key=lambda one: (-one[1], one[0]))[: self._search.k])
            for place, found in scores.items()
        }
        rows = yield from self._rows(dict.fromkeys((i for ids in best.values() for i in ids), 0))
        return {
            place: self._hits(
                self._queries[place], {i: rows[i] for i in found if i in rows}, colbert=found
            )
            for place, found in best.items()
        }

    def _hybrid(self, unions: Mapping[int, Mapping[str, int]]) -> Steps[dict[int, list[Hit]]]:
        """Let Milvus rank the candidates, then compute the parts of the best ones exactly."""
        best = yield from self._fused_rows(unions)
        scores: Mapping[int, Mapping[str, float]] = {}
        if "colbert" in self._search.parts:
            asked = {p: rows for p, rows in best.items() if rows and has_tokens(self._queries[p])}
            scores = yield from self._max_sim(asked)
        return {
            place: self._hits(self._queries[place], rows, colbert=scores.get(place, {}))
            for place, rows in best.items()
        }

    def _fused_rows(
        self, unions: Mapping[int, Mapping[str, int]]
    ) -> Steps[dict[int, dict[str, Row]]]:
        k = self._search.k
        parts = [part for part in self._search.parts if part != "colbert"]
        output = fields_of(self._layout, parts)
        limits = {place: min(len(union), k + _SPARE) for place, union in unions.items()}
        best: dict[int, dict[str, Row]] = {}
        while limits:
            answers = yield [
                self._requests.fused(self._queries[place], unions[place], limit, output)
                for place, limit in limits.items()
            ]
            again = {}
            for (place, limit), (found,) in zip(limits.items(), answers, strict=True):
                hits = self._found(found)
                check_among((one.id for one in hits), unions[place])
                scores = [one.score for one in hits]
                if limit < len(unions[place]) and is_cut_tied(scores, k, limit, near=_NEAR):
                    again[place] = len(unions[place])
                best[place] = {one.id: dict(one.row) for one in hits}
            limits = again
        return best

    # --- lists ---------------------------------------------------------------------------------

    def _ranked(self, k: int, output: Sequence[str]) -> Steps[list[dict[Part, list[_Found]]]]:
        """Return the k best documents of every source of every query; equal scores in id order.

        One step, or more while the scores of those left out equal that of the last one.
        """
        lists: list[dict[Part, list[_Found]]] = [{} for _ in self._queries]
        pending: list[tuple[Part, int]] = [
            (part, i) for i, parts in enumerate(self._sources) for part in parts
        ]
        limit = min(k + 1, MAX_LIMIT)
        while pending:
            jobs: dict[Part, list[int]] = {}
            for part, i in pending:
                jobs.setdefault(part, []).append(i)
            answers = yield [
                self._requests.ranked(p, [self._queries[i] for i in places], limit, output)
                for p, places in jobs.items()
            ]
            pending = []
            for (part, places), answered in zip(jobs.items(), answers, strict=True):
                for i, hits in zip(places, answered, strict=True):
                    found = self._found(hits, positive=part == "sparse")
                    lists[i][part] = found[:k]
                    scores = [one.score for one in found]
                    if limit < MAX_LIMIT and is_cut_tied(scores, k, limit):
                        pending.append((part, i))
            limit = min(limit * 4, MAX_LIMIT)
        return lists

    def _max_sim(self, asked: Mapping[int, Iterable[str]]) -> Steps[dict[int, dict[str, float]]]:
        """Return the ColBERT scores of given documents that Milvus computes.

        It computes them exactly because as many hits are asked for as there are documents: where
        a filter leaves more, it begins with an approximate search.
        """
        if not asked:
            return {}
        among = {place: list(ids) for place, ids in asked.items()}
        answers = yield [
            self._requests.ranked(
                "colbert", [self._queries[place]], len(ids), [self._layout.names.id], ids
            )
            for place, ids in among.items()
        ]
        scores = {}
        for (place, ids), (hits,) in zip(among.items(), answers, strict=True):
            scores[place] = {one.id: one.score for one in self._found(hits)}
            check_among(scores[place], set(ids))
        return scores

    # --- answers -------------------------------------------------------------------------------

    def _found(self, hits: Iterable[Any], *, positive: bool = False) -> list[_Found]:
        name = self._layout.names.id
        found = [
            _Found(one, score, {**entity, name: one}) for one, score, entity in scored(hits, name)
        ]
        found = [one for one in found if one.score > 0] if positive else found
        found.sort(key=lambda one: -one.score)
        scores = level([one.score for one in found])
        levelled = [one._replace(score=s) for one, s in zip(found, scores, strict=True)]
        return sorted(levelled, key=lambda one: (-one.score, one.id))

    def _hits(
        self,
        query: Vector,
        rows: Mapping[str, Mapping[str, Any]],
        *,
        fused: Mapping[str, float] | None = None,
        colbert: Mapping[str, float] | None = None,
    ) -> list[Hit]:
        """Score rows whose vectors were read.

        Args:
            query: The query.
            rows: The rows by their ids.
            fused: The scores that rank them, where those are not the mode's own.
            colbert: The ColBERT scores, where Milvus has computed them.
        """
        if not rows:
            return []
        found, search = list(rows.values()), self._search
        known = None if colbert is None else [colbert.get(i, 0.0) for i in rows]
        parts = self._part_scores(query, found, known)
        hybrid = parts.hybrid(search.weights) if search.mode == "hybrid" else None
        if fused is not None:
            ranking = np.array([fused[i] for i in rows])
        else:
            ranking = np.asarray(parts.colbert if hybrid is None else hybrid)
        ids = list(rows)
        order = sorted(range(len(ids)), key=lambda i: (-ranking[i], ids[i]))
        return [
            Hit(
                document(found[i], self._layout),
                float(ranking[i]),
                parts.row(i, hybrid=None if hybrid is None else float(hybrid[i])),
            )
            for i in order[: search.k]
        ]

    def _part_scores(
        self, query: Vector, rows: Sequence[Mapping[str, Any]], colbert: Sequence[float] | None
    ) -> PartScores:
        wanted = self._search.parts
        read = [p for p in self._layout.schema.parts if p in wanted]
        if colbert is not None or self._layout.native:
            read = [part for part in read if part != "colbert"]
        computed = PartScores()
        if read:
            ones = Weights(*(float(part in read) for part in PARTS))
            computed = score_many(query, vectors_of(rows, self._layout, read), ones)
        none = np.zeros(len(rows))
        got = {
            "dense": computed.dense,
            "sparse": computed.sparse,
            "colbert": computed.colbert if colbert is None else np.array(colbert),
        }
        return PartScores(**{p: none if got[p] is None else got[p] for p in wanted})


def _hit(found: _Found, part: Part, layout: Layout) -> Hit:
    return Hit(document(found.row, layout), found.score, Scores(**{part: found.score}))


def _merge(answers: list[list[Hit]], more: Mapping[int, list[Hit]]) -> list[list[Hit]]:
    return [more.get(i, hits) for i, hits in enumerate(answers)]


def _groups(
    unions: Mapping[int, Mapping[str, int]], layout: Layout
) -> Iterable[dict[int, Mapping[str, int]]]:
    """Split queries so that the vectors of their candidates fit into memory together."""
    group: dict[int, Mapping[str, int]] = {}
    held: dict[str, int] = {}
    for place, union in unions.items():
        more = answer_bytes(layout, union, True)
        if group and sum((held | more).values()) > _GROUP_BYTES:
            yield group
            group, held = {}, {}
        group[place] = union
        held |= more
    if group:
        yield group
