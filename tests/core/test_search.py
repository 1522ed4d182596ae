"""The options of a search, and their one declaration."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar, get_type_hints

import pytest

from trivec.errors import InvalidOptionError
from trivec.search import MODES, Search, SearchOptions, as_mode
from trivec.stores import Limits


def test_options_and_search_agree() -> None:
    types = get_type_hints(Search)
    assert {field.name for field in fields(Search)} == SearchOptions.__optional_keys__
    assert SearchOptions.__required_keys__ == frozenset()
    for name, hint in get_type_hints(SearchOptions).items():
        if not getattr(hint, "__parameters__", isinstance(hint, TypeVar)):
            assert hint == types[name]


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(InvalidOptionError, match="mode='best'; expected one of dense"):
        as_mode("best")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"per_group": 2}, "per_group=2 needs group_by"),
        ({"per_group": 2, "group_by": None}, "per_group=2 needs group_by"),
        ({"per_group": 0, "group_by": "x"}, "per_group=0"),
        ({"per_group": True, "group_by": "x"}, "per_group=True"),
        ({"per_group": 2.0, "group_by": "x"}, "per_group=2.0"),
        ({"per_group": 2**31, "group_by": "x"}, "per_group=2147483648"),
        ({"group_by": ""}, "group_by: '' cannot be the path"),
        ({"group_by": "x."}, "group_by: 'x.' cannot be the path"),
        ({"group_by": "x y"}, "group_by: 'x y' cannot be the path"),
        ({"group_by": "1x"}, "group_by: '1x' cannot be the path"),
        ({"group_by": b"x"}, "group_by: expected the path of a field"),
        ({"group_by": ("x",)}, "group_by: expected the path of a field"),
        ({"group_by": True}, "group_by: expected the path of a field"),
    ],
    ids=str,
)
def test_malformed_groups_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidOptionError, match=told):
        Search(**wrong)


@pytest.mark.parametrize("mode", MODES)
def test_backends_return_all_candidates_for_groups(mode: Any) -> None:
    plain = Search(mode=mode, k=3, candidates=7)
    grouped = Search(mode=mode, k=3, candidates=7, group_by="x", per_group=2)
    sources = 1 if mode in ("dense", "sparse") else 2
    assert plain.hit_limit == 3
    assert plain.source_limit == (3 if sources == 1 else 7)
    assert grouped.source_limit == 7
    assert grouped.hit_limit == grouped.candidate_limit == 7 * sources
    assert Search(**grouped.options) == grouped


@pytest.mark.parametrize("mode", MODES)
def test_a_database_may_limit_the_candidates_of_groups(mode: Any) -> None:
    limits = Limits(database="Small", hits=101)
    most = 101 if mode in ("dense", "sparse") else 50
    wanted = Search(mode=mode, group_by="x", candidates=most)
    assert limits.max_candidates(wanted) == most
    limits.check_search(wanted)
    for more in (
        Search(mode=mode, group_by="x", candidates=most + 1),
        Search(mode=mode, group_by="x", candidates=1, k=most + 1),
    ):
        with pytest.raises(InvalidOptionError, match=f"Small .* candidates={most + 1}.* {most} "):
            limits.check_search(more)
    Limits(database="Large").check_search(Search(mode=mode, group_by="x", candidates=10**9))
