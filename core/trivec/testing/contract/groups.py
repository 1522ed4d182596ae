"""Searches with groups against a definition of their own: plain Python over all documents."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from trivec.errors import InvalidOptionError, StoreError
from trivec.filters import F
from trivec.search import MODES, Mode
from trivec.stores.store import Store
from trivec.testing.contract.base import ContractBase
from trivec.testing.contract.faulty import with_faults
from trivec.testing.contract.group_cases import (
    GROUPED_BY,
    WEIGHTS,
    defined,
    documents,
    queries,
    shown,
    vectors,
)
from trivec.testing.contract.library import Handles, Library


class GroupRules(ContractBase):
    """Results in groups: the best of each, and enough candidates for k groups."""

    @pytest.mark.parametrize("mode", MODES)
    def test_groups_equal_the_definition(self, mode: Mode, library: Library) -> None:
        pytest.importorskip("hypothesis", reason="random groups need it: pip install hypothesis")
        from trivec.testing.contract import strategies

        store, oracle = self._grouped(library)

        def check(options: Mapping[str, Any]) -> None:
            rows = options["queries"]
            asked = {**options, "mode": mode, "weights": WEIGHTS}
            del asked["queries"]
            chosen = [queries()[row] for row in rows]
            wanted = [defined(row, asked) for row in rows]
            expected = oracle.search_many(chosen, **asked)
            assert [shown(hits) for hits in expected] == wanted
            answers = store.search_many(chosen, **asked)
            assert [shown(hits) for hits in answers] == wanted
            for hits, same in zip(answers, expected, strict=True):
                self.assert_same_hits(hits, same)

        strategies.for_all(strategies.groups(GROUPED_BY, 6), check, self.examples // 2)

    @pytest.mark.parametrize("mode", MODES)
    def test_one_request_is_enough_where_it_brings_k_groups(
        self, mode: Mode, library: Library
    ) -> None:
        store, faults = with_faults(self._grouped(library)[0])
        chosen = [queries()[row] for row in (3, 4, 5)]
        options: dict[str, Any] = {"mode": mode, "k": 3, "weights": WEIGHTS}
        answers = store.search_many(chosen, group_by="year", **options)
        assert [len({hit.document.id for hit in hits}) for hits in answers] == [3, 3, 3]
        assert faults.calls.count("search") == 1

    @pytest.mark.parametrize("mode", MODES)
    def test_more_candidates_are_asked_for_until_there_are_k_groups(
        self, mode: Mode, library: Library
    ) -> None:
        store, faults = with_faults(self._grouped(library)[0])
        options: dict[str, Any] = {"mode": mode, "k": 2, "candidates": 8, "weights": WEIGHTS}
        hits = store.search(queries()[0], group_by="parent", per_group=2, **options)
        assert shown(hits) == defined(0, {**options, "group_by": "parent", "per_group": 2})
        assert [hit.group for hit in hits[:2]] == ["p0", "p0"]
        assert hits[2].group != "p0"
        assert faults.calls.count("search") > 2
        assert {hit.group for hit in store.search(queries()[0], **options)} == {None}

    @pytest.mark.parametrize("mode", MODES)
    def test_fewer_groups_than_k_are_all_that_exist(
        self, mode: Mode, library: Library, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = self._grouped(library)[0]
        options: dict[str, Any] = {"mode": mode, "k": 50, "weights": WEIGHTS, "group_by": "flag"}
        condition = F("flag").exists()
        with caplog.at_level(logging.WARNING, "trivec"):
            hits = store.search(queries()[0], filter=condition, per_group=2, **options)
            nothing = store.search(queries()[0], filter=F("year") == 1, **options)
        assert sorted(bool(hit.group) for hit in hits) == [False, False, True, True]
        assert nothing == []
        assert caplog.messages == []

    def test_an_end_before_k_groups_is_logged_once(
        self, library: Library, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = self._grouped(library)[0]
        chosen = [queries()[0], queries()[0], queries()[4]]
        options: dict[str, Any] = {"mode": "dense", "k": 2, "group_by": "parent"}
        with caplog.at_level(logging.WARNING, "trivec"):
            answers = store.search_many(chosen, candidates=2, **options)
            assert [[hit.group for hit in hits] for hits in answers[:2]] == [["p0"], ["p0"]]
            assert len(answers[2]) == 2
            assert len(caplog.messages) == 1
            assert "2 of 3 queries" in caplog.messages[0]
            assert "candidates=128" in caplog.messages[0]
            assert "pass a larger candidates" in caplog.messages[0]
            answers = store.search_many(chosen, candidates=4, **options)
            assert [len(hits) for hits in answers] == [2, 2, 2]
        assert len(caplog.messages) == 1

    def test_a_refusal_of_more_candidates_leaves_the_groups_found(
        self, library: Library, caplog: pytest.LogCaptureFixture
    ) -> None:
        store, faults = with_faults(self._grouped(library)[0])
        faults.fail("search", "before", None, StoreError("the limit is 20"))
        options: dict[str, Any] = {"mode": "dense", "k": 2, "candidates": 8, "group_by": "parent"}
        with caplog.at_level(logging.WARNING, "trivec"):
            hits = store.search(queries()[0], **options)
        assert [hit.group for hit in hits] == ["p0"]
        assert ["the limit is 20" in message for message in caplog.messages] == [True]
        faults.fail("search", "before", StoreError("the limit is 20"))
        with pytest.raises(StoreError, match="the limit is 20"):
            store.search(queries()[0], **options)

    def test_a_field_that_cannot_make_groups_is_refused(self, filled: Store) -> None:
        query = queries()[0]
        for path, told in (
            ("langs", "not a declared field"),
            ("nested", "not a declared field"),
            ("extra.name", "not a declared field"),
            ("parent.id", "not a declared field"),
            ("tags", r"list\[str\]"),
            ("sizes", r"list\[int\]"),
            ("", "path"),
            ("a..b", "path"),
            ("lang ", "path"),
            (3, "int 3"),
            (["lang"], "list of str"),
        ):
            options: dict[str, Any] = {"group_by": path}
            with pytest.raises(InvalidOptionError, match=told) as refusal:
                filled.search(query, **options)
            if isinstance(path, str) and "path" not in told:
                assert "year" in str(refusal.value)
            with pytest.raises(InvalidOptionError, match=told):
                filled.search_many([], **options)
            with pytest.raises(InvalidOptionError, match=told):
                asyncio.run(filled.asearch(query, **options))
        for per_group in (0, -1, 1.5, True, "2", None, 2**40):
            wrong: dict[str, Any] = {"per_group": per_group}
            with pytest.raises(InvalidOptionError, match="per_group"):
                filled.search(query, group_by="lang", **wrong)
        with pytest.raises(InvalidOptionError, match="needs group_by"):
            filled.search(query, per_group=2)

    def test_the_most_candidates_that_a_database_returns(self, library: Library) -> None:
        store = self._grouped(library)[0]
        limit = store.limits.hits
        if limit is None:
            return
        for mode in MODES:
            most = limit if mode in ("dense", "sparse") else limit // 2
            options: dict[str, Any] = {"mode": mode, "group_by": "parent", "weights": WEIGHTS}
            with pytest.raises(InvalidOptionError, match=f"at most {most}"):
                store.search(queries()[0], candidates=most + 1, **options)
            hits = store.search(queries()[0], candidates=most // 2, k=30, **options)
            wanted = {**options, "candidates": most // 2, "k": 30}
            assert shown(hits) == defined(0, wanted)

    def test_groups_of_the_asynchronous_search(self, library: Library) -> None:
        store = self._grouped(library)[0]
        options: dict[str, Any] = {"k": 3, "candidates": 4, "group_by": "parent", "per_group": 2}

        async def work() -> None:
            for mode in MODES:
                answers = await store.asearch_many(queries()[:2], mode=mode, **options)
                assert answers == store.search_many(queries()[:2], mode=mode, **options)
                assert await store.asearch(queries()[1], mode=mode, **options) == answers[1]

        asyncio.run(work())

    def test_groups_within_a_view(self, library: Library) -> None:
        store, _ = self._grouped(library)
        bound = F("parent") != "p0"
        if store.limits.declared_fields_only:
            bound = F("year") == 2020
        view = store.view(bound=lambda: bound)
        for mode in MODES:
            options: dict[str, Any] = {"mode": mode, "k": 5, "candidates": 5, "weights": WEIGHTS}
            hits = view.search(queries()[0], group_by="parent", per_group=2, **options)
            wanted = {**options, "group_by": "parent", "per_group": 2, "filter": bound}
            assert shown(hits) == defined(0, wanted)

    def _grouped(self, library: Library) -> Handles:
        """Return a collection of documents in groups, and the same in memory."""
        return self.share(library, "groups", documents(), vectors())
