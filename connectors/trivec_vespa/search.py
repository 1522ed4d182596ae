"""A search as the body of a Vespa query, and the exact ranking of the hits that it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import nsmallest
from typing import Any

import numpy as np

from trivec.collection import Collection
from trivec.fields import FieldType
from trivec.filters import Comparison, Op, Scalar
from trivec.hit import Hit
from trivec.ranking import is_cut_tied, reciprocal_ranks, until_untied, weighted_sum
from trivec.scores import Scores, Weights
from trivec.search import Part, Search
from trivec.stores.steps import Steps
from trivec.vectors import Vector
from trivec_vespa.client import Request
from trivec_vespa.filters import render
from trivec_vespa.mapping import (
    PART_COLBERT,
    PART_DENSE,
    document_from,
    float_hex,
    signed_ids,
    wand_weights,
)
from trivec_vespa.replies import Fields, Result, finite, reading
from trivec_vespa.schema import HYBRID, HYBRID_SIGNS, MAX_HITS, UNION, stores_signs

_ANY_VALUE: dict[FieldType, Scalar] = {
    FieldType.STR: "x",
    FieldType.INT: 0,
    FieldType.FLOAT: 0.5,
    FieldType.BOOL: True,
    FieldType.DATETIME: datetime(1970, 1, 1, tzinfo=UTC),
}

_SOURCES = {
    "dense": "({{targetHits:{n}}}nearestNeighbor(dense_rep,q_dense))",
    "sparse": "({{targetHits:{n}}}wand(lexical_ws,@q_tokens))",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that Vespa returned, with the scores that its content node computed.

    `parts` are the bits `PART_DENSE`, `PART_SPARSE` and `PART_COLBERT`.
    """

    fields: Fields
    scores: Mapping[str, float]
    parts: int

    @property
    def id(self) -> str:
        """The document's id."""
        return str(self.fields["id"])

    def score(self, part: Part) -> float:
        """Return the score of a part, 0 where the document or the query lacks it."""
        if part == "colbert" and not self.parts & PART_COLBERT:
            return 0.0  # the estimate from signs is not 0 without token vectors
        return float(self.scores.get(part, 0.0))


def query_body(
    query: Vector, search: Search, target: int, hits: int, condition: str, *, signs: bool
) -> dict[str, Any]:
    """Return the body of the Vespa query that answers a search.

    Each source gives `target` candidates on each content node. `condition` is the filter in YQL, or
    "". With `signs`, ColBERT scores are estimated from the signs of the token vectors.
    """
    union = " or ".join(_SOURCES[part].format(n=target) for part in search.sources(query))
    colbert = "colbert" in search.scored_parts(query)
    # "colbert" has no weights of its own; dense and sparse scores decide which documents Vespa
    # keeps if there are too many.
    weights = search.weights if search.mode == "hybrid" else Weights(1, 1, 1)
    profile = HYBRID_SIGNS if signs else HYBRID
    body: dict[str, Any] = {
        "yql": f"select id, text, metadata from sources * where ({union})"
        + (f" and {condition}" if condition else ""),
        "ranking": profile if colbert else UNION,
        "ranking.rerankCount": hits,
        "hits": hits,
        "input.query(w_dense)": weights.dense,
        "input.query(w_sparse)": weights.sparse,
    }
    if query.dense is not None:
        body["input.query(q_dense)"] = float_hex(query.dense)
    if query.sparse:
        ids = np.fromiter(query.sparse, np.uint32, len(query.sparse))
        values = np.fromiter(query.sparse.values(), np.float32, len(query.sparse))
        body["input.query(q_lexical)"] = dict(
            zip(map(str, ids.tolist()), values.tolist(), strict=True)
        )
        # An array of pairs: Vespa flattens a JSON object here and then finds nothing.
        keys, integers = signed_ids(ids).tolist(), wand_weights(values).tolist()
        body["q_tokens"] = [list(pair) for pair in zip(keys, integers, strict=True)]
    if colbert and query.colbert is not None:
        body["input.query(q_colbert)"] = {
            str(i): float_hex(token) for i, token in enumerate(query.colbert)
        }
        body["input.query(q_len)"] = len(query.colbert)
        body["input.query(w_colbert)"] = weights.colbert
    return body


def probe(collection: Collection) -> dict[str, Any]:
    """Return the body of a query that Vespa refuses if anything is missing for a collection.

    It names every attribute that filters read, and gives every tensor that the rank profile
    declares in a form that Vespa 8.700 refuses in any other dimension. A single vector in hex must
    have the right length. A vector by token may have fewer numbers, which are padded with zeros, or
    twice as much hex, which is read as numbers of twice the size: so there are two, one as
    numbers and one in the shortest hex.
    """
    schema, signs = collection.schema, stores_signs(collection.colbert)
    query = Vector(
        dense=None if schema.dense is None else np.ones(schema.dense, np.float32),
        sparse={0: 1.0} if schema.sparse else None,
        colbert=None if schema.colbert is None else np.ones((1, schema.colbert), np.float32),
    )
    tests = [
        render(Comparison(path, Op.EQ, _ANY_VALUE[type_.item]), collection.fields)
        for path, type_ in collection.fields.items()
    ]
    condition = " and ".join(["parts >= 0", *tests])
    body: dict[str, Any]
    if Search().sources(query):
        body = query_body(query, Search(), 1, 1, condition, signs=signs)
    else:  # ColBERT vectors alone give no candidates
        yql = f"select id from sources * where {condition}"
        body = {"yql": yql, "ranking": HYBRID_SIGNS if signs else HYBRID}
    if schema.colbert is not None:
        body["input.query(q_colbert)"] = {"0": [0.0] * schema.colbert, "1": "00" * schema.colbert}
    return {**body, "hits": 0}


