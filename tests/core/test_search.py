"""The options of a search, and their one declaration."""

from __future__ import annotations

from dataclasses import fields
from typing import TypeVar, get_type_hints

import pytest

from trivec.errors import InvalidOptionError
from trivec.search import Search, SearchOptions, as_mode


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
