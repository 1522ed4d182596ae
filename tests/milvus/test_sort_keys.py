"""Metadata values as strings that compare as the values do."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trivec_milvus.sort_keys import (
    SEPARATOR,
    ValueType,
    after,
    metadata_keys,
    plain_text,
    sort_key,
    sort_keys,
)

INTS = st.integers(-(2**63), 2**63 - 1)
NUMBERS = INTS | st.floats(allow_nan=False, allow_infinity=False)
EVIL = st.text(
    st.sampled_from("ab%_\\\"'\n\0\ue000\ue025\ue080\ue081\ue082\ue0ff\ue125\ue1ff\U0001f40b")
)


@given(NUMBERS, NUMBERS)
def test_keys_of_numbers_sort_as_numbers(a: float, b: float) -> None:
    assert (sort_key(a) < sort_key(b)) == (a < b)
    assert (sort_key(a) == sort_key(b)) == (a == b)
    assert len(sort_key(a)) == len(sort_key(b))


@given(st.integers(2**53 - 3, 2**53 + 3) | st.integers(2**63 - 1030, 2**63 - 1), st.integers(-4, 4))
def test_neighbours_that_floats_cannot_tell_apart_are_told_apart(a: int, step: int) -> None:
    b = min(a + step, 2**63 - 1)
    assert (sort_key(a) < sort_key(b)) == (a < b)
    assert (sort_key(a) < sort_key(float(b))) == (a < float(b))


@given(st.datetimes(), st.datetimes())
def test_keys_of_instants_sort_as_instants(a: datetime, b: datetime) -> None:
    a, b = a.replace(tzinfo=UTC), b.replace(tzinfo=UTC)
    assert (sort_key(a) < sort_key(b)) == (a < b)


@given(st.lists(NUMBERS, min_size=1), NUMBERS)
def test_the_first_key_of_several_decides_an_order(values: list[float], wanted: float) -> None:
    ascending = sort_keys(values, ValueType.NUMBERS)
    descending = sort_keys(values, ValueType.NUMBERS, descending=True)
    assert (ascending < sort_key(wanted)) == any(v < wanted for v in values)
    assert (ascending < after(wanted)) == any(v <= wanted for v in values)
    assert (descending >= sort_key(wanted)) == any(v >= wanted for v in values)
    assert (descending >= after(wanted)) == any(v > wanted for v in values)
    assert (sort_key(wanted) in ascending) == any(v == wanted for v in values)


@given(EVIL, EVIL)
def test_a_text_holds_another_exactly_if_its_encoding_does(text: str, part: str) -> None:
    assert (plain_text(part) in plain_text(text)) == (part in text)
    assert not set(plain_text(text)) & set("%_\\\"'\n\0" + SEPARATOR)


@given(st.lists(EVIL), EVIL)
def test_a_string_is_found_only_whole(values: list[str], wanted: str) -> None:
    assert (sort_key(wanted) in sort_keys(values, ValueType.STRINGS)) == (wanted in values)


def test_types_are_kept_apart() -> None:
    found = metadata_keys(
        {
            "mixed": [1, "1", True, None, {"deep": 1}, "2020-01-31"],
            "deep": {"er": {"x": 0.5}, "bad-key": 1},
            "none": None,
            "empty": [],
            "declared": 3,
            "wrong key": 1,
        },
        declared=["declared"],
    )
    assert sorted(found) == ["b:mixed", "n:deep.er.x", "n:mixed", "s:mixed", "t:mixed"]
    assert found["b:mixed"] == "1"
    assert found["n:mixed"] == sort_key(1)


def test_zero_has_one_key() -> None:
    assert sort_key(0) == sort_key(-0.0) == sort_key(0.0)
    assert sort_key(float(np.nextafter(0, 1))) > sort_key(0)
