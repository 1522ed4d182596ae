"""From one search to requests, and from what they found to hits: pure functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trivec.hit import Hit
from trivec.ranking import reciprocal_ranks
from trivec.schema import Schema
from trivec.scores import PartScores, Scores, Weights, score_many
from trivec.search import Part, Search
from trivec.vectors import Vector
from trivec_qdrant.engine import Found, Fused, Nearest, Request, Weighted
from trivec_qdrant.mapping import columns, document, document_id, query_part, stored_id
from trivec_qdrant.schema import Names

__all__ = [
    "cut",
    "fuse",
    "hits",
    "leaves",
    "only",
    "read_along",
    "readable_from_sum",
    "request",
    "stages",
    "weigh",
]

MAX_WEIGHT_RATIO = 8.0
"""The sum of the weights over ColBERT's up to which ColBERT's score is read off the hybrid one."""


def leaves(query: Vector, search: Search) -> tuple[Nearest, ...]:
    """Return the searches that the candidates come from; none where all documents are ranked."""
    if search.mode == "dense" or search.mode == "sparse":
        return ()
    return tuple(
        Nearest(part, query_part(query, part), search.candidates) for part in search.sources(query)
    )


def stages(query: Vector, search: Search, sources: tuple[Nearest, ...]) -> tuple[Nearest, ...]:
    """Return one exact search for each part of the hybrid score, over the same candidates.

    The parts that only give candidates are among them, since a document that lacks the others
    still is a hit. Each stage's limit is the most candidates there can be: a lower one would
    silently make scores too small.

    Args:
        query: The encoded question.
        search: What to search for.
        sources: Where the candidates come from; `leaves`, or what `only` made of them.
    """
    giving = [leaf.part for leaf in sources]
    limit = sum(leaf.limit for leaf in sources)
    parts: tuple[Part, ...] = ("dense", "sparse", "colbert")
    return tuple(
        Nearest(part, query_part(query, part), limit, sources)
        for part in parts
        if sources and (part in giving or (part in search.parts and _has(query, part)))
    )


def only(leaf: Nearest, found: Sequence[Found]) -> Nearest:
    """Return a source that gives these points and no others."""
    return replace(leaf, limit=len(found), among=tuple(stored_id(one.row.id) for one in found))


def cut(found: Sequence[Found], limit: int, names: Names) -> list[Found]:
    """Return the best points; those of equal score in the order of documents."""
    return sorted(found, key=lambda one: (-one.score, document_id(one.row, names)))[:limit]


def request(
    query: Vector, search: Search, limit: int, sources: tuple[Nearest, ...]
) -> Request | None:
    """Return the one request that answers a search, or None where nothing can be found.

    Args:
        query: The encoded question.
        search: What to search for.
        limit: How many hits.
        sources: Where the candidates come from; `leaves`, or what `only` made of them.
    """
    if search.mode == "dense" or search.mode == "sparse":
        if not _has(query, search.mode):
            return None
        return Request(Nearest(search.mode, query_part(query, search.mode), limit), limit)
    if not sources:
        return None
    if search.mode == "colbert":
        return Request(Nearest("colbert", query_part(query, "colbert"), limit, sources), limit)
    if search.mode == "rrf":
        return Request(Fused(sources), limit, vectors=read_along(query, search))
    asked = stages(query, search, sources)
    factors = tuple(_factor(stage, query, search.weights) for stage in asked)
    return Request(Weighted(asked, factors), limit, vectors=read_along(query, search))


def readable_from_sum(weights: Weights) -> bool:
    """Return whether ColBERT's score can be read off the hybrid score.

    The database returns the hybrid score in float32, whose rounding the difference
    (hybrid * sum of weights - dense - sparse) / ColBERT's weight enlarges: within 1e-6 up to a
    ratio of 8.
    """
    return not 0 < weights.colbert * MAX_WEIGHT_RATIO < weights.total


def hits(found: Sequence[Found], query: Vector, search: Search, names: Names) -> list[Hit]:
    """Return what one request found as hits with their parts."""
    if not found:
        return []
    scores = np.array([one.score for one in found], np.float64)
    match search.mode:
        case "dense":
            parts, hybrid = PartScores(dense=scores), None
        case "sparse":
            parts, hybrid = PartScores(sparse=scores), None
        case "colbert":
            scores = scores / _tokens(query)
            parts, hybrid = PartScores(colbert=scores), None
        case "rrf":
            parts, hybrid = _from_vectors(found, query, search), None
        case _:
            parts, hybrid = _parts_of_sum(scores, found, query, search), scores
    return [
        Hit(
            document(one.row, names),
            float(scores[i]),
            parts.row(i, hybrid=None if hybrid is None else float(hybrid[i])),
        )
        for i, one in enumerate(found)
    ]


def weigh(
    answers: Sequence[Sequence[Found]],
    asked: Sequence[Nearest],
    query: Vector,
    search: Search,
    names: Names,
) -> list[tuple[str, Scores]]:
    """Add up the answers to `stages`, one request each.

    Returns:
        The k best points with their scores, best first; equal ones in the order of documents.
    """
    table: dict[str, dict[str, float]] = defaultdict(dict)
    ids: dict[str, str] = {}
    for stage, answer in zip(asked, answers, strict=True):
        scale = _tokens(query) if stage.part == "colbert" else 1
        for one in answer:
            table[one.row.id][stage.part] = one.score / scale
            ids[one.row.id] = document_id(one.row, names)
    weights = search.weights
    scored = []
    for point, row in table.items():
        part = {name: row.get(name, 0.0) for name in search.parts}
        total = sum(getattr(weights, name) * value for name, value in part.items())
        scored.append((point, Scores(**part, hybrid=total / weights.total)))
    scored.sort(key=lambda pair: (-(pair[1].hybrid or 0.0), ids[pair[0]]))
    return scored[: search.k]


def fuse(lists: Sequence[Sequence[Found]], search: Search, names: Names) -> list[tuple[str, float]]:
    """Fuse lists in which equal scores are ranked by document id, which no database does.

    Returns:
        The k best points with their scores, best first; equal ones in the order of documents.
    """
    ids = {one.row.id: document_id(one.row, names) for found in lists for one in found}
    totals = reciprocal_ranks(
        [one.row.id for one in cut(found, len(found), names)] for found in lists
    )
    order = sorted(totals, key=lambda point: (-totals[point], ids[point]))
    return [(point, totals[point]) for point in order[: search.k]]


def _has(query: Vector, part: Part) -> bool:
    if part == "dense":
        return query.dense is not None
    return bool(query.sparse) if part == "sparse" else _tokens(query) > 0


def _tokens(query: Vector) -> int:
    return 0 if query.colbert is None else len(query.colbert)


def _factor(stage: Nearest, query: Vector, weights: Weights) -> float:
    """Return what a stage's score is multiplied with; Qdrant sums over the query's tokens."""
    share = {"dense": weights.dense, "sparse": weights.sparse, "colbert": weights.colbert}
    return share[stage.part] / weights.total / (_tokens(query) if stage.part == "colbert" else 1)


def read_along(query: Vector, search: Search) -> tuple[Part, ...]:
    """Return the small vectors of the hits, which their parts are computed of."""
    return tuple(part for part in search.parts if part != "colbert" and _has(query, part))


def _from_vectors(found: Sequence[Found], query: Vector, search: Search) -> PartScores:
    """Compute the dense and the sparse scores that were asked for; 0 where a side lacks them."""
    zeros = np.zeros(len(found))
    along = read_along(query, search)
    dense, sparse = zeros, zeros
    if along:
        schema = Schema(
            dense=len(query.dense) if query.dense is not None and "dense" in along else None,
            sparse="sparse" in along,
            colbert=None,
        )
        stored = columns([one.row.vectors for one in found], schema)
        weights = Weights(float("dense" in along), float("sparse" in along), 0)
        scores = score_many(query, stored, weights)
        dense = zeros if scores.dense is None else scores.dense
        sparse = zeros if scores.sparse is None else scores.sparse
    return PartScores(
        dense=dense if "dense" in search.parts else None,
        sparse=sparse if "sparse" in search.parts else None,
    )


def _parts_of_sum(
    hybrid: NDArray[np.float64], found: Sequence[Found], query: Vector, search: Search
) -> PartScores:
    """Return the parts of hybrid scores: two of the stored vectors, the third as the rest."""
    parts = _from_vectors(found, query, search)
    if "colbert" not in search.parts:
        return parts
    weights = search.weights
    rest = hybrid * weights.total
    if parts.dense is not None:
        rest = rest - weights.dense * parts.dense
    if parts.sparse is not None:
        rest = rest - weights.sparse * parts.sparse
    colbert = rest / weights.colbert
    # What float32 leaves of a score of 0: that of a document, or a query, without token vectors.
    rounding = 1e-7 * weights.total / weights.colbert
    nothing = np.abs(colbert) < rounding if _has(query, "colbert") else True
    return PartScores(parts.dense, parts.sparse, np.where(nothing, 0.0, colbert))
