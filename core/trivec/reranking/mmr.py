"""Maximal marginal relevance: documents near to the query and far from each other."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import numpy as np

from trivec.arguments import at_least_one, expect
from trivec.collection import Page
from trivec.errors import InvalidOptionError, InvalidVectorsError
from trivec.hit import Hit, hit_groups
from trivec.rows import Float
from trivec.vectors import Vector


def diverse(query: Float, documents: Float, *, k: int, relevance: float = 0.5) -> list[int]:
    """Choose documents one by one with the rule of Carbonell and Goldstein (1998).

    Each step takes the document with the largest `relevance * cos(query, document) -
    (1 - relevance) * max(cos(chosen, document))`. Ties go to the earlier row.

    Args:
        query: float32 (dimension,).
        documents: float32 (n, dimension); a row of zeros has a cosine of 0 with every vector.
        k: The most documents to choose.
        relevance: 1 for the documents nearest to the query, 0 for the most diverse ones.

    Returns:
        Rows of `documents`, in the order in which they were chosen.

    Raises:
        InvalidOptionError: If `relevance` is outside 0 to 1, or `k` is below 1.

    Example:
        >>> documents = np.array([[1, 0], [0.99, 0.1], [0.6, 0.8]], np.float32)
        >>> query = np.array([1, 0.1], np.float32)
        >>> diverse(query, documents, k=2, relevance=1)
        [1, 0]
        >>> diverse(query, documents, k=2, relevance=0.3)
        [1, 2]
    """
    expect(relevance, Real, "relevance", "a number from 0 (diverse) to 1 (near)")
    if not 0 <= relevance <= 1:
        raise InvalidOptionError(f"relevance={relevance} must be between 0 (diverse) and 1 (near)")
    k = at_least_one(k, "k")
    unit = _unit(documents)
    near = unit @ _unit(query[None])[0]
    # The first document is the one nearest to the query.
    scores = near.copy()
    redundant = np.full(len(unit), -np.inf)
    chosen: list[int] = []
    for _ in range(min(k, len(unit))):
        best = int(np.argmax(scores))
        chosen.append(best)
        redundant = np.maximum(redundant, unit @ unit[best])
        scores = relevance * near - (1 - relevance) * redundant
        scores[chosen] = -np.inf
    return chosen


def diverse_hits(
    query: Vector, hits: Sequence[Hit], page: Page, *, k: int, relevance: float
) -> list[Hit]:
    """Choose hits that differ from each other, by their dense vectors; see `diverse`.

    If the hits are grouped, groups are chosen by their best hits, and come with all their hits.

    Args:
        query: The encoded question.
        hits: The hits to choose from.
        page: The documents of `compared_ids` with vectors; one that it lacks was deleted, and is
            not chosen.
        k: The most hits to choose, or groups.
        relevance: 1 for the hits nearest to the query, 0 for the most diverse ones.

    Raises:
        InvalidVectorsError: If the query or the page has no dense vectors.
    """
    if not hits:
        return []
    if query.dense is None or page.vectors is None or page.vectors.dense is None:
        raise InvalidVectorsError(
            "maximal marginal relevance compares dense vectors, which the query or the "
            "collection lacks"
        )
    group_of = {group[0].document.id: group for group in hit_groups(hits)}
    chosen = diverse(query.dense, page.vectors.dense, k=k, relevance=relevance)
    return [hit for row in chosen for hit in group_of[page.documents[row].id]]


def compared_ids(hits: Sequence[Hit]) -> list[str]:
    """Return the ids of the documents that `diverse_hits` compares."""
    return [group[0].document.id for group in hit_groups(hits)]


def _unit(rows: Float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    values = np.asarray(rows, np.float64)
    norms = np.linalg.norm(values, axis=-1, keepdims=True)
    return values / np.where(norms > 0, norms, 1)
