"""Which strings are instants, and that every notation asks the same rule."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivec import F, Filter
from trivec.errors import InvalidFilterError
from trivec.fields import FieldType
from trivec.filters import parse_datetime
from trivec.filters.declared import fit_filter
from trivec.filters.dicts import as_filter
from trivec.filters.instants import Written, written
from trivec.filters.parser import parse_filter
from trivec.testing.contract.instants import INSTANTS, NO_INSTANTS


@pytest.mark.parametrize(("text", "instant"), INSTANTS.items())
def test_a_spelling_is_an_instant_in_every_notation(text: str, instant: str) -> None:
    moment = datetime.fromisoformat(instant)
    assert parse_datetime(text) == moment
    wanted = F("when") >= moment
    assert (F("when") >= text) == wanted
    assert as_filter({"when": {"$gte": text}}) == wanted
    assert parse_filter(f"when >= {text}") == wanted
    assert parse_filter(f"(when >= {text}) and a in [{text},{text}, 1]") == wanted & F("a").in_(
        [moment, moment, 1]
    )
    assert wanted.matches({"when": text})
    assert not (F("when") > moment).matches({"when": text})


@pytest.mark.parametrize("text", NO_INSTANTS)
def test_what_is_no_instant_is_one_nowhere(text: str) -> None:
    assert parse_datetime(text) is None
    assert not (F("when") >= datetime(1, 1, 1)).matches({"when": text})
    with pytest.raises(InvalidFilterError):
        _ = F("when") >= text
    if text.strip() not in ("2020", "20200601", "1590969600", "2020-06-01"):  # numbers, a date
        with pytest.raises(InvalidFilterError):
            parse_filter(f"when >= {text}")


FIRST, LAST = datetime(1, 1, 2), datetime(9999, 12, 30)


@given(st.datetimes(FIRST, LAST) | st.datetimes(FIRST, LAST, timezones=st.timezones()))
def test_whatever_python_writes_is_read(moment: datetime) -> None:
    utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    for text in (moment.isoformat(), str(moment), f"{moment:%Y-%m-%dT%H:%M:%S.%f%z}"):
        # C's strftime leaves out leading zeros of the year.
        assert parse_datetime(text.rjust(len(text) + 4 - text.find("-"), "0")) == utc


def test_what_pandas_writes_is_read() -> None:
    pandas = pytest.importorskip("pandas")
    one = pandas.Timestamp("2020-06-01T10:00:00.123456789", tz="Europe/Berlin")
    for text in (str(one), one.isoformat(), one.strftime("%Y%m%dT%H%M%S%z")):
        cut = parse_datetime(text)
        assert cut is not None
        assert cut.replace(microsecond=0) == datetime(2020, 6, 1, 8, tzinfo=UTC)


def test_a_bare_word_that_looks_like_a_date_is_told() -> None:
    with pytest.raises(InvalidFilterError, match="2020-6-1 is not a date; write dates as 2026"):
        parse_filter("when >= 2020-6-1")


def test_instants_in_lists_end_at_commas() -> None:
    condition = parse_filter("when in [2020-01-31T10:00:00,2020-02-01, 2020-02-02T00:00:00,5Z]")
    assert condition == F("when").in_(
        [
            datetime(2020, 1, 31, 10),
            datetime(2020, 2, 1),
            datetime(2020, 2, 2, microsecond=500_000),
        ]
    )


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_the_spelling_survives_copies(copied: Any) -> None:
    day = written("2020-01-31")
    assert copied(day) == day
    assert copied(day).text == "2020-01-31"
    assert repr(day) == repr(datetime(2020, 1, 31, tzinfo=UTC))
    assert day is not None
    later = day + timedelta(days=1)
    assert isinstance(later, Written)
    assert later.text is None


FIELDS = {"day": FieldType.STR, "days": FieldType.LIST_STR, "at": FieldType.DATETIME}
NOON = datetime(2020, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given_", "meant"),
    [
        (parse_filter("day == 2020-01-31"), F("day") == "2020-01-31"),
        (parse_filter("day != 2020-01-31T12:00Z"), F("day") != "2020-01-31T12:00Z"),
        (parse_filter("day in [2020-01-31, 'x']"), F("day").in_(["2020-01-31", "x"])),
        (parse_filter("days any [2020-01-31]"), F("days").any(["2020-01-31"])),
        (F("day") == date(2020, 1, 31), F("day") == "2020-01-31"),
        (F("days").contains(date(2020, 1, 31)), F("days").contains("2020-01-31")),
        (as_filter({"day": date(2020, 1, 31)}), F("day") == "2020-01-31"),
        (as_filter({"day": {"$not": {"$in": [date(2020, 1, 31)]}}}), ~F("day").in_(["2020-01-31"])),
        (F("at") == "2020-01-31T12:00Z", F("at") == NOON),
        (as_filter({"at": ["2020-01-31T13:00:00+0100"]}), F("at").in_([NOON])),
        (parse_filter("at == '2020-01-31T12:00:00.0000001Z'"), F("at") == NOON),
        (parse_filter("at >= 2020-01-31"), F("at") >= datetime(2020, 1, 31)),
        # Not declared: as it was written down.
        (F("other") == "2020-01-31", F("other") == "2020-01-31"),
        (parse_filter("other == 2020-01-31"), F("other") == datetime(2020, 1, 31)),
    ],
)
def test_values_get_the_type_of_the_declared_field(given_: Filter, meant: Filter) -> None:
    assert fit_filter(given_, FIELDS) == meant
    again = Filter.from_dict(given_.to_dict())
    assert fit_filter(again, FIELDS) == meant


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (F("day") >= date(2020, 1, 31), "strings have no order: declare the field datetime"),
        (F("day") == NOON, "compare it with a str, or declare the field datetime"),
        (F("at") == "soon", "a date is written as 2026-01-31"),
        (F("at") == 3, "is declared datetime"),
        (F("at").text("2020"), "is declared datetime"),
    ],
)
def test_what_does_not_fit_the_declared_field_is_refused(condition: Filter, message: str) -> None:
    with pytest.raises(InvalidFilterError, match=message):
        fit_filter(condition, FIELDS)


def test_zones_are_converted() -> None:
    berlin = datetime(2020, 1, 31, 13, tzinfo=ZoneInfo("Europe/Berlin"))
    assert (F("at") == berlin) == (F("at") == NOON)
    assert (F("at") == NOON.astimezone(timezone(timedelta(hours=5)))) == (F("at") == NOON)
