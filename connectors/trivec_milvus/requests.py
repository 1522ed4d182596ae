"""What a search asks Milvus for, request by request."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from pymilvus import AnnSearchRequest, WeightedRanker
from pymilvus.client.embedding_list import EmbeddingList

from trivec.search import Part, Search
from trivec.vectors import Vector
from trivec_milvus.filters import all_of, any_of_ids, render
from trivec_milvus.mapping import Row, sparse_query, split_rows
from trivec_milvus.replies import rows_by_id
from trivec_milvus.schema import Layout

__all__ = [
    "FETCH_BYTES",
    "PARTS",
    "Request",
    "Requests",
    "Steps",
    "advance",
    "answer_bytes",
    "fetch",
    "fields_of",
    "has_tokens",
]

T = TypeVar("T")

PARTS: tuple[Part, ...] = ("dense", "sparse", "colbert")

FETCH_BYTES = 32 * 1024 * 1024  # of packed vectors in one answer; servers send at most 100 MiB
_LARGE = 64  # hits with vectors that an event loop should not have to parse


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a client.

    Args:
        method: The method of both clients.
        options: Its arguments, apart from those that are the same for every request.
        large: Whether the answer holds vectors, which take long to parse.
    """

    method: Literal["search", "hybrid_search", "query"]
    options: Mapping[str, Any]
    large: bool = False


Steps = Generator[list[Request], list[Any], T]


def advance(steps: Steps[T], answers: list[Any] | None) -> tuple[list[Request], tuple[T, ...]]:
    """Return the requests of the next step, or the result in a tuple of one.

    Args:
        steps: The generator.
        answers: The answers to the requests of the step before; None to begin.
    """
    try:
        return (next(steps) if answers is None else steps.send(answers)), ()
    except StopIteration as end:  # which a future could not carry
        return [], (end.value,)


def fetch(
    layout: Layout, tokens: Mapping[str, int], output: Sequence[str]
) -> Steps[dict[str, Row]]:
    """Read rows by their ids, in answers of at most `FETCH_BYTES`.

    Args:
        layout: The layout of the collection.
        tokens: The ids, with the number of ColBERT vectors that each row brings along.
        output: The fields to read.
    """
    names = layout.names
    if not tokens:
        return {}
    runs = split_rows(answer_bytes(layout, tokens, names.colbert in output), FETCH_BYTES)
    large = any(f in output for f in (names.dense, names.sparse, names.colbert))
    answers = yield [
        Request(
            "query",
            {"filter": any_of_ids(names.id, ids), "output_fields": list(output)},
            large,
        )
        for ids in runs
    ]
    return rows_by_id((row for rows in answers for row in rows), names.id, tokens)


def fields_of(layout: Layout, parts: Iterable[str], *, documents: bool = True) -> list[str]:
    """Return the fields that hold the document and these parts, without those not there."""
    names = layout.names
    fields = [names.id]
    if documents:
        fields += [names.text, names.text_more, names.metadata]
        fields += [names.private] if layout.private else []
    return fields + [getattr(names, part) for part in layout.schema.parts if part in parts]


def answer_bytes(layout: Layout, tokens: Mapping[str, int], with_colbert: bool) -> dict[str, int]:
    """Return about how many bytes each row takes in an answer."""
    per_token = (layout.schema.colbert or 0) * (4 if layout.native else 3) if with_colbert else 0
    other = 4 * (layout.schema.dense or 0) + 8 * 1024
    return {one: other + count * per_token for one, count in tokens.items()}


class Requests:
    """The requests of one search in one collection."""

    def __init__(self, search: Search, layout: Layout) -> None:
        self._search = search
        self._layout = layout
        self._expression = render(search.filter, layout.columns, id_field=layout.names.id)

    def ranked(
        self,
        part: Part,
        queries: Sequence[Vector],
        limit: int,
        output: Sequence[str],
        among: Iterable[str] | None = None,
    ) -> Request:
        """Return the search for the best documents by one part, of all or of given ids."""
        name, expression, params = self._leg(part, limit, among)
        return Request(
            "search",
            {
                "data": [_data(part, query, self._layout) for query in queries],
                "anns_field": name,
                "filter": expression,
                "limit": limit,
                "output_fields": list(output),
                "search_params": params,
            },
        )

    def fused(
        self, query: Vector, union: Mapping[str, int], limit: int, output: Sequence[str]
    ) -> Request:
        """Return the hybrid search that adds the weighted scores of given ids."""
        legs, weights = [], []
        for part in self.legs(query):
            name, expression, params = self._leg(part, len(union), union)
            data = [_data(part, query, self._layout)]
            # The filter belongs to each request: pymilvus ignores one of the whole search.
            legs.append(AnnSearchRequest(data, name, params, len(union), expr=expression))
            weights.append(getattr(self._search.weights, part))
        largest = max(weights)  # servers take weights from 0 to 1
        ranker = WeightedRanker(*(weight / largest for weight in weights), norm_score=False)
        return Request(
            "hybrid_search",
            {"reqs": legs, "ranker": ranker, "limit": limit, "output_fields": list(output)},
            large=limit > _LARGE,
        )

    def _leg(
        self, part: Part, limit: int, among: Iterable[str] | None
    ) -> tuple[str, str, dict[str, Any]]:
        """Return the field, the expression and the parameters of a search for one part."""
        names = self._layout.names
        chosen = self._expression if among is None else any_of_ids(names.id, among)
        if part == "sparse":
            return names.sparse, chosen, {"metric_type": "IP", "params": {}}
        ef = {"ef": max(64, limit)}  # a search list of at least the hits wanted
        if part == "dense":
            present = all_of(f"{names.has_dense} == true", chosen)
            return names.dense, present, {"metric_type": "IP", "params": ef}
        present = all_of(f"{names.tokens} > 0", chosen)
        return self._layout.token_field, present, {"metric_type": "MAX_SIM_IP", "params": ef}

    def legs(self, query: Vector) -> list[Part]:
        """Return the parts of the score that this query has and the collection holds."""
        there = {
            "dense": query.dense is not None,
            "sparse": bool(sparse_query(query.sparse)),
            "colbert": has_tokens(query),
        }
        schema = self._layout.schema
        return [p for p in PARTS if p in self._search.parts and p in schema.parts and there[p]]

    def on_server(self, query: Vector) -> bool:
        """Return whether Milvus can rank the candidates of this query."""
        legs = self.legs(query)
        return bool(legs) and (self._layout.native or "colbert" not in legs)

    def sources(self, query: Vector) -> list[Part]:
        """Return where candidates come from, of what the collection holds."""
        return [
            part
            for part in self._search.sources(query)
            if part in self._layout.schema.parts and (part == "dense" or sparse_query(query.sparse))
        ]


def has_tokens(query: Vector) -> bool:
    """Return whether a query has ColBERT vectors."""
    return query.colbert is not None and len(query.colbert) > 0


def _data(part: Part, query: Vector, layout: Layout) -> Any:  # noqa: ANN401 - what pymilvus takes
    if part == "dense":
        return query.dense
    if part == "sparse":
        return sparse_query(query.sparse)
    tokens = np.asarray(query.colbert, np.float32)
    # Milvus adds the best products of the query's tokens; their mean is the score.
    scaled = tokens / len(tokens)
    return EmbeddingList(scaled.astype(np.float16 if layout.half else np.float32))
