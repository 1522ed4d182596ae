"""How deep and how long filters may be, in every notation and for everything done with them."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from langchain_core.structured_query import Comparator, Operation, Operator, StructuredQuery
from langchain_core.structured_query import Comparison as LangChainComparison
from llama_index.core.vector_stores import FilterCondition, MetadataFilter, MetadataFilters

from trivec import F, Filter
from trivec.errors import InvalidFilterError
from trivec.fields import field_types
from trivec.filters import And, Not, Or
from trivec.filters.counterexample import counterexample
from trivec.filters.declared import fit_filter
from trivec.filters.dicts import as_filter
from trivec.filters.parser import parse_filter
from trivec.filters.tree import MAX_DEPTH
from trivec_langchain.filters import TrivecTranslator
from trivec_langchain.filters import to_filter as from_langchain
from trivec_llamaindex.filters import to_filter as from_llamaindex

LEAF = F("a") == 1


def _by_hand(groups: int) -> Filter:
    condition: Filter = LEAF
    for place in range(groups):
        condition = And((condition, LEAF)) if place % 2 else Or((condition, F("b") == place))
    return condition


def _by_operators(groups: int) -> Filter:
    condition: Filter = LEAF
    for place in range(groups):
        condition = condition & LEAF if place % 2 else LEAF | condition
    return condition


def _by_not(groups: int) -> Filter:
    condition: Filter = LEAF
    for _ in range(groups):
        condition = Not(condition)
    return condition


def _by_text(groups: int) -> Filter:
    text = "a = 1"
    for place in range(groups):
        text = f"({text}) {'and' if place % 2 else 'or'} b = {place}"
    return parse_filter(text)


def _by_written(groups: int) -> Filter:
    data = LEAF.to_dict()
    for place in range(groups):
        data = {"operator": "AND" if place % 2 else "OR", "conditions": [data, LEAF.to_dict()]}
    return Filter.from_dict(data)


def _by_plain(groups: int) -> Filter:
    data: dict[str, Any] = {"a": {"$eq": 1}}
    for place in range(groups):
        data = {"$and" if place % 2 else "$or": [data, {"b": place}]}
    return as_filter(data)


def _by_plain_not(groups: int) -> Filter:
    data: dict[str, Any] = {"$eq": 1}
    for _ in range(groups):
        data = {"$not": data}
    return as_filter({"a": data})


def _by_langchain(groups: int) -> Filter | None:
    leaf = LangChainComparison(Comparator.EQ, "a", 1)
    query: Any = leaf
    for place in range(groups):
        query = Operation(Operator.AND if place % 2 else Operator.OR, [query, leaf])
    TrivecTranslator().visit_structured_query(StructuredQuery(query="", filter=query))
    return from_langchain(query)


def _by_llamaindex(groups: int) -> Filter | None:
    leaf = MetadataFilter(key="a", value=1)
    group: Any = leaf
    for place in range(groups):
        condition = FilterCondition.AND if place % 2 else FilterCondition.OR
        group = MetadataFilters(filters=[group, leaf], condition=condition)
    return from_llamaindex(group if groups else MetadataFilters(filters=[leaf]))


NOTATIONS: list[Callable[[int], Filter | None]] = [
    *(_by_hand, _by_operators, _by_not, _by_text, _by_written, _by_plain, _by_plain_not),
    *(_by_langchain, _by_llamaindex),
]


@pytest.mark.parametrize("make", NOTATIONS)
def test_every_notation_takes_as_many_groups_and_no_more(
    make: Callable[[int], Filter | None],
) -> None:
    assert isinstance(make(MAX_DEPTH), Filter)
    for groups in (MAX_DEPTH + 1, MAX_DEPTH + 2, 200):
        with pytest.raises(InvalidFilterError, match=f"at most {MAX_DEPTH} .*in_"):
            make(groups)


@pytest.mark.parametrize("text", ["(" * 100_000, "not " * 100_000 + "a = 1", "a in " + "[" * 9_999])
def test_long_texts_are_refused_as_filters(text: str) -> None:
    with pytest.raises(InvalidFilterError) as caught:
        parse_filter(text)
    assert len(str(caught.value)) < 2_000


@pytest.mark.parametrize("groups", [1_000, 100_000])
def test_dicts_of_any_depth_are_refused_as_filters(groups: int) -> None:
    written: Any = {}
    plain: Any = {}
    listed: Any = 1
    for _ in range(groups):
        written = {"operator": "NOT", "conditions": [written]}
        plain = {"$not": plain}
        listed = [listed]
    for wrong in (written, plain, {"a": listed}, {"a": plain}, {"$and": listed}, listed):
        with pytest.raises(InvalidFilterError):
            as_filter(wrong)
    with pytest.raises(InvalidFilterError):
        Filter.from_dict({"operator": "==", "field": "a", "value": {"datetime": listed}})


@pytest.mark.parametrize(
    "leaf",
    [F("a") != 1, F("a").not_in([1, 2]), F("a").all([1, 2]), F("a").is_null(), F("a").in_([])],
    ids=str,
)
def test_what_a_store_makes_of_the_deepest_filter_is_no_deeper(leaf: Filter) -> None:
    deepest = leaf
    with contextlib.suppress(InvalidFilterError):
        for place in range(MAX_DEPTH + 1):
            group = And if place % 2 else Or
            deepest = group((deepest, F("b") == place))
    fields = field_types({"a": int, "b": float})
    fitted = fit_filter(deepest, fields)
    for one in (deepest, fitted, deepest.simplified(), Filter.from_dict(deepest.to_dict())):
        assert one.matches({"a": 1, "b": 2}) == deepest.matches({"a": 1, "b": 2})
    for same in (pickle.loads(pickle.dumps(deepest)), copy.deepcopy(deepest)):
        assert same == deepest
        assert hash(same) == hash(deepest)
        assert repr(same) == repr(deepest)
        with pytest.raises(InvalidFilterError, match="at most"):
            And((Or((same, LEAF)), LEAF))
    counterexample(deepest, fields)


def test_chains_are_one_group_from_either_side() -> None:
    left: Filter = LEAF
    right: Filter = LEAF
    for number in range(2, 2_001):
        left = left | (F("a") == number)
        right = (F("a") == number) | right
    for chain in (left, right):
        assert isinstance(chain, Or)
        assert len(chain.filters) == 2_000
        assert chain.matches({"a": 1_999})
    both = left & right & left
    assert isinstance(both, And)
    assert both.filters == (left, right, left)
    assert (left | right) == Or((*left.filters, *right.filters))  # type: ignore[attr-defined]


@pytest.mark.parametrize("wrong", [5, "ab", {"a": 1}, [1], None, [LEAF, F("a")]])
def test_groups_are_made_of_filters(wrong: Any) -> None:
    for group in (And, Or):
        with pytest.raises(InvalidFilterError):
            group(wrong)
    assert And([LEAF, LEAF]) == And((LEAF, LEAF))  # type: ignore[arg-type]


HUGE = int("9" * 4_000) ** 2
"""More digits than Python prints."""


@pytest.mark.parametrize(
    "number", [HUGE, -HUGE, 2**63, 1e400, -1e400, float("nan")], ids=[*"abcdef"]
)
def test_numbers_that_no_database_keeps_are_refused_by_every_notation(number: Any) -> None:
    text = "-" * (number < 0) + "9" * 5_000
    calls: list[Callable[[], object]] = [
        lambda: F("a") == number,
        lambda: F("a").in_([1, number]),
        lambda: F("a") < number,
        lambda: F("a").text(number),
        lambda: F(number) == 1,
        lambda: as_filter({"a": number}),
        lambda: as_filter({"a": {"$exists": number}}),
        lambda: as_filter({"a": [[number]]}),
        lambda: as_filter({"a": {"$in": number}}),
        lambda: as_filter({number: 1}),
        lambda: as_filter({"$and": number}),
        lambda: as_filter([number]),  # type: ignore[arg-type]
        lambda: Filter.from_dict({"operator": "==", "field": "a", "value": number}),
        lambda: Filter.from_dict({"operator": "==", "field": number, "value": 1}),
        lambda: Filter.from_dict({"operator": number, "field": "a", "value": 1}),
        lambda: Filter.from_dict({"operator": "AND", "conditions": number}),
        lambda: Filter.from_dict({"operator": ">", "field": "a", "value": {"datetime": number}}),
        lambda: parse_filter(f"a = {text}"),
        lambda: parse_filter(f"a in [1, {text}.5e999]"),
        lambda: from_langchain(LangChainComparison(Comparator.EQ, "a", number)),
        lambda: from_langchain(LangChainComparison(Comparator.LIKE, "a", number)),
        lambda: from_langchain(LangChainComparison(Comparator.EQ, "a", {"type": number})),
    ]
    for call in calls:
        with pytest.raises(InvalidFilterError) as caught:
            call()
        assert len(str(caught.value)) < 2_000


def test_fields_of_integers_take_the_largest_numbers() -> None:
    fields = field_types({"a": int, "b": float, "c": datetime})
    for number in (1e308, -1e308, 2**63 - 1, -(2**63), 5e-324):
        condition = (F("a") > number) | (F("b") <= number)
        assert fit_filter(condition, fields) == condition
        with pytest.raises(InvalidFilterError, match="declared datetime"):
            fit_filter(F("c") > number, fields)
