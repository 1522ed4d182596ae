"""Groups of hits: values that are equal, the cut into groups, fields that make groups."""

from __future__ import annotations

from datetime import datetime
from itertools import combinations
from typing import Any

import pytest

from trivec import Document, F, Hit, Scores
from trivec.errors import InvalidOptionError
from trivec.fields import FieldType, field_types
from trivec.filters.declared import fit_filter
from trivec.grouping import check_group_field, group_hits, group_key
from trivec.search import Search
from trivec.testing.contract.instants import INSTANTS, NO_INSTANTS

VALUES: list[Any] = [
    *(True, False, 0, 1, 1.0, -0.0, 0.5, 2**53, 2**53 + 1, float(2**53), -1),
    *("", "1", "1.0", "True", "true", "a", "A", "2020-06-01", "2020-06-01T00:00:00Z"),
]
FIELDS = field_types({"lang": str, "year": int, "when": datetime, "tags": list[str], "o.p": bool})


def hits_of(*values: object) -> list[Hit]:
    """Return hits, best first, whose field "x" has these values; ... for none."""
    documents = [
        Document(str(i), "", {} if value is ... else {"x": value}) for i, value in enumerate(values)
    ]
    return [Hit(document, -float(i), Scores()) for i, document in enumerate(documents)]


def grouped(hits: list[Hit], **options: Any) -> list[list[str]]:
    search = Search(**{"group_by": "x", **options})
    return [[hit.document.id for hit in group] for group in group_hits(hits, search, FIELDS)]


@pytest.mark.parametrize("type_", [None, FieldType.DATETIME])
def test_values_are_equal_as_filters_compare_them(type_: FieldType | None) -> None:
    fields = {} if type_ is None else {"x": type_}
    strings = [*INSTANTS, *NO_INSTANTS]
    values = [value for value in VALUES if type_ is None or isinstance(value, str)]
    for one, other in combinations([*values, *strings], 2):
        spelled = isinstance(other, str) and other in INSTANTS
        if type_ is FieldType.DATETIME and not spelled:
            continue  # no filter compares it with anything
        same = fit_filter(F("x") == other, fields).matches({"x": one})
        assert (group_key(one, type_) == group_key(other, type_)) is same, (one, other)
        if same:
            assert hash(group_key(one, type_)) == hash(group_key(other, type_))


def test_groups_come_in_the_order_of_their_best_hits() -> None:
    hits = hits_of("b", "a", "b", "c", "a", "b")
    assert grouped(hits) == [["0"], ["1"], ["3"]]
    assert grouped(hits, per_group=2) == [["0", "2"], ["1", "4"], ["3"]]
    assert grouped(hits, per_group=9) == [["0", "2", "5"], ["1", "4"], ["3"]]
    assert grouped(hits, k=1, per_group=2) == [["0", "2"]]
    assert grouped(hits, k=2) == [["0"], ["1"]]
    assert grouped([]) == []


def test_hits_without_one_value_are_groups_by_themselves() -> None:
    alone: list[object] = [..., None, [], ["a"], ["a"], {}, {"a": 1}, [1, 2]]
    hits = hits_of("a", *alone, "a")
    assert grouped(hits, per_group=3, k=20) == [["0", "9"], *([str(i)] for i in range(1, 9))]
    groups = group_hits(hits, Search(group_by="x", per_group=3, k=20), FIELDS)
    assert [hit.group for group in groups for hit in group] == ["a", "a", *[None] * 8]


def test_an_id_is_no_value() -> None:
    hits = [
        Hit(Document("a", ""), 2.0, Scores()),
        Hit(Document("b", "", {"x": "a"}), 1.0, Scores()),
    ]
    assert grouped(hits, per_group=2) == [["a"], ["b"]]


def test_hits_of_a_group_show_the_value_of_the_best() -> None:
    values = ["2020-06-01T02:00:00+02:00", "2020-06-01", "2020-06-01T00:00Z", "2020-06-02"]
    hits = [Hit(Document(v, "", {"when": v}), 0.0, Scores()) for v in values]
    groups = group_hits(hits, Search(group_by="when", per_group=2), FIELDS)
    assert [[hit.group for hit in group] for group in groups] == [[values[0]] * 2, [values[3]]]
    assert [hit.document.id for group in groups for hit in group] == [*values[:2], values[3]]


@pytest.mark.parametrize("path", ["lang", "year", "when", "o.p", "parent"])
def test_declared_single_values_and_parents_make_groups(path: str) -> None:
    check_group_field(path, FIELDS)


@pytest.mark.parametrize("path", ["tags", "parent"])
def test_a_field_of_lists_makes_no_groups(path: str) -> None:
    fields = {**FIELDS, "parent": FieldType.LIST_INT}
    with pytest.raises(InvalidOptionError, match=r"declared list\[.*'lang', 'year', 'when', 'o.p'"):
        check_group_field(path, fields)


@pytest.mark.parametrize("path", ["o", "o.p.q", "Lang", "parents", "parent.id", "_trivec.parent"])
def test_an_undeclared_field_makes_no_groups(path: str) -> None:
    told = r"lang \(str\), year \(int\), .*'parent' needs no declaration"
    fields = {"_trivec.private": FieldType.STR, **FIELDS}
    with pytest.raises(InvalidOptionError, match=told) as refusal:
        check_group_field(path, fields)
    assert "private" not in str(refusal.value)
    with pytest.raises(InvalidOptionError, match="declared are none"):
        check_group_field(path, {})
