"""JSON in other layouts than JSON Lines: arrays, lists in an object, objects over several lines."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from trivec import Document
from trivec.errors import InvalidDocumentError, InvalidOptionError
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources import Source, arrays, jsonl

ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "blue ]}[{", "n": 1.0, "tags": ["x", {"y": [1]}]},
    {"id": "b", "text": 'grün "quoted" \\', "n": 2},
    {"id": "c", "text": "x" * 700_000, "n": -1e-7},
]
DOCUMENTS = [
    Document(row["id"], row["text"], {k: row[k] for k in row if k not in ("id", "text")})
    for row in ROWS
]


def write(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize("mark", ["", "\ufeff", "\n \r\n"])
def test_arrays(tmp_path: Path, indent: int | None, name: str, mark: str) -> None:
    path = write(tmp_path / name, mark + json.dumps(ROWS, indent=indent) + "\n")
    assert list(Source(path)) == DOCUMENTS
    path = write(tmp_path / name, mark + json.dumps(ROWS, indent=indent, ensure_ascii=False))
    assert list(Source(path)) == DOCUMENTS


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", arrays.LISTS)
def test_a_list_in_an_object(tmp_path: Path, indent: int | None, name: str) -> None:
    for wrapped in ({"version": {"a": [1]}, name: ROWS}, {name: ROWS, "total": 3}):
        path = write(tmp_path / "a.json", json.dumps(wrapped, indent=indent))
        assert list(Source(path)) == DOCUMENTS


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1]])
def test_objects_over_several_lines(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    content = "\n".join(json.dumps(row, indent=2) for row in rows)
    assert list(Source(write(tmp_path / "a.json", content))) == DOCUMENTS[: len(rows)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    assert list(Source(write(tmp_path / "a.json", lines))) == DOCUMENTS[: len(rows)]


def test_a_long_first_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_OBJECT", 300_000)
    rows = [ROWS[2], ROWS[0]]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    assert list(Source(write(tmp_path / "a.jsonl", lines))) == [DOCUMENTS[2], DOCUMENTS[0]]


def test_a_record_that_is_wrong_is_rejected_alone(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json",
        '[{"id": "a", "text": ""}, {"id": "x", "id": "y", "text": ""}, 5, null,\n'
        '{"id": "n", "text": "", "m": NaN}, {"id": "d", "text": "", "m": ' + "9" * 5000 + "},\n"
        '{"id": "b", "text": ""}]',
    )
    read = list(Source(path))
    assert [one.id for one in read if isinstance(one, Document)] == ["a", "n", "b"]
    rejects = [one for one in read if isinstance(one, Rejected)]
    assert [one.where for one in rejects] == [f"{path}, record {i}" for i in (2, 3, 4, 6)]
    problems = ["'id' occurs twice", "expected an object", "expected an object"]
    for reject, problem in zip(rejects, [*problems, "thousands of digits"], strict=True):
        assert problem in reject.problem
    assert rejects[0].content == '{"id": "x", "id": "y", "text": ""}'


def test_bytes_that_are_not_utf_8_reject_their_record(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"id": "a", "text": "gr\xfcn"}, {"id": "b", "text": ""}]')
    bad, good = Source(path)
    assert good == Document("b", "")
    assert isinstance(bad, Rejected)
    assert bad.problem.startswith("not in UTF-8: byte 0xfc")


@pytest.mark.parametrize(
    ("content", "read", "message"),
    [
        ('[{"id": "a", "text": ""}, {"id": "b"', 1, "ends in the middle; it was cut off"),
        ('[{"id": "a", "text": ""},', 1, "ends in the middle; it was cut off"),
        ('[{"id": "a", "text": ""}', 1, "ends in the middle; it was cut off"),
        ('[{"id": "a", "text": "', 0, "ends in the middle; it was cut off"),
        ('[{"id": "a", "text": ""}, tr', 1, "record 2"),
        ("[", 0, "ends in the middle; it was cut off"),
        ('[{"id": "a", "text": ""} {"id": "b", "text": ""}]', 1, "expected ',', got '{'"),
        ('[{"id": "a", "text": ""},]', 1, "a comma stands before the end"),
        ('[{"id": "a", "text": ""}, {id: 2}, {"id": "b", "text": ""}]', 1, "record 2: not JSON"),
        ('[{"id": "a", "text": ""}\n]\n[{"id": "b", "text": ""}]', 1, "'[' follows the end"),
        ("[" * 100_000, 0, "hundreds of objects and lists are nested"),
        ('{"data": [{"id": "a", "text": ""}], "rows": [{"id": "b"}]}', 1, "'data' and 'rows' are"),
        (
            '{"id": "x", "text": "",\n"data": [{"id": "a", "text": ""}]}',
            1,
            "whether it is one record or holds many is not certain",
        ),
        ('{"data": [\n{"id": "a", "text": ""}]} x', 1, "'x' follows the end"),
    ],
)
def test_what_cannot_be_read_on_is_an_error(
    tmp_path: Path, content: str, read: int, message: str
) -> None:
    path = write(tmp_path / "a.json", content)
    documents: list[Document | Rejected] = []
    with pytest.raises(InvalidDocumentError) as error:
        documents.extend(Source(path))
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert documents == [Document("a", "")] * read


@pytest.mark.parametrize(
    "first", ['{"id": "x"', '{"id": "x", "text": "unclosed', '{"id": "x", "text": "",', "[1]", "[]"]
)
def test_a_wrong_first_line_of_json_lines_is_rejected_alone(tmp_path: Path, first: str) -> None:
    path = write(tmp_path / "a.jsonl", first + "\n" + '{"id": "a", "text": ""}\n' * 2)
    bad, *good = Source(path)
    assert isinstance(bad, Rejected)
    assert bad.where == f"{path}, line 1"
    assert good == [Document("a", "")] * 2


def test_a_record_without_an_end_fills_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "MAX_VALUE", 300_000)
    path = write(tmp_path / "a.json", '[{"id": "a", "text": ""}, {"id": "' + "x" * 2_000_000)
    with pytest.raises(InvalidDocumentError, match="longer than 300000 characters"):
        list(Source(path))


@pytest.mark.parametrize("content", ["[]", "[\n]\n", " [ ] "])
def test_an_empty_array(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "a.json", content)
    with pytest.raises(InvalidOptionError, match="it is empty"):
        list(Source(path))
    assert list(Source(path, allow_empty=True)) == []


def test_arrays_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(json.dumps(ROWS, ensure_ascii=False).encode("utf-16"))
    assert list(Source(path, encoding="utf-16")) == DOCUMENTS


def test_an_array_on_one_line_is_read_as_a_stream(tmp_path: Path) -> None:
    path, text = tmp_path / "a.json", "x" * 20_000
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        file.writelines(f'{"," if i else ""}{{"id": "{i}", "text": "{text}"}}' for i in range(6000))
        file.write("]")
    tracemalloc.start()
    try:
        assert sum(1 for _ in Source(path).documents()) == 6000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60_000_000  # of 120 MB
