"""Conditions as filters of qdrant-client."""

from __future__ import annotations

from qdrant_client import models

from trivec_qdrant.filters import (
    AllOf,
    AnyOf,
    Between,
    Condition,
    Contains,
    Empty,
    Instants,
    IsBool,
    Leaf,
    Match,
    NoneOf,
    Points,
)


def render(condition: Condition, *, substring: bool = True) -> models.Filter:
    """Return a condition as the client's filter, which is never empty at the top.

    Args:
        condition: The result of `filters.lower`.
        substring: Whether the server has a condition for substrings; else the text condition is
            used, which compares substrings on servers before version 1.20.
    """
    inner = _render(condition, substring)
    return inner if isinstance(inner, models.Filter) else models.Filter(must=[inner])


def _render(condition: Condition, substring: bool) -> models.Condition:
    match condition:
        case AllOf(parts):
            return models.Filter(must=[_render(part, substring) for part in parts])
        case AnyOf(()):
            return models.HasIdCondition(has_id=[])  # an empty `should` would match everything
        case AnyOf(parts):
            return models.Filter(should=[_render(part, substring) for part in parts])
        case NoneOf(part):
            return models.Filter(must_not=[_render(part, substring)])
        case Contains(key, text) if not substring:
            return models.FieldCondition(key=key, match=models.MatchText(text=text))
    return _leaf(condition)


def _leaf(condition: Leaf) -> models.Condition:
    match condition:
        case Empty(key):
            return models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
        case Match(key, values):
            return models.FieldCondition(key=key, match=models.MatchAny(any=values))
        case Points(ids):
            return models.HasIdCondition(has_id=list(ids))
        case IsBool(key, value):
            return models.FieldCondition(key=key, match=models.MatchValue(value=value))
        case Contains(key, text):
            return models.FieldCondition(key=key, match=models.MatchSubstring(substring=text))
        case Between(key, gt, gte, lt, lte):
            numbers = models.Range(gt=gt, gte=gte, lt=lt, lte=lte)
            return models.FieldCondition(key=key, range=numbers)
        case Instants(key, gt, gte, lt, lte):
            moments = models.DatetimeRange(gt=gt, gte=gte, lt=lt, lte=lte)
            return models.FieldCondition(key=key, range=moments)
