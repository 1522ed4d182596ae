"""Whatever the rows are: documents and rejects together are as many as the rows."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trivec import Document
from trivec.errors import InvalidOptionError
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources import Source

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["a", "{text}", "\ud800", "", " "])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=4,
)
NAMES = st.sampled_from(["id", "ID", "_id", "text", "title", "metadata", "body", "lang", "docid"])
ROWS = st.lists(st.dictionaries(NAMES, VALUES, max_size=6), min_size=1, max_size=8)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["row", "hash"]),
        "text_field": st.sampled_from(["text", ["title", "text"], ["body"]]),
        "keep": st.sampled_from([["lang"], []]),
        "drop": st.sampled_from([["title"], ["metadata.a"]]),
        "rename": st.sampled_from([{"lang": "language"}, {"title": "lang"}]),
        "metadata": st.sampled_from(["nested", "flat"]),
        "preset": st.sampled_from(["none"]),
        "fields": st.just({"lang": int}),
    },
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=ROWS, options=OPTIONS)
def test_no_row_is_lost(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], options: dict[str, Any]
) -> None:
    logging.getLogger("trivec").setLevel(logging.CRITICAL)
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    try:
        source = Source(path, **options)
    except InvalidOptionError:  # drop and rename want the same
        return
    try:
        read = list(source)
    except InvalidOptionError:  # an option names what no row has
        assert options.keys() & {"keep", "drop", "rename", "text_field"}
        return
    finally:
        logging.getLogger("trivec").setLevel(logging.NOTSET)
    assert len(read) == len(rows)
    for number, (each, row) in enumerate(zip(read, rows, strict=True), start=1):
        if isinstance(each, Rejected):
            assert each.where == f"{path}, line {number}"
            assert each.content == json.dumps(row)
            assert each.problem
        else:
            json.dumps(each.metadata, allow_nan=False)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {"id": st.integers(0, 10**6), "text": st.text(max_size=20)},
            optional={
                "lang": st.sampled_from(["en", "de"]),
                "n": st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False),
                "tags": st.lists(st.text(max_size=3), max_size=3),
            },
        ),
        min_size=1,
        max_size=8,
    )
)
def test_plain_rows_come_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert list(Source(path)) == [
        Document(
            str(row["id"]),
            row["text"],
            {name: value for name, value in row.items() if name not in ("id", "text")},
        )
        for row in rows
    ]


def test_one_file_is_noticed_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"_id": 1, "text": "x"}\n' * 3, encoding="utf-8")
    source = Source(path)
    with caplog.at_level(logging.WARNING, "trivec"):
        source.check()
        assert len(list(source)) == len(list(source)) == 3
    assert len(caplog.messages) == 1


def test_a_bad_option_is_told_before_a_row_is_yielded(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1, "text": "x"}\n' * 3, encoding="utf-8")
    with pytest.raises(InvalidOptionError, match="drop: there is no metadata 'x'"):
        Source(path, drop=["x"]).check()


def test_columns_of_a_table_without_rows_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    strings = pa.array([], pa.string())
    pq.write_table(pa.table({"id": strings, "text": strings, "lang": strings}), path)
    assert list(Source(path, keep=["lang"], allow_empty=True)) == []
    with pytest.raises(InvalidOptionError, match="keep: there is no metadata 'x', only 'lang'"):
        list(Source(path, keep=["x"], allow_empty=True))


def test_a_structure_of_parquet_as_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = [
        {"id": 1, "text": "x", "metadata": {"lang": "en", "n": None}},
        {"id": 2, "text": "y", "metadata": {"lang": None, "n": 2}},
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    first, second = Source(path, keep=["lang"], rename={"n": "size"})
    assert first == Document("1", "x", {"lang": "en", "size": None})
    assert second == Document("2", "y", {"lang": None, "size": 2})
