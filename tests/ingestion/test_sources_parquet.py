"""Parquet: each type gives its right value or is refused by name; damage is told with its row."""

from __future__ import annotations

import decimal
import re
import subprocess
import sys
import uuid
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trivec import Document
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources import Source

NS = pa.timestamp("ns")
ZONED = pa.timestamp("ns", "Europe/Berlin")
SECOND = 10**9


def write(path: Path, columns: dict[str, pa.Array], **options: Any) -> str:
    pq.write_table(pa.table(columns), path, **options)
    return str(path)


def column(value: object, kind: pa.DataType) -> dict[str, pa.Array]:
    return {
        "id": pa.array(["a", "b"]),
        "text": pa.array(["x", "y"]),
        "v": pa.array([value, None], kind),
    }


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (1, NS, "1970-01-01T00:00:00.000000001"),
        (-1, NS, "1969-12-31T23:59:59.999999999"),
        (0, NS, "1970-01-01T00:00:00"),
        (1_500 * SECOND + 120_000_000, NS, "1970-01-01T00:25:00.120000"),
        (2**63 - 1, NS, "2262-04-11T23:47:16.854775807"),
        (1_700_000_000 * SECOND + 7, ZONED, "2023-11-14T23:13:20.000000007+01:00"),
        (1_690_000_000 * SECOND, ZONED, "2023-07-22T06:26:40+02:00"),
        (5, pa.timestamp("ns", "+05:30"), "1970-01-01T05:30:00.000000005+05:30"),
        (datetime(2024, 1, 31, 12), pa.timestamp("ms"), "2024-01-31T12:00:00"),
        (datetime(2024, 1, 31, 12), pa.timestamp("us", "UTC"), "2024-01-31T12:00:00+00:00"),
        (date(2024, 1, 31), pa.date32(), "2024-01-31"),
        (date(2024, 1, 31), pa.date64(), "2024-01-31"),
        (time(1, 2, 3, 4), pa.time64("us"), "01:02:03.000004"),
        (time(1, 2, 3), pa.time32("s"), "01:02:03"),
        (3_723 * SECOND + 4, pa.time64("ns"), "01:02:03.000000004"),
        (-(2**61) - 5, pa.timestamp("ns", "Europe/Berlin"), "1896-12-06T01:03:10.786306043+01:00"),
        (
            -(2**62) * 2 + 9,
            pa.timestamp("ns", "Europe/Berlin"),
            "1677-09-21T00:12:43.145224201+00:00",
        ),
        (decimal.Decimal("1.10"), pa.decimal128(9, 2), 1.1),
        (7, pa.uint8(), 7),
        (0.5, pa.float32(), 0.5),
        (True, pa.bool_(), True),
        ("s", pa.large_string(), "s"),
        ("s", pa.dictionary(pa.int8(), pa.string()), "s"),
        ([("k", 1), ("l", None)], pa.map_(pa.string(), pa.int64()), {"k": 1, "l": None}),
        (
            [("k", [1])],
            pa.map_(pa.string(), pa.list_(NS)),
            {"k": ["1970-01-01T00:00:00.000000001"]},
        ),
        ([1, None], pa.list_(NS), ["1970-01-01T00:00:00.000000001", None]),
        (
            [{"w": 1}, {"w": None}, None],
            pa.list_(pa.struct({"w": NS})),
            [{"w": "1970-01-01T00:00:00.000000001"}, {"w": None}, None],
        ),
        (
            {"a": {"b": [date(2024, 1, 1)]}},
            pa.struct({"a": pa.struct({"b": pa.list_(pa.date32())})}),
            {"a": {"b": ["2024-01-01"]}},
        ),
        ([1, 2], pa.list_(pa.int8(), 2), [1, 2]),
        ([], pa.list_(pa.int8()), []),
    ],
)
def test_values(tmp_path: Path, value: object, kind: pa.DataType, expected: Any) -> None:
    path = write(tmp_path / "a.parquet", column(value, kind))
    assert list(Source(path)) == [
        Document("a", "x", {"v": expected}),
        Document("b", "y", {"v": None}),
    ]


