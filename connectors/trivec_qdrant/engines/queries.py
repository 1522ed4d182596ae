"""Queries as the client's models."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from qdrant_client import models

from trivec.ranking import RRF_K
from trivec_qdrant.engines.engine import TINY, Fused, Nearest, Query, Weighted, vector_names
from trivec_qdrant.mapping import PointVectors
from trivec_qdrant.schema import Names


def query_request(
    query: Query, flt: models.Filter | None, names: Names, *, embedded: bool
) -> models.QueryRequest:
    """Return one query as the client sends it.

    The leaves of the query carry the filter. An embedded client, in its pure-Python mode, quantizes
    nothing.
    """
    root = query.root
    stage = partial(_stage, flt=flt, names=names, embedded=embedded)
    fields: dict[str, Any]
    match root:
        case Nearest():
            fields = stage(root)
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
            fields = {"query": ranking}
        case Fused():
            # The server's ranks begin at 0.
            fields = {"query": models.RrfQuery(rrf=models.Rrf(k=RRF_K + 1))}
    if not isinstance(root, Nearest):
        fields["prefetch"] = [models.Prefetch(**stage(each)) for each in root.stages]
    return models.QueryRequest(
        **{**fields, "limit": query.limit},
        with_payload=query.payload,
        with_vector=vector_names(query.vectors, names),
    )


def _stage(
    stage: Nearest, flt: models.Filter | None, names: Names, *, embedded: bool
) -> dict[str, Any]:
    """Return the fields of one stage, in a prefetch or at the root; its leaves carry the filter."""
    exact = models.QuantizationSearchParams(
        ignore=True if stage.over else None, rescore=None if stage.over else True
    )
    over = [models.Prefetch(**_stage(leaf, flt, names, embedded=embedded)) for leaf in stage.over]
    return {
        "prefetch": over or None,
        "query": _query_vector(stage.vector),
        "using": names.vector(stage.part) or None,
        "filter": None if stage.over else _only(stage.among) or flt,
        "params": None if embedded else models.SearchParams(quantization=exact),
        "score_threshold": TINY if stage.part == "sparse" and not stage.over else None,
        "limit": stage.limit,
    }


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
