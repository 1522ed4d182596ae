"""The steps of a search: its requests, and how their answers become hits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from trivec.hit import Hit
from trivec.ranking import is_cut_tied, level, reciprocal_ranks, until_untied
from trivec.scores import PartScores, Scores, Weights, maxsim, score_many
from trivec.search import PARTS, Part, Search, has_part
from trivec.stores.steps import Steps
from trivec.vectors import Vector
from trivec_milvus.mapping import (
    Row,
    codes_of,
    document_of,
    vectors_of,
    without_reserved_index,
)
from trivec_milvus.replies import check_among, scored_rows
from trivec_milvus.requests import SearchRequests, answer_bytes, fetch, fields_of
from trivec_milvus.schema import MAX_LIMIT, Layout

_GROUP_BYTES = 256 * 1024 * 1024  # of packed vectors held at once
_SPARE = 8  # hits beyond k, since the server adds in float32 and the final order is exact
_NEAR = 1e-6  # scores that float32 may have put in the wrong order

Candidates = Mapping[str, int]
"""The ids of one query's candidates, with the number of ColBERT vectors of each."""


Source = tuple[Part, int]
"""A source of candidates: a part, and the index of a query."""


class _Ranked(NamedTuple):
    """One document in the answer to a search."""

    id: str
    score: float
    row: Row