def read_candidates(hits: Iterable[Fields]) -> list[Candidate]:
    """Return the documents in the answer to a query."""
    candidates: list[Candidate] = []
    for fields in hits:
        if "matchfeatures" not in fields or "id" not in fields:
            continue  # deleted between the two phases of the query
        with reading(f"the hit {str(fields['id'])[:300]!r}"):
            features = fields["matchfeatures"]
            scores = {str(name): finite(value) for name, value in features.items()}
            candidates.append(Candidate(fields, scores, int(scores["attribute(parts)"])))
    return candidates


def answer(
    queries: Sequence[Vector],
    search: Search,
    condition: str,
    request: Callable[[Mapping[str, Any]], Request[Result]],
    *,
    signs: bool,
) -> Steps[list[list[Hit]]]:
    """Answer queries exactly, asking for more where documents of equal scores may be missing."""

    def fetch(targets: Mapping[int, int]) -> Steps[dict[int, list[Candidate]]]:
        candidates: dict[int, list[Candidate]] = {}
        # One content node finds no more than these; several may, and then all are asked for.
        limits = {row: min(2 * target, MAX_HITS) for row, target in targets.items()}
        while limits:
            bodies = [
                query_body(queries[row], search, targets[row], limit, condition, signs=signs)
                for row, limit in limits.items()
            ]
            results: Sequence[Result] = yield [request(body) for body in bodies]
            larger: dict[int, int] = {}
            for (row, limit), result in zip(limits.items(), results, strict=True):
                candidates[row] = read_candidates(result.hits)
                if result.total > len(candidates[row]) >= limit < MAX_HITS:
                    larger[row] = min(result.total, MAX_HITS)
            limits = larger
        return candidates

    def tied(row: int, candidates: Sequence[Candidate], target: int) -> bool:
        return is_tied(queries[row], search, candidates, target)

    rows = [row for row, query in enumerate(queries) if search.sources(query)]
    # A few more than the search wants, since `wand` ranks by rounded weights and HNSW may miss
    # some documents.
    target = min(search.source_limit + max(16, search.source_limit // 8), MAX_HITS)
    answers = yield from until_untied(rows, target, fetch, tied, most=MAX_HITS)
    return [ranked(query, search, answers.get(row, [])) for row, query in enumerate(queries)]


def is_tied(query: Vector, search: Search, candidates: Sequence[Candidate], target: int) -> bool:
    """Return whether a source may have left out a document that belongs to its candidates.

    That is so if the last document that counts scores like the last one that the source gave:
    others of this score may be missing, whose ids come first.
    """
    for source in search.sources(query):
        scores = sorted((c.score(source) for c in candidates if _gives(c, source)), reverse=True)
        # The integers of `wand` are 5e-5 off at most, for each token.
        near = 1e-4 * len(query.sparse or ()) if source == "sparse" else 0.0
        if is_cut_tied(scores, search.source_limit, target, near=near):
            return True
    return False


def ranked(query: Vector, search: Search, candidates: Sequence[Candidate]) -> list[Hit]:
    """Rank candidates by the definition: cut the list of each source, then score their union.

    Several content nodes give `target` candidates each, and `wand` gives more than it is asked
    for; their scores tell which of them are the best `search.candidates`.
    """
    lists = [_best(candidates, source, search.source_limit) for source in search.sources(query)]
    fused = reciprocal_ranks([candidate.id for candidate in best] for best in lists)
    scored: list[tuple[float, Scores, Candidate]] = []
    for candidate in {candidate.id: candidate for best in lists for candidate in best}.values():
        if search.mode == "colbert" and not candidate.parts & PART_COLBERT:
            continue
        parts: dict[Part, float] = {part: candidate.score(part) for part in search.parts}
        hybrid = None
        if search.mode == "hybrid":
            score = hybrid = weighted_sum(parts, search.weights)
        else:
            score = fused[candidate.id] if search.mode == "rrf" else parts[search.mode]
        scores = Scores(parts.get("dense"), parts.get("sparse"), parts.get("colbert"), hybrid)
        scored.append((score, scores, candidate))
    best = nsmallest(search.k, scored, key=lambda hit: (-hit[0], hit[2].id))
    return [Hit(document_from(found.fields), score, scores) for score, scores, found in best]


def _gives(candidate: Candidate, source: Part) -> bool:
    """Return whether a source may give this document."""
    if source == "dense":
        return bool(candidate.parts & PART_DENSE)
    return candidate.score("sparse") > 0


def _best(candidates: Sequence[Candidate], source: Part, limit: int) -> list[Candidate]:
    given = (candidate for candidate in candidates if _gives(candidate, source))
    return nsmallest(limit, given, key=lambda candidate: (-candidate.score(source), candidate.id))
