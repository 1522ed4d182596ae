"""The options of a search, and their one declaration."""

from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

import pytest

from trivec.errors import InvalidOptionError
from trivec.search import Search, SearchOptions, as_mode


def test_options_and_search_agree() -> None:
    assert {field.name for field in fields(Search)} == set(SearchOptions.__annotations__)
    assert get_type_hints(Search) == get_type_hints(SearchOptions)
    assert SearchOptions.__required_keys__ == frozenset()


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(InvalidOptionError, match="mode='best'; expected one of dense"):
        as_mode("best")