class SearchSteps:
    """The search of several queries in one collection."""

    def __init__(self, queries: Sequence[Vector], search: Search, layout: Layout) -> None:
        self._queries = [without_reserved_index(query) for query in queries]
        self._search = search
        self._layout = layout
        self._requests = SearchRequests(search, layout)

    def run(self) -> Steps[list[list[Hit]]]:
        """Answer every query, in as few steps as the mode needs."""
        mode = self._search.mode
        if mode == "dense" or mode == "sparse":
            hits = yield from self._single(mode)
        else:
            hits = yield from self._fused()
        return [hits.get(i, []) for i in range(len(self._queries))]

    # --- modes ---------------------------------------------------------------------------------

    def _single(self, part: Part) -> Steps[dict[int, list[Hit]]]:
        """Rank by one part: one step."""
        lists = yield from self._sources(self._search.hit_limit, fields_of(self._layout, ()))
        return {
            i: [
                Hit(document_of(row, self._layout), score, Scores(**{part: score}))
                for _, score, row in ranked
            ]
            for (_, i), ranked in lists.items()
        }

    def _fused(self) -> Steps[dict[int, list[Hit]]]:
        """Rank the union of the candidates: two or three steps."""
        names, mode = self._layout.names, self._search.mode
        output = [names.id] + ([names.tokens] if self._layout.schema.colbert is not None else [])
        lists = yield from self._sources(self._search.source_limit, output)
        if mode == "rrf":
            return (yield from self._rrf(lists))
        unions: dict[int, dict[str, int]] = {}
        for (_, i), ranked in lists.items():
            tokens = {document.id: document.row.get(names.tokens, 0) for document in ranked}
            if mode == "colbert":
                tokens = {id: count for id, count in tokens.items() if count > 0}
            unions.setdefault(i, {}).update(tokens)
        unions = {i: union for i, union in unions.items() if union}
        server = {i: u for i, u in unions.items() if self._requests.on_server(self._queries[i])}
        hits: dict[int, list[Hit]] = {}
        if server:
            hits |= yield from (self._colbert if mode == "colbert" else self._hybrid)(server)
        client = {i: union for i, union in unions.items() if i not in server}
        for group in _groups(client, self._layout):
            # Read the stored vectors of all candidates and compute the scores here.
            rows = yield from self._rows(group.values(), packed=True)
            hits |= {i: self._hits(i, union, rows) for i, union in group.items()}
        return hits

    def _rrf(self, lists: Mapping[Source, list[_Ranked]]) -> Steps[dict[int, list[Hit]]]:
        ids: dict[int, list[list[str]]] = {}
        for (_, i), ranked in lists.items():
            ids.setdefault(i, []).append([document.id for document in ranked])
        best = {
            i: _best(reciprocal_ranks(of_query), self._search.hit_limit)
            for i, of_query in ids.items()
        }
        rows = yield from self._rows(best.values())
        return {i: self._hits(i, scores, rows, fused=scores) for i, scores in best.items()}

    def _colbert(self, unions: Mapping[int, Candidates]) -> Steps[dict[int, list[Hit]]]:
        """Rank the candidates by the ColBERT score that Milvus computes."""
        scores = yield from self._max_sim(unions)
        best = {i: _best(of_query, self._search.hit_limit) for i, of_query in scores.items()}
        rows = yield from self._rows(best.values())
        return {i: self._hits(i, ids, rows, colbert=ids) for i, ids in best.items()}

    def _hybrid(self, unions: Mapping[int, Candidates]) -> Steps[dict[int, list[Hit]]]:
        """Let Milvus rank the candidates, then compute the parts of the best ones exactly."""
        rows = yield from self._best_rows(unions)
        scores: Mapping[int, Mapping[str, float]] = {}
        if "colbert" in self._search.parts:
            with_tokens = {i: rows[i] for i in rows if has_part(self._queries[i], "colbert")}
            scores = yield from self._max_sim(with_tokens)
        return {
            i: self._hits(i, of_query, of_query, colbert=scores.get(i, {}))
            for i, of_query in rows.items()
        }

    def _best_rows(self, unions: Mapping[int, Candidates]) -> Steps[dict[int, dict[str, Row]]]:
        """Return the k best candidates of each query and some more, ranked by Milvus."""
        k = self._search.hit_limit
        output = fields_of(self._layout, [p for p in self._search.parts if p != "colbert"])

        def ask(limits: Mapping[int, int]) -> Steps[dict[int, list[_Ranked]]]:
            answers = yield [
                self._requests.fused(
                    self._queries[i], unions[i], min(limit, len(unions[i])), output
                )
                for i, limit in limits.items()
            ]
            best = {i: self._ranked(hits) for i, (hits,) in zip(limits, answers, strict=True)}
            for i, ranked in best.items():
                check_among((document.id for document in ranked), unions[i])
            return best

        def tied(i: int, ranked: list[_Ranked], limit: int) -> bool:
            scores = [document.score for document in ranked]
            return limit < len(unions[i]) and is_cut_tied(scores, k, limit, near=_NEAR)

        best = yield from until_untied(unions, k + _SPARE, ask, tied, most=MAX_LIMIT)
        return {i: {d.id: d.row for d in ranked} for i, ranked in best.items() if ranked}

    # --- requests ------------------------------------------------------------------------------

    def _sources(self, k: int, output: Sequence[str]) -> Steps[dict[Source, list[_Ranked]]]:
        """Return the k best documents of every source of every query; equal scores in id order.

        It takes one step, and another one while equal scores straddle the cut.
        """
        sources: list[Source] = [
            (part, i)
            for i, query in enumerate(self._queries)
            for part in self._search.sources(query)
        ]

        def ask(
            limits: Mapping[Source, int],
        ) -> Steps[dict[Source, list[_Ranked]]]:
            jobs: dict[tuple[Part, int], list[int]] = {}
            for (part, i), limit in limits.items():
                jobs.setdefault((part, limit), []).append(i)
            answers = yield [
                self._requests.ranked(part, [self._queries[i] for i in indices], limit, output)
                for (part, limit), indices in jobs.items()
            ]
            return {
                (part, i): self._ranked(hits, positive=part == "sparse")
                for ((part, _), indices), answer in zip(jobs.items(), answers, strict=True)
                for i, hits in zip(indices, answer, strict=True)
            }

        def tied(source: Source, ranked: list[_Ranked], limit: int) -> bool:
            return is_cut_tied([document.score for document in ranked], k, limit)

        lists = yield from until_untied(sources, k + 1, ask, tied, most=MAX_LIMIT)
        return {source: ranked[:k] for source, ranked in lists.items()}

    def _max_sim(
        self, candidates: Mapping[int, Iterable[str]]
    ) -> Steps[dict[int, dict[str, float]]]:
        """Return the ColBERT scores of given documents, as Milvus computes them.

        They are exact because the limit is the number of documents: Milvus begins with an
        approximate search only if more documents than the limit satisfy the filter.
        """
        asked = {i: list(ids) for i, ids in candidates.items()}
        if not asked:
            return {}
        output = [self._layout.names.id]
        answers = yield [
            self._requests.ranked("colbert", [self._queries[i]], len(ids), output, ids)
            for i, ids in asked.items()
        ]
        scores = {}
        for (i, ids), (hits,) in zip(asked.items(), answers, strict=True):
            scores[i] = {document.id: document.score for document in self._ranked(hits)}
            check_among(scores[i], set(ids))
        return scores

    def _rows(
        self, candidates: Iterable[Mapping[str, Any]], *, packed: bool = False
    ) -> Steps[dict[str, Row]]:
        """Read documents with the vectors that their scores need.

        With `packed` the values are token counts, and the ColBERT vectors are read too.
        """
        tokens = {id: n if packed else 0 for ids in candidates for id, n in ids.items()}
        return (yield from fetch(self._layout, tokens, fields_of(self._layout, self._search.parts)))

    # --- answers -------------------------------------------------------------------------------

    def _ranked(self, hits: Iterable[Any], *, positive: bool = False) -> list[_Ranked]:
        """Return the documents in the answer to one query, best first, equal scores in id order."""
        ranked = [
            _Ranked(*hit)
            for hit in scored_rows(hits, self._layout.names.id)
            if not positive or hit[1] > 0
        ]
        ranked.sort(key=lambda document: -document.score)
        scores = level([document.score for document in ranked])
        levelled = [d._replace(score=score) for d, score in zip(ranked, scores, strict=True)]
        return sorted(levelled, key=lambda document: (-document.score, document.id))

    def _hits(
        self,
        i: int,
        ids: Iterable[str],
        rows: Mapping[str, Row],
        *,
        fused: Mapping[str, float] | None = None,
        colbert: Mapping[str, float] | None = None,
    ) -> list[Hit]:
        """Return the hits of one query, scored by the vectors in their rows.

        Args:
            i: The index of the query.
            ids: The documents; those without a row have been deleted.
            rows: The rows by their ids.
            fused: The scores to rank by; by default the score of the mode.
            colbert: The ColBERT scores, if Milvus has computed them.
        """
        ids = [id for id in ids if id in rows]
        if not ids:
            return []
        search, selected = self._search, [rows[id] for id in ids]
        known = None if colbert is None else [colbert.get(id, 0.0) for id in ids]
        parts = self._part_scores(self._queries[i], selected, known)
        hybrid = parts.hybrid(search.weights) if search.mode == "hybrid" else None
        if fused is not None:
            ranking = np.array([fused[id] for id in ids])
        else:
            ranking = np.asarray(parts.colbert if hybrid is None else hybrid)
        order = sorted(range(len(ids)), key=lambda n: (-ranking[n], ids[n]))
        return [
            Hit(
                document_of(selected[n], self._layout),
                float(ranking[n]),
                parts.row(n, hybrid=None if hybrid is None else float(hybrid[n])),
            )
            for n in order[: search.hit_limit]
        ]

    def _part_scores(
        self, query: Vector, rows: Sequence[Row], colbert: Sequence[float] | None
    ) -> PartScores:
        """Return the scores of the parts of the search; 0 where the query or the row lacks it."""
        wanted, layout = self._search.parts, self._layout
        read = [part for part in layout.schema.parts if part in wanted]
        known = None if colbert is None else np.array(colbert)
        if "colbert" in read and (known is not None or layout.native or layout.code_bits):
            read.remove("colbert")
            if known is None and not layout.native and query.colbert is not None:
                known = maxsim(query.colbert, codes_of(rows, layout))
        computed = PartScores()
        if read:
            ones = Weights(*(float(part in read) for part in PARTS))
            computed = score_many(query, vectors_of(rows, layout, read), ones)
        scores = {
            "dense": computed.dense,
            "sparse": computed.sparse,
            "colbert": computed.colbert if known is None else known,
        }
        zeros = np.zeros(len(rows))
        return PartScores(**{p: zeros if scores[p] is None else scores[p] for p in wanted})


def _best(scores: Mapping[str, float], k: int) -> dict[str, float]:
    """Return the k best scores; equal ones in id order."""
    return {id: scores[id] for id in sorted(scores, key=lambda id: (-scores[id], id))[:k]}


def _groups(unions: Mapping[int, Candidates], layout: Layout) -> Iterator[dict[int, Candidates]]:
    """Split queries so that the vectors of each group's candidates fit in memory together."""
    group: dict[int, Candidates] = {}
    sizes: dict[str, int] = {}
    for i, union in unions.items():
        more = answer_bytes(layout, union, True)
        if group and sum((sizes | more).values()) > _GROUP_BYTES:
            yield group
            group, sizes = {}, {}
        group[i] = union
        sizes |= more
    if group:
        yield group
