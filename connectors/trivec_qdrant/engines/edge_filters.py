"""Conditions as filters of the embedded engine."""

from __future__ import annotations

from typing import cast

import numpy as np
import qdrant_edge as edge

from trivec_qdrant.filters import (
    Between,
    Condition,
    Contains,
    Empty,
    Instants,
    IsBool,
    Leaf,
    Match,
    Points,
    rendered,
)


def render(condition: Condition) -> edge.Filter:
    """Return a condition as the engine's filter, which is never empty at the top."""
    return rendered(condition, edge.Filter, _leaf)


def _leaf(condition: Leaf) -> edge.ConditionType:
    match condition:
        case Empty(key):
            return edge.IsEmptyCondition(key)
        case Match(key, values):
            return edge.FieldCondition(key, match=edge.MatchAny(values))
        case Points(ids):
            return edge.HasIdCondition(set(ids))
        case IsBool(key, value):
            # The binding reads Python's True as the integer 1, and numpy's True as a boolean.
            return edge.FieldCondition(key, match=edge.MatchValue(cast(bool, np.bool_(value))))
        case Contains(key, text):
            return edge.FieldCondition(key, match=edge.MatchSubstring(text))
        case Between(key, gt, gte, lt, lte):
            return edge.FieldCondition(key, range=edge.RangeFloat(gt=gt, gte=gte, lt=lt, lte=lte))
        case Instants(key, gt, gte, lt, lte):
            bounds = (None if b is None else b.isoformat() for b in (gte, gt, lte, lt))
            return edge.FieldCondition(key, range=edge.RangeDateTime(*bounds))
