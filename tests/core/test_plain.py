"""What metadata and filters make of Python's values."""

from __future__ import annotations

import dataclasses
import enum
import fractions
import math
from collections import UserDict, deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from pydantic import BaseModel

from trivec import Document, F
from trivec.errors import InvalidDocumentError, InvalidFilterError
from trivec.filters.dicts import as_filter

ONE = UUID("12345678-1234-5678-1234-567812345678")
EAST = timezone(timedelta(hours=2))


class Day(enum.Enum):
    NEW_YEAR = date(2026, 1, 1)


class Color(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


class Loud(str):
    def __str__(self) -> str:
        return "LOUD"


class Model(BaseModel):
    n: int = 1


@dataclasses.dataclass
class Record:
    n: int = 1


VALUES: list[tuple[object, object]] = [
    (datetime(2026, 1, 31, 12, 30), "2026-01-31T12:30:00"),
    (datetime(2026, 1, 31, 12, 30, 0, 5, UTC), "2026-01-31T12:30:00.000005+00:00"),
    (datetime(2026, 1, 31, 12, 30, tzinfo=EAST), "2026-01-31T12:30:00+02:00"),
    # An offset with seconds, which RFC 3339 cannot write.
    (datetime(1880, 1, 1, tzinfo=ZoneInfo("Europe/Amsterdam")), "1879-12-31T23:40:28+00:00"),
    (date(26, 1, 31), "0026-01-31"),
    (time(9, 5), "09:05:00"),
    (np.datetime64("2026-01-31"), "2026-01-31"),
    (np.datetime64("2026-01"), "2026-01-01"),
    (np.datetime64("2026-01-31T12:30", "s"), "2026-01-31T12:30:00"),
    (np.datetime64("2026-01-31T12:30", "ns"), "2026-01-31T12:30:00.000000000"),
    (ONE, "12345678-1234-5678-1234-567812345678"),
    (Path("a") / "b", str(Path("a/b"))),
    (Day.NEW_YEAR, "2026-01-01"),
    (Color.RED, "red"),
    (Size.BIG, 3),
    (Loud("quiet"), "quiet"),
    (Decimal("9.90"), 9.9),
    (Decimal("9.00"), 9),
    (Decimal("1E+3"), 1000),
    (Decimal(1) / Decimal(3), 0.3333333333333333),
    (Decimal("-0.1"), -0.1),
    (np.float32(0.5), 0.5),
    (np.float64(0.1), 0.1),
    (np.longdouble(0.5), 0.5),
    (np.int8(-3), -3),
    (np.uint64(7), 7),
    (np.True_, True),
    (np.str_("text"), "text"),
    (np.arange(3), [0, 1, 2]),
    (np.array([[0.5], [1.5]]), [[0.5], [1.5]]),
    (np.array(5), 5),
    (np.array(["2026-01-31"], "M8[D]"), ["2026-01-31"]),
    (np.array([np.int64(1), "a", None], object), [1, "a", None]),
    (("a", Color.RED), ["a", "red"]),
    (range(2), [0, 1]),
    (deque([Size.BIG]), [3]),
    (MappingProxyType({"a": Size.BIG}), {"a": 3}),
    (UserDict({np.str_("a"): ONE}), {"a": str(ONE)}),
    ({Color.RED: (1,)}, {"red": [1]}),
    (None, None),
    (True, True),
    (2**63 - 1, 2**63 - 1),
]


def same(got: Any, wanted: Any) -> bool:
    """Return whether two values are equal and made of the same plain types."""
    if isinstance(wanted, dict):
        return type(got) is dict and all(same(got[k], wanted[k]) for k in wanted | got)
    if isinstance(wanted, list):
        pairs = zip(got, wanted, strict=True)
        return type(got) is list and all(same(g, w) for g, w in pairs)
    return type(got) is type(wanted) and bool(got == wanted)


@pytest.mark.parametrize(("given", "wanted"), VALUES, ids=lambda value: repr(value)[:40])
def test_a_value_becomes_plain(given: object, wanted: object) -> None:
    metadata = Document("a", "text", {"top": given, "deep": {"list": [given]}}).metadata
    assert same(metadata, {"top": wanted, "deep": {"list": [wanted]}}), metadata
    if isinstance(wanted, dict):
        assert [type(key) for key in metadata["top"]] == [str]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (b"x", r"of type bytes.*value\.decode\(\)"),
        (bytearray(b"x"), "of type bytearray"),
        (memoryview(b"x"), "of type memoryview"),
        (np.bytes_(b"x"), r"of type numpy\.bytes_"),
        ({"b", "a"}, r"of type set.*sorted\(value\)"),
        (frozenset("a"), r"of type frozenset.*sorted\(value\)"),
        (timedelta(1), r"of type datetime\.timedelta.*total_seconds\(\)"),
        (np.timedelta64(1, "s"), r"of type numpy\.timedelta64"),
        (np.datetime64("NaT"), "a missing time.*pass None"),
        (np.ma.masked, "a masked value.*pass None"),
        (math.nan, "nan is not finite.*pass None"),
        (np.float32("inf"), "inf is not finite"),
        (Decimal("NaN"), "nan is not finite"),
        (Decimal("sNaN"), "nan is not finite"),
        (Decimal("1E+999999"), "inf is not finite"),
        (np.uint64(2**63), "an integer of .* at most 64"),
        (Decimal(10) ** 20, "an integer of .* at most 64"),
        (10**5000, "an integer of 16611 bits"),
        (np.datetime64("12026-01-01T00:00:00"), "in no year from 1 to 9999"),
        (1j, "of type complex"),
        (np.complex64(1), r"of type numpy\.complex64"),
        (fractions.Fraction(1, 3), r"of type fractions\.Fraction.*str\(value\)"),
        (Record(), r"Record, .*dataclasses\.asdict\(value\)"),
        (Model(), r"Model, .*value\.model_dump\(mode='json'\)"),
        (object(), "of type object"),
        (iter([1]), "of type list_iterator"),
        ("caf\udce9", r"the lone surrogate U\+DCE9 at character 3.*surrogatepass"),
        (Loud("\ud83d"), r"the lone surrogate U\+D83D at character 0"),
        ({1: "a"}, r"the key 1 of type int; JSON has str keys, such as '1'"),
        ({None: "a"}, "the key None of type NoneType"),
        ({"a\ud800": 1}, r"the key 'a\\ud800', which holds the lone surrogate U\+D800"),
        ({Day.NEW_YEAR: 1}, "the key .*NEW_YEAR"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_refused_with_its_place_and_a_remedy(
    given: object, problem: str
) -> None:
    with pytest.raises(InvalidDocumentError, match=rf"'doc-7': metadata\.x\[1\]\.y .*{problem}"):
        Document("doc-7", "text", {"x": [0, {"y": given}]})


def test_two_keys_that_become_one_lose_nothing() -> None:
    class Key(enum.Enum):
        A = "a"

    metadata: dict[Any, int] = {"a": 1, Key.A: 2}
    with pytest.raises(InvalidDocumentError, match=r"metadata has two keys that become 'a'"):
        Document("d", "text", metadata)


def test_ids_and_texts_are_plain_too() -> None:
    document = Document(Loud("id"), Color.RED)
    assert (type(document.id), document.id) == (str, "id")
    assert (type(document.text), document.text) == (str, "red")


@pytest.mark.parametrize(
    ("id", "text", "problem"),
    [
        (ONE, "", r"document id \(uuid\.UUID\) must be a str; pass str\(id\)"),
        (7, "", "document id 7 must be a str"),
        ("a\ud800", "", r"document id 'a\\ud800' holds the lone surrogate U\+D800 at character 1"),
        ("a", b"text", "document 'a': the text must be a str, got bytes"),
        ("a", np.float64("nan"), r"the text must be a str, got numpy\.float64"),
        ("a", "x\udc80", r"document 'a': the text holds the lone surrogate U\+DC80 at character 1"),
    ],
)
def test_a_bad_id_or_text_says_what_it_is(id: Any, text: Any, problem: str) -> None:
    with pytest.raises(InvalidDocumentError, match=problem):
        Document(id, text)


@pytest.mark.parametrize(
    "given",
    [v for v, plain in VALUES if isinstance(plain, str | int | float)],
    ids=lambda value: repr(value)[:40],
)
def test_a_filter_finds_what_metadata_made_of_the_same_value(given: Any) -> None:
    field = F("x")
    metadata = Document("a", "", {"x": given}).metadata
    for condition in (
        field == given,
        field.in_([given]),
        field.contains(given),
        ~(field != given),
        as_filter({"x": given}),
    ):
        assert condition.matches(metadata), condition
        assert not condition.matches({"x": "another"}), condition
    if isinstance(metadata["x"], bool | str) and not isinstance(given, date | np.datetime64):
        return
    bound: Any = given
    assert (field >= bound).matches(metadata)
    assert not (field > bound).matches(metadata)


@pytest.mark.parametrize("given", [np.datetime64("NaT"), Decimal("NaN"), b"x"])
def test_a_filter_refuses_what_metadata_refuses(given: Any) -> None:
    with pytest.raises(InvalidFilterError):
        _ = F("x") == given
