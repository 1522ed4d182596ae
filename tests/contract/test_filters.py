"""Filters against `matches()`, with random trees over every operator."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trivec import F, Filter, Store
from trivec.errors import InvalidFilterError
from trivec.filters import And, Or

STRINGS = st.sampled_from(
    [
        *("en", "de", "x", "a", "b", "it's", 'say "hi"', "back\\slash", "\\' or 1 == 1 or '"),
        *("%_*?", "line\nbreak", "zażółć 北京 🐋", "", "plain"),
    ]
)
TEXTS = st.sampled_from(["e", "it", "'", '"', "\\", "%", "_", "北", "lan", "N", "\n"])
INTS = st.sampled_from([-1, 0, 1, 2, 3, 4, 2015, 2018, 2020, 2025, 2**53 + 1])
FLOATS = st.sampled_from([0.3, 0.1 + 0.2, 2.0, -1.5, 1e9, 0.0])
MOMENTS = st.sampled_from(
    [
        datetime(2020, 1, 31, tzinfo=UTC),
        datetime(2020, 1, 31, 12, tzinfo=UTC),
        datetime(2020, 1, 31, 12, 30),
        datetime.fromisoformat("2020-01-31T13:00:00+01:00"),
    ]
)
VALUES: dict[str, Any] = {
    "lang": STRINGS,
    "year": INTS | FLOATS,
    "price": FLOATS | INTS,
    "flag": st.booleans(),
    "when": MOMENTS,
    "tags": STRINGS,
    "sizes": INTS,
    "nested.kind": STRINGS,
}
ORDERED = ("year", "price", "when")


@st.composite
def comparisons(draw: st.DrawFn) -> Filter:
    path = draw(st.sampled_from(list(VALUES)))
    field, value = F(path), draw(VALUES[path])
    some = draw(st.lists(VALUES[path], max_size=3))
    choices: list[Filter] = [
        field == value,
        field != value,
        field.in_(some),
        field.not_in(some),
        field.contains(value),
        field.any(some),
        field.all(some),
        field.is_null(),
        field.exists(),
    ]
    if path in ORDERED:
        choices += [field > value, field >= value, field < value, field <= value]
    if path in ("lang", "tags"):
        choices.append(field.text(draw(TEXTS)))
    return draw(st.sampled_from(choices))


FILTERS = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, max_size=3).map(lambda parts: Or(tuple(parts))),
        inner.map(lambda f: ~f),
    ),
    max_leaves=6,
)


def _check(store: Store, corpus: Any, condition: Filter) -> None:
    expected = sorted(d.id for d in corpus.documents if condition.matches(d.metadata))
    assert store.count(condition) == len(expected)
    found = [d.id for page in store.scan(filter=condition) for d in page.documents]
    assert sorted(found) == expected


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(condition=FILTERS)
def test_random_filters(filled: Store, corpus: Any, condition: Filter) -> None:
    _check(filled, corpus, condition)


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(condition=comparisons())
def test_every_operator(filled: Store, corpus: Any, condition: Filter) -> None:
    _check(filled, corpus, condition)


@pytest.mark.parametrize("low", [-(2**63), -(2**63) + 1])
def test_the_lowest_integers_are_no_missing_values(filled: Store, corpus: Any, low: int) -> None:
    for path in ("year", "sizes"):
        for condition in (F(path) == low, F(path) != low, F(path).in_([low, 2020])):
            _check(filled, corpus, condition)


UNDECLARED = [
    F("extra.name") == "left",
    F("extra.name") != "left",
    F("extra.level") >= 2,
    F("extra.level").in_([1, 3]),
    F("nested.level") == 2.0,
    F("extra.missing").is_null(),
    F("extra.name").exists(),
    F("extra.name").text("igh"),
    ~((F("extra.level") < 3) | (F("extra.name") == "right")),
]


@pytest.mark.parametrize("condition", UNDECLARED, ids=str)
def test_undeclared_fields_are_filtered_or_refused(
    filled: Store, corpus: Any, condition: Filter
) -> None:
    if filled.declared_only:
        with pytest.raises(InvalidFilterError, match="declared fields only"):
            filled.count(condition)
    else:
        _check(filled, corpus, condition)


def test_a_filter_must_fit_the_declared_types(filled: Store) -> None:
    for wrong in (F("year") == "2020", F("lang") == 3, F("flag") == 1, F("when") > 3.5):
        with pytest.raises(InvalidFilterError, match="is declared"):
            filled.count(wrong)
