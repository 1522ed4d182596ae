"""Requests to Milvus: what they are, and those of a search."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pymilvus import AnnSearchRequest, WeightedRanker
from pymilvus.client.embedding_list import EmbeddingList

from trivec.rows import spans
from trivec.search import Part, Search
from trivec.stores.steps import Steps
from trivec.vectors import Vector
from trivec_milvus.filters import all_of, any_of_ids, render
from trivec_milvus.mapping import Row, token_bytes
from trivec_milvus.replies import rows_by_id
from trivec_milvus.schema import Layout

Method = Literal[
    "create_collection",
    "create_index",
    "delete",
    "describe_collection",
    "drop_collection",
    "flush",
    "get_load_state",
    "hybrid_search",
    "insert",
    "load_collection",
    "query",
    "search",
    "upsert",
]

FETCH_BYTES = 32 * 1024 * 1024  # of vectors in one answer; servers send at most 100 MiB
_MANY_HITS = 2000  # in one answer, which take about 20 ms to parse
_HITS_WITH_VECTORS = 64  # the same
_MANY_TOKENS = 2000  # in one request, which take about as long to write


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a method of pymilvus for a collection; both of its clients have the method.

    Args:
        method: The method.
        options: Its arguments, except the collection, the timeout and the consistency.
        large: Whether pymilvus takes so long to build it, or to parse the answer, that an event
            loop should leave it to a thread.
    """

    method: Method
    options: Mapping[str, Any]
    large: bool = False

    @property
    def is_consistent(self) -> bool:
        """Whether it takes a consistency level."""
        return self.method in ("search", "hybrid_search", "query")

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.is_consistent or self.method in ("describe_collection", "get_load_state")


def fetch(
    layout: Layout, tokens: Mapping[str, int], output: Sequence[str]
) -> Steps[dict[str, Row]]:
    """Read rows in answers of at most `FETCH_BYTES`; `tokens` has their ids and token counts."""
    names = layout.names
    if not tokens:
        return {}
    ids, sizes = list(tokens), answer_bytes(layout, tokens, names.colbert in output)
    large = any(f in output for f in (names.dense, names.sparse, names.colbert))
    answers = yield [
        Request(
            "query",
            {"filter": any_of_ids(names.id, ids[start:stop]), "output_fields": list(output)},
            large,
        )
        for start, stop in spans(np.array([*sizes.values()]), FETCH_BYTES)
    ]
    return rows_by_id((row for rows in answers for row in rows), names.id, tokens)


def fields_of(layout: Layout, parts: Iterable[str]) -> list[str]:
    """Return the fields of the id, and of the document and those parts that the collection has."""
    names = layout.names
    fields = [names.id, names.text, names.text_more, names.metadata]
    fields += [names.private] if layout.private else []
    return fields + [getattr(names, part) for part in layout.schema.parts if part in parts]


def answer_bytes(layout: Layout, tokens: Mapping[str, int], with_colbert: bool) -> dict[str, int]:
    """Return about how many bytes each row takes in an answer, given ids with token counts."""
    per_token = token_bytes(layout) if with_colbert else 0
    other = 4 * (layout.schema.dense or 0) + 8 * 1024
    return {id: other + math.ceil(count * per_token) for id, count in tokens.items()}


class SearchRequests:
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
        """Return the search for the best documents by one part, of all or `among` given ids."""
        name, expression, params = self._field(part, limit, among)
        tokens = sum(len(q.colbert) for q in queries if q.colbert is not None)
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
            limit * len(queries) > _MANY_HITS or (part == "colbert" and tokens > _MANY_TOKENS),
        )

    def fused(
        self, query: Vector, ids: Mapping[str, int], limit: int, output: Sequence[str]
    ) -> Request:
        """Return the hybrid search that adds the weighted scores of given documents."""
        requests, weights = [], []
        for part in self._search.scored_parts(query):
            name, expression, params = self._field(part, len(ids), ids)
            data = [_data(part, query, self._layout)]
            # pymilvus ignores a filter of the whole search, so each part has it.
            requests.append(AnnSearchRequest(data, name, params, len(ids), expr=expression))
            weights.append(getattr(self._search.weights, part))
        largest = max(weights)  # servers take weights from 0 to 1
        ranker = WeightedRanker(*(weight / largest for weight in weights), norm_score=False)
        return Request(
            "hybrid_search",
            {"reqs": requests, "ranker": ranker, "limit": limit, "output_fields": list(output)},
            large=limit > _HITS_WITH_VECTORS,
        )

    def on_server(self, query: Vector) -> bool:
        """Return whether Milvus can rank the candidates of this query."""
        parts = self._search.scored_parts(query)
        return bool(parts) and (self._layout.native or "colbert" not in parts)

    def _field(
        self, part: Part, limit: int, among: Iterable[str] | None
    ) -> tuple[str, str, dict[str, Any]]:
        """Return the field, the expression and the parameters of a search by one part."""
        names = self._layout.names
        selected = self._expression if among is None else any_of_ids(names.id, among)
        if part == "sparse":
            return names.sparse, selected, {"metric_type": "IP", "params": {}}
        ef = {"ef": max(64, limit)}  # a search list of at least the hits wanted
        if part == "dense":
            present = all_of(f"{names.has_dense} == true", selected)
            return names.dense, present, {"metric_type": "IP", "params": ef}
        present = all_of(f"{names.tokens} > 0", selected)
        return self._layout.token_field, present, {"metric_type": "MAX_SIM_IP", "params": ef}


def _data(part: Part, query: Vector, layout: Layout) -> Any:  # noqa: ANN401 - what pymilvus takes
    if part == "dense":
        return query.dense
    if part == "sparse":
        return dict(query.sparse or {})
    tokens = np.asarray(query.colbert, np.float32)
    # Milvus adds the best products of the query's tokens; their mean is the score.
    return EmbeddingList((tokens / len(tokens)).astype(np.float16 if layout.half else np.float32))
