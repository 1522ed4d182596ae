"""Values that JSON cannot hold: one rule, and each column is named once."""

from __future__ import annotations

import logging
from collections import deque
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trivec import Document
from trivec.fields import FieldType
from trivec.ingestion.sources import Source
from trivec.ingestion.sources.values import MetadataValues

MASKED: Any = np.ma.masked


def convert(value: object, **fields: FieldType) -> tuple[Any, list[str]]:
    notes: list[str] = []
    values = MetadataValues(fields, notes.append)
    made = values.with_ints(values.converted({"x": value}))
    return Document("a", "", made).metadata, notes


@pytest.mark.parametrize(
    ("value", "made", "note"),
    [
        (float("nan"), None, ""),
        (np.float32("nan"), None, ""),
        (Decimal("NaN"), None, ""),
        (Decimal("sNaN"), None, ""),
        (np.datetime64("NaT"), None, ""),
        (np.timedelta64("NaT"), None, ""),
        (MASKED, None, ""),
        ([1.0, float("nan"), None], [1.0, None, None], ""),
        ({"a": float("nan")}, {"a": None}, ""),
        (np.array([1.5, np.nan]), [1.5, None], ""),
        (np.array([1, "a", None], object), [1, "a", None], ""),
        (np.array(5), 5, ""),
        (np.array(["2026-01-31", "NaT"], "M8[D]"), ["2026-01-31", None], ""),
        (date(2026, 1, 31), "2026-01-31", ""),
        (datetime(2026, 1, 31, tzinfo=UTC), "2026-01-31T00:00:00+00:00", ""),
        (UUID(int=1), str(UUID(int=1)), ""),
        (time(9, 5), "09:05:00", "time, stored as text in ISO 8601"),
        (Decimal("9.90"), 9.9, "Decimal, stored as a number of about 16 digits"),
        (Decimal("9.00"), 9, "Decimal, stored as a number of about 16 digits"),
        (timedelta(minutes=1), 60, "duration, stored as seconds"),
        (timedelta(milliseconds=1500), 1.5, "duration, stored as seconds"),
        (np.timedelta64(90, "m"), 5400, "duration, stored as seconds"),
        (2**63, str(2**63), "integers beyond 64 bits with their sign, stored as text"),
        (np.uint64(2**64 - 1), str(2**64 - 1), "integers beyond 64 bits with their sign, stored"),
        (2**63 - 1, 2**63 - 1, ""),
        (np.uint64(7), 7, ""),
        ("grün".encode(), "grün", "binary, stored as text"),
        (deque([b"a", 1]), ["a", 1], "binary, stored as text"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_values(value: object, made: object, note: str) -> None:
    metadata, notes = convert(value)
    assert metadata == {"x": made}
    assert type(metadata["x"]) is type(made)
    assert len(notes) == bool(note)
    assert not note or notes[0].startswith(f"column 'x': {note}")


@pytest.mark.parametrize("value", [b"\xff\xd8", bytearray(b"\0"), memoryview(b"\xff")])
def test_binary_is_left_out(value: object) -> None:
    assert convert(value) == ({}, ["column 'x': binary, left out"])
    assert convert([value, "a"]) == ({"x": [None, "a"]}, ["column 'x': binary, left out"])
    note = ["column 'x.image': binary, left out"]
    assert convert({"image": value, "n": 1}) == ({"x": {"n": 1}}, note)


def test_a_column_is_named_for_each_rule_once() -> None:
    notes: list[str] = []
    values = MetadataValues({}, notes.append)
    for image in (b"text", b"\xff", b"text", b"\xff"):
        values.converted({"image": image})
    assert notes == ["column 'image': binary, stored as text", "column 'image': binary, left out"]


def test_a_duration_of_months_has_no_seconds() -> None:
    assert convert(np.timedelta64(1, "M"))[0] == {}


def test_what_is_plain_is_the_same_object() -> None:
    metadata = {"a": [1, {"b": "x"}], "n": 1.5, "none": None}
    assert MetadataValues({}, print).converted(metadata) is metadata


@pytest.mark.parametrize(
    ("value", "made"),
    [
        (2020.0, 2020),
        (np.float64(2020), 2020),
        (2020.5, 2020.5),
        (None, None),
        ("2020.0", "2020.0"),
        ([1.0, 2, None], [1, 2, None]),
        (1e300, 1e300),
        (True, True),
    ],
)
def test_floats_of_int_fields_are_ints_where_they_are_whole(value: object, made: object) -> None:
    for type_ in (FieldType.INT, FieldType.LIST_INT):
        metadata, _ = convert(value, x=type_)
        assert repr(metadata) == repr({"x": made})
    assert repr(convert(value, x=FieldType.FLOAT)[0]) == repr(convert(value)[0])


def test_paths_of_int_fields() -> None:
    values = MetadataValues({"x.year": FieldType.INT, "y.z": FieldType.INT}, print)
    given = {"x": {"year": 2020.0, "n": 1.0}, "y": 1.0}
    assert repr(values.with_ints(given)) == "{'x': {'year': 2020, 'n': 1.0}, 'y': 1.0}"
    assert given["x"] == {"year": 2020.0, "n": 1.0}


def test_columns_are_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.parquet"
    columns = {
        "id": pa.array([1.0, 2.0]),
        "text": pa.array([b"x", "ü".encode()], pa.binary()),
        "price": pa.array([Decimal("1.10"), Decimal("2.20")], pa.decimal128(9, 2)),
        "took": pa.array([1_500_000_000, None], pa.duration("ns")),
        "image": pa.array([b"\xff", b"\xfe"], pa.binary()),
        "big": pa.array([1, 2**64 - 1], pa.uint64()),
        "year": pa.array([2020.0, None]),
    }
    pq.write_table(pa.table(columns), path)
    source = Source(path, fields={"year": int})
    with caplog.at_level(logging.WARNING, "trivec"):
        source.check()
        first, second = source.documents()
        assert list(source) == [first, second]
    assert first == Document("1", "x", {"price": 1.1, "took": 1.5, "big": 1, "year": 2020})
    assert type(first.metadata["year"]) is int
    rest = {"price": 2.2, "took": None, "big": "18446744073709551615", "year": None}
    assert second == Document("2", "ü", rest)
    assert caplog.messages == [
        f"{path}: column 'price': Decimal, stored as a number of about 16 digits",
        f"{path}: column 'took': duration, stored as seconds",
        f"{path}: column 'image': binary, left out",
        f"{path}: column 'big': integers beyond 64 bits with their sign, stored as text",
    ]


def test_values_of_pandas(tmp_path: Path) -> None:
    pd: Any = pytest.importorskip("pandas")
    assert convert(pd.NA)[0] == {"x": None}
    assert convert(pd.NaT)[0] == {"x": None}
    assert convert(pd.Timedelta(1, "s"))[0] == {"x": 1}
    frame = pd.DataFrame({"id": [1, None], "text": ["x", "y"], "year": [2020, None]})
    frame.to_parquet(tmp_path / "a.parquet")
    first, second = Source(tmp_path / "a.parquet", fields={"year": int})
    assert first == Document("1", "x", {"year": 2020})
    assert "there is no id" in getattr(second, "problem", "")


def test_json_numbers_that_metadata_cannot_hold(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.jsonl"
    line = '{"id": 1, "text": "x", "n": NaN, "deep": [{"big": 36893488147419103232}]}\n'
    path.write_text(line * 2, encoding="utf-8")
    with caplog.at_level(logging.WARNING, "trivec"):
        document, _ = Source(path).documents()
    assert document.metadata == {"n": None, "deep": [{"big": "36893488147419103232"}]}
    (message,) = caplog.messages
    assert "column 'deep.big': integers beyond 64 bits" in message
