"""Conditions that are true, or false, of everything."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import and_, or_

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivec import F, Filter
from trivec.errors import InvalidFilterError
from trivec.fields import FieldType
from trivec.filters import ALWAYS, NEVER, And, Comparison, Not, Op, Or
from trivec.filters.counterexample import counterexample

X, LANG, TAGS = F("x"), F("lang"), F("tags")

FOLDED = [
    (LANG == "de") | LANG.not_in([]),
    (LANG == "de") | ~LANG.in_([]),
    (LANG == "de") | TAGS.all([]),
    X.exists() | ~X.exists(),
    X.is_null() | X.exists(),
    (X == 1) | (X != 1),
    ~((X == 1) & ~(X == 1)),
    (X.in_([1, 2]) | X.not_in([1, 2])) & (ALWAYS | NEVER),
    ~(NEVER & (X == 1)),
    (LANG == "de") | ((X < 3) | ~(X < 3)),
    And((And(()), Or((And(()), X == 1)))),
    ALWAYS,
    ~NEVER,
]
KNOWN_BY_CASES = [
    X.in_([1, 2]) | X.not_in([1]),
    X.exists() | (X != 5),
    (X < 5) | ~(X < 3),
    ((X == 1) & (LANG == "a")) | (X != 1) | (LANG != "a"),
    X.text("b") | ~X.text("abc"),
    (X != "abc") | X.text("b"),
    X.is_null() | (X < 3) | ~(X < 3) & X.exists(),
    ~F("a").exists() | ~F("a.b").exists(),
]
SOMETIMES_FALSE = [
    X == 1,
    ~(X == 1),
    (X != 1) | (X != 2),  # a list may hold both
    ~(X < 1) | ~(X >= 1),
    (X < 1) | (X >= 1),  # there may be no value
    (X < 1) | (X >= 1) | X.is_null(),  # or no number
    (X == True) | (X == False) | X.is_null(),  # noqa: E712
    (X != 1) | (X != 2) | (X == 3),
    X.text("abc") | ~X.text("b"),
    NEVER,
]


@pytest.mark.parametrize("condition", FOLDED, ids=str)
def test_what_is_always_true_is_folded(condition: Filter) -> None:
    assert condition.simplified() == ALWAYS
    assert (~condition).simplified() == NEVER
    assert counterexample(condition) is None


@pytest.mark.parametrize("condition", KNOWN_BY_CASES, ids=str)
def test_no_counterexample_to_what_is_always_true(condition: Filter) -> None:
    assert counterexample(condition) is None


@pytest.mark.parametrize("condition", SOMETIMES_FALSE, ids=str)
def test_a_counterexample_to_what_is_not(condition: Filter) -> None:
    metadata = counterexample(condition)
    assert metadata is not None
    assert not condition.matches(metadata)


@pytest.mark.parametrize(
    ("condition", "fields", "always"),
    [
        ((X == True) | (X == False) | X.is_null(), {"x": FieldType.BOOL}, True),  # noqa: E712
        ((X != 1) | (X != 2), {"x": FieldType.INT}, True),
        ((X != 1) | (X != 2), {"x": FieldType.LIST_INT}, False),
        ((X < 1) | (X >= 1) | X.is_null(), {"x": FieldType.FLOAT}, True),
        (X.text("a") | (X != "b"), {"x": FieldType.STR}, False),
    ],
)
def test_declared_fields_hold_less(
    condition: Filter, fields: Mapping[str, FieldType], always: bool
) -> None:
    assert (counterexample(condition, fields) is None) is always


@pytest.mark.parametrize(
    "condition",
    [
        reduce(and_, [i != X for i in range(3_000)]),
        reduce(or_, [F(f"x{i}") != i for i in range(300)]),
        reduce(or_, [(F(f"x{i}") != i) & (F(f"y{i}") < i) for i in range(100)]),
    ],
)
def test_large_conditions_take_no_time(condition: Filter) -> None:
    assert counterexample(condition) is not None


LEAVES = st.sampled_from(
    [
        *(X == 1, X != 1, X < 2, X.exists(), X.is_null(), X.in_([]), X.not_in([]), X.all([])),
        *(X.in_([1, 3]), X.text("a"), LANG == "a", LANG != "a", ALWAYS, NEVER),
    ]
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, max_size=3).map(lambda parts: Or(tuple(parts))),
        inner.map(Not),
    ),
    max_leaves=8,
)
METADATA: st.SearchStrategy[dict[str, object]] = st.fixed_dictionaries(
    {},
    optional={
        "x": st.sampled_from([None, 1, 1.5, 2, 3, "a", "b", [1, 3], ["a", 5], [], {}]),
        "lang": st.sampled_from([None, "a", "b", ["a", "b"]]),
    },
)


@given(TREES, METADATA)
def test_simplified_filters_mean_the_same(condition: Filter, metadata: dict[str, object]) -> None:
    simple = condition.simplified()
    assert simple.matches(metadata) is condition.matches(metadata)  # type: ignore[arg-type]
    assert simple in (ALWAYS, NEVER) or not _has_constant(simple)


def _has_constant(node: Filter) -> bool:
    if isinstance(node, And | Or):
        return not node.filters or any(map(_has_constant, node.filters))
    if isinstance(node, Not):
        return _has_constant(node.filter)
    return isinstance(node, Comparison) and node.op is Op.IN and not node.value


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda: And((X == 1, {"lang": "en"})), "as_filter"),  # type: ignore[arg-type]
        (lambda: (X == 1) | "lang == 'en'", "parse_filter"),  # type: ignore[operator]
        (lambda: {"lang": "en"} & (X == 1), "as_filter"),
        (lambda: "x" | (X == 1), "parse_filter"),
        (lambda: (X == 1) & LANG, r"F\('x'\)\.exists\(\)"),  # type: ignore[operator]
        (lambda: LANG | (X == 1), r"F\('x'\)\.exists\(\)"),
        (lambda: Not([X == 1]), "with & or |"),  # type: ignore[arg-type]
        (lambda: Or((None,)), "made with F"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_filter_says_how_to_make_one(make: object, advice: str) -> None:
    with pytest.raises(InvalidFilterError, match=advice):
        make()  # type: ignore[operator]
