"""Conditions as filters of qdrant-client."""

from __future__ import annotations

from functools import partial

from qdrant_client import models

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


def render(condition: Condition, *, substring: bool = True) -> models.Filter:
    """Return a condition as the client's filter, which is never empty at the top.

    Args:
        condition: The result of `filters.lower`.
        substring: Whether the server has a condition for substrings; else the text condition is
            used, which compares substrings on servers before version 1.20.
    """
    return rendered(condition, models.Filter, partial(_leaf, substring=substring))


def _leaf(condition: Leaf, *, substring: bool) -> models.Condition:
    match condition:
        case Empty(key):
            return models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
        case Match(key, values):
            return models.FieldCondition(key=key, match=models.MatchAny(any=values))
        case Points(ids):
            return models.HasIdCondition(has_id=list(ids))
        case IsBool(key, value):
            return models.FieldCondition(key=key, match=models.MatchValue(value=value))
        case Contains(key, text) if substring:
            return models.FieldCondition(key=key, match=models.MatchSubstring(substring=text))
        case Contains(key, text):
            return models.FieldCondition(key=key, match=models.MatchText(text=text))
        case Between(key, gt, gte, lt, lte):
            numbers = models.Range(gt=gt, gte=gte, lt=lt, lte=lte)
            return models.FieldCondition(key=key, range=numbers)
        case Instants(key, gt, gte, lt, lte):
            moments = models.DatetimeRange(gt=gt, gte=gte, lt=lt, lte=lte)
            return models.FieldCondition(key=key, range=moments)
