"""Queries as the client's models."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from qdrant_client import models

from trivec.ranking import RRF_K
from trivec_qdrant.engines.engine import Fused, Nearest, Query, Weighted
from trivec_qdrant.mapping import PointVectors
from trivec_qdrant.schema import Names

TINY = float(np.finfo(np.float32).tiny)  # a lexical score above 0


def query_request(
    query: Query, flt: models.Filter | None, names: Names, *, embedded: bool
) -> models.QueryRequest:
    """Return one query as the client sends it.

    Args:
        query: The query.
        flt: The condition; the leaves of the query carry it.
        names: What the vectors are called.
        embedded: Whether the client is in its pure-Python mode, which quantizes nothing.
    """
    root = query.root
    payload = query.payload
    shared: dict[str, Any] = {
        "limit": query.limit,
        "with_payload": payload if isinstance(payload, bool) else list(payload),
        "with_vector": [names.vector(part) for part in query.vectors] or False,
    }
    stage = partial(_prefetch, flt=flt, names=names, embedded=embedded)
    if isinstance(root, Nearest):
        leaf = stage(root)
        return models.QueryRequest(
            prefetch=leaf.prefetch,
            query=leaf.query,
            using=leaf.using,
            filter=leaf.filter,
            params=leaf.params,
            score_threshold=leaf.score_threshold,
            **shared,
        )
    ranking: models.Query
    match root:
        case Weighted():
            ranking = models.FormulaQuery(
                formula=models.SumExpression(
                    sum=[
                        models.MultExpression(mult=[factor, f"$score[{i}]"])
                        for i, factor in enumerate(root.factors)
                    ]
                ),
                defaults={f"$score[{i}]": 0.0 for i in range(len(root.factors))},
            )
        case Fused():
            # The server's ranks begin at 0.
            ranking = models.RrfQuery(rrf=models.Rrf(k=RRF_K + 1))
    prefetch = list(map(stage, root.stages))
    return models.QueryRequest(prefetch=prefetch, query=ranking, **shared)


def _prefetch(
    stage: Nearest, flt: models.Filter | None, names: Names, *, embedded: bool
) -> models.Prefetch:
    """Return one stage; its leaves carry the filter."""
    exact = models.QuantizationSearchParams(
        ignore=True if stage.over else None, rescore=None if stage.over else True
    )
    over = [_prefetch(leaf, flt, names, embedded=embedded) for leaf in stage.over]
    return models.Prefetch(
        prefetch=over or None,
        query=_query_vector(stage.vector),
        using=names.vector(stage.part) or None,
        filter=None if stage.over else _only(stage.among) or flt,
        params=None if embedded else models.SearchParams(quantization=exact),
        score_threshold=TINY if stage.part == "sparse" and not stage.over else None,
        limit=stage.limit,
    )


def _only(ids: Sequence[str | int]) -> models.Filter | None:
    return models.Filter(must=[models.HasIdCondition(has_id=list(ids))]) if ids else None


def _query_vector(vector: PointVectors) -> models.VectorInput:
    if vector.dense is not None:
        dense: list[float] = vector.dense.tolist()
        return dense
    if vector.colbert is not None:
        tokens: list[list[float]] = vector.colbert.tolist()
        return tokens
    assert vector.indices is not None
    assert vector.weights is not None
    return models.SparseVector(indices=vector.indices.tolist(), values=vector.weights.tolist())
