"""What a plain dict means, against the filters it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import pytest

from trivec import F, Filter
from trivec.errors import InvalidFilterError
from trivec.filters import And
from trivec.filters.dicts import as_filter

MEANINGS: list[tuple[Mapping[str, Any], Filter]] = [
    ({"lang": "en"}, F("lang") == "en"),
    ({"flag": True}, F("flag") == True),  # noqa: E712
    ({"lang": None}, F("lang").is_null()),
    ({"lang": ["en", "de"]}, F("lang").in_(["en", "de"])),
    ({"lang": []}, F("lang").in_([])),
    ({"lang": "en", "year": 2020}, (F("lang") == "en") & (F("year") == 2020)),
    ({"year": {"$gte": 2020, "$lt": 2024}}, (F("year") >= 2020) & (F("year") < 2024)),
    ({"year": {"$gt": 2020}}, F("year") > 2020),
    ({"year": {"$lte": 2020.5}}, F("year") <= 2020.5),
    ({"lang": {"$eq": "en"}}, F("lang") == "en"),
    ({"lang": {"$ne": "en"}}, F("lang") != "en"),
    ({"lang": {"$eq": None}}, F("lang").is_null()),
    ({"lang": {"$ne": None}}, F("lang").exists()),
    ({"lang": {"$in": ["en"]}}, F("lang").in_(["en"])),
    ({"lang": {"$nin": ["en"]}}, F("lang").not_in(["en"])),
    ({"tags": {"$contains": "a"}}, F("tags").contains("a")),
    ({"tags": {"$any": ["a", "b"]}}, F("tags").any(["a", "b"])),
    ({"tags": {"$all": ["a", "b"]}}, F("tags").all(["a", "b"])),
    ({"lang": {"$text": "e"}}, F("lang").text("e")),
    ({"lang": {"$exists": True}}, F("lang").exists()),
    ({"lang": {"$exists": False}}, F("lang").is_null()),
    ({"lang": {"$not": {"$eq": "en"}}}, ~(F("lang") == "en")),
    ({"$or": [{"lang": "en"}, {"year": 2020}]}, (F("lang") == "en") | (F("year") == 2020)),
    ({"$and": [{"lang": "en"}, {"year": 2020}]}, (F("lang") == "en") & (F("year") == 2020)),
    ({"$not": {"lang": "en"}}, ~(F("lang") == "en")),
    ({"nested.kind": "x"}, F("nested.kind") == "x"),
    ({"when": {"$gte": "2024-01-31"}}, F("when") >= datetime(2024, 1, 31, tzinfo=UTC)),
    ({"when": {"$lt": date(2024, 1, 31)}}, F("when") < datetime(2024, 1, 31, tzinfo=UTC)),
    ({"when": {"$in": [date(2024, 1, 31)]}}, F("when").in_([datetime(2024, 1, 31, tzinfo=UTC)])),
    ({}, And(())),
    (((F("a") == 1) | ~(F("b") > 2)).to_dict(), (F("a") == 1) | ~(F("b") > 2)),
    ({"operator": "x"}, F("operator") == "x"),
]


@pytest.mark.parametrize(("plain", "meaning"), MEANINGS, ids=[str(p) for p, _ in MEANINGS])
def test_a_dict_stands_for_a_filter(plain: Mapping[str, Any], meaning: Filter) -> None:
    assert as_filter(plain) == meaning


def test_a_filter_is_itself() -> None:
    condition = F("a") == 1
    assert as_filter(condition) is condition


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"$nor": []}, "unknown operator '\\$nor'"),
        ({"a": {"$near": 1}}, "unknown operator '\\$near'"),
        ({"a": {"b": 1}}, "written with dots"),
        ({"a": {}}, "empty object"),
        ({"$or": {"a": 1}}, "takes a list"),
        ({"a": {"$exists": 1}}, "true or false"),
        ({"a": {"$not": 1}}, "object of operators"),
        ({"a": {"$gt": "soon"}}, "numbers and datetimes"),
        ({"a": {"$in": 1}}, "expected a list"),
        ({"a-b": 1}, "path of a field"),
        ({1: 1}, "path of a field"),
        ({"a": object()}, "expected a str"),
        ({"a": float("nan")}, "not finite"),
        ("lang == 'en'", "parse_filter"),
        ({"$not": None}, "made with F"),
        (F("lang"), "compare the field"),
        ([{"lang": "en"}], "with & or |"),
    ],
)
def test_what_cannot_be_meant_is_refused(plain: Any, message: str) -> None:
    with pytest.raises(InvalidFilterError, match=message):
        as_filter(plain)
