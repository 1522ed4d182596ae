"""Where the metadata of a file lies: one rule for the whole file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trivec import Document, ingest, open_store
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources import RejectFile, Source
from trivec.testing import HashEncoder

NESTED: dict[str, Any] = {"metadata": {"x": 1}}
FLAT: dict[str, Any] = {"x": 1}
BOTH: dict[str, Any] = {"metadata": {"x": 1}, "y": 2}
NONE: dict[str, Any] = {}
NULL: dict[str, Any] = {"metadata": None}
TEXT: dict[str, Any] = {"metadata": "x"}

Read = list[dict[str, Any] | str]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    lines = [json.dumps({"id": str(i), "text": "", **row}) for i, row in enumerate(rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def read(source: Source) -> Read:
    """Return the metadata of documents, and the problems of others."""
    return [one.problem if isinstance(one, Rejected) else dict(one.metadata) for one in source]


BESIDE = "'y' stands beside 'metadata', where this file has its metadata"
LONE = "an object 'metadata' holds all metadata of this row, and rows before it have theirs beside"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([NESTED, NONE, NESTED, NULL], [{"x": 1}, {}, {"x": 1}, {}]),
        ([NONE, NULL, NESTED], [{}, {}, {"x": 1}]),
        ([FLAT, NONE, FLAT], [{"x": 1}, {}, {"x": 1}]),
        ([BOTH, NESTED, FLAT, TEXT, NULL], [BOTH, NESTED, FLAT, TEXT, NULL]),
        ([NESTED, BOTH, NESTED], [{"x": 1}, BESIDE, {"x": 1}]),
        ([NESTED, FLAT, NESTED], [{"x": 1}, "'x' stands beside 'metadata'", {"x": 1}]),
        ([NESTED, TEXT, NESTED], [{"x": 1}, "'metadata' is a str, expected an object", {"x": 1}]),
        ([FLAT, NESTED, FLAT], [{"x": 1}, LONE, {"x": 1}]),
        ([FLAT, BOTH, NESTED], [{"x": 1}, BOTH, NESTED]),
        ([TEXT, FLAT, FLAT], ["metadata='flat' (--metadata flat) treats it as an", FLAT, FLAT]),
    ],
)
def test_the_first_row_decides(tmp_path: Path, rows: list[dict[str, Any]], expected: Read) -> None:
    source = Source(write(tmp_path / "a.jsonl", rows))
    for _ in range(2):  # each time anew
        found = read(source)
        for one, other in zip(found, expected, strict=True):
            if isinstance(other, str):
                assert isinstance(one, str)
                assert other in one
            else:
                assert one == other


def test_a_row_that_is_no_document_decides_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"id": "", **FLAT}, NESTED, NESTED])
    assert read(Source(path))[1:] == [{"x": 1}, {"x": 1}]


def test_it_can_be_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [NESTED, BOTH, FLAT])
    assert read(Source(path, metadata="flat")) == [NESTED, BOTH, FLAT]
    first, second, third = read(Source(path, metadata="nested"))
    assert first == {"x": 1}
    assert "'y' stands beside" in str(second)
    assert "'x' stands beside" in str(third)
    with pytest.raises(InvalidOptionError, match="metadata='x'; expected one of nested, flat"):
        Source(path, metadata="x")  # type: ignore[arg-type]


def test_a_row_that_does_not_fit_ends_a_run_that_may_skip_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [NESTED, BOTH])
    with pytest.raises(InvalidDocumentError, match=r"line 2: 'y' stands beside .*--metadata"):
        list(Source(path).documents())


def test_tables_and_parquet(tmp_path: Path) -> None:
    csv = tmp_path / "a.csv"
    csv.write_text('id,text,metadata\n1,x,"{""x"": 1}"\n', encoding="utf-8")
    (problem,) = read(Source(csv))
    assert "'metadata' is a str, expected an object" in str(problem)
    assert read(Source(csv, metadata="flat")) == [{"metadata": '{"x": 1}'}]
    for struct in (pa.struct({"x": pa.int64()}), pa.map_(pa.string(), pa.int64())):
        table = {"id": ["1", "2"], "text": ["", ""], "metadata": pa.array([None, {"x": 1}], struct)}
        pq.write_table(pa.table(table), tmp_path / "a.parquet")
        assert read(Source(tmp_path / "a.parquet")) == [{}, {"x": 1}]


def test_what_trivec_rejects_can_be_read_again(tmp_path: Path, encoder: HashEncoder) -> None:
    """Rejects of a store hold documents; their content is a file in the nested layout."""
    documents = [Document("1", "a"), Document("2", "b", {"metadata": {"x": 1}, "y": None})]
    path = tmp_path / "a.jsonl"
    with open_store(f"memory:/{tmp_path.name}") as store:
        store.create(encoder.schema, fields={"y": int})
        store.upsert(documents, encoder.encode_documents(["a", "b"]))
        with RejectFile(tmp_path / "r.jsonl") as rejects:
            bad = Document("3", "c", {"y": "no number", "z": [1]})
            ingest([bad], encoder, store, on_error="skip", rejected=rejects)
        store.drop()
    (line,) = (tmp_path / "r.jsonl").read_text(encoding="utf-8").splitlines()
    path.write_text(json.loads(line)["content"], encoding="utf-8")
    assert list(Source(path)) == [bad]
