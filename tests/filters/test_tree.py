"""The meaning of filters, their JSON form and their text form."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivec import F, Filter
from trivec.errors import InvalidFilterError
from trivec.filters import And, Comparison, Op, Or, parse_datetime
from trivec.filters.parser import parse_filter

NOON = datetime(2020, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("condition", "metadata", "expected"),
    [
        (F("a") == 1, {"a": 1}, True),
        (F("a") == 1, {"a": 1.0}, True),
        (F("a") == 1, {"a": True}, False),
        (F("a") == True, {"a": 1}, False),  # noqa: E712
        (F("a") == "1", {"a": 1}, False),
        (F("a") == 1, {"a": [3, 1]}, True),
        (F("a") == 1, {"a": [[1]]}, False),
        (F("a") != 1, {}, True),
        (F("a") != 1, {"a": None}, True),
        (F("a") != 1, {"a": [3, 1]}, False),
        (F("a") > 1, {"a": [0, 2]}, True),
        (F("a") > 1, {"a": "2"}, False),
        (F("a") > 1, {}, False),
        (~(F("a") > 1), {}, True),
        (F("a.b") == 1, {"a": {"b": 1}}, True),
        (F("a.b") == 1, {"a.b": 1}, False),
        (F("a.b") == 1, {"a": [{"b": 1}]}, False),
        (F("a").in_([]), {"a": 1}, False),
        (F("a").not_in([]), {}, True),
        (F("a").in_(["x", 2]), {"a": 2.0}, True),
        (F("a").all(["x", "y"]), {"a": ["y", "z", "x"]}, True),
        (F("a").all(["x", "y"]), {"a": ["x"]}, False),
        (F("a").all([]), {}, True),
        (F("a").any(["x", "y"]), {"a": ["y"]}, True),
        (F("a").text("ell"), {"a": "Hello"}, True),
        (F("a").text("Ell"), {"a": "Hello"}, False),
        (F("a").is_null(), {"a": []}, True),
        (F("a").is_null(), {"a": [None]}, True),
        (F("a").is_null(), {"a": ""}, False),
        (F("a").exists(), {"a": 0}, True),
        (F("a") == None, {}, True),  # noqa: E711
        (F("a") != None, {}, False),  # noqa: E711
        (F("a") == NOON, {"a": "2020-01-31T13:00:00+01:00"}, True),
        (F("a") >= NOON, {"a": "2020-01-31"}, False),
        (F("a") <= NOON, {"a": "2020-01-31"}, True),
        (F("a") <= NOON, {"a": "no date"}, False),
        (F("a") == date(2020, 1, 31), {"a": "2020-01-31"}, True),
        (F("a") > date(2020, 1, 31), {"a": "2020-01-31T00:00:01Z"}, True),
        (F("a") < date(2020, 1, 31), {"a": "2020-01-31"}, False),
        (F("a").in_([date(2020, 1, 31)]), {"a": ["2020-01-31"]}, True),
        (F("a") <= NOON, {"a": 3}, False),
        (And(()), {}, True),
        (Or(()), {}, False),
    ],
)
def test_meaning(condition: Filter, metadata: dict[str, Any], expected: bool) -> None:
    assert condition.matches(metadata) is expected
    assert condition.simplified().matches(metadata) is expected
    assert Filter.from_dict(condition.to_dict()) == condition


@pytest.mark.parametrize(
    ("path", "op", "value"),
    [
        ("", Op.EQ, 1),
        ("a..b", Op.EQ, 1),
        ("a-b", Op.EQ, 1),
        ("a", Op.EQ, None),
        ("a", Op.EQ, [1]),
        ("a", Op.EQ, float("nan")),
        ("a", Op.EQ, 2**63),
        ("a", Op.GT, "x"),
        ("a", Op.GT, True),
        ("a", Op.IN, "abc"),
        ("a", Op.IN, [None]),
        ("a", Op.TEXT, ""),
        ("a", Op.TEXT, 3),
        ("a", Op.EXISTS, 1),
    ],
)
def test_what_cannot_be_meant_is_refused(path: str, op: Op, value: Any) -> None:
    with pytest.raises(InvalidFilterError):
        Comparison(path, op, value)


def test_a_filter_has_no_truth_value() -> None:
    with pytest.raises(InvalidFilterError, match="brackets"):
        bool(F("a") == 1 and F("b") == 2)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"operator": "AND"},
        {"operator": "XOR", "conditions": []},
        {"field": "a", "operator": "~"},
    ],
)
def test_from_dict_refuses_other_shapes(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidFilterError):
        Filter.from_dict(data)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ('year >= 2020 and lang in ["de","en"]', (F("year") >= 2020) & F("lang").in_(["de", "en"])),
        ("a = 1 or b != -2.5e3 and c < 3", Or((F("a") == 1, (F("b") != -2500.0) & (F("c") < 3)))),
        (
            'not (a == \'it\\\'s\' or b == "say \\"hi\\"")',
            ~((F("a") == "it's") | (F("b") == 'say "hi"')),
        ),
        (
            "a is null or b is not null or c exists",
            Or((F("a").is_null(), F("b").exists(), F("c").exists())),
        ),
        ("a == null", F("a").is_null()),
        ("a not in [1, 2]", F("a").not_in([1, 2])),
        ("a in []", F("a").in_([])),
        (
            "tags contains 'x' and tags all ['y'] and t any ['z']",
            And((F("tags").contains("x"), F("tags").all(["y"]), F("t").any(["z"]))),
        ),
        ("t text 'a b' and f == TRUE", F("t").text("a b") & (F("f") == True)),  # noqa: E712
        ("when >= 2020-01-31T12:00:00Z", F("when") >= NOON),
        ("when < 2020-01-31", F("when") < datetime(2020, 1, 31, tzinfo=UTC)),
        (r"""a = 'say \"hi\", \'you\' \\ "'""", F("a") == """say "hi", 'you' \\ \""""),
        ("NOT a.b == '\\u00e9\\n'", ~(F("a.b") == "é\n")),
    ],
)
def test_text_form(text: str, condition: Filter) -> None:
    assert parse_filter(text) == condition


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "character 1"),
        ("a ==", "character 5"),
        ("a == b", "character 6"),
        ("a == 1 b == 2", "character 8"),
        ("(a == 1", "character 8"),
        ("a in [1 2]", "character 9"),
        ("a in 1", "character 6"),
        ("a ~ 1", "character 2"),
        ("a == 'x", "character 5"),
        ("a == '\\q'", "character 6"),
        ("a > null", "no order"),
        ("a == 2020-02-31", "not a date"),
    ],
)
def test_text_that_cannot_be_read_says_where(text: str, where: str) -> None:
    with pytest.raises(InvalidFilterError, match=where):
        parse_filter(text)


@given(st.text(max_size=20))
def test_any_string_survives_the_text_form(value: str) -> None:
    import json

    for quoted in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert parse_filter(f"a == {quoted}") == (F("a") == value)


@pytest.mark.parametrize(
    "text", ["", "2020", "2020-02-31", "20200131", "2020-01-31T12", "2020-W05"]
)
def test_not_a_datetime(text: str) -> None:
    assert parse_datetime(text) is None


def test_filters_joined_in_a_loop_stay_flat() -> None:
    either: Filter = F("a") == 0
    both: Filter = F("a") != 0
    for i in range(1, 5_000):
        either = either | (F("a") == i)
        both = both & (F("a") != i)
    assert either.matches({"a": 4_999})
    assert not both.matches({"a": 4_999})
    assert ~((F("a") == 1) & (F("b") == 2)) == ~And((F("a") == 1, F("b") == 2))


@pytest.mark.parametrize("text", ["zip = 01234", "a = -01", "(" * 100_000])
def test_text_that_raises_nothing_else(text: str) -> None:
    with pytest.raises(InvalidFilterError):
        parse_filter(text)


@pytest.mark.parametrize(
    "make",
    [
        lambda: F(5) == 1,  # type: ignore[arg-type]
        lambda: F("a").in_(5),  # type: ignore[arg-type]
        lambda: F("a").in_("abc"),
        lambda: F("a") == datetime.min.replace(tzinfo=timezone(timedelta(hours=5))),
        lambda: Filter.from_dict({"operator": "==", "field": 5, "value": 1}),
        lambda: Filter.from_dict({"operator": "AND", "conditions": 5}),
    ],
)
def test_what_cannot_be_meant_is_an_invalid_filter(make: Callable[[], Filter]) -> None:
    with pytest.raises(InvalidFilterError):
        make()
