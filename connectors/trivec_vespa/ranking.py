"""A search as the body of a Vespa query, and the exact answer out of what it returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from trivec.collection import Collection
from trivec.errors import InvalidOptionError
from trivec.fields import FieldType
from trivec.filters import Comparison, Op, Scalar
from trivec.hit import Hit
from trivec.ranking import is_cut_tied, reciprocal_ranks
from trivec.schema import Schema
from trivec.scores import Scores, Weights
from trivec.search import Part, Search
from trivec.vectors import Vector
from trivec_vespa.filters import render
from trivec_vespa.mapping import (
    PART_COLBERT,
    PART_DENSE,
    float_hex,
    signed_ids,
    wand_weights,
)
from trivec_vespa.replies import Fields, finite, reading
from trivec_vespa.schema import HYBRID, HYBRID_BINARY, MAX_HITS, UNION
from trivec_vespa.stored import document_from

__all__ = ["Candidate", "Request", "answer", "needs_more", "probe", "read_candidates", "request"]

_ANY_VALUE: dict[FieldType, Scalar] = {
    FieldType.STR: "x",
    FieldType.INT: 0,
    FieldType.FLOAT: 0.5,
    FieldType.BOOL: True,
    FieldType.DATETIME: datetime(1970, 1, 1, tzinfo=UTC),
}

_LEGS = {
    "dense": "({{targetHits:{n}}}nearestNeighbor(dense_rep,q_dense))",
    "sparse": "({{targetHits:{n}}}wand(lexical_ws,@q_tokens))",
}


@dataclass(frozen=True, slots=True)
class Request:
    """How much to ask of Vespa for one query.

    Args:
        target: How many candidates each source gives on each content node. A few more than the
            search wants, since `wand` ranks by rounded weights and HNSW may miss some.
        hits: How many documents to return.
    """

    target: int
    hits: int

    @classmethod
    def of(cls, search: Search) -> Request:
        """Return what is enough on one content node unless scores are equal.

        Raises:
            InvalidOptionError: If more hits are asked for than Vespa returns at once.
        """
        limit = search.source_limit
        if search.candidate_limit > MAX_HITS:
            raise InvalidOptionError(
                f"Vespa returns at most {MAX_HITS} hits at once: k={search.k} and "
                f"candidates={search.candidates} of two sources are too many"
            )
        target = min(limit + max(16, limit // 8), MAX_HITS)
        return cls(target, min(2 * target, MAX_HITS))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that Vespa returned, with the scores that its content node computed."""

    fields: Fields
    scores: Mapping[str, float]
    parts: int

    @property
    def id(self) -> str:
        """The document's id."""
        return str(self.fields["id"])

    def score(self, part: Part) -> float:
        """Return a part, 0 where the document or the query lacks it."""
        if part == "colbert" and not self.parts & PART_COLBERT:
            return 0.0  # the estimate from signs is not 0 for no vectors at all
        return float(self.scores.get(part, 0.0))


def request(
    query: Vector, search: Search, schema: Schema, size: Request, condition: str, *, binary: bool
) -> dict[str, Any] | None:
    """Return the body of the one query that answers a search; None where nothing can be found.

    Args:
        query: Fits the schema.
        search: What to search for.
        schema: What the collection holds.
        size: How much to ask for.
        condition: The filter in YQL, or "".
        binary: Whether ColBERT scores come from the signs of the token vectors.
    """
    sources = [source for source in search.sources(query) if source in schema.parts]
    if not sources:
        return None
    legs = " or ".join(_LEGS[source].format(n=size.target) for source in sources)
    # In "colbert", dense and sparse decide which documents are kept should there be too many.
    weights = search.weights if search.mode == "hybrid" else Weights(1, 1, 1)
    colbert = "colbert" in search.parts and query.colbert is not None and len(query.colbert) > 0
    colbert = colbert and schema.colbert is not None
    body: dict[str, Any] = {
        "yql": f"select id, text, metadata from sources * where ({legs})"
        + (f" and {condition}" if condition else ""),
        "ranking": (HYBRID_BINARY if binary else HYBRID) if colbert else UNION,
        "ranking.rerankCount": size.hits,
        "hits": size.hits,
        "input.query(w_dense)": weights.dense,
        "input.query(w_sparse)": weights.sparse,
    }
    if query.dense is not None and schema.dense is not None:
        body["input.query(q_dense)"] = float_hex(query.dense)
    if query.sparse and schema.sparse:
        ids = np.fromiter(query.sparse, np.uint32, len(query.sparse))
        values = np.fromiter(query.sparse.values(), np.float32, len(query.sparse))
        body["input.query(q_lexical)"] = dict(
            zip(map(str, ids.tolist()), values.tolist(), strict=True)
        )
        # An array of pairs: Vespa flattens a JSON object here and then finds nothing.
        keys, weights_ = signed_ids(ids).tolist(), wand_weights(values).tolist()
        body["q_tokens"] = [list(pair) for pair in zip(keys, weights_, strict=True)]
    if colbert and query.colbert is not None:
        body["input.query(q_colbert)"] = {
            str(i): float_hex(token) for i, token in enumerate(query.colbert)
        }
        body["input.query(q_len)"] = len(query.colbert)
        body["input.query(w_colbert)"] = weights.colbert
    return body


