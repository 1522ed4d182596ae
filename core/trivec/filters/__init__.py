"""Conditions on metadata: the tree with its meaning, and the notations for it."""

from trivec.fields import Scalar, metadata_values, split_path
from trivec.filters.field import F
from trivec.filters.instants import parse_datetime
from trivec.filters.operators import Op
from trivec.filters.tree import ALWAYS, NEVER, And, Comparison, Filter, Not, Or, check_is_filter

__all__ = [
    "ALWAYS",
    "NEVER",
    "And",
    "Comparison",
    "F",
    "Filter",
    "Not",
    "Op",
    "Or",
    "Scalar",
    "check_is_filter",
    "metadata_values",
    "parse_datetime",
    "split_path",
]