@pytest.mark.parametrize(
    ("value", "kind", "problem"),
    [
        (float("inf"), pa.float64(), "metadata.v = inf is not finite"),
        ([(1, "x")], pa.map_(pa.int64(), pa.string()), "v has the key 1"),
        ([("k", 1), ("k", 2)], pa.map_(pa.string(), pa.int64()), "the member 'k' occurs twice"),
        (2**62, pa.timestamp("us"), "'v' cannot be read"),
        (1, pa.timestamp("us", "Mars/Olympus"), "'v' cannot be read"),
    ],
)
def test_what_json_cannot_say_is_refused_by_name(
    tmp_path: Path, value: object, kind: pa.DataType, problem: str
) -> None:
    path = write(tmp_path / "a.parquet", column(value, kind))
    bad, good = Source(path)
    assert good == Document("b", "y", {"v": None})
    assert isinstance(bad, Rejected)
    assert bad.where == f"{path}, row 1"
    assert problem in bad.problem
    assert bad.content.startswith('{"id": "a", "text": "x", "v": ')


def test_ids_of_other_types(tmp_path: Path) -> None:
    one = uuid.UUID(int=7)
    ids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([one.bytes], pa.binary(16)))
    path = write(tmp_path / "a.parquet", {"id": ids, "text": pa.array(["x"])})
    assert list(Source(path)) == [Document(str(one), "x")]
    path = write(tmp_path / "a.parquet", {"id": pa.array([7]), "text": pa.array(["x"])})
    assert list(Source(path)) == [Document("7", "x")]


def test_text_that_is_no_utf_8_is_refused_alone(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(
        pa.string(),
        2,
        [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"\xff\xfeok")],
    )
    path = write(tmp_path / "a.parquet", {"id": pa.array(["a", "b"]), "text": broken})
    bad, good = Source(path)
    assert good == Document("b", "ok")
    assert isinstance(bad, Rejected)
    assert "'text' cannot be read: 'utf-8' codec" in bad.problem


def test_nanoseconds_need_no_pandas(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", column(1, NS))
    code = f"""
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Without())
from trivec.ingestion.sources import Source
print(next(iter(Source({path!r}))).metadata["v"])
assert "pandas" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "1970-01-01T00:00:00.000000001"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["id", "body"], "there is no column 'text', only 'id', 'body'; try text_field='body'"),
        (["id", "text", "x", "x"], "2 columns are named 'x'"),
    ],
)
def test_columns_are_checked(tmp_path: Path, names: list[str], message: str) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * len(names), names=names), path)
    with pytest.raises(InvalidDocumentError, match=re.escape(f"{path}: {message}")):
        list(Source(path))


# --- damage ------------------------------------------------------------------------------------


def rows(n: int) -> dict[str, pa.Array]:
    return {
        "id": pa.array([str(i) for i in range(n)]),
        "text": pa.array([f"text {i}" for i in range(n)]),
    }


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip", "none"])
def test_a_damaged_page_is_told_with_the_row_that_was_reached(
    tmp_path: Path, compression: str
) -> None:
    path = tmp_path / "a.parquet"
    write(
        path,
        rows(4096),
        compression=compression,
        row_group_size=1024,
        use_dictionary=False,
        write_page_checksum=True,
    )
    metadata = pq.read_metadata(path)
    place = metadata.row_group(2).column(1)
    content = bytearray(path.read_bytes())
    middle = place.data_page_offset + place.total_compressed_size // 2
    content[middle : middle + 64] = bytes(byte ^ 0xFF for byte in content[middle : middle + 64])
    path.write_bytes(content)
    read: list[Document | Rejected] = []
    with pytest.raises(InvalidDocumentError) as error:
        read.extend(Source(path))
    assert str(error.value).startswith(
        f"{str(path)!r} cannot be read beyond row {len(read)} of 4096: "
    )
    assert read == [Document(str(i), f"text {i}") for i in range(len(read))]
    assert len(read) >= 1024


def test_files_that_are_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, rows(100))
    content = path.read_bytes()
    for damaged in (content[:-20], content[:100], b"", content[:-8] + b"PARE"):
        path.write_bytes(damaged)
        with pytest.raises(InvalidOptionError, match="is not a Parquet file, or is cut off or"):
            list(Source(path))


def test_timezones_of_the_machine_are_not_in_it(tmp_path: Path) -> None:
    when = datetime(2024, 1, 31, 12, tzinfo=timezone(timedelta(hours=2)))
    path = write(tmp_path / "a.parquet", column(when, pa.timestamp("us", "+02:00")))
    first, _ = Source(path).documents()
    assert first.metadata == {"v": "2024-01-31T12:00:00+02:00"}
