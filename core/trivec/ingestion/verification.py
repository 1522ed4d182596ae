"""Verify that two stores hold the same collection: documents, vectors and search results."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from trivec.colbert_storage import ColbertStorage
from trivec.collection import Page
from trivec.document import Document
from trivec.filters import Filter
from trivec.hit import Hit
from trivec.ingestion.storage import shrinks
from trivec.plain import Json
from trivec.rows import Float
from trivec.scores import Weights, score_many
from trivec.stores.overflow import fit_rows
from trivec.stores.reduction import reduced, rounded
from trivec.stores.store import Store
from trivec.vectors import Vector, Vectors

QUERIES = PAGE = 10
QUERY_TOKENS = 32
TOP = 10
CANDIDATES = 100
FLOAT_TOLERANCE = 1e-15
TOLERANCE = 2e-3
"""How far a score may change by float16 or bfloat16, the coarsest formats of whole vectors."""
LEAST_OVERLAP = 0.5
"""The least share of the best ten that a copy with smaller token vectors finds."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The comparison of a copy with its source.

    Args:
        source_count: The number of documents in the source under the filter.
        destination_count: The number of documents in the destination, which may have had others.
        sampled: The number of documents that were compared, drawn at random.
        missing: The ids of those that the destination lacks.
        different: The ids of those with another text, other metadata, or another number of ColBERT
            vectors.
        dense_cosine: The lowest cosine of a document's two dense vectors, multiplied by the ratio
            of the shorter length to the longer one.
        sparse_difference: The largest difference of a lexical weight, relative to the document's
            largest weight.
        colbert_drift: The largest difference of a ColBERT score, over all pairs of `queries`
            sampled documents as queries and sampled documents, reduced and shortened as the
            destination keeps them.
        colbert_cosine: The lowest cosine of a token vector and its copy, likewise.
        least_cosine: The least that the destination's own codec of few bits allows; None if it has
            none, and the ColBERT scores are compared.
        shrunk: Whether the destination keeps less of the token vectors than the source.
        shortened: The number of documents with more ColBERT vectors than the database can hold.
        queries: The number of sampled documents that were searched for.
        top10_overlap: The share of the source's ten best hits that are among the destination's ten
            best. Hits that a tie decides count as shared: a tie with the tenth hit, within 0.004,
            or with the last candidate. None if the destination has other documents too. Where
            token vectors have shrunk it is a problem only below 0.5.
    """

    source_count: int
    destination_count: int
    sampled: int
    missing: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    dense_cosine: float = 1.0
    sparse_difference: float = 0.0
    colbert_drift: float = 0.0
    colbert_cosine: float = 1.0
    least_cosine: float | None = None
    shrunk: bool = False
    shortened: int = 0
    queries: int = 0
    top10_overlap: float | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each difference that is larger than storage explains."""
        lost = self.source_count - self.destination_count
        weight, score, top = self.sparse_difference, self.colbert_drift, self.top10_overlap
        least, expected_top = self.least_cosine, LEAST_OVERLAP if self.shrunk else 1
        checks = (
            (lost > 0, f"the destination has {lost} documents less"),
            (self.missing, f"{len(self.missing)} of the sample are missing: {self.missing[:3]}"),
            (self.different, f"{len(self.different)} of the sample differ: {self.different[:3]}"),
            (self.dense_cosine < 1 - TOLERANCE, f"a dense cosine is {self.dense_cosine:.5f}"),
            (weight > TOLERANCE, f"a lexical weight differs by {weight:.2e}"),
            (least is None and score > TOLERANCE, f"a ColBERT score differs by {score:.2e}"),
            (
                least is not None and self.colbert_cosine < least,
                f"the cosine of a token vector is {self.colbert_cosine:.5f}",
            ),
            (
                top is not None and top < expected_top and not self.shortened,
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

    Intended changes are no differences: those of `expected`, characters that the destination
    replaces, how it keeps token vectors, and those that it merges or cuts because of its limit.

    Args:
        source: The collection that was copied.
        destination: The copy.
        ids: The documents to compare; the first of them are searched for.
        filter: The condition that restricted the copy.
        expected: Returns a document as the copy changed it.
    """
    count, copied = source.count(filter), destination.count()
    keeping = _Keeping(destination, destination.describe().colbert or ColbertStorage(), expected)
    least, shrunk = keeping.least_cosine, shrinks(source, destination)
    verification = Verification(count, copied, sampled=0, least_cosine=least, shrunk=shrunk)
    queries = list[Vector]()
    for start in range(0, len(ids), PAGE):
        before = source.get(ids[start : start + PAGE], with_vectors=True)
        known = [document.id for document in before.documents]
        after = destination.get(known, with_vectors=True)
        if before.vectors is not None:
            few = before.vectors.slice(0, max(0, QUERIES - len(queries)))
            queries += [_query(vector) for vector in few]
        verification = _compared(verification, before, after, keeping, queries)
    top10_overlap = None
    if queries and count == copied:
        top10_overlap = _top10_overlap(queries, source, destination, filter)
    return replace(verification, queries=len(queries), top10_overlap=top10_overlap)


@dataclass(frozen=True, slots=True)
class _Keeping:
    """How the destination keeps what it is given."""

    store: Store
    storage: ColbertStorage
    changed: Callable[[Document], Document]

    @property
    def least_cosine(self) -> float | None:
        """The lowest cosine of a token vector that the database's own codec allows."""
        return self.store.limits.codec_cosines.get(self.storage.bits)

    def document(self, document: Document) -> Document:
        """Return a document of the source as the destination keeps it."""
        return self.store.as_stored(self.changed(document))

    def vectors(self, vectors: Vectors) -> tuple[Vectors, int]:
        """Return vectors of the source as the destination keeps them.

        Those of a codec of its own are returned as they are before it.

        Returns:
            The vectors, and how many documents have more token vectors than the database holds.
        """
        if vectors.colbert is None:
            return vectors, 0
        rows = reduced(vectors.colbert, self.storage)
        shortened = 0
        if self.store.overflow != "error":
            rows, changed = fit_rows(rows, self.store.max_colbert_rows, self.store.overflow)
            shortened = len(changed)
        if self.least_cosine is None:
            rows = rounded(rows, self.storage)
        return replace(vectors, colbert=rows), shortened


def _compared(
    so_far: Verification, before: Page, after: Page, keeping: _Keeping, queries: Sequence[Vector]
) -> Verification:
    """Return a verification that includes a page of documents and their copies."""
    copies = {document.id: document for document in after.documents}
    known = [document.id for document in before.documents]
    kept = [i for i, id in enumerate(known) if id in copies]
    different = []
    for document in before.documents:
        if (copy := copies.get(document.id)) is not None:
            wanted = keeping.document(document)
            if copy.text != wanted.text or not _same_json(copy.metadata, wanted.metadata):
                different.append(document.id)
    so_far = replace(
        so_far,
        sampled=so_far.sampled + len(known),
        missing=(*so_far.missing, *(id for id in known if id not in copies)),
        different=(*so_far.different, *different),
    )
    if not kept or before.vectors is None or after.vectors is None:
        return so_far
    vectors, shortened = keeping.vectors(before.vectors.take(kept))
    drift, others = _colbert_drift(queries, vectors, after.vectors)
    ids = (after.documents[row].id for row in others)
    cosine = _colbert_cosine(vectors, after.vectors)
    return replace(
        so_far,
        different=(*so_far.different, *(id for id in ids if id not in so_far.different)),
        dense_cosine=min(so_far.dense_cosine, _lowest_cosine(vectors.dense, after.vectors.dense)),
        sparse_difference=max(so_far.sparse_difference, _sparse_difference(vectors, after.vectors)),
        colbert_drift=max(so_far.colbert_drift, drift),
        colbert_cosine=min(so_far.colbert_cosine, cosine),
        shortened=so_far.shortened + shortened,
    )


def _same_json(a: Json, b: Json) -> bool:
    """Return whether two values are equal, except for the last bits of their floats.

    Qdrant's embedded engine reads one in five floats as the next smaller or larger one.
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same_json(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same_json, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=FLOAT_TOLERANCE)
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _query(vector: Vector) -> Vector:
    """Return a document's vectors with fewer token vectors, as a question has."""
    tokens = None if vector.colbert is None else vector.colbert[:QUERY_TOKENS]
    return Vector(vector.dense, vector.sparse, tokens)


def _lowest_cosine(before: Float | None, after: Float | None) -> float:
    """Return the lowest cosine, scaled by the ratio of lengths; 1 if both lack the vector."""
    if before is None or after is None:
        return float(before is after)
    a, b = before.astype(np.float64), after.astype(np.float64)
    longer = np.maximum((a * a).sum(axis=1), (b * b).sum(axis=1))
    both_lack = ~a.any(axis=1) & ~b.any(axis=1)
    cosines = np.where(both_lack, 1.0, (a * b).sum(axis=1) / np.maximum(longer, 1e-300))
    return float(cosines.min(initial=1.0))


def _colbert_cosine(before: Vectors, after: Vectors) -> float:
    """Return the lowest cosine of two token vectors, in documents with as many of them."""
    if before.colbert is None or after.colbert is None:
        return 1.0
    pairs = ((before.colbert.row(i), after.colbert.row(i)) for i in range(len(before)))
    return min((_lowest_cosine(a, b) for a, b in pairs if len(a) == len(b)), default=1.0)


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
    """Return the largest difference of a score, and the rows with another number of vectors."""
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


def _top10_overlap(
    queries: Sequence[Vector], source: Store, destination: Store, filter: Filter | None
) -> float:
    same = total = 0
    original = source.search_many(queries, k=TOP, candidates=CANDIDATES, filter=filter)
    copied = destination.search_many(queries, k=TOP, candidates=CANDIDATES)
    for query, before, after in zip(queries, original, copied, strict=True):
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
    """Return the score of each source's last candidate; -inf if all documents are candidates."""
    sources: tuple[Literal["dense", "sparse"], ...] = ("dense", "sparse")
    cuts: dict[str, float] = {}
    for part in sources:
        if part in store.schema.parts:
            hits = store.search(query, k=CANDIDATES, mode=part)
            cuts[part] = hits[-1].score if len(hits) == CANDIDATES else -math.inf
    return cuts


def _is_candidate(hit: Hit, cuts: Mapping[str, float]) -> bool:
    """Return whether a document is a candidate however ties are broken."""
    scores = {"dense": hit.scores.dense, "sparse": hit.scores.sparse or None}
    return any(
        score is not None and score - cuts.get(part, math.inf) > TOLERANCE * max(1.0, score)
        for part, score in scores.items()
    )
