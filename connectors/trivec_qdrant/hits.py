"""From a search to queries, and from their results to hits: pure functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trivec.hit import Hit
from trivec.ranking import reciprocal_ranks, weighted_sum
from trivec.schema import Schema
from trivec.scores import PartScores, Scores, Weights, score_many
from trivec.search import PARTS, Part, Search, has_part
from trivec.vectors import Vector
from trivec_qdrant.engines.engine import Fused, Nearest, Query, ScoredRow, Weighted
from trivec_qdrant.mapping import columns, document, document_id, query_part, stored_id
from trivec_qdrant.schema import Names

MAX_WEIGHT_RATIO = 8.0
"""The sum of the weights over ColBERT's up to which ColBERT's score is read off the hybrid score.
"""


def sources(question: Vector, search: Search) -> tuple[Nearest, ...]:
    """Return where the candidates come from; nothing where all documents are ranked."""
    if search.mode == "dense" or search.mode == "sparse":
        return ()
    return tuple(
        Nearest(part, query_part(question, part), search.source_limit)
        for part in search.sources(question)
    )


def stages(question: Vector, search: Search, over: tuple[Nearest, ...]) -> tuple[Nearest, ...]:
    """Return one exact query for each part of the hybrid score, over the same candidates.

    The sources `over` give the candidates. Parts that only give candidates are among the queries,
    since a document that lacks the others is a hit, too. Each stage's limit is the most candidates
    there can be: a lower one would silently make scores too small.
    """
    giving = {source.part: source.vector for source in over}
    limit = sum(source.limit for source in over)
    return tuple(
        Nearest(part, giving.get(part) or query_part(question, part), limit, over)
        for part in PARTS
        if over and (part in giving or part in search.scored_parts(question))
    )


def only(source: Nearest, points: Sequence[ScoredRow]) -> Nearest:
    """Return a source that gives these points and no others."""
    ids = tuple(stored_id(point.row.id) for point in points)
    return replace(source, limit=len(points), among=ids)


def cut(points: Sequence[ScoredRow], limit: int, names: Names) -> list[ScoredRow]:
    """Return the best points; those of equal score in the order of document ids."""
    return sorted(points, key=lambda p: (-p.score, document_id(p.row, names)))[:limit]


def query(question: Vector, search: Search, limit: int, over: tuple[Nearest, ...]) -> Query | None:
    """Return the query for the best hits among candidates, or None where there can be none."""
    if search.mode == "dense" or search.mode == "sparse":
        if not has_part(question, search.mode):
            return None
        return Query(Nearest(search.mode, query_part(question, search.mode), limit), limit)
    if not over:
        return None
    if search.mode == "colbert":
        return Query(Nearest("colbert", query_part(question, "colbert"), limit, over), limit)
    along = vectors_read(question, search)
    if search.mode == "rrf":
        return Query(Fused(over), limit, vectors=along)
    asked = stages(question, search, over)
    factors = tuple(_factor(stage, question, search.weights) for stage in asked)
    return Query(Weighted(asked, factors), limit, vectors=along)


def is_readable_from_sum(weights: Weights) -> bool:
    """Return whether ColBERT's score can be read off the hybrid score.

    The database returns the hybrid score in float32. The difference (hybrid * sum of weights -
    dense - sparse) / ColBERT's weight enlarges its rounding: within 1e-6 up to a ratio of 8.
    """
    return not 0 < weights.colbert * MAX_WEIGHT_RATIO < weights.total


def hits(points: Sequence[ScoredRow], question: Vector, search: Search, names: Names) -> list[Hit]:
    """Return the result of one query as hits with their parts."""
    if not points:
        return []
    scores = np.array([point.score for point in points], np.float64)
    hybrid = None
    match search.mode:
        case "dense":
            parts = PartScores(dense=scores)
        case "sparse":
            parts = PartScores(sparse=scores)
        case "colbert":
            scores = scores / _tokens(question)
            parts = PartScores(colbert=scores)
        case "rrf":
            parts = _from_vectors(points, question, search)
        case "hybrid":
            parts, hybrid = _parts_of_sum(scores, points, question, search), scores
    return [
        Hit(
            document(point.row, names),
            float(scores[i]),
            parts.row(i, hybrid=None if hybrid is None else float(hybrid[i])),
        )
        for i, point in enumerate(points)
    ]


def weigh(
    results: Sequence[Sequence[ScoredRow]],
    asked: Sequence[Nearest],
    question: Vector,
    search: Search,
    names: Names,
) -> list[tuple[str, Scores]]:
    """Add up the results of `stages`, one query each.

    Returns:
        The k best points with their scores, best first; equal ones in the order of document ids.
    """
    table: dict[str, dict[Part, float]] = defaultdict(dict)
    ids: dict[str, str] = {}
    for stage, points in zip(asked, results, strict=True):
        scale = _tokens(question) if stage.part == "colbert" else 1
        for point in points:
            table[point.row.id][stage.part] = point.score / scale
            ids[point.row.id] = document_id(point.row, names)
    scored: list[tuple[str, Scores]] = []
    for id, scores in table.items():
        parts: dict[Part, float] = {part: scores.get(part, 0.0) for part in search.parts}
        scored.append((id, Scores(**parts, hybrid=weighted_sum(parts, search.weights))))
    scored.sort(key=lambda pair: (-(pair[1].hybrid or 0.0), ids[pair[0]]))
    return scored[: search.hit_limit]


def fuse(
    lists: Sequence[Sequence[ScoredRow]], search: Search, names: Names
) -> list[tuple[str, float]]:
    """Fuse lists in which equal scores are ranked by document id, which no database does.

    Returns:
        The k best points with their scores, best first; equal ones in the order of document ids.
    """
    ids = {point.row.id: document_id(point.row, names) for points in lists for point in points}
    totals = reciprocal_ranks(
        [point.row.id for point in cut(points, len(points), names)] for points in lists
    )
    order = sorted(totals, key=lambda id: (-totals[id], ids[id]))
    return [(id, totals[id]) for id in order[: search.hit_limit]]


def vectors_read(question: Vector, search: Search) -> tuple[Part, ...]:
    """Return which vectors of the hits are read to compute their parts: the small ones."""
    return tuple(part for part in search.scored_parts(question) if part != "colbert")


def _tokens(question: Vector) -> int:
    return 0 if question.colbert is None else len(question.colbert)


def _factor(stage: Nearest, question: Vector, weights: Weights) -> float:
    """Return the factor of a stage's score; Qdrant sums ColBERT's over the question's tokens."""
    return weighted_sum({stage.part: 1.0}, weights) / (
        _tokens(question) if stage.part == "colbert" else 1
    )


