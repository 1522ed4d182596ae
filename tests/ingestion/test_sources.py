"""Documents from files of every format, and lines that are none."""

from __future__ import annotations

import gzip
import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from trivec import Document
from trivec.errors import InvalidDocumentError, InvalidOptionError, MissingDependencyError
from trivec.fields import FieldType
from trivec.ingestion.report import Rejected
from trivec.ingestion.sources import RejectFile, Source

DOCUMENTS = [
    Document("a", "blue whale", {"lang": "en", "year": 2020}),
    Document("b", "zażółć 北京 🐋", {"lang": "pl", "year": 2024}),
]
LINES = "".join(
    json.dumps({"id": d.id, "text": d.text, **d.metadata}, ensure_ascii=False) + "\n"
    for d in DOCUMENTS
).encode()
TABLE = "id,text,lang,year\na,blue whale,en,2020\nb,zażółć 北京 🐋,pl,2024\n".encode()
FIELDS = {"year": FieldType.INT}


def _write(path: Path, content: bytes) -> str:
    if path.suffix == ".gz":
        content = gzip.compress(content)
    elif path.suffix == ".zst":
        half = len(content) // 2  # two frames, as parallel compressors write them
        compress = zstandard.ZstdCompressor().compress
        content = compress(content[:half]) + compress(content[half:])
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINES),
        ("a.ndjson", b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n\r\n")),
        ("a.csv", TABLE),
        ("a.tsv", b"\xef\xbb\xbf" + TABLE.replace(b",", b"\t")),
    ],
)
def test_files(tmp_path: Path, name: str, content: bytes, compression: str) -> None:
    source = Source(_write(tmp_path / (name + compression), content), fields=FIELDS)
    assert source.fraction() is None
    assert list(source) == DOCUMENTS
    assert source.fraction() == 1
    assert list(source) == DOCUMENTS  # a source may be read twice


def test_parquet(tmp_path: Path) -> None:
    when = datetime(2024, 1, 31, 12, tzinfo=UTC)
    rows = [{"id": i, "text": f"t{i}", "when": when, "tags": ["a"]} for i in range(1000)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    source = Source(str(path))
    read = []
    for document in source:
        read.append((document, source.fraction() or 0))
    assert read[0][0] == Document("0", "t0", {"when": "2024-01-31T12:00:00+00:00", "tags": ["a"]})
    assert len(read) == 1000
    fractions = [fraction for _, fraction in read]
    assert fractions == sorted(fractions)
    assert 0 < fractions[500] < 1


def test_a_folder_of_text(tmp_path: Path) -> None:
    for name in ("b.txt", "a/c.md", "a/skipped.png", ".hidden/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    (tmp_path / "z.txt").write_bytes(b"\xff\xfe")
    first, bad, last = Source(str(tmp_path))
    assert (first, last) == (Document("b.txt", "b.txt"), Document("a/c.md", "a/c.md"))
    assert isinstance(bad, Rejected)
    assert bad.where.endswith("z.txt")


@pytest.mark.parametrize(("format", "content"), [(None, LINES), ("csv", TABLE)])
def test_standard_input(
    monkeypatch: pytest.MonkeyPatch, format: str | None, content: bytes
) -> None:
    buffer = io.BytesIO(content)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=buffer))
    assert list(Source("-", format=format, fields=FIELDS)) == DOCUMENTS
    assert not buffer.closed


def test_other_members_for_id_and_text(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", b'{"key": 12, "body": "x", "metadata": {"n": 1}}')
    assert list(Source(path, id_field="key", text_field="body")) == [Document("12", "x", {"n": 1})]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "not JSON"),
        (b'{"id": "x", "text": "\xff"}', "not JSON: 'utf-8'"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "expected an object"),
        (b'{"id": "x"}', "expected an object with 'id' and 'text'"),
        (b'{"id": true, "text": ""}', "document id True"),
        (b'{"id": "", "text": ""}', "takes 0 bytes"),
        (b'{"id": "x", "text": "\\ud800"}', "UTF-8"),
        (b'{"id": "x", "text": "", "n": NaN}', "metadata.n = nan is not finite"),
    ],
)
def test_bad_lines_are_told_with_their_numbers(tmp_path: Path, line: bytes, problem: str) -> None:
    path = _write(tmp_path / "a.jsonl", b"\n" + LINES + line + b"\n" + LINES)
    read = list(Source(path))
    assert [d for d in read if isinstance(d, Document)] == DOCUMENTS * 2
    (bad,) = [d for d in read if isinstance(d, Rejected)]
    assert bad.where == f"{path}, line 4"
    assert problem in bad.problem
    assert not bad.readable
    with pytest.raises(InvalidDocumentError, match="line 4"):
        list(Source(path).documents())


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"x,text,en\n", "3 cells, the header has 4"),
        (b"x,text,en,recently\n", "'year' is declared int, got 'recently'"),
        (b"x,\xff,en,2020\n", "UTF-8"),
        (b'x,"te"xt,en,2020\n', "not CSV"),
    ],
)
def test_bad_records_of_csv(tmp_path: Path, line: bytes, problem: str) -> None:
    path = _write(tmp_path / "a.csv", TABLE + line + b'"c","two\nlines",,\n')
    read = list(Source(path, fields=FIELDS))
    assert isinstance(read[2], Rejected)
    assert read[2].where == f"{path}, line 4"
    assert problem in read[2].problem
    assert read[3] == Document("c", "two\nlines", {"lang": "", "year": None})


def test_cells_take_the_type_of_their_field(tmp_path: Path) -> None:
    kinds = {
        "i": FieldType.INT,
        "f": FieldType.FLOAT,
        "b": FieldType.BOOL,
        "l": FieldType.LIST_STR,
        "d": FieldType.DATETIME,
    }
    path = _write(tmp_path / "a.csv", b'id,text,i,f,b,l,d\nx,,1,2.5,True,"[""a""]",2020-01-31\n')
    (document,) = Source(path, fields=kinds).documents()
    assert document.metadata == {"i": 1, "f": 2.5, "b": True, "l": ["a"], "d": "2020-01-31"}


@pytest.mark.parametrize(
    ("path", "format", "message"),
    [
        ("nothing.jsonl", None, "there is no file"),
        ("nothing", "csv", "there is no file"),
        ("{here}/a.dat", None, "say which of jsonl, csv"),
        ("{here}/a.dat", "xml", "expected one of jsonl, csv"),
        ("{here}/a.dat", "parquet", "is not a Parquet file"),
        ("-", "parquet", "cannot be read as parquet"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, path: str, format: str | None, message: str) -> None:
    (tmp_path / "a.dat").write_bytes(b"something")
    with pytest.raises(InvalidOptionError, match=message):
        list(Source(path.format(here=tmp_path), format=format))


@pytest.mark.parametrize(("name", "module"), [("a.zst", "zstandard"), ("a.parquet", "pyarrow")])
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    for known in [m for m in sys.modules if m.partition(".")[0] == module]:
        monkeypatch.setitem(sys.modules, known, None)
    (tmp_path / name).touch()
    format = "jsonl" if name.endswith("zst") else None
    with pytest.raises(MissingDependencyError, match=r"pip install 'trivec\[files\]'"):
        list(Source(str(tmp_path / name), format=format))


def test_a_reject_file_is_made_by_the_first_reject(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    with RejectFile(path):
        pass
    assert not path.exists()
    with RejectFile(path) as rejects:
        rejects(Rejected("a, line 1", "not JSON", '{"\ud800', readable=False))
    assert json.loads(path.read_text(encoding="utf-8"))["content"] == '{"\ud800'
