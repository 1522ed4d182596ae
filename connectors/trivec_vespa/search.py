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
from trivec_vespa.hexadecimal import float_hex
from trivec_vespa.mapping import (
    PART_COLBERT,
    PART_DENSE,
    document_from,
    signed_ids,
    wand_weights,
)
from trivec_vespa.replies import Fields, Result, finite, reading
from trivec_vespa.schema import MAX_HITS, UNION
from trivec_vespa.token_layout import TokenLayout

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
        return float(self.scores.get(part, 0.0))


def query_body(
    query: Vector,
    search: Search,
    target: int,
    hits: int,
    condition: str,
    layout: TokenLayout | None,
) -> dict[str, Any]:
    """Return the body of the Vespa query that answers a search.

    Args:
        query: The query.
        search: The search.
        target: How many candidates each source gives on each content node.
        hits: The most hits of the answer.
        condition: The filter in YQL, or "".
        layout: How the collection keeps token vectors; None if it holds none.
    """
    union = " or ".join(_SOURCES[part].format(n=target) for part in search.sources(query))
    tokens = query.colbert if "colbert" in search.scored_parts(query) else None
    # "colbert" has no weights of its own; dense and sparse scores decide which documents Vespa
    # keeps if there are too many.
    weights = search.weights if search.mode == "hybrid" else Weights(1, 1, 1)
    body: dict[str, Any] = {
        "yql": f"select id, text, metadata from sources * where ({union})"
        + (f" and {condition}" if condition else ""),
        "ranking": UNION,
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
    if tokens is not None and layout is not None:
        body["ranking"] = layout.profile
        body["input.query(q_colbert)"] = layout.query(tokens)
        body["input.query(q_len)"] = len(tokens)
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
    schema, layout = collection.schema, TokenLayout.of(collection.schema, collection.colbert)
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
        body = query_body(query, Search(), 1, 1, condition, layout)
    else:  # ColBERT vectors alone give no candidates
        yql = f"select id from sources * where {condition}"
        body = {"yql": yql, "ranking": UNION if layout is None else layout.profile}
    if layout is not None:
        size = layout.dimension
        body["input.query(q_colbert)"] = {"0": [0.0] * size, "1": "00" * size}
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
    layout: TokenLayout | None,
) -> Steps[list[list[Hit]]]:
    """Answer queries exactly, asking for more where documents of equal scores may be missing.

    Args:
        queries: The queries.
        search: The search.
        condition: The filter in YQL, or "".
        request: Returns the request for the body of a query.
        layout: How the collection keeps token vectors; None if it holds none.
    """

    def fetch(targets: Mapping[int, int]) -> Steps[dict[int, list[Candidate]]]:
        candidates: dict[int, list[Candidate]] = {}
        # One content node finds no more than these; several may, and then all are asked for.
        limits = {row: min(2 * target, MAX_HITS) for row, target in targets.items()}
        while limits:
            bodies = [
                query_body(queries[row], search, targets[row], limit, condition, layout)
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
    best = nsmallest(search.hit_limit, scored, key=lambda hit: (-hit[0], hit[2].id))
    return [Hit(document_from(found.fields), score, scores) for score, scores, found in best]


def _gives(candidate: Candidate, source: Part) -> bool:
    """Return whether a source may give this document."""
    if source == "dense":
        return bool(candidate.parts & PART_DENSE)
    return candidate.score("sparse") > 0


def _best(candidates: Sequence[Candidate], source: Part, limit: int) -> list[Candidate]:
    given = (candidate for candidate in candidates if _gives(candidate, source))
    return nsmallest(limit, given, key=lambda candidate: (-candidate.score(source), candidate.id))
