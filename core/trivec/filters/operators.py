"""The operators of comparisons."""

from __future__ import annotations

from enum import StrEnum


class Op(StrEnum):
    """The operator of a comparison; its value is what `to_dict` writes."""

    EQ = "=="
    NE = "!="
    GT = ">"
    GTE = ">="
    LT = "<"
    LTE = "<="
    IN = "in"
    NIN = "not in"
    CONTAINS = "contains"
    ANY = "any"
    ALL = "all"
    TEXT = "text"
    IS_NULL = "is null"
    EXISTS = "exists"


ORDERING = frozenset({Op.GT, Op.GTE, Op.LT, Op.LTE})
"""Operators that compare by order."""
LISTS = frozenset({Op.IN, Op.NIN, Op.ANY, Op.ALL})
"""Operators that take a list of values."""
PRESENCE = frozenset({Op.IS_NULL, Op.EXISTS})
"""Operators that take no value."""
