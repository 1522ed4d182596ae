"""What a search asks for, as the client's models."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from qdrant_client import models

from trivec.ranking import RRF_K
from trivec_qdrant.engine import Fused, Nearest, Request, Weighted
from trivec_qdrant.mapping import PointVectors
from trivec_qdrant.schema import Names

__all__ = ["query_request"]

TINY = float(np.finfo(np.float32).tiny)  # a lexical score above 0


def query_request(
    request: Request, flt: models.Filter | None, names: Names, *, embedded: bool
) -> models.QueryRequest:
    """Return one query as the client sends it.

    Args:
        request: What is searched for.
        flt: The condition; the leaves of the query carry it.
        names: What the vectors are called.
        embedded: Whether there is no server, and so nothing that is quantized.
    """
    root = request.root
    payload = request.payload
    shared: dict[str, Any] = {
        "limit": request.limit,
        "with_payload": payload if isinstance(payload, bool) else list(payload),
        "with_vector": [names.vector(part) for part in request.vectors] or False,
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
    query: models.Query
    match root:
        case Weighted():
            query = models.FormulaQuery(
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
            query = models.RrfQuery(rrf=models.Rrf(k=RRF_K + 1))
    return models.QueryRequest(prefetch=[stage(one) for one in root.stages], query=query, **shared)


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
        query=_query_vector(stage.query),
        using=names.vector(stage.part) or None,
        filter=None if stage.over else _only(stage.among) or flt,
        params=None if embedded else models.SearchParams(quantization=exact),
        score_threshold=TINY if stage.part == "sparse" and not stage.over else None,
        limit=stage.limit,
    )


def _only(ids: Sequence[str | int]) -> models.Filter | None:
    return models.Filter(must=[models.HasIdCondition(has_id=list(ids))]) if ids else None


def _query_vector(query: PointVectors) -> models.VectorInput:
    if query.dense is not None:
        dense: list[float] = query.dense.tolist()
        return dense
    if query.colbert is not None:
        tokens: list[list[float]] = query.colbert.tolist()
        return tokens
    assert query.indices is not None
    assert query.weights is not None
    return models.SparseVector(indices=query.indices.tolist(), values=query.weights.tolist())
