"""Whether two stores hold the same collection: documents, vectors, and what is found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from trivec.collection import Page
from trivec.document import Document, Json
from trivec.filters import Filter
from trivec.hit import Hit
from trivec.scores import Weights, score_many
from trivec.stores.overflow import fit_rows
from trivec.stores.store import Store
from trivec.vectors import Vector, Vectors

__all__ = ["Verification", "verify"]

QUERIES = PAGE = 10
QUERY_TOKENS = 32
TOP = 10
CANDIDATES = 100
FLOAT_TOLERANCE = 1e-15
TOLERANCE = 2e-3
"""What float16 and bfloat16, the coarsest storage, may change in a score."""


@dataclass(frozen=True, slots=True)
class Verification:
    """How a copy compares with its source.

    Args:
        source_count: How many documents the source has under the filter.
        destination_count: How many documents the destination has; it may have had others.
        sampled: How many documents were compared, drawn at random.
        missing: The ids of those that the destination lacks.
        different: The ids of those whose text or metadata differ, or the number of their ColBERT
            vectors.
        dense_cosine: The lowest cosine of a document's two dense vectors, times the shorter
            one's share of the longer one's length.
        sparse_difference: The largest difference of a lexical weight, against the document's
            largest weight.
        colbert_drift: The largest difference of a ColBERT score, over all pairs of `queries`
            sampled documents as queries with documents, shortened as the database needs them.
        shortened: How many had to be shortened to the ColBERT vectors that the database holds.
        queries: How many sampled documents were searched for.
        same_top: The share of the source's best ten that are among the destination's; those
            that a tie decides count: with the tenth, within 0.004, or with the last candidate.
            None where they cannot be compared, since the destination has other documents too.
    """

    source_count: int
    destination_count: int
    sampled: int
    missing: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    dense_cosine: float = 1.0
    sparse_difference: float = 0.0
    colbert_drift: float = 0.0
    shortened: int = 0
    queries: int = 0
    same_top: float | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each thing that is not as it must be."""
        lost = self.source_count - self.destination_count
        weight, score, top = self.sparse_difference, self.colbert_drift, self.same_top
        checks = (
            (lost > 0, f"the destination has {lost} documents less"),
            (self.missing, f"{len(self.missing)} of the sample are missing: {self.missing[:3]}"),
            (self.different, f"{len(self.different)} of the sample differ: {self.different[:3]}"),
            (self.dense_cosine < 1 - TOLERANCE, f"a dense cosine is {self.dense_cosine:.5f}"),
            (weight > TOLERANCE, f"a lexical weight differs by {weight:.2e}"),
            (score > TOLERANCE, f"a ColBERT score differs by {score:.2e}"),
            (
                top is not None and top < 1 and not self.shortened,
                f"only {top or 0:.1%} of the best ten are the same",
            ),
        )
        return tuple(sentence for wrong, sentence in checks if wrong)


def verify(
    source: Store,
    destination: Store,
    ids: Sequence[str],
    *,
    filter: Filter | None = None,
    expected: Callable[[Document], Document] = lambda document: document,
) -> Verification:
    """Compare a collection with its copy.

    What the copy was told to change is no difference: `expected`, characters that the destination
    replaces, and ColBERT vectors that it merges or cuts since it holds only so many.

    Args:
        source: What was copied.
        destination: What it was copied to.
        ids: The documents to compare; the first of them are searched for.
        filter: What the copy was restricted to.
        expected: How the copy changed a document.
    """
    count, there = source.count(filter), destination.count()
    verification, queries = Verification(count, there, sampled=0), list[Vector]()
    for start in range(0, len(ids), PAGE):
        before = source.get(ids[start : start + PAGE], with_vectors=True)
        known = [document.id for document in before.documents]
        after = destination.get(known, with_vectors=True)
        if before.vectors is not None:
            few = before.vectors.slice(0, max(0, QUERIES - len(queries)))
            queries += [_query(vector) for vector in few]
        verification = _compared(verification, before, after, expected, queries, destination)
    same_top = None
    if queries and count == there:
        same_top = _same_top(queries, source, destination, filter)
    return replace(verification, queries=len(queries), same_top=same_top)


def _compared(
    sofar: Verification,
    before: Page,
    after: Page,
    expected: Callable[[Document], Document],
    queries: Sequence[Vector],
    destination: Store,
) -> Verification:
    """Return what was found, with some more documents and their copies compared."""
    copies = {document.id: document for document in after.documents}
    known = [document.id for document in before.documents]
    kept = [i for i, one in enumerate(known) if one in copies]
    different = [
        document.id
        for document in before.documents
        if document.id in copies
        and not _alike(copies[document.id], destination.as_stored(expected(document)))
    ]
    sofar = replace(
        sofar,
        sampled=sofar.sampled + len(known),
        missing=(*sofar.missing, *(one for one in known if one not in copies)),
        different=(*sofar.different, *different),
    )
    if not kept or before.vectors is None or after.vectors is None:
        return sofar
    vectors, shortened = _fitted(before.vectors.take(kept), destination)
    drift, others = _colbert_drift(queries, vectors, after.vectors)
    ids = (after.documents[row].id for row in others)
    return replace(
        sofar,
        different=(*sofar.different, *(one for one in ids if one not in sofar.different)),
        dense_cosine=min(sofar.dense_cosine, _dense_cosine(vectors, after.vectors)),
        sparse_difference=max(sofar.sparse_difference, _sparse_difference(vectors, after.vectors)),
        colbert_drift=max(sofar.colbert_drift, drift),
        shortened=sofar.shortened + shortened,
    )


