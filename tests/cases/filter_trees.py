"""Filters that hypothesis makes of the values that a test gives for each path."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hypothesis import strategies as st

from trivec import Filter
from trivec.filters import And, Comparison, Not, Op, Or

__all__ = ["comparisons", "trees"]

Wanted = Mapping[str, st.SearchStrategy[Any]]


@st.composite
def comparisons(draw: st.DrawFn, wanted: Wanted, no_text: tuple[str, ...] = ()) -> Filter:
    """Compare one of the paths in every way that its values allow, but for text in `no_text`."""
    path = draw(st.sampled_from(list(wanted)))
    value = draw(wanted[path])
    ops = [Op.EQ, Op.NE, Op.IN, Op.NIN, Op.ALL, Op.IS_NULL, Op.EXISTS]
    if isinstance(value, int | float | datetime) and not isinstance(value, bool):
        ops += [Op.GT, Op.GTE, Op.LT, Op.LTE] * 2
    if isinstance(value, str) and value and path not in no_text:
        ops += [Op.TEXT]
    op = draw(st.sampled_from(ops))
    if op in (Op.IS_NULL, Op.EXISTS):
        return Comparison(path, op)
    if op in (Op.IN, Op.NIN, Op.ALL):
        return Comparison(path, op, tuple(draw(st.lists(wanted[path], max_size=4))))
    return Comparison(path, op, value)


def trees(leaves: st.SearchStrategy[Filter], *, max_leaves: int = 5) -> st.SearchStrategy[Filter]:
    """Combine filters, also none, with and, or and not."""
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(lambda parts: And(tuple(parts))),
            st.lists(inner, max_size=3).map(lambda parts: Or(tuple(parts))),
            inner.map(Not),
        ),
        max_leaves=max_leaves,
    )