def probe(collection: Collection, *, binary: bool) -> dict[str, Any]:
    """Return the body of a query that Vespa refuses unless all that a collection needs is there.

    It names every attribute that filters read, and gives every tensor that the rank profile
    declares in a form that Vespa 8.700 refuses in any other dimension. One vector in hex must
    have its length. A vector by token may have fewer numbers, which are padded with zeros, or
    twice as much hex, which is read as numbers of twice the size: so there are two, one as
    numbers and one in the shortest hex.
    """
    schema = collection.schema
    query = Vector(
        dense=None if schema.dense is None else np.ones(schema.dense, np.float32),
        sparse={0: 1.0},
        colbert=None if schema.colbert is None else np.ones((1, schema.colbert), np.float32),
    )
    tests = [
        render(Comparison(path, Op.EQ, _ANY_VALUE[kind.item]), collection.fields)
        for path, kind in collection.fields.items()
    ]
    condition = " and ".join(["parts >= 0", *tests])
    body = request(query, Search(), schema, Request(1, 1), condition, binary=binary) or {
        # ColBERT vectors alone give no candidates.
        "yql": f"select id from sources * where {condition}",
        "ranking": HYBRID_BINARY if binary else HYBRID,
    }
    if schema.colbert is not None:
        body["input.query(q_colbert)"] = {"0": [0.0] * schema.colbert, "1": "00" * schema.colbert}
    return {**body, "hits": 0}


def read_candidates(hits: Iterable[Fields]) -> list[Candidate]:
    """Return the documents of a query's answer.

    Raises:
        StoreError: If one lacks what was asked for.
    """
    found: list[Candidate] = []
    for fields in hits:
        if "matchfeatures" not in fields or "id" not in fields:
            continue  # deleted between the two phases of the query
        with reading(f"the hit {str(fields['id'])[:300]!r}"):
            features = fields["matchfeatures"]
            scores = {str(name): finite(value) for name, value in features.items()}
            found.append(Candidate(fields, scores, int(scores["attribute(parts)"])))
    return found


def needs_more(
    query: Vector, search: Search, size: Request, total: int, candidates: Sequence[Candidate]
) -> Request | None:
    """Return what to ask for instead if the exact answer may not be among the candidates.

    That is so if Vespa found more than it returned, as several content nodes do, or if the last
    document that a source may give scores like the last one that it gave: others of this score
    may be missing, whose ids come first.
    """
    if total > len(candidates) and len(candidates) >= size.hits < MAX_HITS:
        return Request(size.target, min(total, MAX_HITS))
    if size.target >= MAX_HITS:
        return None
    limit = search.source_limit
    for source in search.sources(query):
        scores = sorted((c.score(source) for c in candidates if _gives(c, source)), reverse=True)
        # wand's integers are 5e-5 off at most, for each token.
        near = 1e-4 * len(query.sparse or ()) if source == "sparse" else 0.0
        if is_cut_tied(scores, limit, size.target, near=near):
            target = min(4 * size.target, MAX_HITS)
            return Request(target, min(2 * target, MAX_HITS))
    return None


def answer(query: Vector, search: Search, candidates: Sequence[Candidate]) -> list[Hit]:
    """Rank candidates by the definition: cut every source's list, then score their union.

    Several content nodes give `target` candidates each, and `wand` gives more than it is asked
    for; the best `search.candidates` of all of them are found again by their scores.
    """
    lists = [_best(candidates, source, search.source_limit) for source in search.sources(query)]
    union = {candidate.id: candidate for found in lists for candidate in found}
    fused = reciprocal_ranks([candidate.id for candidate in found] for found in lists)
    hits = []
    for candidate in union.values():
        if search.mode == "colbert" and not candidate.parts & PART_COLBERT:
            continue
        scores = _scores(candidate, search)
        if search.mode == "rrf":
            score = fused[candidate.id]
        else:
            score = {
                "dense": scores.dense,
                "sparse": scores.sparse,
                "colbert": scores.colbert,
                "hybrid": scores.hybrid,
            }[search.mode] or 0.0
        hits.append((score, scores, candidate))
    hits.sort(key=lambda hit: (-hit[0], hit[2].id))
    return [Hit(document_from(c.fields), score, scores) for score, scores, c in hits[: search.k]]


def _gives(candidate: Candidate, source: Part) -> bool:
    """Return whether a source may give this document."""
    if source == "dense":
        return bool(candidate.parts & PART_DENSE)
    return candidate.score("sparse") > 0


def _best(candidates: Sequence[Candidate], source: Part, limit: int) -> list[Candidate]:
    there = [c for c in candidates if _gives(c, source)]
    return sorted(there, key=lambda c: (-c.score(source), c.id))[:limit]


def _scores(candidate: Candidate, search: Search) -> Scores:
    parts = {part: candidate.score(part) for part in search.parts}
    hybrid = None
    if search.mode == "hybrid":
        weights = search.weights
        weighted = (getattr(weights, part) * value for part, value in parts.items())
        hybrid = sum(weighted) / weights.total
    return Scores(parts.get("dense"), parts.get("sparse"), parts.get("colbert"), hybrid)