def _alike(one: Document, other: Document) -> bool:
    return one.text == other.text and _same(one.metadata, other.metadata)


def _same(one: Json, other: Json) -> bool:
    """Return whether two values are equal, but for the last bits of their floats.

    Qdrant's embedded engine reads one in five floats as the next smaller or larger one.
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(v, other[k]) for k, v in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=FLOAT_TOLERANCE)
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _query(vector: Vector) -> Vector:
    """Return a document's vectors as those of a question, which is shorter."""
    tokens = None if vector.colbert is None else vector.colbert[:QUERY_TOKENS]
    return Vector(vector.dense, vector.sparse, tokens)


def _fitted(vectors: Vectors, destination: Store) -> tuple[Vectors, int]:
    """Return vectors as the destination was given them, and how many it had to shorten."""
    if vectors.colbert is None or destination.overflow == "error":
        return vectors, 0
    limit, policy = destination.max_colbert_rows, destination.overflow
    rows, changed = fit_rows(vectors.colbert, limit, policy)
    return replace(vectors, colbert=rows), len(changed)


def _dense_cosine(before: Vectors, after: Vectors) -> float:
    """Return the lowest cosine, less for another length; 1 where both lack the vector."""
    if before.dense is None or after.dense is None:
        return float(before.dense is after.dense)
    a, b = before.dense.astype(np.float64), after.dense.astype(np.float64)
    longer = np.maximum((a * a).sum(axis=1), (b * b).sum(axis=1))
    both_lack = ~a.any(axis=1) & ~b.any(axis=1)
    cosines = np.where(both_lack, 1.0, (a * b).sum(axis=1) / np.maximum(longer, 1e-300))
    return float(cosines.min())


def _sparse_difference(before: Vectors, after: Vectors) -> float:
    if before.sparse is None or after.sparse is None:
        return float(before.sparse is not after.sparse)
    worst = 0.0
    for i in range(len(before)):
        a, b = before.sparse.row(i), after.sparse.row(i)
        largest = max((a or b).values(), default=0.0)
        if largest > 0:
            differences = (abs(a.get(t, 0.0) - b.get(t, 0.0)) for t in a.keys() | b.keys())
            worst = max(worst, max(differences) / largest)
    return worst


def _colbert_drift(
    queries: Sequence[Vector], before: Vectors, after: Vectors
) -> tuple[float, list[int]]:
    """Return the largest difference of a score, and which rows have another number of vectors."""
    if before.colbert is None or after.colbert is None:
        return float(before.colbert is not after.colbert), []
    same = np.diff(before.colbert.indptr) == np.diff(after.colbert.indptr)
    before, after = before.take(np.flatnonzero(same)), after.take(np.flatnonzero(same))
    only, worst = Weights(0, 0, 1), 0.0
    for query in queries:
        a, b = score_many(query, before, only).colbert, score_many(query, after, only).colbert
        if query.colbert is not None and a is not None and b is not None:
            worst = max(worst, float(np.abs(a - b).max(initial=0)))
    return worst, np.flatnonzero(~same).tolist()


def _same_top(
    queries: Sequence[Vector], source: Store, destination: Store, filter: Filter | None
) -> float:
    same = total = 0
    found = source.search_many(queries, k=TOP, candidates=CANDIDATES, filter=filter)
    again = destination.search_many(queries, k=TOP, candidates=CANDIDATES)
    for query, before, after in zip(queries, found, again, strict=True):
        ids = {hit.document.id for hit in after}
        last = after[-1].score if after else 0.0
        lost = [
            hit
            for hit in before
            if hit.document.id not in ids and hit.score >= last + 2 * TOLERANCE
        ]
        if lost:
            cuts = _cuts(query, destination)
            lost = [hit for hit in lost if _is_candidate(hit, cuts)]
        total += len(before)
        same += len(before) - len(lost)
    return same / total if total else 1.0


def _cuts(query: Vector, store: Store) -> dict[str, float]:
    """Return the scores of each source's last candidates where not all documents are some."""
    sources: tuple[Literal["dense", "sparse"], ...] = ("dense", "sparse")
    cuts: dict[str, float] = {}
    for part in sources:
        if part in store.schema.parts:
            hits = store.search(query, k=CANDIDATES, mode=part)
            cuts[part] = hits[-1].score if len(hits) == CANDIDATES else -math.inf
    return cuts


def _is_candidate(hit: Hit, cuts: Mapping[str, float]) -> bool:
    """Return whether a document is among the candidates whatever ties decide."""
    scores = {"dense": hit.scores.dense, "sparse": hit.scores.sparse or None}
    return any(
        score is not None and score - cuts.get(part, math.inf) > TOLERANCE * max(1.0, score)
        for part, score in scores.items()
    )
