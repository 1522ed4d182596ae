"""Filters against `matches()`, with random trees over every operator."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import date, datetime
from typing import Any
from uuid import uuid4

import pytest

from trivec.errors import InvalidFilterError
from trivec.filters import And, F, Filter, Not, Or
from trivec.filters.dicts import as_filter
from trivec.filters.parser import parse_filter
from trivec.stores.store import Store
from trivec.testing.contract.base import ContractBase, check_random_filters, scanned_ids
from trivec.testing.contract.corpus import Corpus


def _check(store: Store, corpus: Corpus, condition: Filter) -> None:
    expected = sorted(d.id for d in corpus.documents if condition.matches(d.metadata))
    assert store.count(condition) == len(expected)
    assert scanned_ids(store, filter=condition) == expected


def _deepest(leaves: list[Filter]) -> Filter:
    """Put filters into as many groups in one another as are allowed."""
    condition = leaves[0]
    for place in range(1, 100):
        leaf = leaves[place % len(leaves)]
        try:
            groups = (And((condition, leaf)), Or((condition, leaf)), Not(condition))
        except InvalidFilterError:
            return condition
        condition = groups[place % 3]
    raise AssertionError("filters are as deep as anybody likes")


DEEP = [
    [F("lang") != "en", F("year") > 2016, F("tags").all(["a", "b"]), F("when").is_null()],
    [F("year") >= 2**53 + 1, F("price").in_([2.0, 2**60 + 1]), F("sizes").not_in([1, 2, 3])],
    [F("nested.kind") == "x", F("flag") != True, F("lang").text("e")],  # noqa: E712
]


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


EVERYWHERE = [
    (F("lang") == "de") | F("lang").not_in([]),
    (F("lang") == "de") | ~F("lang").in_([]),
    (F("lang") == "de") | F("tags").all([]),
    F("year").exists() | ~F("year").exists(),
    F("year").is_null() | F("year").exists(),
    (F("year") < 2020) | ~(F("year") < 2018),
    (F("flag") == True) | (F("flag") != True),  # noqa: E712
    (F("year") != 2020) | (F("year") != 2021),  # of one year, at most one is false
    And(()),
    ~Or(()),
]


class FilterRules(ContractBase):
    """Filters against their meaning."""

    def test_random_filters(self, filled: Store, corpus: Corpus) -> None:
        check_random_filters("trees", lambda given: _check(filled, corpus, given), self.examples)

    def test_every_operator(self, filled: Store, corpus: Corpus) -> None:
        check_random_filters(
            "comparisons", lambda given: _check(filled, corpus, given), self.examples
        )

    @pytest.mark.parametrize("low", [-(2**63), -(2**63) + 1])
    def test_the_lowest_integers_are_no_missing_values(
        self, filled: Store, corpus: Corpus, low: int
    ) -> None:
        for path in ("year", "sizes"):
            for condition in (F(path) == low, F(path) != low, F(path).in_([low, 2020])):
                _check(filled, corpus, condition)

    @pytest.mark.parametrize("leaves", DEEP, ids=["strings", "numbers", "flags"])
    def test_the_deepest_filters_are_answered(
        self, filled: Store, corpus: Corpus, leaves: list[Filter]
    ) -> None:
        condition = _deepest(leaves)
        _check(filled, corpus, condition)
        _check(filled, corpus, ~condition if isinstance(condition, Not) else condition)
        expected = {d.id for d in corpus.documents if condition.matches(d.metadata)}
        for mode in ("dense", "hybrid", "rrf"):
            hits = filled.search(corpus.queries[0], mode=mode, k=200, filter=condition)
            assert {hit.document.id for hit in hits} <= expected

    @pytest.mark.parametrize("condition", UNDECLARED, ids=str)
    def test_undeclared_fields_are_filtered_or_refused(
        self, filled: Store, corpus: Corpus, condition: Filter
    ) -> None:
        if filled.limits.declared_fields_only:
            with pytest.raises(InvalidFilterError, match="declared fields only"):
                filled.count(condition)
        else:
            _check(filled, corpus, condition)

    @pytest.mark.parametrize("condition", EVERYWHERE, ids=str)
    def test_a_filter_that_is_always_true_deletes_nothing(
        self, filled: Store, corpus: Corpus, condition: Filter
    ) -> None:
        with pytest.raises(InvalidFilterError, match=r"use drop\(\)"):
            filled.delete_where(condition)
        assert filled.count(condition) == len(corpus.documents)
        _check(filled, corpus, condition)

    @pytest.mark.parametrize("condition", [~condition for condition in EVERYWHERE], ids=str)
    def test_a_filter_that_is_never_true_finds_nothing(
        self, filled: Store, corpus: Corpus, condition: Filter
    ) -> None:
        if list(condition.comparisons()):
            filled.delete_where(condition)
        else:
            with pytest.raises(InvalidFilterError, match=r"compares nothing; use drop\(\)"):
                filled.delete_where(condition)
        assert filled.count(condition) == 0
        assert list(filled.scan(filter=condition)) == []
        query = corpus.queries[0]
        assert filled.search(query, filter=condition) == []
        assert filled.search_many([query, query], filter=condition) == [[], []]
        assert filled.count() == len(corpus.documents)

    def test_constants_in_asynchronous_calls(self, filled: Store, corpus: Corpus) -> None:
        query = corpus.queries[0]
        everywhere = F("year").exists() | ~F("year").exists()
        assert asyncio.run(filled.asearch(query, filter=~everywhere)) == []
        hits = asyncio.run(filled.asearch(query, filter=everywhere))
        assert hits == filled.search(query)
        with pytest.raises(InvalidFilterError, match=r"use drop\(\)"):
            asyncio.run(filled.adelete_where(everywhere))

    @pytest.mark.parametrize(
        ("condition", "meant"),
        [
            (F("when") == "2020-01-31T13:30:00+0100", F("when") == datetime(2020, 1, 31, 12, 30)),
            (F("when").in_(["2020-01-31"]), F("when").in_([datetime(2020, 1, 31)])),
            (F("when") >= "20200131T120000Z", F("when") >= datetime(2020, 1, 31, 12)),
            (parse_filter("lang == 2020-01-31"), F("lang") == "2020-01-31"),
            (parse_filter("tags contains 2020-01-31"), F("tags").contains("2020-01-31")),
            (F("lang") != date(2020, 1, 31), F("lang") != "2020-01-31"),
            (as_filter({"when": "2020-01-31T12:00Z"}), F("when") == datetime(2020, 1, 31, 12)),
        ],
        ids=str,
    )
    def test_values_get_the_types_of_the_declared_fields(
        self, filled: Store, corpus: Corpus, condition: Filter, meant: Filter
    ) -> None:
        expected = sorted(d.id for d in corpus.documents if meant.matches(d.metadata))
        assert filled.count(condition) == len(expected)
        hits = filled.search(corpus.queries[0], k=200, candidates=200, filter=condition)
        assert {hit.document.id for hit in hits} <= set(expected)
        _check(filled, corpus, meant)

    @pytest.mark.parametrize(
        ("given_", "advice"),
        [
            ({"lang": "en"}, "as_filter"),
            ("lang == 'en'", "parse_filter"),
            ([F("lang") == "en"], "& or |"),
            (F("lang"), r"F\('x'\)\.exists"),
        ],
    )
    def test_every_call_refuses_what_is_no_filter(
        self, filled: Store, corpus: Corpus, given_: Any, advice: str
    ) -> None:
        query = corpus.queries[0]
        calls: list[Callable[[], object]] = [
            lambda: filled.search(query, filter=given_),
            lambda: filled.search_many([query], filter=given_),
            lambda: filled.count(given_),
            lambda: filled.scan(filter=given_),
            lambda: filled.delete_where(given_),
            lambda: asyncio.run(filled.asearch(query, filter=given_)),
            lambda: asyncio.run(filled.acount(given_)),
        ]
        for call in calls:
            with pytest.raises(InvalidFilterError, match=advice):
                call()

    def test_a_field_that_no_document_has_is_logged_once(
        self, filled: Store, corpus: Corpus, caplog: pytest.LogCaptureFixture
    ) -> None:
        if filled.limits.declared_fields_only:
            return  # an error, which another test looks at
        known = F("extra.name") == "nowhere"
        name = f"x{uuid4().hex}"
        with caplog.at_level(logging.WARNING, "trivec"):
            assert filled.search(corpus.queries[0], filter=known) == []
            assert filled.count(F("year") == 1) == 0
            assert caplog.messages == []
            assert filled.count(F(name) != 1) == len(corpus.documents)
            assert caplog.messages == []
            for _ in range(2):
                assert filled.search(corpus.queries[0], filter=F(name) == 1) == []
                assert list(filled.scan(filter=F(name) == 1)) == []
                filled.delete_where(F(name) == 1)
        assert len(caplog.messages) == 1
        assert f"the field {name!r}, which no document has" in caplog.messages[0]
        assert "lang" in caplog.messages[0]

    def test_a_filter_must_fit_the_declared_types(self, filled: Store) -> None:
        for wrong in (F("year") == "2020", F("lang") == 3, F("flag") == 1, F("when") > 3.5):
            with pytest.raises(InvalidFilterError, match="is declared"):
                filled.count(wrong)