def _from_vectors(points: Sequence[ScoredRow], question: Vector, search: Search) -> PartScores:
    """Compute the dense and the sparse scores that were asked for; 0 where a side lacks them."""
    dense = sparse = np.zeros(len(points))
    along = vectors_read(question, search)
    if along:
        schema = Schema(
            dense=None if question.dense is None or "dense" not in along else len(question.dense),
            sparse="sparse" in along,
            colbert=None,
        )
        stored = columns([point.row.vectors for point in points], schema)
        weights = Weights(float("dense" in along), float("sparse" in along), 0)
        scores = score_many(question, stored, weights)
        dense = dense if scores.dense is None else scores.dense
        sparse = sparse if scores.sparse is None else scores.sparse
    return PartScores(
        dense=dense if "dense" in search.parts else None,
        sparse=sparse if "sparse" in search.parts else None,
    )


def _parts_of_sum(
    hybrid: NDArray[np.float64], points: Sequence[ScoredRow], question: Vector, search: Search
) -> PartScores:
    """Return the parts of hybrid scores: two from the stored vectors, the third as the rest."""
    parts = _from_vectors(points, question, search)
    if "colbert" not in search.parts:
        return parts
    weights = search.weights
    rest = hybrid * weights.total
    if parts.dense is not None:
        rest = rest - weights.dense * parts.dense
    if parts.sparse is not None:
        rest = rest - weights.sparse * parts.sparse
    colbert = rest / weights.colbert
    # A score of 0, of a document or question without token vectors, with float32's rounding.
    rounding = 1e-7 * weights.total / weights.colbert
    nothing = np.abs(colbert) < rounding if has_part(question, "colbert") else True
    return PartScores(parts.dense, parts.sparse, np.where(nothing, 0.0, colbert))
