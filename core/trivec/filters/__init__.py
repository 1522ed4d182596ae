"""Conditions on metadata: the tree and its meaning, and the notations that are read into it."""

from trivec.filters.field import F
from trivec.filters.tree import And, Comparison, Filter, Not, Op, Or
from trivec.filters.values import Scalar, metadata_values, parse_datetime, split_path

__all__ = [
    "And",
    "Comparison",
    "F",
    "Filter",
    "Not",
    "Op",
    "Or",
    "Scalar",
    "metadata_values",
    "parse_datetime",
    "split_path",
]
